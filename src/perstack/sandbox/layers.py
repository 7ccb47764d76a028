"""What this machine has to build walls with, and what to do if it lacks something.

A layer that must be and is not there is an error with a remedy. What is only not as tight as it could be is told.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from shutil import which
from typing import get_args

import msgspec

from perstack._kept import is_below
from perstack.errors import SandboxError

from .filters import MACHINES, Machine
from .groups import place_for_groups
from .host import trusted_path

LANDLOCK = 7
"""The newest version of Landlock whose rules we use."""


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine has to build walls with.

    bwrap: the program, and its version. landlock: the version to use, 0 if the kernel has none. groups: where
    control groups are made, for root. gaps: what is not
    held for want of something, one sentence each.
    """

    bwrap: str
    version: tuple[int, ...]
    machine: Machine
    landlock: int
    groups: Path | None = None
    gaps: tuple[str, ...] = ()


def layers_of(workspace: str = "") -> Layers:
    """The layers of this machine. Raises SandboxError, which says what to do, if one that must be is missing.

    workspace: no program is taken from there. It is tried once for each process, and takes some milliseconds.
    """
    return _layers(*look_for_layers(workspace))


def look_for_layers(workspace: str = "") -> tuple[str, Machine]:
    """bubblewrap, and the machine's kind. Raises as `layers_of` does for what is missing; tries nothing."""
    if sys.platform != "linux":
        raise SandboxError(
            "The sandbox is made of what only Linux has. Use --runtime docker, or accept no walls with "
            "--runtime local."
        )
    machine = next((each for each in get_args(Machine) if each == os.uname().machine), None)
    if machine is None:
        raise SandboxError(
            f"The sandbox has no system call filter for {os.uname().machine}; there are: {', '.join(MACHINES)}. "
            "Use --runtime docker, or accept no walls with --runtime local."
        )
    return _bwrap(workspace), machine


def _bwrap(workspace: str) -> str:
    named = which("bwrap", path=trusted_path(os.environ, workspace))
    # A link could be turned between two starts: what counts is where the program itself lies.
    found = None if named is None else os.path.realpath(named)
    if found is None or (workspace and is_below(found, workspace)):
        raise SandboxError(
            "The sandbox needs bubblewrap, and there is no program `bwrap` here. Install it: "
            "`apt install bubblewrap` (Debian, Ubuntu), `dnf install bubblewrap` (Fedora, RHEL), "
            "`pacman -S bubblewrap` (Arch), `apk add bubblewrap` (Alpine). "
            "Or use --runtime docker, or accept no walls with --runtime local."
        )
    return found


@cache
def _layers(program: str, machine: Machine) -> Layers:
    """Some systems have the program and refuse what it needs, so it is tried."""
    tried = subprocess.run(
        [
            program,
            "--unshare-all",
            "--unshare-user",
            *_plain_root(),
            "--proc",
            "/proc",
            "--",
            "/bin/true",
        ],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    if tried.returncode != 0:
        raise SandboxError(_why_not(tried.stderr.decode(errors="replace").strip()))
    told = subprocess.run([program, "--version"], capture_output=True, check=False, env={})
    words = told.stdout.decode(errors="replace").split()
    version = tuple(
        int(part) for part in (words[-1] if words else "0").split(".") if part.isdecimal()
    )
    landlock = min(landlock_version(), LANDLOCK)
    gaps: list[str] = []
    if version < (0, 8):
        gaps.append(
            f"bubblewrap {'.'.join(map(str, version))} cannot limit the size of /tmp; 0.8 and newer can"
        )
    if landlock < 6:
        gaps.append(
            f"the kernel has Landlock {landlock or 'not at all'}; from version 6 on it also keeps a program from "
            "reaching the first process of its own sandbox"
        )
    groups = place_for_groups()
    if os.getuid() == 0 and groups is None:
        gaps.append("the number of processes is not limited for root; run as another user")
    return Layers(
        bwrap=program,
        version=version,
        machine=machine,
        landlock=landlock,
        groups=groups,
        gaps=tuple(gaps),
    )


def _plain_root() -> tuple[str, ...]:
    return ("--ro-bind", "/", "/")


def _why_not(said: str) -> str:
    """What to do when namespaces are refused."""
    remedies = [
        f"The sandbox cannot be built: bubblewrap says: {said or 'nothing'}.",
        "Usually this system refuses user namespaces to ordinary programs.",
    ]
    if _number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1:
        remedies.append(
            "AppArmor restricts them here (Ubuntu 23.10 and newer): add a profile for /usr/bin/bwrap "
            "(`apt install apparmor-profiles`, `ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict "
            "/etc/apparmor.d/`, `apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict`), or allow them all: "
            "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`."
        )
    if _number("/proc/sys/kernel/unprivileged_userns_clone") == 0:
        remedies.append("Allow them: `sysctl -w kernel.unprivileged_userns_clone=1`.")
    if _number("/proc/sys/user/max_user_namespaces") == 0:
        remedies.append("Allow them: `sysctl -w user.max_user_namespaces=10000`.")
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        remedies.append(
            "In a container: let it make namespaces (docker: `--security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined`), or let the container be the wall."
        )
    remedies.append("Or use --runtime docker, or accept no walls with --runtime local.")
    return " ".join(remedies)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def landlock_version() -> int:
    """The version of Landlock the kernel has; 0 for none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(444, None, ctypes.c_size_t(0), 1)))
