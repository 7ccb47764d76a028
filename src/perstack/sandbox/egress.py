"""The only way out of a sandbox: a proxy outside, which lets through what is on a list of names.

It does not listen anywhere itself. Who starts a sandbox gives it a socket that listens in the sandbox's own
network, where nothing else is (`listener.py`); through the *door*, a Unix socket, that is handed out before the
payload runs. One `open_egress` is one list; any number of sandboxes may come through its doors.

For each connection, in this order, and the first "no" ends it:

1. It asks with CONNECT for a host and a port (`connect.py`).
2. The name is on the list, port and all (`names.py`). IP addresses never are. Until here nothing is looked up, so
   a name that is not on the list sends no DNS query: names cannot carry anything out.
3. The name is looked up, and *all* its addresses are public (`_net`). The address that was judged is the one that
   is connected to.
4. What the client sends first is a TLS ClientHello for that very name (`hello.py`). Nothing it sent leaves before.

From then on bytes are moved in both directions and not looked at (`pump.py`). What this cannot hold: what is said
inside TLS to a host on the list, such as a Host header for another site of the same operator, or data put into an
account the payload has there. Each decision is told, at most so many a second: who asks more often has to wait.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from math import inf
from pathlib import Path
from typing import Literal

import anyio
import anyio.abc

from perstack._net import NotPublic, public_addresses
from perstack.errors import SandboxError, sole
from perstack.job import ProxyAccess

from .connect import HEAD_MAX, BadRequest, wanted_in
from .hello import HELLO_MAX, NotTls, hello_in
from .listener import STAYS, TAKEN
from .names import NotAName, Rule, name_of, shown
from .pump import pump, receive, send

CONNECTIONS = 64
"""Connections of one sandbox at a time; more wait."""

LISTENERS = 64
"""Sandboxes behind one door at a time. Nobody tells when one is gone; the oldest makes place for another."""

HEAD_S = 10.0
"""Seconds for a request, and again for the first bytes through the tunnel."""

DOOR_S = 120.0
"""Seconds in which somebody must come through a door for one: a container takes a while to start."""

CONNECT_S = 20.0
IDLE_S = 600.0
LIFE_S = 4 * 3600.0

TOLD_PER_S = 50.0
"""Decisions told, and so made, per second, after the first hundred."""

_BURST = 100.0
_UNKNOWN_NAME = b"\x15\x03\x01\x00\x02\x02\x70"
"""The TLS alert "unrecognized_name": a client shows it as what it is."""

LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
"""A name and a port to the addresses to connect to, judged. Raises OSError."""

Tell = Callable[[ProxyAccess], None]


@asynccontextmanager
async def open_egress(
    rules: Sequence[Rule], *, skill: str, tell: Tell, look_up: LookUp = public_addresses
) -> AsyncGenerator[Egress]:
    """The way out by `rules`. All that goes through it is closed when the block is left.

    skill: whose way out it is, for `tell`. look_up: for tests that have no Internet.
    """
    try:
        with ExitStack() as doors:
            async with anyio.create_task_group() as tasks:
                try:
                    yield Egress(_Proxy(tuple(rules), skill, tell, look_up, tasks), tasks, doors)
                finally:
                    tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        cause = sole(group)  # what the block raised, not that there was a task group around it
        raise cause from cause.__cause__


class Egress:
    """A way out by one list of rules, for any number of sandboxes."""

    def __init__(self, proxy: _Proxy, tasks: anyio.abc.TaskGroup, doors: ExitStack) -> None:
        self._proxy = proxy
        self._tasks = tasks
        self._doors = doors

    def open_door(
        self, path: Path, *, once: bool = False, entered: Callable[[], None] | None = None
    ) -> None:
        """A door to it: the Unix socket `path`, until the way out is closed.

        path: a new file, of at most 100 bytes, in a directory that only its owner can enter: whoever can connect
        to it gets out. once: it is shut when somebody came through, for where the payload could find it. entered:
        told of each who did. Raises SandboxError if it cannot be made.
        """
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._doors.callback(door.close)
        try:
            door.setblocking(False)
            door.bind(str(path))
            self._doors.callback(_removed, path)
            path.chmod(0o666)  # who comes through the directory may be another user, of a container
            door.listen(16)
        except OSError as error:
            raise SandboxError(
                f"The way out of the sandbox could not be made at {path}: {error}"
            ) from error
        self._tasks.start_soon(self._proxy.take_listeners, door, once, entered)


def _removed(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


class _Refused(Exception):
    """No. status: how HTTP says it, None once the tunnel stands. answer: what the client is told."""

    def __init__(self, status: str | None, host: str, port: int, reason: str) -> None:
        super().__init__(reason)
        self.host = host
        self.port = port
        self.reason = reason
        if status is None:
            self.answer = _UNKNOWN_NAME
        else:
            text = f"{shown(host)}:{port}: {reason}\n" if host else f"{reason}\n"
            self.answer = (
                f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(text)}\r\n"
                f"connection: close\r\n\r\n{text}"
            ).encode("ascii", "replace")


class _Proxy:
    """What one list lets through."""

    def __init__(
        self,
        rules: tuple[Rule, ...],
        skill: str,
        tell: Tell,
        look_up: LookUp,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._rules = rules
        self._skill = skill
        self._tell = tell
        self._look_up = look_up
        self._tasks = tasks
        self._listening: deque[anyio.CancelScope] = deque()
        self._pace = _Pace()

    async def take_listeners(
        self, door: socket.socket, once: bool, entered: Callable[[], None] | None
    ) -> None:
        """Takes each listening socket that comes through the door, or the first only."""
        with door, anyio.move_on_after(DOOR_S if once else inf):
            while True:
                link = await _accepted(door)
                self._tasks.start_soon(self._take, link, entered)
                if once:
                    return

    async def _take(self, link: socket.socket, entered: Callable[[], None] | None) -> None:
        with link:
            stays, listener = False, None
            with anyio.move_on_after(HEAD_S):
                await anyio.wait_readable(link)
                stays, listener = _listener_from(link)
            if listener is None:
                return
            with listener:
                try:
                    await send(link, TAKEN)
                except OSError:
                    return
                if entered is not None:
                    entered()
                while len(self._listening) >= LISTENERS:
                    self._listening.popleft().cancel()
                with anyio.CancelScope() as scope:
                    self._listening.append(scope)
                    async with anyio.create_task_group() as tasks:
                        if stays:
                            tasks.start_soon(_end_with, link, tasks.cancel_scope)
                        else:
                            link.close()
                        await self._listen(listener)
                if scope in self._listening:
                    self._listening.remove(scope)

    async def _listen(self, listener: socket.socket) -> None:
        places = anyio.Semaphore(CONNECTIONS)

        async def serve(client: socket.socket) -> None:
            try:
                with client:
                    await self._serve(client)
            finally:
                places.release()

        async with anyio.create_task_group() as tasks:
            while True:
                await places.acquire()
                tasks.start_soon(serve, await _accepted(listener))

    async def _serve(self, client: socket.socket) -> None:
        """One connection, from its first byte to its last."""
        try:
            await self._let_through(client)
        except _Refused as no:
            self._told("blocked", no.host, no.port, no.reason)
            with suppress(OSError):
                with anyio.move_on_after(HEAD_S):
                    await send(client, no.answer)
                    client.shutdown(socket.SHUT_WR)
                    while await receive(client, 65_536):  # else it would lose the answer
                        pass
        except OSError:
            pass  # one of the two is gone

    async def _let_through(self, client: socket.socket) -> None:
        head, first = await _head(client)
        await self._pace.wait()
        try:
            wanted = wanted_in(head)
        except BadRequest as error:
            raise _Refused("400 Bad Request", "", 0, str(error)) from error
        host, port = wanted
        rule, name = self._rule_for(host, port)
        with await self._connected(rule, name, port) as server:
            await send(client, b"HTTP/1.1 200 Connection established\r\n\r\n")
            remark = ""
            if not rule.plain:
                first, remark = await _checked(client, first, name, port)
            self._told("allowed", name, port, remark)
            await send(server, first)
            await pump(client, server, idle_s=IDLE_S, life_s=LIFE_S)

    def _rule_for(self, host: str, port: int) -> tuple[Rule, str]:
        """The rule that lets through, and the name to look up. Raises _Refused."""
        literal = host.removeprefix("[").removesuffix("]").lower()
        for rule in self._rules:
            if rule.trusted and (rule.name, rule.port) == (literal, port):
                return rule, literal
        try:
            name = name_of(host)
        except NotAName as error:
            raise _Refused("403 Forbidden", host, port, str(error)) from error
        if found := next((rule for rule in self._rules if rule.covers(name, port)), None):
            return found, name
        if any(rule.covers(name, rule.port) for rule in self._rules):
            raise _Refused("403 Forbidden", name, port, "not on this port")
        raise _Refused("403 Forbidden", name, port, "not in its allowedDomains")

    async def _connected(self, rule: Rule, name: str, port: int) -> socket.socket:
        """A connection to one of the addresses of `name`. Raises _Refused."""
        look_up = _looked_up if rule.trusted else self._look_up
        reason = "no connection in time"
        with anyio.move_on_after(CONNECT_S):
            try:
                addresses = await look_up(name, port)
            except NotPublic as error:
                reason = f"it leads to {error.address}, which is not public"
                raise _Refused("403 Forbidden", name, port, reason) from error
            except (OSError, ValueError) as error:  # ValueError: a name that no resolver takes
                raise _Refused(
                    "502 Bad Gateway", name, port, "the name could not be looked up"
                ) from error
            reason = "it has no address"
            for address in addresses:
                try:
                    return await _connect(address, port)
                except OSError as error:
                    reason = f"no connection: {error.strerror or error}"
        raise _Refused("502 Bad Gateway", name, port, reason)

    def _told(self, action: Literal["allowed", "blocked"], host: str, port: int, why: str) -> None:
        self._tell(
            ProxyAccess(skill=self._skill, action=action, domain=shown(host), port=port, reason=why)
        )


class _Pace:
    """How often something may be decided: a bucket of turns that fills steadily."""

    def __init__(self) -> None:
        self._full_at = 0.0

    async def wait(self) -> None:
        """Returns when it is the caller's turn."""
        now = anyio.current_time()
        self._full_at = max(now, self._full_at) + 1 / TOLD_PER_S
        await anyio.sleep(max(0.0, self._full_at - now - _BURST / TOLD_PER_S))


