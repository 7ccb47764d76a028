"""Docker's daemon as its client reaches it: which containers are ours, and the end of those nobody needs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio

from perstack.errors import SandboxError

from .docker import OWNER_LABEL
from .host import trusted_path

_CLIENT = ("PATH", "HOME", "USER", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK")
"""Variables of ours that docker's client needs, besides those that are called DOCKER_…"""


def client_env(env: Mapping[str, str], workspace: str = "") -> dict[str, str]:
    """The variables that docker's client gets: how to find it, not in the workspace, and its daemon."""
    found = {
        name: value for name, value in env.items() if name in _CLIENT or name.startswith("DOCKER_")
    }
    return found | {"PATH": trusted_path(env, workspace)}


async def docker_told(docker: Mapping[str, str], *words: str) -> str:
    """What `docker` prints. docker: its variables. Raises SandboxError with what it says if it fails."""
    try:
        done = await anyio.run_process(
            ["docker", *words], stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=docker, check=False
        )
    except OSError as error:
        raise SandboxError(f"docker could not be started: {error.strerror}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise SandboxError(f"`docker {words[0]}` failed: {said}")
    return done.stdout.decode(errors="replace")


async def owned(docker: Mapping[str, str], owner: str) -> list[str]:
    """The ids of the containers that are labelled so."""
    found = await docker_told(
        docker, "ps", "-aq", "--no-trunc", "--filter", f"label={OWNER_LABEL}={owner}"
    )
    return found.split()


async def remove(docker: Mapping[str, str], ids: Sequence[str]) -> None:
    """Ends and removes containers. One that is gone already, or is just going, is no fault."""
    for id in ids:
        with suppress(SandboxError):
            await docker_told(docker, "rm", "-f", id)


async def sweep(docker: Mapping[str, str]) -> None:
    """Removes what runtimes left behind that are no more. Those of other machines are not ours to judge."""
    shape = f'{{{{.ID}}}} {{{{.Label "{OWNER_LABEL}"}}}}'
    listed = await docker_told(
        docker, "ps", "-a", "--filter", f"label={OWNER_LABEL}", "--format", shape
    )
    left: list[str] = []
    for line in listed.splitlines():
        id, _, owner = line.partition(" ")
        mark = owner.rpartition(".")[0]
        machine, _, pid = mark.rpartition(".")[0].rpartition(".")
        if machine == boot_mark() and pid.isdecimal() and process_mark(int(pid)) != mark:
            left.append(id)
    await remove(docker, left)


def process_mark(pid: int) -> str:
    """What tells a process from all others before and after: "MACHINE.PID.START"; "" if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return f"{boot_mark()}.{pid}.{stat.rpartition(')')[2].split()[19]}"


def boot_mark() -> str:
    """This machine since it was started, and the process namespace that ids are counted in."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
