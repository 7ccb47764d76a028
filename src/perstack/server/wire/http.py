"""Requests and answers, as the handlers of the registry see them.

No framework: what every answer needs (one envelope for errors, a request id, validators, compression) is said here
once, and an exact read stays a few function calls.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, cast
from urllib.parse import parse_qsl

import anyio
import msgspec

from perstack.registry import ERRORS

MAX_BODY = 1024 * 1024
"""Bytes of a request's body."""

BODY_S = 30.0
"""Seconds that a body may take to come."""

COMPRESS_FROM = 1400
"""Bytes. What fits into one packet is not made smaller."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PUBLIC_EXACT = "public, max-age=60"
PUBLIC_MOVING = "public, max-age=0, must-revalidate"
PUBLIC_INDEX = "public, max-age=30, stale-if-error=86400"
PUBLIC_LIST = "public, max-age=15"
PUBLIC_MISSING = "public, max-age=10"
PRIVATE = "private, no-cache"
FOR_EVER = "public, max-age=31536000, immutable"
PRIVATE_FOR_EVER = "private, max-age=31536000, immutable"


def kept_privately(cache: str) -> str:
    """What a cache of one's own may keep where a shared one might have kept as much as `cache` says."""
    return (
        PRIVATE_FOR_EVER if cache == FOR_EVER else PRIVATE if cache.startswith("public") else cache
    )


class Refused(Exception):
    """An answer that is not a success. reason: text; for 422 what is wrong, by place."""

    def __init__(
        self,
        status: int,
        reason: Any,
        *,
        extensions: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.extensions = extensions
        self.headers = dict(headers or {})


def bad_request(reason: str, **extensions: Any) -> Refused:
    return Refused(400, reason, extensions=extensions or None)


def unauthorized() -> Refused:
    return Refused(401, "Failed to authenticate", headers={"WWW-Authenticate": "Bearer"})


def not_found(reason: str = "Expert not found") -> Refused:
    return Refused(404, reason)


def invalid(*issues: Issue) -> Refused:
    return Refused(422, list(issues))


class Issue(msgspec.Struct, frozen=True):
    """One thing wrong with a request. path: members and indexes that lead to it."""

    path: tuple[str | int, ...]
    code: str
    message: str


class Request:
    """One request. params: what the route's pattern names, decoded; path: as it was sent."""

    __slots__ = (
        "_body",
        "_headers",
        "_query",
        "_raw_query",
        "_receive",
        "address",
        "id",
        "kept",
        "method",
        "params",
        "path",
    )

    def __init__(
        self, scope: Scope, receive: Receive, *, id: str, address: str, params: dict[str, str]
    ) -> None:
        self.method = str(scope["method"])
        self.path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        self.params = params
        self.id = id
        self.address = address
        self.kept: dict[str, Any] = {}
        """What one request is asked once: whose key it carries, for example."""
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._raw_query: bytes = scope.get("query_string", b"")
        self._query: dict[str, str] | None = None
        self._receive = receive
        self._body: bytes | None = None

    def header(self, name: bytes) -> str:
        """The value of a header (name in lower case), empty if it was not sent."""
        for key, value in self._headers:
            if key == name:
                return value.decode("latin-1")
        return ""

    @property
    def query(self) -> dict[str, str]:
        """The parameters; of one given twice, the last."""
        if self._query is None:
            try:
                pairs = parse_qsl(
                    self._raw_query.decode("utf-8"), True, max_num_fields=64, errors="strict"
                )
            except ValueError as error:
                raise invalid(
                    Issue((), "invalid_query", "The query is not URL-encoded UTF-8")
                ) from error
            if any("\0" in value for _, value in pairs):  # which no database keeps
                raise invalid(Issue((), "invalid_query", "The query has a NUL in it"))
            self._query = dict(pairs)
        return self._query

    async def body(self) -> bytes:
        """The whole body. Raises Refused (413)."""
        if self._body is None:
            length = self.header(b"content-length")
            if length.isdecimal() and int(length) > MAX_BODY:
                raise Refused(413, f"At most {MAX_BODY} bytes are accepted")
            try:
                with anyio.fail_after(BODY_S):
                    self._body = await self._whole_body()
            except TimeoutError as error:
                raise bad_request("The body did not come in time") from error
        return self._body

    async def _whole_body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise Disconnected
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > MAX_BODY:
                raise Refused(413, f"At most {MAX_BODY} bytes are accepted")
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    async def json(self) -> dict[str, Any]:
        """The body, a JSON object; an empty body is an empty object. Raises Refused (413, 415, 422)."""
        kind = self.header(b"content-type").partition(";")[0].strip().lower()
        body = await self.body()
        if not body:
            return {}
        if kind and kind != "application/json" and not kind.endswith("+json"):
            raise Refused(415, "Send JSON, with content-type: application/json")
        try:
            value = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise invalid(Issue((), "invalid_json", f"The body is not JSON: {error}")) from error
        if not isinstance(value, dict):
            raise invalid(Issue((), "invalid_type", "The body must be a JSON object"))
        return cast("dict[str, Any]", value)


class Disconnected(Exception):
    """The client has gone before it said all."""


class Response:
    """One answer. headers: by name, in lower case. etag: with its quotes."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        kind: str = "application/json",
        cache: str = PRIVATE,
        etag: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = {"content-type": kind, "cache-control": cache}
        if etag:
            self.headers["etag"] = etag
        if headers:
            self.headers |= headers


_encode = msgspec.json.Encoder().encode


def answered(value: Any, **options: Any) -> Response:
    """`value` as JSON. Options: as for Response."""
    return Response(_encode(value), **options)


def told(value: Any) -> bytes:
    return _encode(value)


def etag_of(body: bytes) -> str:
    """A strong validator of these bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def unchanged(request: Request, etag: str) -> bool:
    """Whether the client has what `etag` names: then `not_modified` answers."""
    sent = request.header(b"if-none-match")
    if not sent:
        return False
    if sent == etag:
        return True
    known = {part.strip().removeprefix("W/") for part in sent.split(",")}
    return "*" in known or etag in known


def not_modified(etag: str, cache: str, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(b"", status=304, cache=cache, etag=etag, headers=headers)
    del response.headers["content-type"]
    return response


def validated(request: Request, response: Response) -> Response:
    """`response` with a validator over its bytes, or 304 if the client has them."""
    etag = response.headers.setdefault("etag", etag_of(response.body))
    if unchanged(request, etag):
        kept = {
            name: value
            for name, value in response.headers.items()
            if name not in ("content-type", "cache-control", "etag")
        }
        return not_modified(etag, response.headers["cache-control"], kept)
    return response


def refusal(refused: Refused, request_id: str) -> Response:
    """The one envelope of all errors."""
    body: dict[str, Any] = {
        "code": refused.status,
        "error": ERRORS[refused.status],
        "reason": refused.reason,
    }
    if refused.extensions:
        body["extensions"] = refused.extensions
    if refused.status >= 500:
        body["requestId"] = request_id
    cache = PUBLIC_MISSING if refused.status == 404 else "no-store"
    response = answered(body, status=refused.status, cache=cache)
    response.headers |= {name.lower(): value for name, value in refused.headers.items()}
    return response


def compressed(body: bytes) -> bytes:
    """As gzip, without a time in it: the same bytes give the same."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def takes_gzip(accepted: str) -> bool:
    for part in accepted.split(","):
        name, _, quality = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
