"""The registry server as an ASGI application.

    make_app(settings)  →  an application; `running()` opens its database, or its server's lifespan does

A request takes this way: `routing` finds the handler by the undecoded path; the handler asks `access` who is
calling, reads or writes through `context.repository`, and gives a `Response`; what cannot be done it raises as
`Refused`. Here the answer gets what all answers have: request id, `Vary`, compression, the envelope for errors.

**To add to it**, write an `Extension` in `extensions/<name>.py` and name it in `extensions/__init__.py`. It may
have

- `routes`: `Route("GET", API + "/search", handler)`, where `handler(request, context) -> Response` is async;
- `running`: a block around all requests, for what must be open and closed again;
- `opened`: called once, within a write, before the first request;
- `admit`: called before a handler does what it is for; raises `Refused(429, …)`;
- `failed`: called when a key was no good, to slow down who tries;
- `checks`: called within a publish, before the version is written; raises `bad_request(…)`, or gives warnings;
- `published`, `changed`: called within the same write, after an Expert got a version, or changed in any other way;
- `seal`: called at the end of each write transaction;
- `answered`: called when an answer is ready, with the route's pattern, never with the path.

Its own tables come by a further `migrations/<dialect>/NNNN_*.sql`.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import anyio

from perstack.errors import sole
from perstack.registry import PREFIX as API

from .answers import Answers
from .identity.keys import Caller
from .queries.writing import purge, recount
from .settings import Settings
from .storage.repository import DatabaseError, Repository, Session, open_repository
from .tally import Tally
from .wire.http import (
    COMPRESS_FROM,
    PRIVATE,
    Disconnected,
    Receive,
    Refused,
    Request,
    Response,
    Scope,
    Send,
    compressed,
    kept_privately,
    refusal,
    takes_gzip,
)
from .wire.routing import Route, Router
from .writes.publishing import Publication

__all__ = ["API", "App", "Context", "Extension", "Publication", "make_app"]

log = logging.getLogger("perstack.server")

TALLY_EVERY_S = 5.0
PURGE_EVERY = 720
"""Times that counts are written: about an hour."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """Something more that the server does. See the module."""

    routes: tuple[Route, ...] = ()
    running: Callable[[Context], AbstractAsyncContextManager[None]] | None = None
    opened: Callable[[Session, Settings], None] | None = None
    admit: Callable[[Request, Context, str, Caller | None], None] | None = None
    """action: publish-new, publish-update, status, tag, unpublish, search, read, …"""
    failed: Callable[[Request, Context], None] | None = None
    checks: Callable[[Session, Publication], Iterable[str]] | None = None
    published: Callable[[Session, Publication], None] | None = None
    changed: Callable[[Session, int], None] | None = None
    """Called with the number of the Expert's row."""
    seal: Callable[[Session, Settings], None] | None = None
    answered: Callable[[Context, str, str, int, float], None] | None = None
    """Called with method, pattern, status and seconds."""


class Context:
    """What handlers share. repository: only while the application runs. now: ms since 1970."""

    def __init__(
        self, settings: Settings, extensions: tuple[Extension, ...], now: Callable[[], int]
    ) -> None:
        self.settings = settings
        self.extensions = extensions
        self.now = now
        self.tally = Tally()
        self.answers = Answers()
        self._repository: Repository | None = None
        self._answered = [each.answered for each in extensions if each.answered]

    @property
    def repository(self) -> Repository:
        if self._repository is None:
            raise DatabaseError("The server is not running.")
        return self._repository

    def note_use(self, key: str) -> None:
        self.tally.uses[key] = self.now()

    def admit(self, request: Request, action: str, caller: Caller | None = None) -> None:
        """Raises Refused (429) if there were too many of these."""
        for extension in self.extensions:
            if extension.admit:
                extension.admit(request, self, action, caller)

    def answered(self, method: str, pattern: str, status: int, seconds: float) -> None:
        for answered in self._answered:
            answered(self, method, pattern, status, seconds)

    def failed(self, request: Request) -> None:
        for extension in self.extensions:
            if extension.failed:
                extension.failed(request, self)

    def checks(self, session: Session, publication: Publication) -> list[str]:
        """What is said about it beside letting it pass."""
        return [
            warning
            for extension in self.extensions
            if extension.checks
            for warning in extension.checks(session, publication)
        ]

    def published(self, session: Session, publication: Publication) -> None:
        for extension in self.extensions:
            if extension.published:
                extension.published(session, publication)

    def changed(self, session: Session, expert: int) -> None:
        for extension in self.extensions:
            if extension.changed:
                extension.changed(session, expert)


