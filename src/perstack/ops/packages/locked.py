"""A project with the lock that has to be there, for commands that read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from perstack.errors import LockError
from perstack.lock import LOCK_FORMAT, LockFile, manifest_of

from ..project import LoadedProject, need_project
from .locking import lock_path, read_lock


class LockedProject(msgspec.Struct, frozen=True, kw_only=True):
    """loaded: the project file. file: its lock."""

    loaded: LoadedProject
    file: LockFile

    @property
    def roots(self) -> tuple[str, ...]:
        """The Experts of the project file that are in the lock."""
        return tuple(key for key in self.loaded.project.experts if key in self.file.lock.experts)

    @property
    def is_stale(self) -> bool:
        """Whether the lock was made for other delegates than the project file names now."""
        return self.file.manifest != manifest_of(self.loaded.project)


def locked_project(config: str | None, env: Mapping[str, str], cwd: Path) -> LockedProject:
    """The project and its lock. Raises UserError; LockError if there is no lock, or an old one."""
    loaded = need_project(config, cwd, env)
    file = read_lock(loaded)
    path = lock_path(loaded)
    if file is None:
        raise LockError(f"There is no {path} yet. Run `perstack install`.")
    if file.format < LOCK_FORMAT:
        raise LockError(f"{path} is in an old format, which pins nothing. Run `perstack install`.")
    return LockedProject(loaded=loaded, file=file)
