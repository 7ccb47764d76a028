"""The transparency log as it is served: checkpoint, tiles, entries, proofs, and the feed of changes.

All but the checkpoint and the feed never changes, so it may be kept for ever. What is in the log is for everyone:
the names of private Experts are not in it.
"""

from __future__ import annotations

import secrets
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from perstack.errors import UserError
from perstack.registry import (
    ENTRIES,
    PREFIX,
    BadProof,
    Changes,
    IndexConfig,
    LogChange,
    open_checkpoint,
    parse_entry,
    parse_tile_path,
    render_proof,
    render_verifier_key,
    signing_key_of,
    verifier_key_of,
)

from ..app import Extension, now_ms
from ..endpoints.asking import key_of, reader
from ..settings import Settings
from ..storage import tlog
from ..storage.repository import DatabaseError, Session
from ..storage.rows import Found
from ..wire.http import (
    FOR_EVER,
    PUBLIC_INDEX,
    PUBLIC_LIST,
    Request,
    Response,
    answered,
    not_found,
    validated,
)
from ..wire.openapi import About, Parameter
from ..wire.routing import Route
from .seeing import cache_of, number_in, seen_version

if TYPE_CHECKING:
    from ..app import Context

TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
KEY = "log_signing_key"
MOVING = "public, max-age=1, must-revalidate"

TLOG = f"{PREFIX}/tlog"


def opened(session: Session, settings: Settings) -> None:
    """Makes the log's key, unless there is one: kept in the database, or in the file that the settings name."""
    if settings.log_signing_key:
        _from_file(settings.log_signing_key)
        return
    if _kept(session) is None:
        origin = settings.url.partition("://")[2] + TLOG
        key = signing_key_of(origin, secrets.token_bytes(32))
        session.run("INSERT INTO settings (name, value) VALUES (?, ?)", KEY, key.encode())


def signing_key(session: Session, settings: Settings) -> str:
    """The log's secret key. Raises DatabaseError if it is gone."""
    if settings.log_signing_key:
        return _from_file(settings.log_signing_key)
    key = _kept(session)
    if key is None:
        raise DatabaseError("The key of the transparency log is not in the database any more.")
    return key


def _kept(session: Session) -> str | None:
    row = session.one("SELECT value FROM settings WHERE name = ?", KEY)
    return bytes(row[0]).decode() if row else None


@lru_cache(maxsize=8)
def _from_file(path: str) -> str:
    try:
        key = Path(path).read_text(encoding="ascii").strip()
        verifier_key_of(key)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no key to sign a log with: {error}.") from error
    return key


def verifier_key(session: Session, settings: Settings) -> str:
    """The log's public key, as text; empty for a log that was not begun."""
    if _is_unbegun(session, settings):
        return ""
    return _public(signing_key(session, settings))


def take_over(session: Session, settings: Settings) -> None:
    """Signs a log that came from elsewhere, unless its key came along. Within a write."""
    opened(session, settings)
    last = tlog.latest_checkpoint(session)
    try:
        if last is not None:
            open_checkpoint(last.note, verifier_key(session, settings))
    except BadProof:
        session.run("DELETE FROM log_checkpoints")  # nobody who knows our key could check them
    seal(session, settings)


def _is_unbegun(session: Session, settings: Settings) -> bool:
    return not settings.log_signing_key and _kept(session) is None and not tlog.entries_in(session)


@lru_cache(maxsize=8)
def _public(key: str) -> str:
    return render_verifier_key(verifier_key_of(key))


def seal(session: Session, settings: Settings) -> None:
    if _is_unbegun(session, settings):
        return  # the server could not be opened; there is nothing to sign, and no key
    tlog.Signer(signing_key(session, settings), now_ms).seal(session)


async def checkpoint(request: Request, context: Context) -> Response:
    await reader(request, context)
    found = await context.repository.read(tlog.latest_checkpoint)
    if found is None:
        raise not_found("The log is empty")
    return validated(
        request, Response(found.note.encode(), kind=TEXT, cache=cache_of(request, context, MOVING))
    )


