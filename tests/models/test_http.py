"""Asking a model over HTTP: connections, failures, limits; against real sockets on this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from perstack.definition import ProviderAccess
from perstack.errors import ModelError, UserError
from perstack.job import History, said
from perstack.models import Connections, Delta, HttpModel, Request, open_model
from perstack.models.http import retry_after_s

from .anthropic_streams import CALLS, SPEAKS, sse
from .serving import Handler, Heard, Server, answer, serving, streamed

pytestmark = pytest.mark.anyio

SPOKEN = answer(sse(SPEAKS))


def request(text: str = "hi", **more: Any) -> Request:
    return Request(model="claude-sonnet-4-6", instruction="", history=History([said(text)]), **more)


def silent(delta: Delta) -> None:
    pass


@asynccontextmanager
async def model_of(server: Server, **more: Any) -> AsyncGenerator[HttpModel]:
    access = ProviderAccess(provider="anthropic", api_key="k", base_url=server.url)
    async with open_model(access, **more) as model:
        yield model


def always(data: bytes, *, closes: bool = False) -> Handler:
    async def handle(stream: ByteStream, heard: Heard) -> None:
        await stream.send(data)
        if closes:
            await stream.aclose()

    return handle


async def failure(handle: Handler, **more: Any) -> ModelError:
    async with serving(handle) as server, model_of(server) as model:
        with anyio.fail_after(10):
            with pytest.raises(ModelError) as raised:
                await model.reply(request(**more), silent)
    return raised.value


async def test_a_reply_is_heard_as_it_arrives():
    first, rest = sse(SPEAKS[:5]), sse(SPEAKS[5:])
    heard_first = anyio.Event()
    deltas: list[Delta] = []

    async def handle(stream: ByteStream, heard: Heard) -> None:
        whole = streamed(first, rest)
        cut = whole.index(rest)
        await stream.send(whole[:cut])
        await heard_first.wait()
        await stream.send(whole[cut:])

    def hear(delta: Delta) -> None:
        deltas.append(delta)
        heard_first.set()

    async with serving(handle) as server, model_of(server) as model:
        with anyio.fail_after(10):
            reply = await model.reply(request(), hear)
    assert reply.message.text == "".join(delta.text for delta in deltas) == "Hello, wörld ✓"


async def test_the_request_is_plain_http_with_the_providers_headers():
    async with serving(always(SPOKEN)) as server, model_of(server) as model:
        await model.reply(request(), silent)
    (heard,) = server.heard
    assert (heard.method, heard.path) == ("POST", "/v1/messages")
    assert heard.headers == {
        "host": f"127.0.0.1:{server.port}",
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": "perstack",
        "anthropic-version": "2026-10-21",
        "x-api-key": "k",
        "content-length": str(len(heard.body)),
    }


async def test_a_connection_is_used_again():
    async with serving(always(streamed(sse(CALLS)))) as server, model_of(server) as model:
        for _ in range(3):
            await model.reply(request(), silent)
    assert [heard.connection for heard in server.heard] == [1, 1, 1]


async def test_models_can_share_their_connections():
    async with serving(always(SPOKEN)) as server, Connections() as connections:
        for _ in range(2):
            async with model_of(server, connections=connections) as model:
                await model.reply(request(), silent)
    assert [heard.connection for heard in server.heard] == [1, 1]


async def test_requests_at_the_same_time_have_a_connection_each():
    waiting = 0
    all_here = anyio.Event()

    async def handle(stream: ByteStream, heard: Heard) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            all_here.set()
        await all_here.wait()
        await stream.send(SPOKEN)

    async with serving(handle) as server, model_of(server) as model:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(model.reply, request(str(number)), silent)
    assert server.connections == 20


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced():
    closed = anyio.Event()

    async def handle(stream: ByteStream, heard: Heard) -> None:
        await stream.send(SPOKEN)
        if heard.connection == 1:
            await stream.aclose()
            closed.set()

    async with serving(handle) as server, model_of(server) as model:
        await model.reply(request(), silent)
        await closed.wait()
        reply = await model.reply(request(), silent)
    assert reply.finish == "stop"
    assert [heard.connection for heard in server.heard] == [1, 2]


async def test_a_kept_connection_that_closes_on_the_next_request_is_replaced():
    async def handle(stream: ByteStream, heard: Heard) -> None:
        if heard.connection == 1 and len(server.heard) == 2:
            await stream.aclose()
        else:
            await stream.send(SPOKEN)

    async with serving(handle) as server, model_of(server) as model:
        await model.reply(request(), silent)
        await model.reply(request(), silent)
    assert [heard.connection for heard in server.heard] == [1, 1, 2]


async def test_a_new_connection_that_closes_is_not_tried_again():
    async def handle(stream: ByteStream, heard: Heard) -> None:
        await stream.aclose()

    async with serving(handle) as server, model_of(server) as model:
        with pytest.raises(ModelError) as raised:
            await model.reply(request(), silent)
    assert (raised.value.name, raised.value.retryable) == ("StreamBroken", True)
    assert len(server.heard) == 1


async def test_a_kept_connection_that_breaks_in_its_answer_is_not_tried_again():
    async def handle(stream: ByteStream, heard: Heard) -> None:
        if len(server.heard) == 1:
            await stream.send(SPOKEN)
        else:
            await stream.send(SPOKEN[:20])
            await stream.aclose()

    async with serving(handle) as server, model_of(server) as model:
        await model.reply(request(), silent)
        with pytest.raises(ModelError) as raised:
            await model.reply(request(), silent)
    assert raised.value.name == "StreamBroken"
    assert len(server.heard) == 2


async def test_an_answer_that_ends_with_the_connection_is_whole():
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    handle = always(head + sse(SPEAKS), closes=True)
    async with serving(handle) as server, model_of(server) as model:
        assert (await model.reply(request(), silent)).finish == "stop"
        assert (await model.reply(request(), silent)).finish == "stop"
    assert server.connections == 2


async def test_a_server_that_does_not_keep_connections_is_served_with_new_ones():
    handle = always(answer(sse(SPEAKS), more="connection: close\r\n"))
    async with serving(handle) as server, model_of(server) as model:
        for _ in range(2):
            await model.reply(request(), silent)
    assert [heard.connection for heard in server.heard] == [1, 2]


async def test_interim_answers_are_passed_over():
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    async with serving(always(interim + SPOKEN)) as server, model_of(server) as model:
        assert (await model.reply(request(), silent)).finish == "stop"
        assert (await model.reply(request(), silent)).finish == "stop"
    assert server.connections == 1


async def test_a_long_request_arrives_whole():
    long = "wörld " * 400_000
    async with serving(always(SPOKEN)) as server, model_of(server) as model:
        with anyio.fail_after(20):
            await model.reply(request(long), silent)
    assert long.strip().encode() in server.heard[0].body


async def test_an_answer_to_a_request_that_was_not_read_is_still_understood():
    async def converse(stream: ByteStream) -> None:
        async with stream:
            await stream.receive(100)
            await stream.send(
                answer(
                    b'{"type":"error","error":{"type":"request_too_large","message":"big"}}',
                    status="413 Too Large",
                    kind="application/json",
                )
            )
            # Read on without caring, as servers do, so that the answer is not lost to a reset.
            while True:
                try:
                    await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, converse)
            async with model_of(Server(port=port)) as model:
                with anyio.fail_after(10):
                    with pytest.raises(ModelError, match="big") as raised:
                        await model.reply(request("x" * 5_000_000), silent)
            assert raised.value.name == "RequestTooLarge"
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("status", "name", "retryable"),
    [
        ("401 Unauthorized", "Unauthorized", False),
        ("404 Not Found", "NotFound", False),
        ("408 Timeout", "Timeout", True),
        ("409 Conflict", "BadRequest", True),
        ("429 Too Many", "RateLimited", True),
        ("500 Oops", "ServerError", True),
        ("529 Overloaded", "Overloaded", True),
        ("301 Moved", "BadRequest", False),
    ],
)
async def test_a_status_is_an_error_with_a_name(status: str, name: str, retryable: bool):
    error = await failure(always(answer(b"why", status=status, kind="text/plain")))
    assert (error.name, error.retryable, error.status) == (name, retryable, int(status[:3]))
    assert str(error) == "why"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("retry-after: 7", 7.0), ("retry-after-ms: 1500", 1.5), ("retry-after: soon", None)],
)
async def test_the_provider_says_how_long_to_wait(header: str, seconds: float | None):
    data = answer(b"", status="429 Too Many", more=f"{header}\r\n")
    assert (await failure(always(data))).retry_after_s == seconds


def test_the_time_to_wait_may_be_a_date():
    now = 1_760_000_000.0
    headers = {"retry-after": "Thu, 09 Oct 2025 08:54:00 GMT"}
    assert retry_after_s(headers, now) == 1_760_000_040 - now
    assert retry_after_s(headers, now + 100) == 0.0
    assert retry_after_s({}, now) is None


@pytest.mark.parametrize(("advice", "retryable"), [("true", True), ("false", False)])
async def test_the_provider_may_say_whether_to_try_again(advice: str, retryable: bool):
    status = "500 Oops" if advice == "false" else "400 Bad"
    data = answer(b"", status=status, more=f"x-should-retry: {advice}\r\n")
    assert (await failure(always(data))).retryable is retryable


async def test_a_failed_request_leaves_the_connection_usable():
    async def handle(stream: ByteStream, heard: Heard) -> None:
        await stream.send(answer(b"{}", status="500 Oops") if len(server.heard) == 1 else SPOKEN)

    async with serving(handle) as server, model_of(server) as model:
        with pytest.raises(ModelError):
            await model.reply(request(), silent)
        await model.reply(request(), silent)
    assert server.connections == 1


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\nabcdefg",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000,
        SPOKEN[:-9],
        streamed(sse(SPEAKS))[:-5],
        streamed(sse(SPEAKS[:-1])),
    ],
    ids=["ssh", "chunk size", "two lengths", "endless head", "short", "no last chunk", "no stop"],
)
async def test_an_answer_that_is_not_whole_is_broken(data: bytes):
    error = await failure(always(data, closes=True))
    assert (error.name, error.retryable) == ("StreamBroken", True)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json"])
async def test_an_answer_that_is_no_stream_is_told_as_such(kind: str):
    error = await failure(always(answer(b"<p>Please log in", kind=kind)))
    assert (error.name, error.retryable) == ("BadResponse", False)
    assert "Please log in" in str(error)


async def test_a_compressed_answer_nobody_asked_for_is_refused():
    error = await failure(always(answer(b"\x1f\x8b\x08", more="content-encoding: gzip\r\n")))
    assert error.name == "BadResponse"


async def test_an_endless_error_page_is_read_in_part():
    async def handle(stream: ByteStream, heard: Heard) -> None:
        await stream.send(b"HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\n\r\n")
        while True:
            await stream.send(b"x" * 65536)

    error = await failure(handle)
    assert (error.name, len(str(error))) == ("ServerError", 300)


async def test_a_reply_that_takes_too_long_is_a_timeout():
    async def handle(stream: ByteStream, heard: Heard) -> None:
        await stream.send(streamed(sse(SPEAKS[:4]))[:-5])
        await anyio.sleep_forever()

    error = await failure(handle, timeout_s=0.05)
    assert (error.name, error.retryable) == ("Timeout", True)


async def test_cancelling_closes_the_connection():
    closed, arrived = anyio.Event(), anyio.Event()

    async def handle(stream: ByteStream, heard: Heard) -> None:
        arrived.set()
        try:
            await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            closed.set()
            raise

    async with serving(handle) as server, model_of(server) as model:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(model.reply, request(), silent)
                await arrived.wait()
                tasks.cancel_scope.cancel()
            await closed.wait()


async def test_leaving_the_model_closes_its_connections():
    closed = anyio.Event()

    async def handle(stream: ByteStream, heard: Heard) -> None:
        await stream.send(SPOKEN)
        try:
            await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            closed.set()
            raise

    async with serving(handle) as server:
        async with model_of(server) as model:
            await model.reply(request(), silent)
        with anyio.fail_after(10):
            await closed.wait()


async def test_what_the_listener_raises_comes_through_and_closes_the_connection():
    def hear(delta: Delta) -> None:
        raise KeyError("mine")

    async with serving(always(SPOKEN)) as server, model_of(server) as model:
        with pytest.raises(KeyError):
            await model.reply(request(), hear)
        await model.reply(request(), silent)
    assert server.connections == 2


async def test_nobody_listening_is_a_failed_connection():
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with model_of(Server(port=port)) as model:
        with pytest.raises(ModelError) as raised:
            await model.reply(request(), silent)
    assert (raised.value.name, raised.value.retryable) == ("ConnectionFailed", True)
    assert "refused" in str(raised.value)


async def test_hosts_other_than_this_machine_are_refused_when_requests_are_off(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("perstack.models.ALLOW_REQUESTS", False)
    access = ProviderAccess(provider="anthropic", base_url="http://192.0.2.1:9")
    async with open_model(access) as model:
        with pytest.raises(ModelError) as raised:
            await model.reply(request(), silent)
    assert (raised.value.name, raised.value.retryable) == ("RequestsForbidden", False)
    async with serving(always(SPOKEN)) as server, model_of(server) as model:
        await model.reply(request(), silent)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-key": "a\r\nx-other: b"},
        {"x-key": "a\x00b"},
        {"x-key": "snowman ☃"},
        {"x key": "a"},
        {"x-key:": "a"},
        {"Content-Length": "3"},
    ],
)
async def test_headers_that_would_say_something_else_are_refused(headers: dict[str, str]):
    access = ProviderAccess(provider="anthropic", headers=headers)
    with pytest.raises(UserError) as raised:
        async with open_model(access):
            pass
    assert "snowman" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "host",
        "http://",
        "http://h:99999",
        "http://h/a b",
        "http://a b/",
        "http://[::1",
        "http://\u2603..x/",
        "https://u:secret@host",
    ],
)
async def test_a_base_url_that_is_none_is_the_users_to_mend(url: str):
    access = ProviderAccess(provider="anthropic", base_url=url)
    async with open_model(access) as model:
        with pytest.raises(UserError) as raised:
            await model.reply(request(), silent)
    assert "secret" not in str(raised.value)


async def test_a_plain_request_through_a_proxy_names_its_whole_url():
    access = ProviderAccess(provider="anthropic", base_url="http://models.test:8080/v1")
    async with serving(always(SPOKEN)) as server:
        proxy = f"http://us%65r:p%40ss@127.0.0.1:{server.port}"
        async with open_model(access, proxy=proxy) as model:
            await model.reply(request(), silent)
    (heard,) = server.heard
    assert heard.path == "http://models.test:8080/v1/messages"
    assert heard.headers["host"] == "models.test:8080"
    assert heard.headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"


@pytest.mark.parametrize(
    ("status", "retryable"),
    [("407 Proxy Authentication Required", False), ("403 Forbidden", False), ("502 Bad", True)],
)
async def test_a_proxy_that_refuses_says_why(status: str, retryable: bool):
    access = ProviderAccess(provider="anthropic", base_url="https://models.test")
    handle = always(answer(b"", status=status))
    async with serving(handle) as server:
        async with open_model(access, proxy=server.url) as model:
            with pytest.raises(ModelError) as raised:
                await model.reply(request(), silent)
    assert (raised.value.name, raised.value.retryable) == ("ProxyRefused", retryable)
    assert status in str(raised.value)
    assert (server.heard[0].method, server.heard[0].path) == ("CONNECT", "models.test:443")


async def test_a_proxy_url_that_is_none_is_refused_without_telling_its_password():
    with pytest.raises(UserError) as raised:
        async with open_model(ProviderAccess(provider="anthropic"), proxy="socks://u:secret@h"):
            pass
    assert "secret" not in str(raised.value)


async def test_the_reply_is_signed_with_provider_and_model():
    async with serving(always(SPOKEN)) as server, model_of(server) as model:
        reply = await model.reply(request(), silent)
    assert reply.message.model == "anthropic/claude-sonnet-4-6"


async def test_a_forgotten_conversation_goes_on_unchanged():
    async with serving(always(SPOKEN)) as server, model_of(server) as model:
        history = History([said("a")])
        for _ in range(2):
            reply = await model.reply(
                Request(model="claude-sonnet-4-6", instruction="", history=history), silent
            )
            history = history.plus(reply.message, said("more"))
        known = Request(model="claude-sonnet-4-6", instruction="", history=history)
        await model.reply(known, silent)
        model.forget(history)
        await model.reply(known, silent)
    assert server.heard[-1].body == server.heard[-2].body


async def test_a_slow_answer_in_single_bytes_is_understood():
    async def handle(stream: ByteStream, heard: Heard) -> None:
        whole = streamed(*(sse([event]) for event in SPEAKS))
        for place in range(len(whole)):
            await stream.send(whole[place : place + 1])

    async with serving(handle) as server, model_of(server) as model:
        with anyio.fail_after(20):
            assert (await model.reply(request(), silent)).message.text == "Hello, wörld ✓"
