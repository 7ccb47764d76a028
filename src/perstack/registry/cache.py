"""What a client keeps of registries: documents by digest, index files with their ETags, the state of their logs.

    documents/sha256/ab/<hex>          a published document, for ever
    index/<registry>/<name>            an index file: one line of JSON about it, then its bytes
    log/<registry>/key                 the key its log signs with, as first seen
    log/<registry>/checkpoint          the newest state of its log that was verified
    log/<registry>/proofs/<hex>        the proof that its log has the document

Any number of processes share it: a file is written aside and then put in its place, so a reader sees the old one
or the new one, never half of one. Everything is checked each time it is read. The directory may be deleted; what
is lost by that are downloads, and the memory of what registries said before.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from perstack._value import Value
from perstack.errors import RegistryTampered, UserError
from perstack.lock import digest_of

CACHE_DIR = "PERSTACK_CACHE_DIR"


def cache_place(env: Mapping[str, str]) -> Path:
    """Where the cache is: where `PERSTACK_CACHE_DIR` says, else in the user's cache directory."""
    if named := env.get(CACHE_DIR):
        return Path(named).expanduser().absolute() / "v1"
    base = env.get("XDG_CACHE_HOME") or ""
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return home / "perstack" / "v1"


class Kept(Value, frozen=True):
    """An answer that was kept. at: when it was last known to be the newest, seconds since 1970."""

    body: bytes
    etag: str
    at: float


class _About(Value, frozen=True):
    etag: str
    at: float
    digest: str


class Cache:
    """The files below `place`. Nothing is made there before something is kept."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def document(self, digest: str) -> bytes | None:
        """The document with this digest. Raises RegistryTampered if another is kept in its place."""
        path = self._document_path(digest)
        found = _read(path)
        if found is not None and digest_of(found) != digest:
            raise RegistryTampered(_damaged(path, digest))
        return found

    def keep_document(self, digest: str, document: bytes) -> None:
        """Keep what was checked to have this digest."""
        path = self._document_path(digest)
        if not path.exists():
            _write(path, document)

    def answer(self, registry: str, name: str) -> Kept | None:
        """What `registry` answered about `name`. Raises RegistryTampered if it was changed since."""
        path = self._answer_path(registry, name)
        found = _read(path)
        if found is None:
            return None
        head, _, body = found.partition(b"\n")
        try:
            about = msgspec.json.decode(head, type=_About)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise RegistryTampered(_damaged(path, "what was kept")) from None
        if digest_of(body) != about.digest:
            raise RegistryTampered(_damaged(path, about.digest))
        return Kept(body=body, etag=about.etag, at=about.at)

    def keep_answer(self, registry: str, name: str, kept: Kept) -> None:
        about = _About(etag=kept.etag, at=kept.at, digest=digest_of(kept.body))
        _write(self._answer_path(registry, name), msgspec.json.encode(about) + b"\n" + kept.body)

    def note(self, registry: str, name: str) -> str | None:
        """What is remembered of the log of `registry`: `key`, `checkpoint`, or `proofs/<hex>`."""
        found = _read(self.note_path(registry, name))
        return None if found is None else found.decode("utf-8", "replace")

    def keep_note(self, registry: str, name: str, text: str) -> None:
        _write(self.note_path(registry, name), text.encode())

    def note_path(self, registry: str, name: str) -> Path:
        return self.place / "log" / _folder(registry) / name

    def _document_path(self, digest: str) -> Path:
        kind, _, hexadecimal = digest.partition(":")
        return self.place / "documents" / kind / hexadecimal[:2] / hexadecimal

    def _answer_path(self, registry: str, name: str) -> Path:
        return self.place / "index" / _folder(registry) / quote(name, safe="@")


def _folder(registry: str) -> str:
    """A name for a registry that no other registry has: its host, and a digest over its URL."""
    mark = hashlib.sha256(registry.encode()).hexdigest()[:12]
    return f"{quote(urlsplit(registry).netloc, safe='')}-{mark}"


def _damaged(path: Path, expected: str) -> str:
    return f"{path} was changed: it is not {expected}. Delete it and try again."


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _write(path: Path, data: bytes) -> None:
    """Put `data` in place at once. Raises UserError if that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}. {CACHE_DIR} names another directory."
        ) from error