async def tile(request: Request, context: Context) -> Response:
    await reader(request, context)
    try:
        wanted = parse_tile_path(request.path.rstrip("/").partition("/tlog/")[2])
    except ValueError as error:
        raise not_found("No such tile") from error
    body = await context.repository.read(lambda session: tlog.read_tile(session, wanted))
    if body is None:
        raise not_found("The log has no such tile yet")
    cache = cache_of(request, context, FOR_EVER)
    level = "entries" if wanted.level == ENTRIES else wanted.level
    etag = f'"{level}-{wanted.index}-{wanted.width}"'
    return validated(request, Response(body, kind=BYTES, cache=cache, etag=etag))


def proof_of(session: Session, found: Found) -> str | None:
    """The proof that a version was published, as text, for who may see it; None before it is in the log."""
    made = tlog.proof_of_entry(session, found.version.log_index)
    if made is None:
        return None
    if made.entry.name != found.expert.name:  # it was private when it was published
        made = replace(made, salt=found.expert.salt)
    return render_proof(made)


async def proof(request: Request, context: Context) -> Response:
    caller = await reader(request, context)
    what = key_of(request)
    if what.spec.kind != "version":
        raise not_found("Name an exact version")

    def find(session: Session) -> str:
        text = proof_of(session, seen_version(session, what, caller))
        if text is None:
            raise not_found("The log does not hold it yet")
        return text

    text = await context.repository.read(find)
    cache = cache_of(request, context, MOVING)
    return validated(request, Response(text.encode(), kind=TEXT, cache=cache))


async def changes(request: Request, context: Context) -> Response:
    await reader(request, context)
    since = number_in(request, "since", 0, 0, 2**53 - 1)
    limit = number_in(request, "limit", 100, 1, 1000)

    def find(session: Session) -> Changes:
        latest = tlog.latest_checkpoint(session)
        size = latest.size if latest else 0
        rows = session.all(
            "SELECT idx, body FROM log_entries WHERE idx >= ? AND idx < ? ORDER BY idx LIMIT ?",
            since,
            size,
            limit,
        )
        found = tuple(LogChange(index=row[0], entry=parse_entry(bytes(row[1]))) for row in rows)
        return Changes(changes=found, next=found[-1].index + 1 if found else since, size=size)

    found = await context.repository.read(find)
    return validated(
        request, answered({"data": found}, cache=cache_of(request, context, PUBLIC_LIST))
    )


async def config(request: Request, context: Context) -> Response:
    await reader(request, context)
    settings = context.settings
    key = await context.repository.read(lambda session: verifier_key(session, settings))
    api = settings.url + PREFIX
    said = IndexConfig(
        v=1,
        api=api,
        documents=f"{api}/documents/sha256/{{hex}}",
        auth_required=not settings.anonymous_read,
        log=TLOG,
        log_key=key,
    )
    return validated(request, answered(said, cache=cache_of(request, context, PUBLIC_INDEX)))


def _tile_routes() -> list[Route]:
    """A tile's path has a level and up to five parts of a number; a partial one a width besides."""
    about = About(
        text="A tile of the log, or a bundle of its entries (level `entries`), as C2SP tlog-tiles has it.",
        answer=bytes,
        kind=BYTES,
    )
    parts = [
        f"{TLOG}/tile/{{level}}/{'/'.join(f'{{n{at}}}' for at in range(count))}"
        for count in range(1, 7)
    ]
    return [Route("GET", pattern, tile, about) for pattern in parts]


EXTENSION = Extension(
    routes=(
        Route(
            "GET",
            f"{TLOG}/checkpoint",
            checkpoint,
            About(text="The newest state of the log, signed.", answer=str, kind=TEXT),
        ),
        *_tile_routes(),
        Route(
            "GET",
            f"{TLOG}/proof/{{key}}",
            proof,
            About(
                text="The proof that a version was published, to keep and to check offline. Its key is exact.",
                answer=str,
                kind=TEXT,
            ),
        ),
        Route(
            "GET",
            f"{PREFIX}/changes",
            changes,
            About(
                text="The log as a feed, for mirrors: what was published, and what happened to it.",
                query=(
                    Parameter("since", "Index of the first entry wanted.", int, 0),
                    Parameter("limit", "Default 100.", int, 1, 1000),
                ),
                answer=Changes,
            ),
        ),
        Route(
            "GET",
            f"{PREFIX}/index/config.json",
            config,
            About(text="Where things are, and the log's key.", answer=IndexConfig, raw=True),
        ),
    ),
    opened=opened,
    seal=seal,
)
