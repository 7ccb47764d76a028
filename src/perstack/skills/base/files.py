"""The file tools: plain functions over a workspace, each giving the object that becomes its result.

They block, and are called in a worker thread. What the model should be told is raised as ToolError; an OSError
is left to the caller. All reading is bounded, and only regular files are read or written: a pipe or a device
under a harmless name is neither waited for nor fed.
"""

from __future__ import annotations

import base64
import errno
import os
import secrets
import shutil
import stat
from bisect import bisect_left
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import msgspec

from perstack.errors import ToolError
from perstack.job import File, Image, Json, ResultPart, Text

from . import kernel
from .media import IMAGE_TYPES, extension_of, media_type_by_name, media_type_of
from .paths import RESERVED, Place, Workspace

MIB = 1024 * 1024
TEXT_MAX = 10 * MIB
IMAGE_MAX = 15 * MIB
PDF_MAX = 30 * MIB
LISTING_MAX = 10_000
"""Entries told of one directory; the rest is counted."""

_OWNER_WRITES = stat.S_IWUSR
_YEAR_1 = datetime.min.replace(tzinfo=UTC).timestamp()
_YEAR_9999 = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def read_text_file(
    workspace: Workspace, path: str, start: int | None = None, end: int | None = None
) -> dict[str, Json]:
    """Lines `start` (from 0) up to `end` (not included); negative numbers count from the last line."""
    with workspace.at(path) as place:
        data = _read_text(_existing(place, f"File {path} does not exist."), path)
    lines = data.decode(errors="replace").split("\n")
    start = 0 if start is None else start
    end = len(lines) if end is None else end
    return {"path": path, "content": "\n".join(lines[start:end]), "from": start, "to": end}


def write_text_file(workspace: Workspace, path: str, text: str) -> dict[str, Json]:
    with workspace.at(path, "change") as place:
        if place.stat is not None:
            _require_writable_file(place, path)
        _replace(place, text.encode())
        return {"path": place.path, "text": text}


def append_text_file(workspace: Workspace, path: str, text: str) -> dict[str, Json]:
    with workspace.at(path, "change") as place:
        _require_writable_file(_existing(place, f"File {path} does not exist."), path)
        with _opened(place, os.O_WRONLY | os.O_APPEND, path) as fd:
            before = os.fstat(fd).st_size
            try:
                _write_all(fd, text.encode())
            except OSError:
                with suppress(OSError):
                    os.ftruncate(fd, before)  # all or nothing, also on a full disk
                raise
        return {"path": place.path, "text": text}


def edit_text_file(
    workspace: Workspace, path: str, new_text: str, old_text: str
) -> dict[str, Json]:
    """Put `new_text` where `old_text` first stands, taken literally. Line endings are compared as equal; those
    of the rest of the file stay what they were, and so do its bytes that are not UTF-8.
    """
    if not old_text:
        raise ToolError("oldText must not be empty")
    with workspace.at(path, "change") as place:
        _require_writable_file(_existing(place, f"File {path} does not exist."), path)
        before = _read_text(place, path).decode(errors="surrogateescape")
        after = _edited(before, old_text, new_text)
        if after is None:
            raise ToolError(f"Could not find exact match for oldText in file {place.path}")
        _replace(place, after.encode(errors="surrogateescape"))
        return {"path": place.path, "newText": new_text, "oldText": old_text}


def move_file(workspace: Workspace, source: str, destination: str) -> dict[str, Json]:
    """Also for directories. A link is moved itself, not what it leads to. Nothing is ever overwritten."""
    with (
        workspace.at(source, "change") as old,
        workspace.at(destination, "change") as new,
    ):
        _refuse_root(_existing(old, f"Source file {source} does not exist."))
        if not _is_writable(old):
            raise ToolError(f"Source file {source} is not writable")
        taken = f"Destination {destination} already exists."
        if new.stat is not None:
            raise ToolError(taken)
        try:
            kernel.rename_new(old.name, old.dir_fd, new.name, new.dir_fd)
        except FileExistsError as fault:
            raise ToolError(taken) from fault
        return {"source": old.path, "destination": new.path}