async def _head(client: socket.socket) -> tuple[bytes, bytes]:
    """The head of the request, and what came after it. Raises _Refused, OSError."""
    data = bytearray()
    with anyio.move_on_after(HEAD_S):
        while (end := data.find(b"\r\n\r\n", 0, HEAD_MAX)) < 0:
            if len(data) >= HEAD_MAX:
                raise _Refused("431 Request Header Fields Too Large", "", 0, "a head without end")
            piece = await receive(client, HEAD_MAX)
            if not piece:
                raise ConnectionResetError(errno.ECONNRESET, "it said nothing")
            data += piece
        return bytes(data[:end]), bytes(data[end + 4 :])
    raise _Refused("408 Request Timeout", "", 0, "no request in time")


async def _checked(client: socket.socket, first: bytes, name: str, port: int) -> tuple[bytes, str]:
    """What the client sends first, found to be a ClientHello for `name`, and a remark. Raises _Refused."""
    data = bytearray(first)
    with anyio.move_on_after(HEAD_S):
        try:
            while (hello := hello_in(bytes(data))) is None:
                if len(data) > 2 * HELLO_MAX:
                    raise NotTls("the ClientHello is too long")
                piece = await receive(client, HELLO_MAX)
                if not piece:
                    raise ConnectionResetError(errno.ECONNRESET, "it said nothing")
                data += piece
            said = name_of(hello.name) if hello.name else ""
        except (NotTls, NotAName) as error:
            raise _Refused(None, name, port, f"no proper TLS: {error}") from error
        if not said:
            raise _Refused(None, name, port, "its TLS names no server")
        if said != name:
            raise _Refused(None, name, port, f"its TLS names another server, {said}")
        return bytes(data), "a part of its ClientHello is encrypted" if hello.encrypted else ""
    raise _Refused(None, name, port, "no TLS in time")


