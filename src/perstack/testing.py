"""Stand-ins for the world, for our tests and for yours.

Each is a real implementation of its Protocol: `ScriptedModel` says what it is told to, `ScriptedSkill` offers
plain functions as tools, `MemoryStore` keeps logs in memory and can crash, `Meeting` proves that things happen
together.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from perstack import job
from perstack.errors import JobBusy, ModelError, PerstackError
from perstack.job import (
    Call,
    Event,
    ExpertMessage,
    IllegalEvent,
    Json,
    ResultPart,
    Text,
    Thought,
    Usage,
    encode_event,
    fold,
)
from perstack.models import Delta, Hear, Reply, Request
from perstack.skills import Outcome, Tool
from perstack.store import End, Following, Log, Summary, checked_id, events_in, summary_of

__all__ = [
    "Crash",
    "Meeting",
    "MemoryStore",
    "OffScript",
    "Script",
    "ScriptedModel",
    "ScriptedSkill",
    "Turn",
    "calls",
    "fails",
    "says",
]

Turn = Reply | ModelError
"""What a model does when it is asked once."""

Script = Mapping[tuple[str, int], Turn | tuple[Turn, ...]] | Callable[[Request], Turn]
"""A turn for each (path, step) asked for, or several, given one after the other, the last again and again; or a
function of the request. Unlike a row of turns, a script also fits runs that go on side by side."""

PLAIN_USAGE = Usage(input_tokens=100, output_tokens=20)


def says(text: str, *, thought: str = "", usage: Usage = PLAIN_USAGE, cut: bool = False) -> Reply:
    """A reply of words. cut: its output limit ended it."""
    message = ExpertMessage(
        thoughts=(Thought(text=thought),) if thought else (),
        texts=(Text(text=text),) if text else (),
    )
    return Reply(message=message, usage=usage, finish="length" if cut else "stop")


def calls(
    *asked: tuple[str, Mapping[str, Json]],
    text: str = "",
    thought: str = "",
    usage: Usage = PLAIN_USAGE,
) -> Reply:
    """A reply that asks for tools, each with its arguments. The ids of the calls are c1, c2, ..."""
    words = says(text, thought=thought)
    wanted = tuple(
        Call(id=f"c{n}", tool=tool, args=dict(args)) for n, (tool, args) in enumerate(asked, 1)
    )
    return Reply(message=replace(words.message, calls=wanted), usage=usage, finish="calls")


def fails(
    name: str = "Overloaded",
    *,
    retryable: bool = True,
    message: str = "the model failed, as the script says",
    status: int | None = None,
    retry_after_s: float | None = None,
) -> ModelError:
    """No reply, but this failure."""
    return ModelError(
        message, name=name, retryable=retryable, status=status, retry_after_s=retry_after_s
    )


class OffScript(AssertionError):
    """The model was asked for something its script does not know."""


class ScriptedModel:
    """A model that says what it is told to.

    turns: given out in the order in which requests arrive; or one `Script`. each: awaited before every reply.
    requests: all it was asked, in order.
    """

    def __init__(
        self, *turns: Turn | Script, each: Callable[[Request], Awaitable[object]] | None = None
    ) -> None:
        self._turns = turns
        self._each = each
        self._asked: dict[tuple[str, int], int] = {}
        self.requests: list[Request] = []

    async def reply(self, request: Request, hear: Hear) -> Reply:
        turn = self._turn(request)
        self.requests.append(request)
        await anyio.lowlevel.checkpoint()
        if self._each is not None:
            await self._each(request)
        if isinstance(turn, ModelError):
            raise turn
        for thought in turn.message.thoughts:
            _tell("thought", thought.text, hear)
        for text in turn.message.texts:
            _tell("text", text.text, hear)
        if turn.message.model:
            return turn
        return replace(turn, message=replace(turn.message, model=f"scripted/{request.model}"))

    def _turn(self, request: Request) -> Turn:
        match self._turns:
            case [Reply() | ModelError(), *_] | []:
                place = len(self.requests)
                turn = self._turns[place] if place < len(self._turns) else None
            case [Mapping() as script]:
                place = (request.path, request.step)
                known = script.get(place)
                row = known if isinstance(known, tuple) else (known,)
                asked = self._asked.get(place, 0)
                self._asked[place] = asked + 1
                turn = row[min(asked, len(row) - 1)]
            case [script] if callable(script):
                turn = script(request)
            case _:
                turn = None
        if not isinstance(turn, Reply | ModelError):
            raise OffScript(
                f"no turn for request {len(self.requests) + 1}: {request.expert} at "
                f"{request.path or 'the root'}, step {request.step}"
            )
        return turn


def _tell(kind: Literal["thought", "text"], text: str, hear: Hear) -> None:
    for piece in text.splitlines(keepends=True):
        hear(Delta(kind=kind, text=piece))


Answer = Outcome | str | Exception
Use = Callable[[dict[str, Json]], Answer | Awaitable[Answer]]


class ScriptedSkill:
    """A skill of plain functions.

    functions: by the name of the tool. tools: those that have more to say of themselves than a name. uses: all
    calls made, in order.
    """

    def __init__(self, functions: Mapping[str, Use], tools: Iterable[Tool] = ()) -> None:
        described = {tool.name: tool for tool in tools}
        self._functions = dict(functions)
        self._tools = tuple(
            described.get(name) or Tool(name=name, description=name, schema={"type": "object"})
            for name in functions
        )
        self.uses: list[tuple[str, dict[str, Json]]] = []

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._tools

    async def use(
        self, tool: str, args: dict[str, Json], answers: Sequence[job.Answer] = ()
    ) -> Outcome:
        await anyio.lowlevel.checkpoint()
        self.uses.append((tool, args))
        answer = self._functions[tool](args)
        if inspect.isawaitable(answer):
            answer = await answer
        match answer:
            case Outcome():
                return answer
            case Exception():
                raise answer
            case text:
                parts: tuple[ResultPart, ...] = (Text(text=text),)
                return Outcome(parts=parts)


class Meeting:
    """Each who arrives waits until `size` have."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._come = 0
        self._full = anyio.Event()

    async def arrive(self, _: object = None) -> None:
        self._come += 1
        if self._come >= self._size:
            self._full.set()
        await self._full.wait()


