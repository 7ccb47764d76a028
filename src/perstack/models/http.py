"""The one place where models are waited for: a streaming POST over HTTP/1.1, and `HttpModel` around it.

The client is ours: httptools (the parser of Node, in C) over anyio's sockets. Measured against the ready-made
clients it costs least to import and per request, and its pool takes the same time at one connection and at a
thousand (`docs/decisions/0002-http-client.md`). It does only what models need: POST, one answer, keep-alive.

No retries and no redirects. The one exception: a kept connection that the server closed while it was idle, and
that gave not one byte of an answer, is replaced by a new one. A server that closes has not begun to work.

A failure is a ModelError; `name` says which:

| name | when | retryable |
| --- | --- | --- |
| ConnectionFailed | no connection, no TLS, no proxy | yes |
| CertificateRejected | the server's certificate is not trusted | no |
| ProxyRefused | the proxy wants other credentials, or does not let us | no |
| Timeout | the whole reply took longer than `timeout_s` | yes |
| StreamBroken | the answer ended early, or is no HTTP, no events, no JSON | yes |
| BadResponse | an answer that is not a stream of events at all | no |
| RequestsForbidden | `perstack.models.ALLOW_REQUESTS` is false | no |
| Unauthorized, RateLimited, Overloaded, … | the provider said so (`wires/wire.py`) | by status |
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import anyio
import msgspec

from perstack.definition import ProviderAccess
from perstack.errors import ModelError
from perstack.job import History

from .answer import Answer
from .connections import Connections, head_lines, parsed_proxy
from .model import Hear, Reply, Request
from .sse import EventStream
from .wires.wire import Pieces, Traits, Wire, merged

CONVERSATIONS = 2048
"""Conversations whose encoded messages are remembered; beyond it the longest unused is forgotten."""


class HttpModel:
    """A provider's models, over HTTP. Serves any number of requests at once.

    traits: what is known of a model by its name. connections: shared, and closed by whoever opened it.
    """

    def __init__(
        self,
        wire: Wire,
        access: ProviderAccess,
        connections: Connections,
        traits: Callable[[str], Traits],
        *,
        proxy: str | None = None,
    ) -> None:
        self._wire = wire
        self._access = access
        self._connections = connections
        self._traits = traits
        self._proxy = parsed_proxy(proxy) if proxy else None
        self._head = head_lines(wire.headers(access))
        # By the identity of the first message, which all histories of a conversation share and its Pieces hold.
        self._pieces: OrderedDict[int, tuple[object, Pieces]] = OrderedDict()

    async def reply(self, request: Request, hear: Hear) -> Reply:
        wire = self._wire
        body = wire.encode(request, self._traits(request.model), self._pieces_of(request.history))
        head = self._head
        if more := wire.request_headers(self._access, request):
            head = head_lines(merged(wire.headers(self._access), more))
        decoder = wire.decoder(request)
        events = EventStream()

        def take(data: bytes) -> None:
            for event, told in events.feed(data):
                for delta in decoder.feed(event, told):
                    hear(delta)

        answer = Answer(take)
        try:
            with anyio.fail_after(request.timeout_s):
                await self._connections.post(
                    wire.url(self._access, request), head, body, answer, self._proxy
                )
        except TimeoutError as error:
            raise ModelError(
                f"no complete answer within {request.timeout_s:g} s", name="Timeout", retryable=True
            ) from error
        finally:
            answer.release()
        if not 200 <= answer.status < 300:
            raise _with_advice(wire.failure(answer.status, answer.error_body), answer.headers)
        if answer.foreign:
            raise ModelError(
                f"the answer is not a stream of events but {answer.headers.get('content-type')}: "
                + " ".join(answer.error_body[:300].decode("utf-8", "replace").split()),
                name="BadResponse",
                status=answer.status,
            )
        reply = decoder.reply()
        model = f"{self._access.provider}/{request.model}"
        if reply.message.model == model:
            return reply
        message = msgspec.structs.replace(reply.message, model=model)
        return msgspec.structs.replace(reply, message=message)

    def forget(self, history: History) -> None:
        """Let go of what is remembered of a conversation that is over. Never needed for correctness."""
        if len(history):
            self._pieces.pop(id(history[0]), None)

    def _pieces_of(self, history: History) -> Pieces:
        if not len(history):
            return Pieces()
        first = history[0]
        known = self._pieces.get(id(first))
        if known is None:
            known = self._pieces[id(first)] = (first, Pieces())
            if len(self._pieces) > CONVERSATIONS:
                self._pieces.popitem(last=False)
        else:
            self._pieces.move_to_end(id(first))
        return known[1]


def _with_advice(error: ModelError, headers: Mapping[str, str]) -> ModelError:
    """The error with what the provider's headers say about trying again."""
    match headers.get("x-should-retry"):
        case "true":
            error.retryable = True
        case "false":
            error.retryable = False
        case _:
            pass
    asked = retry_after_s(headers, time.time())
    error.retry_after_s = error.retry_after_s if asked is None else asked  # the body may have said
    return error


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds a provider asked us to wait; None if it did not say. now: seconds since 1970."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        if "retry-after" in headers:
            return max(0.0, float(headers["retry-after"]))
    except ValueError:
        pass
    if "retry-after" not in headers:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - now)
    except ValueError:
        return None
