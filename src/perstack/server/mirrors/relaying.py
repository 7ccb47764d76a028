"""What an upstream says, as an answer of ours: to whom, with which headers, and which version a key means."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

import msgspec
from msgspec.structs import replace

from perstack.definition import EXPERT_NAME, MAX_NAME
from perstack.lock import Candidate, Choosing, Listing, NoVersion, select
from perstack.registry import DOCUMENT_TYPE, PREFIX, IndexConfig, parse_tile_path

from ..endpoints.asking import key_of, name_of, reader
from ..extensions.index import LINES
from ..extensions.log import BYTES, MOVING, TEXT, TLOG
from ..extensions.seeing import cache_of, number_in
from ..identity.keys import Caller
from ..queries.experts import Asked
from ..queries.mirror import versions_of_digest
from ..wire.http import (
    FOR_EVER,
    PRIVATE,
    PRIVATE_FOR_EVER,
    PUBLIC_EXACT,
    PUBLIC_INDEX,
    PUBLIC_LIST,
    PUBLIC_MOVING,
    Request,
    Response,
    not_found,
    validated,
)
from .keeping import Told
from .mirroring import Mirror
from .upstreams import Rules, Upstream

if TYPE_CHECKING:
    from ..app import Context

_HEX = re.compile(r"[0-9a-f]{64}")
_mirrors: WeakKeyDictionary[Context, dict[str, Mirror]] = WeakKeyDictionary()


def mirrors_of(context: Context) -> dict[str, Mirror]:
    """The mirrors of one application, by the URL of the upstream: filled while it runs."""
    return _mirrors.setdefault(context, {})


Answer = Callable[[Request, "Context", Mirror], Awaitable[Response]]


def origin_path(mirror: Mirror) -> str:
    """Where an upstream has its own paths here."""
    return f"/upstream/{quote(mirror.upstream.name, safe=':')}"


def check_read(caller: Caller | None, told: Told, name: str | None = None) -> None:
    """Raises Refused (404) where only our key may read, and the caller may not read here."""
    if told.is_private and (caller is None or not caller.may("read", name)):
        raise not_found()


def _told(
    request: Request,
    context: Context,
    told: Told,
    cache: str,
    *,
    kind: str = "application/json",
    body: bytes | None = None,
    **headers: str,
) -> Response:
    """What an upstream said, as an answer of ours."""
    kept = PRIVATE if told.is_private else cache_of(request, context, cache)
    if told.is_private and cache == FOR_EVER:
        kept = PRIVATE_FOR_EVER
    response = Response(told.body if body is None else body, kind=kind, cache=kept)
    response.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    response.headers["x-perstack-cache"] = told.freshness
    return validated(request, response)


def _chosen(what: Asked, listing: Listing) -> Candidate:
    """The version that a key or a spec means. Raises Refused (404)."""
    spec = what.spec
    if spec.kind in ("latest", "tag") or (spec.kind == "number" and spec.selector in listing.tags):
        version = listing.tags.get(spec.selector or "latest")
        found = next((each for each in listing.versions if each.version == version), None)
        if found is None:
            raise not_found()
        return found
    try:
        exact = spec.kind in ("version", "digest")
        return select(spec, listing, Choosing(allow_disabled=exact)).candidate
    except NoVersion as error:
        raise not_found() from error


async def expert(request: Request, context: Context, mirror: Mirror) -> Response:
    what = key_of(request, specs=True)
    caller = await reader(request, context)
    name = what.spec.name
    listing, listed = await mirror.listing(name)
    check_read(caller, listed, name)
    chosen = _chosen(what, listing)
    told = await mirror.expert(name, chosen.version, chosen.digest)
    check_read(caller, told, name)
    if what.spec.kind in ("version", "digest"):
        return _told(request, context, told, PUBLIC_EXACT)
    above = origin_path(mirror) if "upstream" in request.params else ""
    place = f"{above}{PREFIX}/experts/{quote(f'{name}@{chosen.version}', safe='')}"
    return _told(request, context, told, PUBLIC_MOVING, content_location=place)


async def versions(request: Request, context: Context, mirror: Mirror) -> Response:
    name = name_of(request)
    take, skip = number_in(request, "take", 0, 1, 100), number_in(request, "skip", 0, 0, 10**9)
    caller = await reader(request, context)
    listing, _ = await mirror.listing(name)
    told = await mirror.versions(name)
    check_read(caller, told, name)
    there = {each.version for each in listing.versions}
    if (latest := listing.tags.get("latest")) is None:
        raise not_found("Latest version not found")
    said: dict[str, Any] = msgspec.json.decode(told.body)
    found = [each for each in said["data"]["versions"] if each.get("version") in there]
    said = {
        "data": {"versions": found[skip : skip + take if take else None], "latest": latest},
        "meta": {"total": len(found)},
    }
    return _told(request, context, told, PUBLIC_INDEX, body=msgspec.json.encode(said))


async def index(request: Request, context: Context, mirror: Mirror) -> Response:
    name = request.params["key"]
    caller = await reader(request, context)
    if not EXPERT_NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise not_found()
    told = await mirror.index(name)
    check_read(caller, told, name)
    return _told(request, context, told, PUBLIC_INDEX, kind=LINES)


async def proof(request: Request, context: Context, mirror: Mirror) -> Response:
    caller = await reader(request, context)
    what = key_of(request)
    if what.spec.kind != "version":
        raise not_found("Name an exact version")
    name = what.spec.name
    listing, _ = await mirror.listing(name)
    told = await mirror.proof(name, _chosen(what, listing).version)
    check_read(caller, told, name)
    return _told(request, context, told, MOVING, kind=TEXT)


async def attestations(request: Request, context: Context, mirror: Mirror) -> Response:
    """As the upstream has them: it is not for us to check them."""
    caller = await reader(request, context)
    what = key_of(request)
    if what.spec.kind != "version":
        raise not_found("Name an exact version")
    name = what.spec.name
    listing, _ = await mirror.listing(name)
    told = await mirror.attestations(name, _chosen(what, listing).version)
    check_read(caller, told, name)
    return _told(request, context, told, PUBLIC_LIST)


async def document(
    rules: Rules, request: Request, context: Context, only: Mirror | None
) -> Response | None:
    """A document that an upstream lists, of `only` if that is named; None if none does."""
    hexadecimal = request.params["hex"]
    caller = await reader(request, context)
    digest = f"sha256:{hexadecimal}"
    if not _HEX.fullmatch(hexadecimal):
        raise not_found("Document not found")
    known = await context.repository.read(lambda session: versions_of_digest(session, digest))
    for each in known:
        where = rules.of(each.name)
        if not isinstance(where, Upstream) or where.url != each.upstream:
            continue
        found = mirrors_of(context)[each.upstream]
        if only is None or only is found:
            told = await found.document(each.name, each.version, digest)
            check_read(caller, told, each.name)
            return _told(request, context, told, FOR_EVER, kind=DOCUMENT_TYPE)
    if only is None or known:
        return None  # which upstream may have it nobody can say
    name, told = await only.unknown(digest, lambda name: rules.of(name) == only.upstream)
    check_read(caller, told, name)
    return _told(request, context, told, FOR_EVER, kind=DOCUMENT_TYPE)


# Of an upstream as a whole ------------------------------------------------------------------------------------


async def checkpoint(request: Request, context: Context, mirror: Mirror) -> Response:
    caller = await reader(request, context)
    told = await mirror.log("/tlog/checkpoint")
    check_read(caller, told)
    return _told(request, context, told, MOVING, kind=TEXT)


async def tile(request: Request, context: Context, mirror: Mirror) -> Response:
    caller = await reader(request, context)
    path = request.path.rstrip("/").partition("/tlog/")[2]
    try:
        parse_tile_path(path)
    except ValueError as error:
        raise not_found("No such tile") from error
    told = await mirror.log(f"/tlog/{path}")
    check_read(caller, told)
    return _told(request, context, told, MOVING, kind=BYTES)


async def changes(request: Request, context: Context, mirror: Mirror) -> Response:
    caller = await reader(request, context)
    since = number_in(request, "since", 0, 0, 2**53 - 1)
    limit = number_in(request, "limit", 100, 1, 1000)
    told = await mirror.changes(f"since={since}&limit={limit}")
    check_read(caller, told)
    return _told(request, context, told, PUBLIC_LIST)


async def config(request: Request, context: Context, mirror: Mirror) -> Response:
    """What the upstream says of itself, with the mirror's addresses."""
    caller = await reader(request, context)
    told = await mirror.config()
    check_read(caller, told)
    place = origin_path(mirror)
    api = f"{context.settings.url}{place}{PREFIX}"
    said = replace(
        msgspec.json.decode(told.body, type=IndexConfig),
        api=api,
        documents=f"{api}/documents/sha256/{{hex}}",
        auth_required=not context.settings.anonymous_read or told.is_private,
        log=f"{place}{TLOG}",
    )
    return _told(request, context, told, PUBLIC_INDEX, body=msgspec.json.encode(said))
