"""Work that many wait for, done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from ..wire.http import Refused
from .faults import away

T = TypeVar("T")


@dataclass(slots=True)
class _Flight:
    """One piece of work that several wait for."""

    done: anyio.Event = field(default_factory=anyio.Event)
    value: Any = None
    error: Exception | None = None


class Flights:
    """What is under way. tasks: where it runs on, also if who wanted it has left."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._flights: dict[str, _Flight] = {}

    async def once(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives, done once for all who want `what` at the same time. Raises what `work` raises."""
        flight = self._flights.get(what)
        if flight is None:
            self._flights[what] = flight = _Flight()
            self._tasks.start_soon(self._fly, what, flight, work)
        await flight.done.wait()
        if isinstance(refused := flight.error, Refused):
            # one for each who waits: it gets a traceback of its own
            raise Refused(refused.status, refused.reason, headers=refused.headers) from refused
        if flight.error is not None:
            raise flight.error
        return flight.value

    async def _fly(self, what: str, flight: _Flight, work: Callable[[], Awaitable[Any]]) -> None:
        try:
            flight.value = await work()
        except Exception as error:  # whoever waits must know, whatever it is
            flight.error = error
        finally:
            if flight.value is None and flight.error is None:
                flight.error = away("The server is stopping")
            del self._flights[what]
            flight.done.set()
