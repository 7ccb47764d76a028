"""What a registry is asked, and what it answers.

How a request is sent, and when it is tried again, is told in `asking.py`; what a refusal says, in `refusal.py`. A
failure is a `RegistryError` with the status, 0 if there was no answer that can be read. Documents are asked for by
digest, and held against it.
"""

from __future__ import annotations

import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from perstack._value import Value
from perstack.errors import RegistryError, RegistryTampered
from perstack.lock import canonical_json, digest_of

from .asking import CONNECTIONS, PAUSES_S, TIMEOUT_S, Answer, Asking, Send
from .cache import Cache, Kept
from .place import Place, segment
from .refusal import refusal
from .wire import (
    PREFIX,
    ExpertDigest,
    PublishRequest,
    RegistryExpert,
    Resolved,
    ResolveRequest,
    document_of_request,
    index_path,
)

T = TypeVar("T")

FRESH_S = 30.0
"""How long an index file that was fetched is not asked for again."""

MAX_ANSWER = 64 << 20
MAX_DOCUMENT = 2 << 20

_CONFIG = "_config"  # what it is kept under: no Expert can have that name


class IndexConfig(Value, frozen=True):
    """`/index/config.json`. documents: URL with `{hex}` in it; log: its path; log_key: the log's verifier key.

    mirrored: by scope, `_` for names without one and `*` for all else, the registry whose log holds these names.
    """

    v: int
    api: str = ""
    documents: str = ""
    auth_required: bool = False
    log: str = ""
    log_key: str = ""
    mirrored: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class Versions(Value, frozen=True):
    """R2. versions: the newest first. latest: the version with that tag."""

    versions: tuple[ExpertDigest, ...]
    latest: str = ""
    total: int = 0


class Experts(Value, frozen=True):
    """R3, one page."""

    experts: tuple[RegistryExpert, ...]
    total: int = 0


class _Expert(msgspec.Struct, frozen=True):
    expert: RegistryExpert


class _Data(msgspec.Struct, frozen=True):
    data: msgspec.Raw
    meta: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


@asynccontextmanager
async def open_client(
    place: Place,
    cache: Cache | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
    pauses_s: Sequence[float] = PAUSES_S,
    fresh_s: float = FRESH_S,
) -> AsyncGenerator[RegistryClient]:
    """A client of one registry, closed at the end. cache: where answers are kept, if anywhere.

    timeout_s: for one attempt. pauses_s: before further attempts. fresh_s: how long an index file is believed.
    """
    from .http import open_http  # a command that asks no registry does not pay for it

    async with open_http(connections=CONNECTIONS) as send:
        yield RegistryClient(
            place, send, cache, timeout_s=timeout_s, pauses_s=pauses_s, fresh_s=fresh_s
        )