class App:
    """The application. Its database is open within `running()`."""

    def __init__(self, context: Context, router: Router) -> None:
        self.context = context
        self.router = router
        self._mark = secrets.token_hex(4)  # of this process, for the ids of its requests
        self._numbers = itertools.count(1)
        self._trusted = frozenset(context.settings.trusted_proxies.split())

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Context]:
        """Opens the database, and closes it when the block is left. Raises DatabaseError."""
        context = self.context
        settings = context.settings
        async with open_repository(settings.database_url) as repository:
            context._repository = repository  # pyright: ignore[reportPrivateUsage]  # it is opened here
            repository.seal = self._seal
            await repository.write(self._opened)
            async with AsyncExitStack() as stack:
                for extension in context.extensions:
                    if extension.running:
                        await stack.enter_async_context(extension.running(context))
                tasks = await stack.enter_async_context(anyio.create_task_group())
                tasks.start_soon(self._keep_tally)
                try:
                    yield context
                finally:
                    tasks.cancel_scope.cancel()
                    with anyio.CancelScope(shield=True):
                        await context.tally.write(repository)

    def _opened(self, session: Session) -> None:
        recount(session)
        for extension in self.context.extensions:
            if extension.opened:
                extension.opened(session, self.context.settings)

    def _seal(self, session: Session) -> None:
        for extension in self.context.extensions:
            if extension.seal:
                extension.seal(session, self.context.settings)

    async def _keep_tally(self) -> None:
        rounds = itertools.count()
        while True:
            try:
                if next(rounds) % PURGE_EVERY == 0:
                    over = partial(purge, now=self.context.now())
                    await self.context.repository.write(over)
                await anyio.sleep(TALLY_EVERY_S)
                await self.context.tally.write(self.context.repository)
            except DatabaseError as error:
                log.warning("counts were not written: %s", error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case kind:
                raise ValueError(f"{kind} is not spoken here")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self.running():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except (DatabaseError, ExceptionGroup) as error:
            if not isinstance(cause := sole(error), DatabaseError):
                raise
            await send({"type": "lifespan.startup.failed", "message": str(cause)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        id = f"{self._mark}{next(self._numbers):08x}"
        request: Request | None = None
        route: Route | None = None
        began = time.perf_counter()
        try:
            raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
            route, params = self.router.find(scope["method"], raw_path.decode("latin-1"))
            request = Request(scope, receive, id=id, address=self._address(scope), params=params)
            response = await route.handler(request, self.context)
        except Refused as refused:
            response = refusal(refused, id)
        except Disconnected:
            return
        except DatabaseError as error:
            log.error("%s: %s", id, error)
            response = refusal(Refused(503, "The database is not available"), id)
        except Exception:
            log.exception("%s: %s %s", id, scope["method"], scope["path"])
            response = refusal(Refused(500, "An error of the server; it was written down"), id)
        if route is not None:
            seconds = time.perf_counter() - began
            self.context.answered(route.method, route.pattern, response.status, seconds)
        await self._send(scope, request, response, id, send)

    async def _send(
        self, scope: Scope, request: Request | None, response: Response, id: str, send: Send
    ) -> None:
        headers, body = response.headers, response.body
        headers["x-request-id"] = id
        headers["vary"] = "Authorization, Accept-Encoding"
        headers["x-content-type-options"] = "nosniff"
        if request is not None:
            if not self.context.settings.anonymous_read:
                headers["cache-control"] = kept_privately(headers["cache-control"])
            if auth := request.kept.get("auth"):
                headers["x-perstack-auth"] = auth
                if response.status == 404 and auth == "valid":
                    headers["cache-control"] = PRIVATE
            if (
                len(body) >= COMPRESS_FROM
                and "content-encoding" not in headers
                and takes_gzip(request.header(b"accept-encoding"))
            ):
                body = compressed(body)
                headers["content-encoding"] = "gzip"
                headers.pop("repr-digest", None)  # it would be that of other bytes
        if response.status != 304:
            headers["content-length"] = str(len(body))
        sent = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": sent})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body}
        )

    def _address(self, scope: Scope) -> str:
        """Where the request comes from. What a proxy says counts if the proxy is ours."""
        client = scope.get("client")
        address = client[0] if client else ""
        if address in self._trusted:
            for name, value in scope["headers"]:
                if name == b"x-forwarded-for":
                    return value.decode("latin-1").rpartition(",")[2].strip()
        return address


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def make_app(
    settings: Settings,
    *,
    extensions: tuple[Extension, ...] | None = None,
    now: Callable[[], int] = now_ms,
) -> App:
    """The server. extensions: instead of all there are; now: the clock, ms since 1970."""
    from .endpoints import ROUTES
    from .extensions import EXTENSIONS
    from .mirrors.extension import mirrored
    from .pages import EXTENSION as PAGES

    chosen = (*EXTENSIONS, PAGES) if extensions is None else extensions
    routes = [*ROUTES, *(route for extension in chosen for route in extension.routes)]
    routes, more = mirrored(settings, routes)
    return App(Context(settings, (*chosen, *more), now), Router(routes))
