"""A whole registry as one tar file, and back: to move it, also from SQLite to PostgreSQL, and to keep it.

    manifest.json               what this is: format, size and root of the log
    documents/sha256/<hex>      the documents, as they were hashed
    log/checkpoint, log/tile/…  the log as it is served: a plain file server can serve this folder
    tables/<name>.jsonl         all rows, one a line; bytes in base64. Without the search index, which is made anew

The log's secret key is only in it if that is asked for. Nothing is taken in that does not have its digest, and
nothing at all unless the log's root comes out the same.
"""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import msgspec

from perstack.errors import UserError
from perstack.lock import digest_of
from perstack.registry import WIDTH, Tile, parse_entry, tile_path

from ..extensions.log import KEY
from ..queries import search
from ..storage import tlog
from ..storage.repository import Session
from .verifying import PAGE

FORMAT = "perstack.registry/1"

TABLES = (
    "settings",
    "organizations",
    "accounts",
    "members",
    "keys",
    "experts",
    "versions",
    "documents",
    "tags",
    "edges",
    "transfers",
    "audit",
    "log_entries",
    "log_tiles",
    "log_checkpoints",
    "fetches",
    "trusted_publishers",
    "exchanges",
    "provenance",
    "attestation_keys",
    "attestations",
)
"""In an order in which each refers only to those before it."""

LATER = frozenset(
    {"trusted_publishers", "exchanges", "provenance", "attestation_keys", "attestations"}
)
"""Tables that exports of older versions do not have."""

NUMBERED = ("experts", "versions")
"""Tables whose numbers the database draws."""

MAX_MEMBER = 1 << 34
"""Bytes of one file within the tar."""


class Manifest(msgspec.Struct, frozen=True):
    """root: of the log, hex."""

    format: str
    size: int
    root: str


def export(session: Session, to: IO[bytes], *, log_key: bool) -> Manifest:
    """Writes everything, as it is at one moment. log_key: also the key that signs the log."""
    latest = tlog.latest_checkpoint(session)
    root = tlog.root_at(session, latest.size if latest else 0)
    manifest = Manifest(format=FORMAT, size=latest.size if latest else 0, root=root.hex())
    with tarfile.open(fileobj=to, mode="w|") as tar:
        _add(tar, "manifest.json", msgspec.json.encode(manifest))
        if latest:
            _add(tar, "log/checkpoint", latest.note.encode())
        for tile in _all_tiles(manifest.size):
            _add(tar, f"log/{tile_path(tile)}", tlog.read_tile(session, tile) or b"")
        for name in TABLES:
            _add(tar, f"tables/{name}.jsonl", b"".join(_lines(session, name, log_key)))
        for digest, body in _documents(session):
            _add(tar, f"documents/sha256/{digest.partition(':')[2]}", body)
    return manifest


def take_in(session: Session, source: IO[bytes]) -> Manifest:
    """Fills an empty database with what `export` wrote. Within a write. Raises UserError."""
    if session.one("SELECT 1 FROM experts LIMIT 1") or session.one(
        "SELECT 1 FROM log_entries LIMIT 1"
    ):
        raise UserError("The database is not empty. Import into a new one.")
    manifest: Manifest | None = None
    bodies: dict[str, bytes] = {}
    seen: set[str] = set()
    for table in reversed(TABLES):
        session.run(f"DELETE FROM {table}")
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            for member in tar:
                data = _content(tar, member)
                kind, _, name = member.name.partition("/")
                if member.name == "manifest.json":
                    manifest = _manifest(data)
                elif manifest is None:
                    raise UserError("This is not the export of a registry: it has no manifest.")
                elif kind == "tables":
                    _fill(session, name.removesuffix(".jsonl"), data)
                    seen.add(name.removesuffix(".jsonl"))
                elif kind == "documents":
                    bodies[f"sha256:{name.rpartition('/')[2]}"] = data
                    if len(bodies) >= PAGE:
                        _fill_documents(session, bodies)
                        bodies = {}
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"The file cannot be read as a tar: {error}.") from error
    _fill_documents(session, bodies)
    if manifest is None or not set(TABLES) - LATER <= seen:
        raise UserError("The export is cut off: some of its tables are missing.")
    _check(session, manifest)
    _number(session)
    for (n,) in session.all("SELECT n FROM experts ORDER BY n"):
        search.index(session, n)
    return manifest


