"""The way out of a sandbox, from outside and from inside. What the attacker gets is asserted, and what is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import anyio
import pytest
from anyio.streams.tls import TLSStream

from perstack.errors import SandboxError
from perstack.sandbox.egress import CONNECTIONS, open_egress
from perstack.sandbox.listener import hand_over, hand_over_and_stay
from perstack.sandbox.names import Rule

from .outside import LookUps, client_context, hello, plain_host, rest_of, tls_host, way_out

pytestmark = pytest.mark.anyio


async def test_a_listed_host_is_reached_and_its_certificate_is_seen(tmp_path: Path):
    async with tls_host() as host, way_out(tmp_path, Rule("api.example", host.port)) as way:
        tunnel = await way.connect("api.example", host.port)
        async with await TLSStream.wrap(
            tunnel, hostname="api.example", ssl_context=client_context(), standard_compatible=False
        ) as tls:
            await tls.send(b"hello")
            assert await tls.receive() == b"HELLO"
    assert way.decisions == [("allowed", "api.example", host.port)]
    assert way.look_ups.asked == ["api.example"]


@pytest.mark.parametrize("asked", ["API.Example", "api.example.", "Api.Example."])
async def test_case_and_a_dot_at_the_end_make_no_other_host(tmp_path: Path, asked: str):
    async with tls_host() as host, way_out(tmp_path, Rule("api.example", host.port)) as way:
        async with await way.connect(asked, host.port) as tunnel:
            await tunnel.send(hello("API.example"))
            assert (await tunnel.receive())[:1] == b"\x16"  # the server shakes hands
    assert way.decisions == [("allowed", "api.example", host.port)]


async def test_a_wildcard_lets_through_the_name_and_all_below_it(tmp_path: Path):
    async with tls_host() as host, way_out(tmp_path, Rule("*.wild.example", host.port)) as way:
        for name in ("wild.example", "a.wild.example"):
            await (await way.connect(name, host.port)).aclose()
        for name in ("notwild.example", "wild.example.evil.example", "example"):
            with pytest.raises(ConnectionError, match="403"):
                await way.connect(name, host.port)
    assert way.look_ups.asked == ["wild.example", "a.wild.example"]


async def test_a_denied_name_sends_no_dns_query(tmp_path: Path):
    async with way_out(tmp_path, Rule("api.example")) as way:
        with pytest.raises(ConnectionError, match="403"):
            await way.connect("736563726574.evil.example", 443)
    assert way.look_ups.asked == []
    assert way.decisions == [("blocked", "736563726574.evil.example", 443)]


@pytest.mark.parametrize(
    "host",
    [
        "203.0.113.77",
        "169.254.169.254",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "1.2.3.4.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1%25eth0]",
        "[64:ff9b::7f00:1]",
    ],
)
async def test_no_spelling_of_an_address_gets_out(tmp_path: Path, host: str):
    rules = (Rule(host), Rule(host.removesuffix("."), 80), Rule("*.4"))
    async with way_out(tmp_path, *rules) as way:
        with pytest.raises(ConnectionError, match="403"):
            await way.connect(host, 443)
    assert way.look_ups.asked == []
    assert [action for action, _, _ in way.decisions] == ["blocked"]


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("169.254.169.254",),
        ("10.0.0.1",),
        ("::1",),
        ("::ffff:192.168.0.1",),
        ("8.8.8.8", "10.0.0.1"),
        ("10.0.0.1", "8.8.8.8"),
    ],
)
async def test_a_listed_name_that_leads_inside_is_not_connected_to(
    tmp_path: Path, addresses: tuple[str, ...]
):
    look_ups = LookUps(api_example=addresses)
    async with plain_host() as host:
        rule = Rule("api.example", host.port)
        async with way_out(tmp_path, rule, look_ups=look_ups) as way:
            with pytest.raises(ConnectionError, match="403"):
                await way.connect("api.example", host.port)
        assert host.received == []
    assert way.decisions == [("blocked", "api.example", host.port)]


async def test_a_name_is_looked_up_once_so_it_cannot_lead_elsewhere_the_second_time(tmp_path: Path):
    class Rebinding(LookUps):
        async def __call__(self, name: str, port: int) -> tuple[str, ...]:
            self.asked.append(name)
            return ("127.0.0.1",) if len(self.asked) == 1 else ("127.0.0.2",)

    async with tls_host() as host:
        rule = Rule("api.example", host.port)
        async with way_out(tmp_path, rule, look_ups=Rebinding()) as way:
            async with await way.connect("api.example", host.port) as tunnel:
                await tunnel.send(hello())
                assert await tunnel.receive()
    assert way.look_ups.asked == ["api.example"]


@pytest.mark.parametrize("port", [22, 80, 25, 8443])
async def test_only_the_port_of_the_rule_is_open(tmp_path: Path, port: int):
    async with way_out(tmp_path, Rule("api.example")) as way:
        with pytest.raises(ConnectionError, match="403"):
            await way.connect("api.example", port)
    assert way.look_ups.asked == []
    assert way.decisions == [("blocked", "api.example", port)]


@pytest.mark.parametrize("name", ["other.example", "", "evil.example"])
async def test_tls_for_another_host_does_not_get_out(tmp_path: Path, name: str):
    async with plain_host() as host, way_out(tmp_path, Rule("api.example", host.port)) as way:
        async with await way.connect("api.example", host.port) as tunnel:
            await tunnel.send(hello(name))
            assert await rest_of(tunnel) == b"\x15\x03\x01\x00\x02\x02\x70"
    assert b"".join(host.received) == b""
    assert way.decisions == [("blocked", "api.example", host.port)]


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",  # SSL 2
        b"\x16\x03\x01\xff\xff" + b"x" * 100,  # a record that is too long
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # the server's part of a handshake
        b"\x16\x03\x01\x00\x00" * 10,
    ],
)
async def test_what_is_not_tls_does_not_get_out(tmp_path: Path, said: bytes):
    async with plain_host() as host, way_out(tmp_path, Rule("api.example", host.port)) as way:
        async with await way.connect("api.example", host.port) as tunnel:
            await tunnel.send(said)
            assert (await rest_of(tunnel))[:1] == b"\x15"
    assert b"".join(host.received) == b""
    assert way.decisions == [("blocked", "api.example", host.port)]


async def test_a_hello_in_many_pieces_is_put_together(tmp_path: Path):
    first = hello()
    record, body = first[:3], first[5:]
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    async with tls_host() as host, way_out(tmp_path, Rule("api.example", host.port)) as way:
        async with await way.connect("api.example", host.port) as tunnel:
            for piece in pieces:
                await tunnel.send(record + len(piece).to_bytes(2) + piece)
            assert (await tunnel.receive())[:1] in (b"\x16", b"\x15")  # the server read it
    assert way.decisions == [("allowed", "api.example", host.port)]


async def test_a_hello_sent_with_the_request_is_not_lost(tmp_path: Path):
    async with tls_host() as host, way_out(tmp_path, Rule("api.example", host.port)) as way:
        async with await way.open() as stream:
            request = f"CONNECT api.example:{host.port} HTTP/1.1\r\n\r\n".encode()
            await stream.send(request + hello())
            answer = b""
            while len(answer) < 60:
                answer += await stream.receive()
    assert answer.startswith(b"HTTP/1.1 200 Connection established\r\n\r\n\x16")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET http://api.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n", b"400"),
        (b"POST http://169.254.169.254/ HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\n folded: x\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\nHost : x\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\nHost: x\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\nX: a\rb\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\nX: a\x00b\r\n\r\n", b"400"),
        (b"CONNECT evil.example\x00.api.example:443 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT evil.example\r\n.api.example:443 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT api.example HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT api.example:0 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT api.example:99999 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT api.example:443:443 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT user@api.example:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT %61pi.example:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT api..example:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT api.example..:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT .:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT :443 HTTP/1.1\r\n\r\n", b"403"),
        ("CONNECT аpi.example:443 HTTP/1.1\r\n\r\n".encode(), b"403"),  # noqa: RUF001  # Cyrillic
        ("CONNECT api。example:443 HTTP/1.1\r\n\r\n".encode(), b"403"),
        ("CONNECT ａpi.example:443 HTTP/1.1\r\n\r\n".encode(), b"403"),  # noqa: RUF001  # fullwidth
        (b"CONNECT xn--pi-7kc.example:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"X" * 20_000 + b"\r\n\r\n", b"431"),
        (b"CONNECT api.example:443 HTTP/1.1\r\n" + b"A: b\r\n" * 4000 + b"\r\n", b"431"),
    ],
)
async def test_what_two_readers_could_read_differently_is_refused(
    tmp_path: Path, request_: bytes, status: bytes
):
    async with way_out(tmp_path, Rule("api.example")) as way:
        answer = await way.say(request_)
    assert answer.split(b" ")[1] == status
    assert way.look_ups.asked == []
    assert [action for action, _, _ in way.decisions] == ["blocked"]


async def test_nothing_after_a_refused_request_is_answered(tmp_path: Path):
    """Request smuggling: the second request is not another request."""
    async with plain_host() as host, way_out(tmp_path, Rule("api.example", host.port)) as way:
        second = b"CONNECT api.example:%d HTTP/1.1\r\n\r\n" % host.port
        answer = await way.say(b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n" + second)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert way.decisions == [("blocked", "evil.example", 443)]


async def test_what_is_told_holds_no_control_characters(tmp_path: Path):
    async with way_out(tmp_path) as way:
        await way.say("CONNECT a\x9b31mé:443 HTTP/1.1\r\n\r\n".encode())
    assert way.told[0].domain.isprintable()
    assert way.told[0].domain.isascii()


async def test_a_client_that_says_nothing_keeps_nobody_waiting(tmp_path: Path):
    """Slow loris: half a request on many connections; another connection is served all the same."""
    async with tls_host() as host, way_out(tmp_path, Rule("api.example", host.port)) as way:
        slow = [await way.open() for _ in range(CONNECTIONS - 1)]
        for stream in slow:
            await stream.send(b"CONNECT api.ex")
        await (await way.connect("api.example", host.port)).aclose()
        for stream in slow:
            await stream.aclose()


async def test_more_connections_than_places_wait_for_their_turn(tmp_path: Path):
    async with tls_host() as host, way_out(tmp_path, Rule("api.example", host.port)) as way:
        busy = [await way.open() for _ in range(CONNECTIONS)]
        late = await way.open()
        await late.send(b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
        await anyio.wait_all_tasks_blocked()
        assert way.told == []
        await busy[0].aclose()
        assert (await late.receive()).startswith(b"HTTP/1.1 403")
        for stream in (*busy[1:], late):
            await stream.aclose()


async def test_each_direction_ends_by_itself_and_nothing_is_lost(tmp_path: Path):
    sent = os.urandom(8 * 1024 * 1024)
    async with (
        plain_host() as host,
        way_out(tmp_path, Rule("api.example", host.port, plain=True)) as way,
    ):
        async with await way.connect("api.example", host.port) as tunnel:
            await tunnel.send(sent)
            await tunnel.send_eof()
            assert await rest_of(tunnel) == b"%d bytes" % len(sent)
        assert host.received == [sent]


async def test_a_host_the_user_chose_may_be_on_this_machine(tmp_path: Path):
    async with plain_host() as host:
        rule = Rule("127.0.0.1", host.port, plain=True, trusted=True)
        async with way_out(tmp_path, rule) as way:
            async with await way.connect("127.0.0.1", host.port) as tunnel:
                await tunnel.send(b"POST / HTTP/1.1\r\n\r\n")
                await tunnel.send_eof()
                assert await rest_of(tunnel) == b"19 bytes"


async def test_a_registry_the_user_named_may_be_on_a_private_network(tmp_path: Path):
    """Where it leads is not judged; that it is TLS for that name is."""
    async with tls_host() as host:
        rule = Rule("localhost", host.port, trusted=True)
        async with way_out(tmp_path, rule) as way:
            async with await way.connect("LocalHost", host.port) as tunnel:
                await tunnel.send(hello("localhost"))
                assert (await tunnel.receive())[:1] == b"\x16"
            async with await way.connect("localhost", host.port) as tunnel:
                await tunnel.send(hello("evil.example"))
                assert (await rest_of(tunnel))[:1] == b"\x15"
    assert [action for action, _, _ in way.decisions] == ["allowed", "blocked"]


async def test_an_error_of_who_uses_the_way_comes_out_as_it_is():
    with pytest.raises(SandboxError, match="mine"):
        async with open_egress((), skill="geo", tell=lambda _: None):
            raise SandboxError("mine")


async def test_a_host_that_cannot_be_reached_is_told(tmp_path: Path):
    async with plain_host() as host:
        port = host.port
    async with way_out(tmp_path, Rule("api.example", port), Rule("nowhere.example")) as way:
        for name, number in (("api.example", port), ("nowhere.example", 443)):
            with pytest.raises(ConnectionError, match="502"):
                await way.connect(name, number)
    assert way.decisions == [("blocked", "api.example", port), ("blocked", "nowhere.example", 443)]


async def test_only_a_listening_tcp_socket_is_taken_through_the_door(tmp_path: Path):
    async with way_out(tmp_path) as way:
        first, second = socket.socketpair()
        with first, second:
            # A socket that does not listen, a file, nothing
            for number in (first.fileno(), 0, None):
                with socket.socket(socket.AF_UNIX) as link:
                    await anyio.to_thread.run_sync(link.connect, str(tmp_path / "door"))
                    if number is None:
                        link.send(b"\x00")
                    else:
                        socket.send_fds(link, [b"\x00"], [number])
                    assert await anyio.to_thread.run_sync(link.recv, 1) == b""
        assert (await way.say(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")).startswith(
            b"HTTP/1.1 403"
        )


async def test_many_sandboxes_may_come_through_one_door(tmp_path: Path):
    async with way_out(tmp_path) as way:
        door = str(tmp_path / "door")
        ports = [await anyio.to_thread.run_sync(hand_over, door, 0) for _ in range(3)]
        for port in (way.port, *ports):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
                assert (await stream.receive()).startswith(b"HTTP/1.1 403")


async def test_who_stays_linked_is_known_to_be_gone(tmp_path: Path):
    async with way_out(tmp_path) as way:
        door = str(tmp_path / "door")
        link = await anyio.to_thread.run_sync(hand_over_and_stay, door, 0)
        link.close()
        assert (await way.say(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")).startswith(
            b"HTTP/1.1 403"
        )
        link = await anyio.to_thread.run_sync(hand_over_and_stay, door, 0)
    assert await anyio.to_thread.run_sync(link.recv, 1) == b""  # and the other way round
    link.close()


async def test_a_door_for_one_is_shut_behind_it(tmp_path: Path):
    door = tmp_path / "door"
    entered: list[bool] = []
    async with open_egress((), skill="geo", tell=lambda _: None) as egress:
        egress.open_door(door, once=True, entered=lambda: entered.append(True))
        await anyio.to_thread.run_sync(hand_over, str(door), 0)
        with pytest.raises(ConnectionRefusedError):
            await anyio.to_thread.run_sync(hand_over, str(door), 0)
    assert entered == [True]


async def test_when_the_way_is_closed_nothing_listens_any_more(tmp_path: Path):
    async with tls_host() as host, way_out(tmp_path, Rule("api.example", host.port)) as way:
        tunnel = await way.connect("api.example", host.port)
    assert await rest_of(tunnel) == b""
    await tunnel.aclose()
    with pytest.raises(ConnectionRefusedError):
        await anyio.to_thread.run_sync(socket.create_connection, ("127.0.0.1", way.port))
    assert [path async for path in anyio.Path(tmp_path).iterdir()] == []


async def test_a_door_that_cannot_be_made_is_an_error(tmp_path: Path):
    async with open_egress((), skill="geo", tell=lambda _: None) as egress:
        with pytest.raises(SandboxError):
            egress.open_door(tmp_path / "no" / "door")
