"""How many processes a sandbox may have, where the usual limit does not count: for root.

The kernel does not hold root to RLIMIT_NPROC, and root is what a runtime in a container often is. Root may make
control groups instead: one for each skill, below the runtime's own, which is removed when the walls are.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from time import monotonic, sleep

_ROOT = Path("/sys/fs/cgroup")
_OURS = 8
"""Processes of a sandbox that are not the payload's."""

_numbers = count(1)


def place_for_groups() -> Path | None:
    """The directory in which groups that count processes can be made; None if there is none."""
    if os.getuid() != 0:
        return None
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "pids":
            mine = _ROOT / "pids" / path.lstrip("/")
        elif not kinds and "pids" in _delegated(_ROOT / path.lstrip("/")):
            mine = _ROOT / path.lstrip("/")
        elif not kinds and "pids" in _delegated(_ROOT):
            mine = _ROOT
        else:
            continue
        if mine.is_dir() and os.access(mine, os.W_OK) and _writable(mine):
            return mine
    return None


def _delegated(group: Path) -> list[str]:
    """The controllers that groups below `group` have."""
    try:
        return (group / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError:
        return []


def _writable(place: Path) -> bool:
    """Tried, since it may be mounted read only, as in most containers."""
    probe = place / f"perstack-{os.getpid()}-probe"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True


@contextmanager
def process_group(place: Path, most: int) -> Generator[Path]:
    """A group of at most `most` processes, until the block is left. Raises OSError."""
    _sweep(place)
    group = place / f"perstack-{os.getpid()}-{next(_numbers)}"
    group.mkdir()
    try:
        (group / "pids.max").write_text(str(most + _OURS), encoding="ascii")
        yield group
    finally:
        _removed(group)


def into(group: Path | None) -> tuple[str, ...]:
    """What to put in front of a program so that it runs in `group`."""
    if group is None:
        return ()
    # With no environment: nothing can tell this shell anything
    script = 'echo 0 > "$0" && exec "$@"'
    return ("/bin/sh", "-c", script, str(group / "cgroup.procs"))


def _removed(group: Path) -> None:
    """Its processes have been killed, and are gone in a moment."""
    until = monotonic() + 2
    while monotonic() < until:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            sleep(0.005)
        else:
            return


def _sweep(place: Path) -> None:
    """Removes the groups of runtimes that are gone."""
    with suppress(OSError):
        for group in place.glob("perstack-*-*"):
            owner = group.name.split("-")[1]
            if not Path("/proc", owner).exists():
                with suppress(OSError):
                    group.rmdir()