class RegistryClient:
    """What can be asked of one registry. Any number of requests may be under way."""

    def __init__(
        self,
        place: Place,
        send: Send,
        cache: Cache | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        pauses_s: Sequence[float] = PAUSES_S,
        fresh_s: float = FRESH_S,
    ) -> None:
        self.place = place
        self.cache = cache
        self._asking = Asking(place, send, timeout_s=timeout_s, pauses_s=pauses_s)
        self._base = place.asked
        self._fresh_s = fresh_s

    # R1 to R6

    async def get(self, key: str) -> RegistryExpert:
        """R1. key: name, alone or with version, tag, range or digest."""
        return (await self.data("GET", f"/experts/{segment(key)}", _Expert)).expert

    async def versions(self, name: str) -> Versions:
        """R2."""
        return await self.data("GET", f"/experts/{segment(name)}/versions", Versions)

    async def experts(self, **query: str | int) -> Experts:
        """R3. query: organizationId, filter, sort, order, take, skip."""
        found, meta = await self.page("GET", "/experts/", Experts, query)
        return Experts(experts=found.experts, total=int(meta.get("total", 0)))

    async def publish(
        self, request: PublishRequest, *, dry_run: bool = False
    ) -> tuple[RegistryExpert, tuple[str, ...]]:
        """R4: the version, and what the registry warns of. dry_run: check everything, write nothing."""
        query = {"dryRun": "true"} if dry_run else {}
        body = msgspec.json.encode(request)
        found, meta = await self.page("POST", "/experts/", _Expert, query, body)
        return found.expert, tuple(str(warning) for warning in meta.get("warnings", ()))

    async def update(self, key: str, change: Mapping[str, Any]) -> RegistryExpert:
        """R5. change: `status`, `tags`, `deprecation`."""
        body = msgspec.json.encode(change)
        return (await self.data("POST", f"/experts/{segment(key)}", _Expert, body=body)).expert

    async def unpublish(self, key: str) -> None:
        """R6. key: with its exact version."""
        await self.request("DELETE", f"/experts/{segment(key)}")

    # Documents, index, resolving

    async def config(self) -> IndexConfig | None:
        """What the registry says of its index and its log; None if it has neither."""
        body = await self._kept("/index/config.json", _CONFIG)
        return None if body is None else _parsed(body, IndexConfig, self._base)

    async def index(
        self, name: str, check: Callable[[bytes, bytes], Awaitable[None]] | None = None
    ) -> bytes | None:
        """The index file of one Expert, revalidated; None if the registry has none for it.

        check: is shown the kept file and the one that follows it, and may refuse that by raising.
        """
        return await self._kept(index_path(name), name, check)

    async def document(self, digest: str) -> bytes:
        """The document with this digest. Raises RegistryTampered if the registry gives another for it."""
        return await self.fetch(self.place.document_url(digest), digest)

    async def fetch(self, url: str, digest: str) -> bytes:
        """The document at `url`, a URL of this registry as in a lock, which must have this digest."""
        if self.place.mirror is not None and url.startswith(self.place.url):
            url = self._base + url.removeprefix(self.place.url)
        answer = await self._asking.ask("GET", url, None, {}, MAX_DOCUMENT, again=True)
        if answer.status != 200:
            raise refusal("GET", url, answer)
        document = answer.body
        if f"{PREFIX}/experts/" in url:
            document = self._rebuilt(answer.body)
        if digest_of(document) != digest:
            raise RegistryTampered(
                f"{url} gives a document that is not {digest}. Nothing of it was used."
            )
        return document

    async def document_by_key(self, key: str) -> bytes:
        """The document of a version of a registry that has no documents: what R1 says of it, in canonical form."""
        return self._rebuilt((await self.request("GET", f"/experts/{segment(key)}")).body)

    def _rebuilt(self, answer: bytes) -> bytes:
        told = _parsed(answer, _Data, self._base)
        return document_of_request(_parsed(bytes(told.data), _Expert, self._base).expert)

    async def resolve(self, request: ResolveRequest) -> Resolved | None:
        """All that `roots` need, in one go; None if the registry cannot do that, or not for so many.

        documents: only those that have the digest they stand under, as their canonical bytes.
        """
        try:
            found = await self.data(
                "POST", "/resolve", Resolved, body=msgspec.json.encode(request), again=True
            )
        except RegistryError as error:
            if error.status in (400, 401, 403, 404, 405, 413, 422, 501):
                return None
            raise
        documents = {
            digest: msgspec.Raw(_canonical(raw, digest, self._base))
            for digest, raw in found.documents.items()
        }
        return msgspec.structs.replace(found, documents=documents)

    async def proof(self, name: str, version: str) -> str:
        """The proof that the log of the registry has this version, as text."""
        answer = await self.request("GET", f"/tlog/proof/{segment(f'{name}@{version}')}")
        return answer.body.decode("utf-8", "replace")

    async def tile(self, path: str) -> bytes:
        """A tile of the log. path: as `tile_path` has it."""
        return (await self.request("GET", f"/tlog/{path}")).body

    # Everything else

    async def data(
        self,
        method: str,
        path: str,
        kind: type[T],
        query: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        *,
        again: bool | None = None,
    ) -> T:
        """The `data` of an answer. path: below the API's prefix; again: whether it may be asked twice."""
        return (await self.page(method, path, kind, query, body, again=again))[0]

    async def page(
        self,
        method: str,
        path: str,
        kind: type[T],
        query: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        *,
        again: bool | None = None,
    ) -> tuple[T, dict[str, Any]]:
        """The `data` and the `meta` of an answer."""
        answer = await self.request(method, path, query, body, again=again)
        told = _parsed(answer.body, _Data, self._base)
        return _parsed(bytes(told.data), kind, self._base), told.meta

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        again: bool | None = None,
    ) -> Answer:
        """A successful answer, or 304 to who asked with `if-none-match`. Raises RegistryError for any other."""
        url = f"{self._base}{PREFIX}{path}" + (f"?{urlencode(query)}" if query else "")
        may = method in ("GET", "PUT") if again is None else again
        answer = await self._asking.ask(method, url, body, headers or {}, MAX_ANSWER, again=may)
        if 200 <= answer.status < 300 or answer.status == 304:
            return answer
        raise refusal(method, url, answer)

    async def _kept(
        self,
        path: str,
        name: str,
        check: Callable[[bytes, bytes], Awaitable[None]] | None = None,
    ) -> bytes | None:
        """The body of an answer that is kept and revalidated; None for 404."""
        kept = self.cache.answer(self.place.url, name) if self.cache else None
        now = time.time()
        if kept is not None and 0 <= now - kept.at < self._fresh_s:
            return kept.body
        try:
            answer = await self.request(
                "GET", path, headers={"if-none-match": kept.etag} if kept and kept.etag else {}
            )
        except RegistryError as error:
            if error.status == 404:
                return None
            raise
        if answer.status == 304 and kept is not None:
            body, etag = kept.body, kept.etag
        else:
            body, etag = answer.body, answer.headers.get("etag", "")
            if kept is not None and check is not None:
                await check(kept.body, body)
        if self.cache is not None:
            self.cache.keep_answer(self.place.url, name, Kept(body=body, etag=etag, at=now))
        return body


def _parsed(body: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RegistryError(
            f"{where} gave an answer that cannot be read: {error}.", reason=str(error)
        ) from error


def _canonical(raw: msgspec.Raw, digest: str, where: str) -> bytes:
    """A document out of an answer, as the bytes its digest is over."""
    document = bytes(raw)
    if digest_of(document) == digest:
        return document
    try:
        document = canonical_json(msgspec.json.decode(document))
    except (msgspec.MsgspecError, ValueError):
        document = b""
    if digest_of(document) != digest:
        raise RegistryTampered(
            f"{where} gives a document that is not {digest}. Nothing of it was used."
        )
    return document
