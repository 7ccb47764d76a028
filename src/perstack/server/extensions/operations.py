"""For who runs the server: is it alive, is it ready, how does it do; its description; quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from perstack._value import Value
from perstack.registry import PREFIX

from ..app import Extension
from ..endpoints import described
from ..endpoints.access import demand, required
from ..endpoints.asking import act_of, key_of
from ..identity.keys import Caller
from ..metrics import KIND, Metrics
from ..queries import experts
from ..storage import tlog
from ..storage.repository import DatabaseError, Session
from ..storage.rows import Found
from ..wire import openapi
from ..wire.http import (
    Refused,
    Request,
    Response,
    bad_request,
    told,
    validated,
)
from ..wire.openapi import About
from ..wire.reading import Reading
from ..wire.routing import Route
from ..wire.telling import expert_json
from ..writes.changes import quarantine
from .log import verifier_key

if TYPE_CHECKING:
    from ..app import Context

NEVER = "no-store"

_metrics: WeakKeyDictionary[Context, Metrics] = WeakKeyDictionary()


def metrics_of(context: Context) -> Metrics:
    """The numbers of one application."""
    found = _metrics.get(context)
    if found is None:
        _metrics[context] = found = Metrics()
    return found


def count(context: Context, method: str, pattern: str, status: int, seconds: float) -> None:
    metrics_of(context).answered(method, pattern, status, seconds)


async def healthz(request: Request, context: Context) -> Response:
    """The process answers."""
    del request, context
    return Response(b"ok\n", kind="text/plain; charset=utf-8", cache=NEVER)


async def readyz(request: Request, context: Context) -> Response:
    """The database answers, and the log can be signed."""
    del request

    def look(session: Session) -> None:
        if tlog.latest_checkpoint(session) is None:
            raise DatabaseError("The log was never signed.")
        verifier_key(session, context.settings)

    await context.repository.read_slowly(look)
    return Response(b"ready\n", kind="text/plain; charset=utf-8", cache=NEVER)


async def metrics(request: Request, context: Context) -> Response:
    """For Prometheus. Nothing in it is about a person, an Expert or a key."""
    del request

    def look(session: Session) -> list[tuple[str, str, float]]:
        latest = tlog.latest_checkpoint(session)
        row = session.one("SELECT max(n) FROM experts")
        return [
            ("log_entries", "Entries in the transparency log.", latest.size if latest else 0),
            ("experts", "Names that were ever published.", (row[0] or 0) if row else 0),
        ]

    gauges = await context.repository.read(look)
    return Response(metrics_of(context).render(gauges).encode(), kind=KIND, cache=NEVER)


async def description(request: Request, context: Context) -> Response:
    body = _described.get(context)
    if body is None:
        _described[context] = body = told(openapi.document(routes(context), context.settings.url))
    return validated(request, Response(body, cache="public, max-age=300"))


_described: WeakKeyDictionary[Context, bytes] = WeakKeyDictionary()


def routes(context: Context) -> list[Route]:
    """All routes, each with what it is about as far as that is said."""
    from ..endpoints import ROUTES

    core = [
        Route(one.method, one.pattern, one.handler, described.about(one.method, one.pattern))
        for one in ROUTES
    ]
    return [*core, *(route for extension in context.extensions for route in extension.routes)]


class Why(Value, frozen=True):
    """reason: 1 to 2,048 characters, shown to the owner."""

    reason: str


async def put_away(request: Request, context: Context) -> Response:
    caller = await _administrator(request, context)
    read = Reading(await request.json())
    reason = read.text("reason", 2048, least=1, required=True)
    read.end()
    return await _quarantine(request, context, caller, reason)


async def let_out(request: Request, context: Context) -> Response:
    return await _quarantine(request, context, await _administrator(request, context), None)


async def _administrator(request: Request, context: Context) -> Caller:
    caller = await required(request, context)
    if not caller.is_admin:
        raise Refused(403, "Only administrators may do this")
    demand(request, context, caller, "status")
    return caller


async def _quarantine(
    request: Request, context: Context, caller: Caller, reason: str | None
) -> Response:
    what = key_of(request)
    if what.spec.kind != "version":
        raise bad_request("Version is required")
    act = act_of(request, context, caller)

    def write(session: Session) -> tuple[Found, bytes]:
        found = quarantine(session, act, what, reason)
        return found, experts.document(session, found.version.digest) or b"{}"

    found, document = await context.repository.write(write)
    body = b'{"data":{"expert":' + expert_json(found, document) + b"}}"
    return Response(body, cache=NEVER)


_QUARANTINE = f"{PREFIX}/experts/{{key}}/quarantine"
_TEXT: dict[str, Any] = {"answer": str, "kind": "text/plain; charset=utf-8"}

EXTENSION = Extension(
    routes=(
        Route("GET", "/healthz", healthz, About(text="Whether the process answers.", **_TEXT)),
        Route("GET", "/readyz", readyz, About(text="Whether it can do its work.", **_TEXT)),
        Route(
            "GET",
            "/metrics",
            metrics,
            About(text="Numbers, for Prometheus.", answer=str, kind=KIND),
        ),
        Route(
            "GET", f"{PREFIX}/openapi.json", description, About(text="This description.", raw=True)
        ),
        Route(
            "POST",
            _QUARANTINE,
            put_away,
            About(
                text="Takes a version out of everyone's reach, until it is let out again. For administrators.",
                body=Why,
                answer=described.OneExpert,
                auth=True,
                may=(400,),
            ),
        ),
        Route(
            "DELETE",
            _QUARANTINE,
            let_out,
            About(
                text="Lets a version out of quarantine. For administrators.",
                answer=described.OneExpert,
                auth=True,
                may=(400, 422),
            ),
        ),
    ),
    answered=count,
)