def delete_file(workspace: Workspace, path: str) -> dict[str, Json]:
    """A link is removed itself, not what it leads to."""
    with workspace.at(path, "change") as place:
        _existing(place, f"File {path} does not exist.")
        if place.is_directory:
            raise ToolError(f"Path {path} is a directory. Use delete directory tool instead.")
        if not _is_writable(place):
            raise ToolError(f"File {path} is not writable")
        os.unlink(place.name, dir_fd=place.dir_fd)
        return {"path": place.path}


def get_file_info(workspace: Workspace, path: str) -> dict[str, Json]:
    with workspace.at(path) as place:
        entry = _existing(place, f"File or directory {path} does not exist").stat
        assert entry is not None
        if not (place.is_directory or place.is_file):
            raise ToolError(f"Path {path} is neither a file nor a directory.")
        name = os.path.basename(place.path)
        created = kernel.birth_time(place.name, place.dir_fd)
        is_file = place.is_file
        return {
            "exists": True,
            "path": place.path,
            "absolutePath": place.path,
            "name": name,
            "directory": os.path.dirname(place.path),
            "extension": extension_of(name) if is_file else None,
            "type": "file" if is_file else "directory",
            "mimeType": media_type_by_name(name) if is_file else None,
            "size": entry.st_size,
            "sizeFormatted": _spelled_size(entry.st_size),
            "created": _spelled_time(entry.st_ctime if created is None else created),
            "modified": _spelled_time(entry.st_mtime),
            "accessed": _spelled_time(entry.st_atime),
            "permissions": {
                "readable": True,
                "writable": bool(entry.st_mode & stat.S_IWUSR),
                "executable": bool(entry.st_mode & stat.S_IXUSR),
            },
        }


def list_directory(workspace: Workspace, path: str) -> dict[str, Json]:
    """One level, sorted. A link is told as what it leads to; one that leads nowhere, outside or to the reserved
    directory, and a pipe or device, as a file of size 0.
    """
    with workspace.at(path) as place:
        _existing(place, f"Directory {path} does not exist.")
        if not place.is_directory:
            raise ToolError(f"Path {path} is not a directory.")
        fd = place.open(os.O_RDONLY | os.O_DIRECTORY)
        try:
            names = sorted(os.listdir(fd), key=_utf16)
            if place.path == workspace.root:
                names = [name for name in names if name.casefold() != RESERVED]
            items = [
                item
                for name in names[:LISTING_MAX]
                if (item := _item(workspace, place.path, fd, name)) is not None
            ]
        finally:
            os.close(fd)
        answer: dict[str, Json] = {"path": place.path, "items": items}
        if len(names) > LISTING_MAX:
            answer["omitted"] = len(names) - LISTING_MAX
        return answer


def create_directory(workspace: Workspace, path: str) -> dict[str, Json]:
    with workspace.at(path, "make") as place:
        exists = f"Directory {path} already exists"
        if place.stat is not None:
            raise ToolError(exists)
        if not os.stat(".", dir_fd=place.dir_fd).st_mode & _OWNER_WRITES:
            raise ToolError(f"Parent directory {os.path.dirname(place.path)} is not writable")
        try:
            os.mkdir(place.name, 0o777, dir_fd=place.dir_fd)
        except FileExistsError as fault:
            raise ToolError(exists) from fault
        return {"path": place.path}


def delete_directory(workspace: Workspace, path: str, recursive: bool = False) -> dict[str, Json]:
    with workspace.at(path, "change") as place:
        _refuse_root(_existing(place, f"Directory {path} does not exist."))
        if not place.is_directory:
            raise ToolError(f"Path {path} is not a directory. Use deleteFile tool instead.")
        if not _is_writable(place):
            raise ToolError(f"Directory {path} is not writable")
        if recursive:
            shutil.rmtree(place.name, dir_fd=place.dir_fd)  # by descriptors, following no link
        else:
            os.rmdir(place.name, dir_fd=place.dir_fd)
        return {"path": place.path}