def _all_tiles(size: int) -> Iterator[Tile]:
    """Every tile, and every bundle, of a log of this size."""
    level, hashes = 0, size
    while hashes:
        for index in range((hashes + WIDTH - 1) // WIDTH):
            width = min(WIDTH, hashes - index * WIDTH)
            yield Tile(level=level, index=index, width=width)
            if level == 0:
                yield Tile(level=-1, index=index, width=width)
        hashes //= WIDTH
        level += 1


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    tar.addfile(member, io.BytesIO(data))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """What is in a member; it is never written to the disk under its name."""
    found = tar.extractfile(member) if member.isfile() and member.size <= MAX_MEMBER else None
    if found is None:
        raise UserError(f"The export has something strange in it: {member.name!r}.")
    return found.read()


def _manifest(data: bytes) -> Manifest:
    try:
        found = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise UserError(f"This is not the export of a registry: {error}.") from error
    if found.format != FORMAT:
        raise UserError(
            f"The export has the format {found.format!r}, which this version does not know."
        )
    return found


# Rows -----------------------------------------------------------------------------------------------------


def columns(session: Session, table: str) -> list[str]:
    """The columns of a table, but for the body of documents."""
    if session.dialect == "sqlite":
        rows = session.all("SELECT name FROM pragma_table_info(?) ORDER BY cid", table)
    else:
        rows = session.all(
            "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
            " AND table_schema = current_schema() ORDER BY ordinal_position",
            table,
        )
    names = [row[0] for row in rows]
    return [name for name in names if (table, name) != ("documents", "body")]


def _lines(session: Session, table: str, log_key: bool) -> Iterator[bytes]:
    names = columns(session, table)
    order = ", ".join(str(place) for place in range(1, min(3, len(names)) + 1))
    offset = 0
    while rows := session.all(
        f"SELECT {', '.join(names)} FROM {table} ORDER BY {order} LIMIT ? OFFSET ?", PAGE, offset
    ):
        for row in rows:
            if table == "settings" and row[0] == KEY and not log_key:
                continue
            said = {name: _said(value) for name, value in zip(names, row, strict=True)}
            yield msgspec.json.encode(said) + b"\n"
        offset += PAGE


def _said(value: Any) -> Any:
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _meant(value: Any) -> Any:
    match value:
        case {"bytes": str(text)}:
            return base64.b64decode(text)
        case _:
            return value


def _documents(session: Session) -> Iterator[tuple[str, bytes]]:
    after = ""
    while rows := session.all(
        "SELECT digest, body FROM documents WHERE digest > ? ORDER BY digest LIMIT ?", after, PAGE
    ):
        yield from ((row[0], bytes(row[1])) for row in rows)
        after = rows[-1][0]


def _fill(session: Session, table: str, data: bytes) -> None:
    if table not in TABLES:
        raise UserError(f"The export has a table this version does not know: {table!r}.")
    known = set(columns(session, table))
    try:
        rows = [msgspec.json.decode(line, type=dict[str, Any]) for line in data.splitlines()]
        if any(row.keys() != rows[0].keys() or not row.keys() <= known for row in rows):
            raise UserError(f"The table {table} of the export has other columns than here.")
        values = [tuple(_meant(value) for value in row.values()) for row in rows]
    except (msgspec.MsgspecError, ValueError, KeyError) as error:
        raise UserError(f"The table {table} of the export cannot be read: {error}.") from error
    if rows:
        names = list(rows[0])
        if table == "documents":
            names, values = [*names, "body"], [(*row, b"") for row in values]
        _insert(session, table, names, values)


def _insert(
    session: Session, table: str, names: Sequence[str], values: Iterable[tuple[Any, ...]]
) -> None:
    numbered = session.dialect == "postgres" and table in NUMBERED
    session.run_many(
        f"INSERT INTO {table} ({', '.join(names)}) {'OVERRIDING SYSTEM VALUE ' if numbered else ''}"
        f"VALUES ({', '.join('?' * len(names))})",
        values,
    )


def _fill_documents(session: Session, bodies: dict[str, bytes]) -> None:
    for digest, body in bodies.items():
        if digest_of(body) != digest:
            raise UserError(f"The document {digest} of the export has another digest.")
    session.run_many(
        "UPDATE documents SET body = ? WHERE digest = ?",
        [(body, digest) for digest, body in bodies.items()],
    )


def _check(session: Session, manifest: Manifest) -> None:
    """That the log is the log that was exported."""
    size = tlog.entries_in(session)
    root = tlog.root_at(session, size).hex()
    if (size, root) != (manifest.size, manifest.root):
        raise UserError(
            f"The log does not come out as it was: {size} entries with root {root}, not {manifest.size} "
            f"with {manifest.root}. Nothing was taken in."
        )
    for (body,) in session.all("SELECT body FROM log_entries ORDER BY idx DESC LIMIT 1"):
        parse_entry(bytes(body))


def _number(session: Session) -> None:
    """Lets the database draw numbers after the highest that are there."""
    if session.dialect == "postgres":
        for table in NUMBERED:
            session.one(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'n'),"
                f" (SELECT coalesce(max(n), 1) FROM {table}))"
            )
