"""One stdio server as a process: what is started, with which environment, and that all of it is ended.

The program stands behind a guard (`guard.py`), which ends it and all its descendants when the block is left,
and also when this process is killed. Nothing of MCP is known here: lines go in and come out.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic

import anyio

from perstack._kept import PYTHON
from perstack.definition import StdioSkill
from perstack.errors import MissingEnv, SkillUnavailable, UserError

from . import guard
from .environment import clean_env
from .wrapping import Launch, Wrap, unwrapped

GRACE_S = 2.0
"""What a server gets after its input was closed, and again after SIGTERM."""

LINE_MAX = 32 * 1024 * 1024
"""Bytes in one message. A longer one is skipped; a call it may have answered is told so."""

NOTICE_MAX = 4096
"""Bytes of standard error told at once."""

NOTICES_PER_S = 20
"""Pieces of standard error told per second; what is more is counted, and left out."""

TAIL_MAX = 8192
"""Bytes of standard error kept to explain why a server is not there."""

_LOGIN_NAMES = ("USER", "LOGNAME")
_CHUNK = 65_536
_HEAD = 256


def command_of(name: str, skill: StdioSkill) -> tuple[str, ...]:
    """The program of `skill` with its arguments. name: what to call the skill. Raises UserError."""
    if not skill.command:
        raise UserError(f"Skill {name} has no command")
    if not skill.package_name and not skill.args:
        raise UserError(f"Skill {name} has no packageName or args. Please provide one of them.")
    if skill.package_name and skill.args:
        raise UserError(
            f"Skill {name} has both packageName and args. Please provide only one of them."
        )
    args = skill.args or (skill.package_name or "",)
    if skill.command == "npx" and "-y" not in args:
        args = ("-y", *args)  # npx would ask whether it may install, and nobody could answer
    return (skill.command, *args)


def environment_of(name: str, skill: StdioSkill, env: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server of `skill`. env: where its variables are looked up. Raises MissingEnv."""
    missing = [variable for variable in skill.required_env if not env.get(variable)]
    if missing:
        raise MissingEnv(missing, f"skill {name}")
    wanted = {variable: env[variable] for variable in skill.required_env}
    login = {each: env[each] for each in _LOGIN_NAMES if env.get(each)}
    return clean_env(env, login | wanted)


