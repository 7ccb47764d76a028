"""The recipe of the guide for a container with everything in it, run as it is written."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

import perstack
from perstack.cli.main import status_of
from tests.cli.program import expert, folded
from tests.fakes.modelserver import ModelServer, Says

from .daemon import Docker
from .test_containers import execs

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "docker.md"
DOCKERFILE = b"""\
FROM perstack-test:base
COPY perstack /opt/perstack
COPY launcher /usr/bin/perstack
"""
LAUNCHER = b'#!/bin/sh\nPYTHONPATH=/opt/perstack exec python3 -P -m perstack.cli.main "$@"\n'


def recipe() -> str:
    found = re.search(r"<!-- production -->\n```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    return found[1]


def needed(name: str, found: dict[str, Distribution]) -> None:
    """What is installed of `name` and all it needs."""
    made = distribution(name)
    if name in found:
        return
    found[name] = made
    for line in made.requires or ():
        wanted = re.match(r"[\w.-]+", line)
        if wanted and "extra ==" not in line:
            try:
                needed(wanted[0].lower().replace("_", "-"), found)
            except ModuleNotFoundError:
                continue  # for another system, or another Python


def installed() -> bytes:
    """An image's context: Perstack and its libraries as they are here, in place of those a registry has."""
    out = io.BytesIO()
    found: dict[str, Distribution] = {}
    needed("perstack", found)
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in (("Dockerfile", DOCKERFILE), ("launcher", LAUNCHER)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
        for name, made in found.items():
            for file in made.files or ():
                place = Path(str(file.locate()))
                if ".." not in file.parts and place.is_file() and place.suffix != ".pth":
                    if name != "perstack" or "dist-info" in str(file):
                        tar.add(place, arcname=f"perstack/{file}")
        tar.add(Path(perstack.__file__).parent, arcname="perstack/perstack")
    return out.getvalue()


@pytest.fixture(scope="module")
def base(daemon: Docker) -> str:
    """A base image in which Perstack is installed already, as there is no package registry to install it from."""
    name = "perstack-test:installed"
    subprocess.run(
        ["docker", "build", "--tag", name, "-"],
        input=installed(),
        env={**os.environ, **daemon.env},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return name


def test_the_recipe_of_the_guide_runs_as_it_is_written(daemon: Docker, base: str, tmp_path: Path):
    (tmp_path / "perstack.toml").write_text(expert())
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "perstack").write_text(
        f'#!/bin/sh\nexec {sys.executable} -P -m perstack.cli.main "$@"\n'
    )
    (bin / "perstack").chmod(0o755)
    user = os.getuid()
    if user == 0:  # the recipe is for an ordinary user
        user = 1000
        (bin / "id").write_text(f"#!/bin/sh\necho {user}\n")
        (bin / "id").chmod(0o755)
        (tmp_path / "workspace").mkdir()
        os.chown(tmp_path / "workspace", user, user)
    # The model is on this machine instead of on the Internet.
    script = recipe().replace("docker run", "docker run --network host --env ANTHROPIC_BASE_URL")
    peek = "cat /proc/*/environ perstack/jobs/*/*; touch made; id -u"
    with ModelServer([execs("sh", "-c", peek), Says("first"), Says("second")]) as server:
        done = subprocess.run(
            ["sh", "-euc", script],
            cwd=tmp_path,
            env={
                **os.environ,
                **daemon.env,
                "PATH": f"{bin}:{os.environ['PATH']}",
                "PERSTACK_BASE_IMAGE": base,
                "ANTHROPIC_API_KEY": "sk-test-1234",
                "ANTHROPIC_BASE_URL": server.url,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        assert len(server.requests) == 3
    assert "sk-test-1234" not in done.stdout
    assert (tmp_path / "workspace" / "made").stat().st_uid == user
    (job,) = (tmp_path / "workspace" / "perstack" / "jobs").iterdir()
    ended = folded(tmp_path / "workspace", job.name).done
    assert ended is not None
    assert ended.text == "second"
    assert daemon.containers() == []


@pytest.mark.parametrize("whole", [(), ("--whole",)])
def test_a_dockerfile_is_written_once(
    whole: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "Dockerfile"
    assert status_of(["docker", "init", *whole]) == 0
    shown = capsys.readouterr().out
    assert status_of(["docker", "init", *whole, "--output", str(file)]) == 0
    assert file.read_text() == shown
    file.write_text("mine")
    assert status_of(["docker", "init", *whole, "--output", str(file)]) == 1
    assert file.read_text() == "mine"