async def _looked_up(name: str, port: int) -> Sequence[str]:
    """All addresses of a host the user chose; not judged."""
    found = await anyio.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(place[4][0]) for place in found))


async def _connect(address: str, port: int) -> socket.socket:
    """A connection to an address; nothing is looked up. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fault = made.connect_ex((address, port))
        if fault == errno.EINPROGRESS:
            await anyio.wait_writable(made)
            fault = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if fault:
            raise OSError(fault, os.strerror(fault))
    except BaseException:
        made.close()
        raise
    return made


async def _accepted(listening: socket.socket) -> socket.socket:
    """The next connection, non-blocking."""
    while True:
        await anyio.wait_readable(listening)
        try:
            made, _ = listening.accept()
        except BlockingIOError:
            continue
        except OSError:  # it is gone already, or we have no place for it now
            await anyio.sleep(0.05)
            continue
        made.setblocking(False)
        if made.family != socket.AF_UNIX:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


async def _end_with(link: socket.socket, scope: anyio.CancelScope) -> None:
    """Cancels `scope` when the other end of `link` is gone."""
    with suppress(OSError):
        while await receive(link, 1):
            pass
    scope.cancel()


def _listener_from(link: socket.socket) -> tuple[bool, socket.socket | None]:
    """Whether the link stays, and the listening TCP socket that came; None if something else did."""
    try:
        how, fds, _, _ = socket.recv_fds(link, 1, 1)
    except OSError:
        return False, None
    if not fds:
        return False, None
    try:
        listener = socket.socket(fileno=fds[0])
    except OSError:  # no socket
        os.close(fds[0])
        return False, None
    listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if (listener.family, listener.type, listens) != (socket.AF_INET, socket.SOCK_STREAM, 1):
        listener.close()
        return False, None
    listener.setblocking(False)
    return how == STAYS, listener