class Murmur:
    """What a server says beside its messages: told in bounded pieces, its end kept."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear = hear
        self._tail = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._second = 0.0
        self._told = 0
        self._left_out = 0

    def heard(self, chunk: bytes) -> None:
        """chunk: at most NOTICE_MAX bytes."""
        self._tail += chunk
        del self._tail[:-TAIL_MAX]
        now = monotonic()
        if now - self._second >= 1:
            self._second, self._told = now, 0
        if self._told >= NOTICES_PER_S:
            self._left_out += len(chunk)
            self._decoder.reset()
            return
        text = self._decoder.decode(chunk).strip()
        if self._left_out:
            text = f"({self._left_out} bytes left out)\n{text}"
            self._left_out = 0
        if text:
            self._told += 1
            self._hear(text)

    def ended(self) -> None:
        """Nothing more will be said."""
        if self._left_out:
            self._hear(f"({self._left_out} bytes left out)")
            self._left_out = 0

    @property
    def tail(self) -> str:
        return self._tail.decode(errors="replace").strip()


class Process:
    """A running server: lines from its output, lines to its input.

    began: set when it runs, or when `fault` says why it does not. ended: set when it has exited, whatever its
    children do. exit: how, in words; code: its exit code, negative for a signal, None if that is not known. Only
    one task reads, and only one writes.
    """

    def __init__(self, guarded: subprocess.Popen[bytes], murmur: Murmur) -> None:
        self.began = anyio.Event()
        self.fault = ""
        self.ended = anyio.Event()
        self.exit = ""
        self.code: int | None = None
        self._murmur = murmur
        assert guarded.stdin is not None
        assert guarded.stdout is not None
        self._input = guarded.stdin
        self._in = guarded.stdin.fileno()
        self._out = guarded.stdout.fileno()
        self._rest = bytearray()

    async def line(self) -> bytes | None:
        """The next line, without its end and not blank; None when the output has ended.

        One of more than LINE_MAX bytes comes as an `OversizedLine`.
        """
        searched, oversized = 0, False
        while True:
            at = self._rest.find(b"\n", searched)
            if at >= 0:
                line = bytes(self._rest[:at])
                del self._rest[: at + 1]
                if oversized or at > LINE_MAX:
                    return OversizedLine(line[:_HEAD] + line[-_HEAD:])
                if line.strip():
                    return line
                searched = 0
                continue
            if len(self._rest) > LINE_MAX:
                # Its beginning and its end are kept: they say which call it answers.
                oversized = True
                del self._rest[_HEAD:-_HEAD]
            searched = len(self._rest)
            chunk = await _read(self._out, _CHUNK)
            if not chunk:
                return None
            self._rest += chunk

    async def write(self, line: bytes) -> None:
        """Raises OSError if the server does not take any more."""
        left = memoryview(line)
        while left:
            await anyio.wait_writable(self._in)
            try:
                left = left[os.write(self._in, left) :]
            except BlockingIOError:
                continue

    def close_input(self) -> None:
        """Nothing more will be written."""
        self._input.close()

    @property
    def rest(self) -> bytes:
        """What was read of a line that has no end yet."""
        return bytes(self._rest)

    def has_output(self) -> bool:
        """Whether there is something to read now, if only the end."""
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        return bool(poll.poll(0))

    def babble(self, line: bytes) -> None:
        """Treat a line of output that is no message as if it had come on standard error."""
        shown = line if len(line) < NOTICE_MAX - 1 else line[: NOTICE_MAX - 5] + b" ..."
        self._murmur.heard(shown + b"\n")


class OversizedLine(bytes):
    """Beginning and end of a line that was too long."""

    def answers(self) -> int | None:
        """The id of the request that it is the answer to, if its beginning or its end says so."""
        found = re.match(rb'\s*\{\s*("jsonrpc"\s*:\s*"2.0"\s*,\s*)?"id"\s*:\s*(\d+)\s*,', self)
        if found is None:
            found = re.search(rb'"id"\s*:\s*(\d+)\s*(,\s*"jsonrpc"\s*:\s*"2.0"\s*)?\}\s*$', self)
            return int(found[1]) if found else None
        return int(found[2])


@asynccontextmanager
async def open_process(
    name: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    murmur: Murmur,
    *,
    wrap: Wrap = unwrapped,
) -> AsyncGenerator[Process]:
    """The running server `argv`. When the block is left, it and all its descendants have ended.

    name: the skill's. That takes at most 3 * GRACE_S, and some moments if the system is slow. wrap: what is
    started instead.
    Raises SkillUnavailable if it cannot be started.
    """
    try:
        with wrap(argv, env, str(cwd)) as launch:
            guarded, link = _guarded(launch, cwd)
    except (OSError, ValueError) as error:  # ValueError: a null byte, which no argument can hold
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SkillUnavailable(name, f"{argv[0]} could not be started: {reason}") from error
    try:
        process = Process(guarded, murmur)
        assert guarded.stderr is not None
        for pipe in (guarded.stdin, guarded.stdout, guarded.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        async with anyio.create_task_group() as tasks:
            try:
                tasks.start_soon(_follow, link, process)
                tasks.start_soon(_listen, guarded.stderr.fileno(), murmur)
                await process.began.wait()
                if process.fault:
                    raise SkillUnavailable(
                        name, f"{argv[0]} could not be started: {process.fault}", murmur.tail
                    )
                yield process
            finally:
                with anyio.CancelScope(shield=True):
                    await _end(guarded, link, process)
                tasks.cancel_scope.cancel()
    finally:
        murmur.ended()
        link.close()
        for pipe in (guarded.stdin, guarded.stdout, guarded.stderr):
            if pipe is not None:
                pipe.close()


def _guarded(launch: Launch, cwd: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The guard, and our end of its link. Raises OSError, ValueError."""
    ours, theirs = socket.socketpair()
    with theirs:
        number = theirs.fileno()
        watched = [PYTHON, "-I", "-S", guard.__file__, str(number), str(GRACE_S)]
        try:
            guarded = subprocess.Popen(
                [*watched, *launch.argv],
                env=dict(launch.env),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(number, *launch.fds),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    ours.setblocking(False)
    return guarded, ours


async def _follow(link: socket.socket, process: Process) -> None:
    """Note what the guard says of the program."""
    try:
        said = await _said(link)
        if said != "started":
            number = int(said.removeprefix("failed ")) if said else 0
            process.fault = os.strerror(number) if number else "its guard ended"
            return
        process.began.set()
        said = await _said(link)
        process.code = int(said.removeprefix("exited ")) if said else None
        process.exit = "its guard ended" if process.code is None else _in_words(process.code)
    finally:
        process.began.set()
        process.ended.set()


async def _said(link: socket.socket) -> str:
    """The next line of the guard, "" if it ended."""
    line = b""
    while not line.endswith(b"\n"):
        await anyio.wait_readable(link)
        try:
            byte = link.recv(1)
        except ConnectionError:
            byte = b""
        if not byte:
            return ""
        line += byte
    return line.decode().strip()


def _in_words(code: int) -> str:
    if code >= 0:
        return f"it exited with code {code}"
    with suppress(ValueError):
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it was ended by signal {-code}"


async def _listen(stderr: int, murmur: Murmur) -> None:
    while chunk := await _read(stderr, NOTICE_MAX):
        murmur.heard(chunk)


async def _read(fd: int, most: int) -> bytes:
    while True:
        await anyio.wait_readable(fd)
        try:
            return os.read(fd, most)
        except BlockingIOError:
            continue


async def _end(guarded: subprocess.Popen[bytes], link: socket.socket, process: Process) -> None:
    """End the server: close its input, wait, let the guard end what is left. Every wait is bounded."""
    assert guarded.stdin is not None
    guarded.stdin.close()
    async with anyio.create_task_group() as tasks:
        # A server that is stuck writing cannot see that its input has ended.
        tasks.start_soon(_drain, process)
        with anyio.move_on_after(GRACE_S):
            await process.ended.wait()
        with suppress(OSError):  # the guard is gone already
            link.shutdown(socket.SHUT_WR)
        with anyio.move_on_after(2 * GRACE_S + 1):
            await _gone(guarded)
        tasks.cancel_scope.cancel()
    if guarded.poll() is None:  # stopped, or stuck in the system: what can be done is done
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(guarded.pid, signal.SIGKILL)
        with anyio.move_on_after(1):
            await _gone(guarded)


async def _gone(guarded: subprocess.Popen[bytes]) -> None:
    while guarded.poll() is None:  # noqa: ASYNC110  # nobody sets an event for us
        await anyio.sleep(guard.POLL_S)


async def _drain(process: Process) -> None:
    while await process.line() is not None:
        pass
