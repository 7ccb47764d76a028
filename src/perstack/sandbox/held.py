"""Places in the workspace that walls keep: what there is of them, and what holds the place of those not there.

A mount needs something to be mounted on. For the few places that must not come into being while walls stand, a
placeholder is made. It is empty (or says what git takes for granted) and dated 1970, so that one which was left
behind, because a process was killed, is known as what it is. The last who needs it takes it away.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Literal, NamedTuple

from perstack.errors import SandboxError

from .policy import Policy

Kind = Literal["", "folder", "file", "link"]

LOCK_S = 3.0

_COMMONDIR = ".\n"
"""What git reads as "the directory itself", which is what it takes without the file."""


class Seen(NamedTuple):
    """What one look at a place told. placeholder: it only holds a place. identity: "DEVICE:INODE"."""

    kind: Kind
    placeholder: bool = False
    identity: str = ""


def look_at(path: str) -> Seen:
    """What is at `path`, a link not followed."""
    try:
        found = os.lstat(path)
    except OSError:
        return Seen("")
    identity = f"{found.st_dev}:{found.st_ino}"
    if stat.S_ISLNK(found.st_mode):
        return Seen("link", identity=identity)
    folder = stat.S_ISDIR(found.st_mode)
    holds = found.st_mtime == 0 and (
        _is_empty(path) if folder else os.path.basename(path) == "commondir"
    )
    return Seen("folder" if folder else "file", holds, identity)


def _is_empty(directory: str) -> bool:
    try:
        return not os.listdir(directory)
    except OSError:
        return False


def look_around(policy: Policy) -> dict[str, Seen]:
    """The files and folders there are of those in the workspace that `policy` names.

    Who works in the workspace can swap them at any time. What is mounted and what it is compared with inside must
    therefore come from the same look; a link is left out, since it cannot be held.
    """
    seen = {
        mount.inside: look_at(mount.inside)
        for mount in policy.mounts
        if mount.how in ("keep", "open", "hide")
    }
    return {path: each for path, each in seen.items() if each.kind in ("folder", "file")}


def pinned(policy: Policy, seen: Mapping[str, Seen]) -> str:
    """What must be mounted as it was seen, as `inside.py` takes it."""
    return "\n".join(
        f"{seen[mount.inside].identity} {mount.inside}"
        for mount in policy.mounts
        if mount.how in ("keep", "open") and mount.inside in seen
    )


def kind_of(path: str) -> Kind:
    """ "folder", "link", "file" for whatever else, "" for nothing."""
    return look_at(path).kind


@contextmanager
def held(policy: Policy) -> Generator[None]:
    """While the block runs, what is to be there in any case is there. The last who needs it takes it away.

    Raises SandboxError if a program has locked the workspace.
    """
    lock = os.open(policy.workspace, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _share(lock, policy.workspace)
        hold(policy)
        try:
            yield
        finally:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass  # another runtime works here; it takes them away
            else:
                for path in reversed(_places(policy)):
                    if is_placeholder(path):
                        _let_go(path)
    finally:
        os.close(lock)


def _share(lock: int, workspace: str) -> None:
    """Others who need the places may come, and nobody takes them away. Raises SandboxError.

    Who takes them away has the directory for a moment only. Whoever has it longer would have us wait for ever: a
    program that works in a directory above, which can lock what is below as it likes.
    """
    until = monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if monotonic() > until:
                raise SandboxError(
                    f"The directory {workspace} is locked by a program. Stop what works in it or above it."
                ) from error
            sleep(0.01)
        else:
            return


def hold(policy: Policy) -> None:
    """What is to be there in any case is there, within `held`. Again before each program: places come and go."""
    for path in _places(policy):
        above = look_at(os.path.dirname(path))
        if above.kind == "folder" and not above.placeholder and not kind_of(path):
            _hold(path)


def _places(policy: Policy) -> list[str]:
    return [mount.inside for mount in policy.mounts if mount.held]


def _hold(path: str) -> None:
    try:
        if os.path.basename(path) == "commondir":
            with open(path, "x", encoding="ascii") as file:
                file.write(_COMMONDIR)
        else:
            os.mkdir(path)
        os.utime(path, (0, 0), follow_symlinks=False)
    except OSError:
        return  # not ours to write in, and so neither the payload's


def is_placeholder(path: str) -> bool:
    """Whether it only holds a place."""
    return look_at(path).placeholder


def _let_go(path: str) -> None:
    try:
        if os.path.basename(path) == "commondir":
            os.unlink(path)
        else:
            os.rmdir(path)
    except OSError:
        return  # somebody put something into it
