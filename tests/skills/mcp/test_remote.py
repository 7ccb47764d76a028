"""Remote servers, on this machine: both ways of HTTP, what is sent, and what is refused."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from perstack._net import NotPublic
from perstack.definition import RemoteSkill
from perstack.errors import MissingEnv, SkillUnavailable, UserError
from perstack.job import Notice, SkillConnected, SkillDisconnected, SkillStarting
from perstack.skills import Skill
from perstack.skills.public_http import BODY_MAX, PublicTransport, proxy_for
from perstack.skills.remote import endpoint_of, headers_of, loopback_allowed
from perstack.skills.servers import open_remote_skill
from tests.fakes.certificate import certificate

from .world import told

pytestmark = pytest.mark.anyio

FAKE = Path(__file__).parents[2] / "fakes" / "mcp_http.py"
NO_PROXIES = {"no_proxy": "*"}


@pytest.fixture
def anyio_backend() -> str:
    """One backend: the SDK leaves async generators of its HTTP to the garbage collector, of which trio warns."""
    return "asyncio"


@contextmanager
def serving(kind: str, port: int = 0, **env: str) -> Generator[int]:
    """The port of a server of this kind."""
    argv = [sys.executable, str(FAKE), kind, str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, **env}) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@pytest.fixture(scope="module")
def streamable() -> Generator[int]:
    with serving("streamable") as port:
        yield port


@asynccontextmanager
async def remote(
    port: int, *, heard: list[Notice] | None = None, **options: Any
) -> AsyncGenerator[Skill]:
    env = {**NO_PROXIES, **options.pop("env", {})}
    skill = RemoteSkill(
        endpoint=f"http://127.0.0.1:{port}/mcp", headers_env=options.pop("headers_env", {})
    )
    hear = (heard if heard is not None else list[Notice]()).append
    async with open_remote_skill(
        "far", skill, env, hear=hear, allow_loopback=True, **options
    ) as opened:
        yield opened


async def got(port: int, path: str) -> str:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://127.0.0.1:{port}/{path}")).text


@pytest.mark.parametrize("kind", ["streamable", "sse"])
async def test_a_remote_server_is_used(kind: str):
    heard: list[Notice] = []
    with serving(kind) as port:
        async with remote(port, heard=heard) as skill:
            by_name = {tool.name: tool for tool in skill.tools}
            assert by_name["echo"].reads_only
            answers: dict[int, str] = {}

            async def call(number: int) -> None:
                answers[number] = told(await skill.use("echo", {"words": str(number)}))

            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(call, number)
            assert answers == {number: str(number) for number in range(20)}
            outcome = await skill.use("echo", {})
            assert outcome.is_error
            assert told(await skill.use("slow", {"times": 2, "pause": 0.01})) == "done"
    connected = heard[0]
    assert isinstance(connected, SkillConnected)
    assert (connected.server, connected.spawn_s) == (("http-fake", "1.2.3"), None)
    assert [type(notice) for notice in heard] == [SkillConnected, SkillDisconnected]
    assert not any(isinstance(notice, SkillStarting) for notice in heard)


async def test_a_server_of_the_newer_era_is_used():
    with serving("modern") as port:
        async with remote(port) as skill:
            assert [tool.name for tool in skill.tools] == ["echo"]
            assert told(await skill.use("echo", {"a": 1})) == '{"a": 1}'


async def test_headers_come_from_variables_and_go_with_every_request(streamable: int):
    env = {"MY_KEY": " k-1 ", "MY_TOKEN": "t-1", "OTHER": "no"}
    headers_env = {"X-Api-Key": "MY_KEY", "Authorization": "Bearer MY_TOKEN"}
    async with remote(streamable, env=env, headers_env=headers_env) as skill:
        for name, value in (("x-api-key", "k-1"), ("authorization", "Bearer t-1")):
            assert told(await skill.use("header", {"name": name})) == value
        agent = told(await skill.use("header", {"name": "user-agent"}))
        assert agent.startswith("perstack/")
    seen = json.loads(await got(streamable, "seen"))
    ours = [each for each in seen if each["headers"].get("x-api-key") == "k-1"]
    assert {each["method"] for each in ours} >= {"POST", "DELETE"}


async def test_a_big_answer_arrives(streamable: int):
    async with remote(streamable) as skill:
        assert len(told(await skill.use("big", {"size": 1_000_000}))) == 1_000_000


async def test_a_call_without_answer_times_out(streamable: int):
    async with remote(streamable, tool_s=1) as skill:
        assert "timed out" in told(await skill.use("hang", {}))
        assert told(await skill.use("echo", {"words": "on"})) == "on"


async def test_a_session_that_was_ended_is_begun_anew_and_the_call_is_not_made():
    with serving("streamable") as port:
        async with remote(port) as skill:
            await skill.use("echo", {"words": "a"})
            assert await got(port, "forget") == "forgotten"
            outcome = await skill.use("echo", {"words": "b"})
            assert outcome.is_error
            assert "the call was not made" in told(outcome)
            assert told(await skill.use("echo", {"words": "c"})) == "c"


async def used_in_vain(skill: Skill) -> None:
    """Use it until it is known to be gone."""
    with anyio.fail_after(30):
        while True:
            try:
                outcome = await skill.use("echo", {"words": "?"})
            except SkillUnavailable:
                return
            assert outcome.is_error


async def test_a_server_that_went_and_came_is_connected_to_again():
    heard: list[Notice] = []
    with serving("streamable") as port:
        async with remote(port, heard=heard) as skill:
            for _ in range(2):  # as often as it takes
                outcome = await skill.use("die", {})
                assert outcome.is_error
                assert "outcome unknown" in told(outcome)
                await used_in_vain(skill)
                with serving("streamable", port):
                    assert told(await skill.use("echo", {"words": "back"})) == "back"
                    await skill.use("die", {})
            await used_in_vain(skill)
    assert sum(isinstance(notice, SkillConnected) for notice in heard) == 3


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("locked", "it wants authorization (HTTP 401)"),
        ("broken", "it answered HTTP 500"),
        ("flood", f"the answer has more than {BODY_MAX} bytes"),
    ],
)
async def test_a_server_that_does_not_serve_is_unavailable(kind: str, reason: str):
    with serving(kind) as port:
        with pytest.raises(SkillUnavailable) as caught:
            async with remote(port):
                pass
    assert reason in caught.value.reason


async def test_a_server_that_is_none_is_unavailable(streamable: int):
    skill = RemoteSkill(endpoint=f"http://127.0.0.1:{streamable}/elsewhere")
    with pytest.raises(SkillUnavailable) as caught:
        async with open_remote_skill(
            "far", skill, NO_PROXIES, hear=lambda _: None, allow_loopback=True
        ):
            pass
    assert caught.value.reason == "it speaks neither Streamable HTTP (HTTP 404) nor SSE (HTTP 404)"


async def test_a_redirect_to_another_host_is_not_followed(streamable: int):
    env = {"MY_KEY": "secret-of-the-moved"}
    with serving("moved", OTHER=str(streamable)) as port:
        with pytest.raises(SkillUnavailable, match="not followed"):
            async with remote(port, env=env, headers_env={"X-Api-Key": "MY_KEY"}):
                pass
    assert "secret-of-the-moved" not in await got(streamable, "seen")


# Where a server may be ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("", "Skill far has no endpoint"),
        ("http://a.com/x", "Skill far SSE endpoint must use HTTPS: http://a.com/x"),
        ("http://localhost/x", "Skill far SSE endpoint must use HTTPS: http://localhost/x"),
        (
            "https://127.0.0.1/x",
            "Skill far SSE endpoint cannot use private/local IP: https://127.0.0.1/x",
        ),
        (
            "https://2130706433/",
            "Skill far SSE endpoint cannot use private/local IP: https://2130706433/",
        ),
        (
            "https://[::ffff:10.0.0.1]/",
            "Skill far SSE endpoint cannot use private/local IP: https://[::ffff:10.0.0.1]/",
        ),
    ],
)
def test_an_endpoint_that_may_not_be_is_said(endpoint: str, text: str):
    with pytest.raises(UserError) as caught:
        endpoint_of("far", RemoteSkill(endpoint=endpoint))
    assert str(caught.value) == text


def test_loopback_is_for_those_who_switch_it_on():
    def passes(endpoint: str) -> bool:
        try:
            endpoint_of("far", RemoteSkill(endpoint=endpoint), allow_loopback=True)
        except UserError:
            return False
        return True

    assert passes("http://localhost:3000/mcp")
    assert passes("http://127.0.0.1/")
    assert passes("https://[::1]/")
    assert not passes("http://a.com/")
    assert not passes("https://10.0.0.1/")
    assert not passes("file://localhost/etc/passwd")
    assert loopback_allowed({"PERSTACK_ALLOW_LOOPBACK_SKILLS": "1"})
    assert not loopback_allowed({"PERSTACK_ALLOW_LOOPBACK_SKILLS": "0"})
    assert not loopback_allowed({})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_name_that_leads_here_is_refused_before_anything_is_sent(host: str):
    connections: list[str] = []

    async def taken(stream: ByteStream) -> None:
        connections.append("one")
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, taken)
        async with httpx2.AsyncClient(transport=PublicTransport()) as client:
            with pytest.raises(NotPublic):
                await client.get(f"http://{host}:{port}/")
        tasks.cancel_scope.cancel()
    await listener.aclose()
    assert connections == []


async def test_a_remote_skill_whose_name_leads_here_is_unavailable():
    skill = RemoteSkill(endpoint="https://localhost.localdomain:1/mcp")
    with pytest.raises(SkillUnavailable):
        async with open_remote_skill("far", skill, NO_PROXIES, hear=lambda _: None):
            pass


async def test_tls_sees_the_name_while_the_socket_sees_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pem = tmp_path / "both.pem"
    pem.write_bytes(b"".join(certificate("localhost")))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    names: list[str | None] = []
    heads: list[bytes] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    tls.sni_callback = lambda _, name, __: names.append(name)

    async def answer(stream: ByteStream) -> None:
        async with stream:
            heads.append(await stream.receive())
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    transport = PublicTransport(allow_loopback=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(TLSListener(listener, tls, standard_compatible=False).serve, answer)
        async with httpx2.AsyncClient(transport=transport) as client:
            response = await client.get(f"https://localhost:{port}/x")
            assert response.text == "hi"
            with pytest.raises(httpx2.TransportError):  # the certificate is for the name only
                await client.get(f"https://127.0.0.1:{port}/x")
        tasks.cancel_scope.cancel()
    await listener.aclose()
    assert names[0] == "localhost"
    assert f"Host: localhost:{port}".encode() in heads[0]
    assert transport.status == 200


# Headers and proxies --------------------------------------------------------------------------------------


def test_a_missing_variable_of_a_header_is_named():
    skill = RemoteSkill(endpoint="https://a.com", headers_env={"A": "ONE", "B": "Bearer TWO"})
    with pytest.raises(MissingEnv) as caught:
        headers_of("far", skill, {"ONE": ""})
    assert caught.value.names == ("ONE", "TWO")
    assert "far" in str(caught.value)


@pytest.mark.parametrize("value", ["a\nB: c", "a\0", "ü", " "])
def test_a_value_that_is_no_header_is_not_sent_and_not_shown(value: str):
    skill = RemoteSkill(endpoint="https://a.com", headers_env={"A": "MY_KEY"})
    with pytest.raises(UserError) as caught:
        headers_of("far", skill, {"MY_KEY": value})
    assert "MY_KEY" in str(caught.value)
    assert value.strip() not in str(caught.value) or value == " "


@pytest.mark.parametrize(
    ("env", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://q:1", "HTTPS_PROXY": "http://p:1"}, "http://q:1"),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "b.com, example.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "mcp.example.com:443"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "ample.com,mcp.example.com:8443"}, "http://p:1"),
    ],
)
def test_a_proxy_is_used_as_other_programs_use_it(env: dict[str, str], proxy: str | None):
    assert proxy_for("https://mcp.example.com/x", env) == proxy


async def test_behind_a_proxy_names_that_lead_here_are_refused_as_well():
    asked: list[bytes] = []

    async def tunnel(stream: ByteStream) -> None:
        async with stream:
            asked.append((await stream.receive()).partition(b"\r\n")[0])
            await stream.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, tunnel)
        transport = PublicTransport(proxy=f"http://127.0.0.1:{port}")
        async with httpx2.AsyncClient(transport=transport) as client:
            with pytest.raises(NotPublic):
                await client.get("https://localhost/")
            with pytest.raises(httpx2.TransportError):
                await client.get("https://known-to-the-proxy.invalid/")
        tasks.cancel_scope.cancel()
    await listener.aclose()
    assert asked == [b"CONNECT known-to-the-proxy.invalid:443 HTTP/1.1"]
