"""The workspace wall: every path a base tool is given ends inside the workspace, or nowhere.

Theory of operation. The workspace is a directory held open. A path is never opened as text: the directory its
last name stands in is opened *beneath* the root, and the last name is then used only relative to that open
directory, never following a link. So what was checked is what is used, whatever is renamed meanwhile.

1. The operand is made absolute and normalised as text. Outside the root, or a place that is kept from the Expert
   (`_kept`): refused.
2. Its parent directory is opened beneath the root, links on the way followed: by the kernel (openat2), or
   component by component where that call is missing or answers "this leaves the root" (which it also says of
   an absolute link that leads back inside; the walk then decides).
3. From that open directory we climb to the root. Passing the reserved directory, by (device, inode) and so
   under any name, or missing the root: refused. Its own path beneath the root, without links, is held against what
   is kept once more.
4. If the last name is a link, its text takes the place of the name and 2 and 3 are done again, at most 40
   times. A link that leads outside is refused, also when only the link itself is meant.

The walls hold for the tools that use them. A program started by `exec` is not confined by anything here.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from perstack import _kept
from perstack.errors import ToolError

from . import kernel

RESERVED = "perstack"
"""The directory in the root that holds the history of jobs: not for the Expert, whatever its case."""

KEY_FILES = (".env", ".env.local")
"""Files in the root that the runtime usually reads keys from."""

THEIRS = (
    "is not an Expert's to make or change: some program of the user's obeys it later, unasked. Leave it, or ask "
    "the user to change it"
)
"""Why a place can be read and not written."""

_NOT_HERE = ("Read-only file system", "Device or resource busy", "Is a directory")

LINKS_MAX = 40  # as many as the kernel follows

_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

Parts = tuple[str, ...]

Deed = Literal["look", "make", "change"]
"""What is to be done with a place: look at it, make a directory there, or change what is there in another way."""


class _Escape(Exception):
    """The path leads out of the workspace."""


@dataclass(frozen=True, slots=True)
class Place:
    """A name in an open directory of the workspace.

    dir_fd: that directory, open as long as the block that gave this. name: "." for the directory itself.
    path: absolute, for people. stat: the entry itself, a link not followed; None if there is none.
    """

    dir_fd: int
    name: str
    path: str
    stat: os.stat_result | None

    @property
    def is_link(self) -> bool:
        return self.stat is not None and stat.S_ISLNK(self.stat.st_mode)

    @property
    def is_directory(self) -> bool:
        return self.stat is not None and stat.S_ISDIR(self.stat.st_mode)

    @property
    def is_file(self) -> bool:
        return self.stat is not None and stat.S_ISREG(self.stat.st_mode)

    @property
    def is_root(self) -> bool:
        """Whether the workspace itself was named. (A link can also lead to a directory without a name.)"""
        return self.name == "."

    def open(self, flags: int, mode: int = 0o644) -> int:
        """A descriptor for the entry, which the caller closes. Never follows a link, never waits for a peer."""
        safe = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(self.name, flags | safe, mode, dir_fd=self.dir_fd)


class Workspace:
    """A directory, and the ways into it. Open until `close`, or the end of its `with` block.

    home: what a leading `~` stands for. kernel_walk: let the kernel resolve paths where it can. place: what of it
    is not the Expert's; None for what never is.
    """

    def __init__(
        self,
        path: Path,
        *,
        home: str = "~",
        kernel_walk: bool = True,
        place: _kept.Place | None = None,
    ) -> None:
        self.root = os.path.realpath(path)
        self._kept = _kept_parts(self.root, place)
        self._spellings = (self.root, os.path.abspath(path))
        self._home = home
        self._kernel_walk = kernel_walk and kernel.has_open_beneath()
        self.fd = os.open(self.root, _DIRECTORY)
        self._identity = _identity(os.fstat(self.fd))

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def at(self, operand: str, deed: Deed = "look") -> Generator[Place]:
        """The place `operand` names, which need not exist.

        deed: to look, a link in the last name is followed, missing if it leads nowhere; else the link is meant.
        Raises ToolError for a path that is not the Expert's to use so, OSError for what the system says.
        """
        place = self._found(operand, deed)
        try:
            yield place
        finally:
            os.close(place.dir_fd)

    def why_kept(self, said: str) -> str:
        """Why a program could not write where the walls let nobody write, a line for each place; "" if it could.

        said: what the program said of it.
        """
        refused = (line for line in said.splitlines() if any(word in line for word in _NOT_HERE))
        found: dict[str, None] = {}
        for line in islice(refused, 20):
            names = (
                "/".join(parts)
                for parts, kept in reversed(self._kept.items())  # the longest of a directory first
                if kept.how == "keep" or kept.held
            )
            for name in names:
                if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", line):
                    found[name] = None
                    break
        return "".join(f"\nperstack: {name} {THEIRS}." for name in found)

    def _found(self, operand: str, deed: Deed) -> Place:
        absolute, parts = self._parsed(operand, deed)
        try:
            place = self._look(parts, deed)
        except (_Escape, OSError) as fault:
            if isinstance(fault, OSError) and fault.errno not in _NOWHERE:
                raise
            raise ToolError(
                f"Parent directory does not exist: {os.path.dirname(absolute)}"
            ) from fault
        if not place.is_link:
            return place
        try:
            target = self._target(parts)
        except _Escape as fault:
            os.close(place.dir_fd)
            raise self._outside(absolute) from fault
        except BaseException:
            os.close(place.dir_fd)
            raise
        if deed != "look":
            if target:
                os.close(target.dir_fd)
            return place
        if target:
            os.close(place.dir_fd)
            return target
        return Place(place.dir_fd, place.name, place.path, None)

    def _parsed(self, operand: str, deed: Deed) -> tuple[str, Parts]:
        """The operand as absolute text without `.` and `..`, and its components beneath the root."""
        if "\0" in operand:
            raise ToolError("Path must not contain null bytes")
        try:
            os.fsencode(operand)
        except UnicodeEncodeError as fault:
            raise ToolError("Path must be valid Unicode") from fault
        if operand == "~" or operand.startswith("~/"):
            operand = os.path.expanduser(self._home) + operand[1:]
        absolute = os.path.normpath(os.path.join(self.root, operand))
        if absolute.startswith("//"):  # POSIX keeps two leading slashes; here they mean one
            absolute = absolute[1:]
        parts = self._beneath(absolute)
        if parts is None:
            raise self._outside(absolute)
        self._refuse(parts, deed)
        return absolute, parts

    def _refuse(self, parts: Parts, deed: Deed) -> None:
        """Raises ToolError if what is at `parts`, beneath the root, is kept from `deed`.

        Case does not count: there are file systems to which it does not.
        """
        folded = tuple(part.casefold() for part in parts)
        if folded[:1] == (RESERVED,):
            raise _reserved()
        for length in range(1, len(folded) + 1):
            kept = self._kept.get(folded[:length])
            if kept is None:
                continue
            name = "/".join(parts[:length])
            if kept.how == "hide":
                what = "where the user keeps keys" if kept.held else "not for an Expert"
                raise ToolError(f"Access denied - {name} is {what}; use another name")
            # What only holds something kept may be made, or written in; not moved, replaced or brought in.
            within = length < len(folded) or (deed == "make" and not kept.held)
            if deed != "look" and not (kept.how == "open" and within):
                raise ToolError(f"Access denied - {name} {THEIRS}")

    def _beneath(self, absolute: str) -> Parts | None:
        """The components of `absolute` after the root's; None if it does not begin with the root."""
        for root in self._spellings:
            if absolute == root:
                return ()
            prefix = root if root.endswith("/") else root + "/"
            if absolute.startswith(prefix):
                return _split(absolute[len(prefix) :])
        return None

    def _target(self, parts: Parts) -> Place | None:
        """Where the link at `parts` leads in the end; None if nowhere. Raises _Escape if outside."""
        for _ in range(LINKS_MAX):
            try:
                place = self._look(parts, "look")
            except OSError as fault:
                if fault.errno in _NOWHERE:
                    return None
                raise
            try:
                if place.stat is None:
                    os.close(place.dir_fd)
                    return None
                if not place.is_link:
                    return place
                text = os.readlink(place.name, dir_fd=place.dir_fd)
            except OSError as fault:
                os.close(place.dir_fd)
                if fault.errno in (errno.EINVAL, errno.ENOENT):  # no longer a link: look again
                    continue
                raise
            os.close(place.dir_fd)
            if text.startswith("/"):
                inside = self._beneath(text)
                if inside is None:
                    raise _Escape
                parts = inside
            else:
                parts = (*parts[:-1], *_split(text))
        return None

    def _look(self, parts: Parts, deed: Deed) -> Place:
        """The place at `parts`, whose directories are resolved beneath the root; its last name is not."""
        named = bool(parts) and parts[-1] != ".."
        fd, real = self._open_directory(parts[:-1] if named else parts)
        try:
            name = parts[-1] if named else "."
            reserved = self._reserved_identity()
            self._climb(fd, reserved)
            where = (*real, name) if named else real
            try:
                entry = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                entry = None
            self._refuse(where, deed)
            if entry is not None and _identity(entry) == reserved:
                raise _reserved()
        except BaseException:
            os.close(fd)
            raise
        return Place(fd, name, os.path.join(self.root, *where), entry)

    def _open_directory(self, parts: Parts) -> tuple[int, Parts]:
        """The directory at `parts`, and its own components. Raises _Escape, OSError."""
        if self._kernel_walk:
            try:
                fd = kernel.open_beneath(self.fd, "/".join(parts) or ".", _DIRECTORY)
            except OSError as fault:
                if fault.errno not in (errno.EXDEV, errno.EAGAIN):
                    raise
            else:
                named = self._named(fd)
                if named is not None:
                    return fd, named
                os.close(fd)  # the walk knows where it went
        return self._walk(parts)

    def _walk(self, parts: Parts) -> tuple[int, Parts]:
        """The same without openat2. Each component is opened in its parent, which stays open: `..` goes back to
        the directory we came from, and there is none before the root.
        """
        todo = deque(parts)
        stack = [os.dup(self.fd)]
        names: list[str] = []
        links = 0
        try:
            while todo:
                name = todo.popleft()
                if name == "..":
                    if not names:
                        raise _Escape
                    names.pop()
                    os.close(stack.pop())
                    continue
                try:
                    fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=stack[-1])
                except OSError as fault:
                    if fault.errno not in (errno.ELOOP, errno.ENOTDIR):
                        raise
                    try:
                        text = os.readlink(name, dir_fd=stack[-1])
                    except OSError:
                        raise fault from None  # it is no link: a file where a directory was expected
                    links += 1
                    if links > LINKS_MAX:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
                    if text.startswith("/"):
                        inside = self._beneath(text)
                        if inside is None:
                            raise _Escape from None
                        while names:
                            names.pop()
                            os.close(stack.pop())
                        todo.extendleft(reversed(inside))
                    else:
                        todo.extendleft(reversed(_split(text)))
                else:
                    stack.append(fd)
                    names.append(name)
            return stack.pop(), tuple(names)
        finally:
            for fd in stack:
                os.close(fd)

    def _climb(self, fd: int, reserved: tuple[int, int] | None) -> None:
        """Go up from the open directory to the root. Raises _Escape if that is not above, ToolError if the
        reserved directory is on the way.
        """
        up, below = ".", None
        while True:
            here = _identity(os.stat(up, dir_fd=fd))
            if here == self._identity:
                return
            if here == reserved:
                raise _reserved()
            if here == below:  # the root of the file system is its own parent
                raise _Escape
            up, below = (".." if up == "." else up + "/.."), here

    def _named(self, fd: int) -> Parts | None:
        """The components of an open directory beneath the root, as the kernel spells them; None if it does not."""
        try:
            root, path = os.readlink(f"/proc/self/fd/{self.fd}"), os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            return None
        prefix = root if root.endswith("/") else root + "/"
        if path == root:
            return ()
        return _split(path[len(prefix) :]) if path.startswith(prefix) else None

    def _reserved_identity(self) -> tuple[int, int] | None:
        try:
            return _identity(os.stat(RESERVED, dir_fd=self.fd))
        except OSError:  # it is not there yet, or a link that leads nowhere
            return None

    def _outside(self, absolute: str) -> ToolError:
        return ToolError(
            f"Access denied - path outside allowed directories: {absolute} not in {self.root}"
        )


def _split(text: str) -> Parts:
    return tuple(part for part in text.split("/") if part not in ("", "."))


@lru_cache(maxsize=64)
def _kept_parts(root: str, place: _kept.Place | None) -> dict[Parts, _kept.Keeping]:
    """What is kept, by its components beneath the root, in lower case."""
    keys = tuple(f"{root}/{name}" for name in KEY_FILES)
    usual = _kept.Place(workspace=root, hidden=(f"{root}/{RESERVED}",), keys=keys)
    place = usual if place is None else replace(place, workspace=root)
    found = _kept.kept_in(place, _kept.own_places())
    return {_split(path[len(root) :].casefold()): keeping for path, keeping in found.items()}


def _reserved() -> ToolError:
    return ToolError("Access denied - perstack directory is not allowed")


def _identity(entry: os.stat_result) -> tuple[int, int]:
    return entry.st_dev, entry.st_ino
