"""The mounts alone: what a kernel without Landlock still has. Judged by what could be opened."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from perstack.definition import DEFAULT_BASE
from perstack.errors import SandboxError
from perstack.sandbox import Place, layers_of, policy_for
from perstack.sandbox.native import Standing
from tests.behaviour.register import proves
from tests.cli.program import LONG_S

LOOK = """
import os
for directory, folders, files in os.walk("/proc"):
    for name in files:
        path = f"{directory}/{name}"
        own = path.split("/")[2]
        if own.isdigit() or own in ("self", "thread-self"):
            continue
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            continue
        print(path)
for path in ("/usr/evil", "/etc/evil", "/run/evil", "/run/perstack/inside.py", "/proc/1/mem", "/dev/evil"):
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT))
    except OSError:
        continue
    print(path)
open("works", "w").close()
"""


@pytest.fixture
def standing(tmp_path: Path) -> Generator[Standing]:
    try:
        layers = layers_of()
    except SandboxError as error:
        pytest.skip(str(error))
    env = {"PATH": os.environ["PATH"]}
    policy = policy_for("x", DEFAULT_BASE, env, Place(workspace=str(tmp_path)), serves=False)
    with ExitStack() as stack:
        yield Standing(policy, replace(layers, landlock=0), stack)


@proves("walls.attacker-gets-nothing")
def test_without_landlock_no_setting_of_the_kernel_and_nothing_outside_can_be_written(
    standing: Standing, tmp_path: Path
):
    with standing.wrap(("python3", "-c", LOOK), {}, str(tmp_path)) as launch:
        done = subprocess.run(
            launch.argv,
            env=launch.env,
            pass_fds=launch.fds,
            cwd=tmp_path,
            capture_output=True,
            check=True,
            timeout=LONG_S,
        )
    assert (tmp_path / "works").exists()
    assert done.stdout.decode().splitlines() == []