def read_image_file(workspace: Workspace, path: str) -> tuple[ResultPart, ...]:
    claimed = media_type_by_name(path)
    with workspace.at(path) as place:
        _existing(place, f"File {path} does not exist.")
        if claimed not in IMAGE_TYPES:
            raise ToolError(f"File {path} is not supported.")
        data = _read(place, path, IMAGE_MAX, "Image file", " Please use a smaller image file.")
        found = media_type_of(data)
        if found != claimed:
            content = found or "no whole image"
            raise ToolError(
                f"File {path} is not supported. Its name says {claimed}, its content is {content}."
            )
        return (_described(place, claimed, data), Image(data=_base64(data), mime_type=claimed))


def read_pdf_file(workspace: Workspace, path: str) -> tuple[ResultPart, ...]:
    with workspace.at(path) as place:
        _existing(place, f"File {path} does not exist.")
        not_pdf = f"File {path} is not a PDF file."
        claimed = media_type_by_name(path)
        if claimed != "application/pdf":
            raise ToolError(not_pdf)
        data = _read(place, path, PDF_MAX, "PDF file", " Please use a smaller PDF file.")
        if media_type_of(data) != claimed:
            raise ToolError(f"{not_pdf} Its content is not that of a whole PDF.")
        return (_described(place, claimed, data), File(data=_base64(data), mime_type=claimed))


def _described(place: Place, mime_type: str, data: bytes) -> Text:
    told = {"path": place.path, "mimeType": mime_type, "size": len(data)}
    return Text(text=msgspec.json.encode(told).decode())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _existing(place: Place, missing: str) -> Place:
    if place.stat is None:
        raise ToolError(missing)
    return place


def _refuse_root(place: Place) -> None:
    if place.is_root:
        raise ToolError("Operation denied: this is the workspace itself")


def _is_writable(place: Place) -> bool:
    """By the owner's bit, as the file itself says, whoever runs us. A link has no bits of its own."""
    return place.is_link or bool(place.stat and place.stat.st_mode & _OWNER_WRITES)


def _require_writable_file(place: Place, path: str) -> None:
    if place.is_link:
        raise ToolError("Operation denied: target is a symbolic link")
    _require_file(place.stat, path)
    if not _is_writable(place):
        raise ToolError(f"File {path} is not writable")


def _require_file(entry: os.stat_result | None, path: str) -> None:
    mode = entry.st_mode if entry else 0
    if stat.S_ISDIR(mode):
        raise ToolError(f"Path {path} is a directory.")
    if not stat.S_ISREG(mode):
        raise ToolError(f"Path {path} is not a regular file.")


@contextmanager
def _opened(place: Place, flags: int, path: str) -> Generator[int]:
    """A descriptor of the regular file at `place`."""
    _require_file(place.stat, path)  # before opening, since to open a device can already be a deed
    try:
        fd = place.open(flags)
    except OSError as fault:
        if fault.errno == errno.ELOOP:  # it became a link just now
            raise ToolError("Operation denied: target is a symbolic link") from fault
        raise
    try:
        _require_file(os.fstat(fd), path)  # after, since it may have been replaced meanwhile
        yield fd
    finally:
        os.close(fd)


def _read(place: Place, path: str, limit: int, kind: str, advice: str) -> bytes:
    """The whole file. Raises ToolError if it is larger than `limit` bytes, also if it grows while we read."""
    with _opened(place, os.O_RDONLY, path) as fd:
        size = os.fstat(fd).st_size
        chunks: list[bytes] = []
        got = 0
        while size <= limit and (chunk := os.read(fd, min(MIB, limit + 1 - got))):
            chunks.append(chunk)
            got += len(chunk)
            size = max(size, got)
        if size > limit:
            raise ToolError(
                f"{kind} too large ({size / MIB:.1f}MB). Maximum supported size is {limit // MIB}MB.{advice}"
            )
        return b"".join(chunks)


