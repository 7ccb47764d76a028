"""The loop: write down what follows, perform what is wanted, until nothing is."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol

import anyio

from perstack.job import Command, Event, Generate, Job, Record, Use, apply, may_follow, wanted


class Appends(Protocol):
    """As much of a log as the loop needs."""

    async def append(self, event: Event, *, sync: bool = False) -> Event: ...


Perform = Callable[[Generate | Use], Awaitable[Event]]
"""Does what a command says and gives the fact that came of it. Raises only on a bug."""

Tell = Callable[[Job, Event, Job], None]
"""Told each fact once it is written: the state before, the fact, the state after. Must not block."""

Arrival = tuple[Command | None, Event]


class Inbox:
    """What comes in while a job runs: results of its commands, and words from outside. One at a time receives.

    Unbounded: results are at most one per command in flight, and words from outside are few and must not wait.
    """

    def __init__(self) -> None:
        self._arrived: deque[Arrival] = deque()
        self._awaited: anyio.Event | None = None
        self._closed = False

    def say(self, event: Event) -> None:
        """A word from outside. It is written down if it may follow, and dropped if it came too late.

        Raises ClosedResourceError once nobody receives any more.
        """
        self._put((None, event))

    def land(self, command: Command, event: Event) -> None:
        """The result of a command."""
        self._put((command, event))

    async def receive(self) -> Arrival:
        while not self._arrived:
            self._awaited = anyio.Event()
            await self._awaited.wait()
        return self._arrived.popleft()

    def close(self) -> None:
        self._closed = True

    def _put(self, arrival: Arrival) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
        self._arrived.append(arrival)
        if self._awaited is not None:
            self._awaited.set()


async def drive(job: Job, log: Appends, perform: Perform, inbox: Inbox, tell: Tell) -> Job:
    """Run `job` until it is finished, parked or stopped, and give the state it ended in."""
    flights: dict[Hashable, anyio.CancelScope] = {}

    async def fly(command: Generate | Use, scope: anyio.CancelScope) -> None:
        with scope:
            inbox.land(command, await perform(command))

    async def record(event: Event, *, sync: bool = False) -> Job:
        written = await log.append(event, sync=sync)
        after = apply(job, written)
        tell(job, written, after)
        return after

    async with anyio.create_task_group() as tasks:
        while wants := {command.key: command for command in wanted(job)}:
            follows = next((c for c in wants.values() if isinstance(c, Record)), None)
            if follows is not None:
                job = await record(follows.event, sync=follows.sync)
                continue
            for key in flights.keys() - wants.keys():
                flights.pop(key).cancel()
            for key, command in wants.items():
                if key not in flights and not isinstance(command, Record):
                    flights[key] = scope = anyio.CancelScope()
                    tasks.start_soon(fly, command, scope)
            command, event = await inbox.receive()
            if command is not None:
                known = flights.pop(command.key, None) is not None
            else:
                known = may_follow(job, event)
            if known:  # else: cancelled meanwhile, or a word from outside that came too late
                job = await record(event, sync=command is None)
        tasks.cancel_scope.cancel()
    return job
