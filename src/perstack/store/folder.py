"""The directory of one job, and how it is opened.

    perstack/            0755, with a .gitignore so that history is not committed by accident
      jobs/
        <jobId>/         0700
          log.jsonl      0600, what happened; its lock is the right to write it
          owner.json     0600, what the writer said about itself, for others to read
          head.json      0600, the summary cache

An Expert may write to the workspace, so names are not trusted: below `perstack/` no symbolic link is followed,
and what is not a plain file is not read. (`perstack/` itself may be a link: a person put it there.)
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from perstack._value import Value
from perstack.errors import StoreError, UserError

LOG, OWNER, HEAD = "log.jsonl", "owner.json", "head.json"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO in place of a file must not hang us
_CHUNK = 1 << 24


class Owner(Value, frozen=True):
    """Who has a log open. since: ISO 8601 UTC."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}"


class Folder(NamedTuple):
    """The open directory of a job. fd: closed by the block that opened it."""

    fd: int
    path: Path


@contextmanager
def open_folder(root: Path, job: str, *, create: bool = False) -> Generator[Folder | None]:
    """The directory of `job`, None if there is none and none is to be made.

    Raises UserError for a symbolic link, StoreError.
    """
    descriptors: list[int] = []
    try:
        yield _open_folder(root, job, descriptors, create=create)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _open_folder(root: Path, job: str, opened: list[int], *, create: bool) -> Folder | None:
    path = root / "jobs"
    try:
        if create:
            _make_root(root)
        opened.append(os.open(path, _DIRECTORY))
        path /= job
        if create:
            with suppress(FileExistsError):
                os.mkdir(job, 0o700, dir_fd=opened[0])
        opened.append(os.open(job, _DIRECTORY, dir_fd=opened[0]))
    except FileNotFoundError as error:
        if create:
            raise why(error, root.parent) from error
        return None
    except OSError as error:
        if path.is_symlink():
            raise linked(path) from error
        raise why(error, path) from error
    return Folder(opened[1], path)


def _make_root(root: Path) -> None:
    new = False
    for path in (root, root / "jobs"):
        with suppress(FileExistsError):
            os.mkdir(path, 0o755)
            new = True
    if new:
        with suppress(FileExistsError):
            fd = os.open(root / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o644)
            try:
                os.write(fd, b"*\n")
            finally:
                os.close(fd)


def open_file(folder: Folder, name: str, flags: int) -> int:
    """A descriptor of a plain file in a job's directory. Raises OSError; UserError if it is no plain file."""
    try:
        fd = os.open(name, flags | _FILE, 0o600, dir_fd=folder.fd)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise linked(folder.path / name) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UserError(f"{folder.path / name} is not a plain file. Move it away, then try again.")
    return fd


def read_file(folder: Folder, name: str) -> bytes | None:
    """All of a small file, None if there is none that can be read."""
    try:
        fd = open_file(folder, name, os.O_RDONLY)
    except (OSError, UserError):
        return None
    try:
        return read_from(fd, 0)
    except OSError:
        return None
    finally:
        os.close(fd)


def read_from(fd: int, offset: int) -> bytes:
    """What stands in a file from `offset` to its end. Raises OSError."""
    chunks: list[bytes] = []
    while chunk := os.pread(fd, _CHUNK, offset):
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def replace_file(folder: Folder, name: str, text: bytes) -> None:
    """Puts a whole new file in place of an old one, for a reader at once; not safe from a power cut.

    Raises OSError, UserError; then the old file is as it was.
    """
    fresh = f"{name}.new"
    fd = open_file(folder, fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        whole = os.write(fd, text) == len(text)
    finally:
        os.close(fd)
    if whole:
        os.rename(fresh, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
    else:
        os.unlink(fresh, dir_fd=folder.fd)


def lock(fd: int) -> bool:
    """Whether this descriptor now holds the log. The kernel lets go of it when its process ends."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def owner_of(folder: Folder, fd: int) -> str:
    """Who holds the log behind `fd`, "" if nobody does. For an instant it is held in common, to find out."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return said_owner(folder)
    fcntl.flock(fd, fcntl.LOCK_UN)
    return ""


def said_owner(folder: Folder) -> str:
    """What the holder of the log wrote about itself."""
    try:
        return str(msgspec.json.decode(read_file(folder, OWNER) or b"", type=Owner))
    except msgspec.DecodeError:
        return "a process that has not said which"


def sign(folder: Folder, since: str) -> None:
    """Says in the job's directory who we are. Only words: a full disk does not keep us from the log."""
    owner = Owner(pid=os.getpid(), host=socket.gethostname(), since=since)
    with suppress(OSError, UserError):
        replace_file(folder, OWNER, msgspec.json.encode(owner))


def flush(fd: int) -> None:
    """Returns when all of a file is on stable storage. Raises OSError."""
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def flush_names(root: Path, job: str) -> None:
    """Returns when the way to a job's log is on stable storage, from the workspace down. Raises OSError."""
    for path in (root / "jobs" / job, root / "jobs", root, root.parent):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system without such a thing
                raise
        finally:
            os.close(fd)


def why(error: OSError, path: Path, job: str = "") -> StoreError:
    """What went wrong with `path`, and what to do. job: the one whose writing was cut short, if one was."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            what, remedy = "no space is left for it", "Free some space"
        case errno.EFBIG:
            what, remedy = "it may not grow any larger here", "Raise the limit (see `ulimit -f`)"
        case errno.EROFS:
            what, remedy = "its file system is read-only", "Make it writable"
        case errno.EACCES | errno.EPERM:
            what, remedy = "permission denied", "Give this user the right to use it"
        case errno.ENOENT:
            what, remedy = "there is no such directory", "Create it, or use another workspace"
        case errno.ENOTDIR:
            what, remedy = "it is not a directory", "Move away what is in its place"
        case errno.EMFILE | errno.ENFILE:
            what, remedy = (
                "too many files are open",
                "Raise the limit (see `ulimit -n`), or run fewer jobs",
            )
        case _:
            what, remedy = f"{error.strerror or error}", "Look after the disk"
    if not job:
        return StoreError(f"{path}: {what}. {remedy}, then try again.")
    return StoreError(
        f"{path}: {what}. Everything up to the last event is kept. {remedy}, then go on with "
        f"`perstack run ... --continue-job {job}`."
    )


def linked(path: Path) -> UserError:
    """A symbolic link where none may be."""
    return UserError(
        f"{path} is a symbolic link; only `perstack/` itself can be one. Move it away, then try again."
    )