def _read_text(place: Place, path: str) -> bytes:
    return _read(place, path, TEXT_MAX, "File", " Look at a part of it with a command instead.")


def _replace(place: Place, data: bytes) -> None:
    """Make the entry a regular file that holds `data`: whole or not at all.

    The new file is written beside the old one and takes its name, mode and owner in one rename. Where a
    directory does not let us (it is not ours to write, or the file is a mount point), it is written in place.
    """
    temporary = f".perstack-{secrets.token_hex(8)}.tmp"
    old = place.stat
    created = False
    try:
        fd = os.open(
            temporary,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o644,
            dir_fd=place.dir_fd,
        )
        created = True
        try:
            if old is not None:
                _dress(fd, old)
            _write_all(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, place.name, src_dir_fd=place.dir_fd, dst_dir_fd=place.dir_fd)
        created = False
    except OSError as fault:
        if fault.errno not in (errno.EACCES, errno.EPERM, errno.EBUSY) or old is None:
            raise
        with _opened(place, os.O_WRONLY, place.path) as fd:
            _write_all(fd, data)
            os.ftruncate(fd, len(data))
    finally:
        if created:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=place.dir_fd)


def _dress(fd: int, old: os.stat_result) -> None:
    """Give the new file the owner and the permission bits of the old one. Raises OSError if we may not."""
    new = os.fstat(fd)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(fd, old.st_uid, old.st_gid)
    os.fchmod(fd, old.st_mode & 0o777)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _edited(before: str, old_text: str, new_text: str) -> str | None:
    """`before` with the first `old_text` replaced; None if it is not there."""
    plain = before.replace("\r\n", "\n")
    old, new = old_text.replace("\r\n", "\n"), new_text.replace("\r\n", "\n")
    start = plain.find(old)
    if start < 0:
        return None
    # where, in `plain`, a line feed stands that was two characters before
    ends = [place - count for count, place in enumerate(_places(before, "\r\n"))]
    # The file mostly ends its lines with both, so does what is new
    if len(ends) * 2 > plain.count("\n"):
        new = new.replace("\n", "\r\n")

    def raw(place: int) -> int:
        return place + bisect_left(ends, place)

    return before[: raw(start)] + new + before[raw(start + len(old)) :]


def _places(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + len(part))


def _item(workspace: Workspace, directory: str, fd: int, name: str) -> dict[str, Json] | None:
    """One line of a listing; None if the entry went away meanwhile."""
    try:
        entry = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return None
    shown = entry
    if stat.S_ISLNK(entry.st_mode):
        with suppress(ToolError, OSError), workspace.at(os.path.join(directory, name)) as target:
            shown = target.stat or entry
    is_directory, is_file = stat.S_ISDIR(shown.st_mode), stat.S_ISREG(shown.st_mode)
    spelled = name.encode(errors="surrogateescape").decode(errors="replace")
    return {
        "name": spelled,
        "path": spelled,
        "type": "directory" if is_directory else "file",
        "size": shown.st_size if is_directory or is_file else 0,
        "modified": _spelled_time(shown.st_mtime),
    }


def _utf16(name: str) -> bytes:
    """A sort key: by UTF-16 code unit, as listings have always been sorted."""
    return name.encode("utf-16-be", "surrogatepass")


def _spelled_size(size: int) -> str:
    if size == 0:
        return "0 B"
    amount, unit = float(size), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if amount < 1024 or unit == "TB":
            break
        amount /= 1024
    return f"{amount:.2f} {unit}"


def _spelled_time(seconds: float) -> str:
    """ISO 8601, UTC. A file system may keep times outside of these years."""
    moment = datetime.fromtimestamp(min(max(seconds, _YEAR_1), _YEAR_9999), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