class Crash(BaseException):
    """The process has ended, as far as the log can tell: nothing of what follows is written."""


class MemoryStore:
    """Logs in memory, as bytes, with a clock of their own: each event is a millisecond after the one before.

    crash_at: the append, counted from 1 over all jobs, at which `Crash` is raised, once; the log that was open
    then raises it again for whatever else is tried. written: whether that event reached the log.
    """

    def __init__(self, crash_at: int | None = None, *, written: bool = False) -> None:
        self._crash_at = crash_at
        self._crash_written = written
        self._logs: dict[str, bytearray] = {}
        self._ends: dict[str, End] = {}
        self._busy: set[str] = set()
        self._news: anyio.Event | None = None
        self._clock_ms = 1_767_225_600_000
        self.appends = 0

    @asynccontextmanager
    async def open(self, job: str) -> AsyncGenerator[tuple[Log, tuple[Event, ...]]]:
        checked_id(job)
        if job in self._busy:
            raise JobBusy(job, "this very process")
        self._busy.add(job)
        try:
            yield _MemoryLog(self, job), self._events(job)
        finally:
            self._busy.remove(job)

    async def read(self, job: str, after: int = 0) -> tuple[Event, ...]:
        return self._events(checked_id(job))[after:]

    def follow(self, job: str, after: int = 0) -> AsyncIterator[Event]:
        return Following(_Growth(self, checked_id(job)).more, after)

    async def jobs(self) -> tuple[str, ...]:
        return tuple(sorted(self._ends, key=lambda job: self._ends[job].at, reverse=True))

    async def summaries(self) -> tuple[Summary, ...]:
        return tuple([self._summary(job) for job in await self.jobs()])

    async def news(self, job: str, end: End) -> tuple[list[Event], End]:
        """What is in the log after `end`, waiting for it; the way of a follower to its store."""
        while end.offset == len(self._logs.get(job, b"")):
            self._news = self._news or anyio.Event()
            await self._news.wait()
        events, end, _ = events_in(bytes(self._logs[job][end.offset :]), end, job=job, path=job)
        return events, end

    def _events(self, job: str) -> tuple[Event, ...]:
        events, _, _ = events_in(bytes(self._logs.get(job, b"")), End(), job=job, path=job)
        return tuple(events)

    def _summary(self, job: str) -> Summary:
        try:
            summary = summary_of(fold(self._events(job)))
        except (PerstackError, IllegalEvent) as error:
            return Summary(job=job, status="unreadable", fault=str(error))
        return summary.written_by("this very process" if job in self._busy else "")

    def write(self, job: str, event: Event) -> Event:
        """Appends one event; the way of an open log to the store it is of."""
        self.appends += 1
        crash = self.appends == self._crash_at
        if crash and not self._crash_written:
            raise Crash
        self._clock_ms += 1
        end = self._ends.get(job, End())
        placed = replace(event, seq=end.seq + 1, at=event.at or self._clock_ms / 1000)
        line, total = encode_event(placed, end.sum)
        self._logs.setdefault(job, bytearray()).extend(line)
        self._ends[job] = End(end.offset + len(line), placed.seq, total, placed.at)
        if self._news is not None:
            self._news.set()
            self._news = None
        if crash:
            raise Crash
        return placed


class _Growth:
    def __init__(self, store: MemoryStore, job: str) -> None:
        self._store = store
        self._job = job
        self._end = End()

    async def more(self) -> list[Event]:
        events, self._end = await self._store.news(self._job, self._end)
        return events


class _MemoryLog:
    def __init__(self, store: MemoryStore, job: str) -> None:
        self._store = store
        self._job = job
        self._dead = False

    async def append(self, event: Event, *, sync: bool = False) -> Event:
        if self._dead:
            raise Crash
        try:
            placed = self._store.write(self._job, event)
        except Crash:
            self._dead = True
            raise
        if sync:
            await anyio.lowlevel.checkpoint()
        return placed
