"""The events of a log as they come, for whoever asks for the next."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from perstack.job import Event


class Following(AsyncIterator[Event]):
    """Each event after `after`, once. It holds nothing open, so it can be left at any time.

    more: waits until there is something new, and gives it.
    """

    def __init__(self, more: Callable[[], Awaitable[Iterable[Event]]], after: int) -> None:
        self._more = more
        self._after = after
        self._ready: deque[Event] = deque()

    async def __anext__(self) -> Event:
        while not self._ready:
            self._ready.extend(event for event in await self._more() if event.seq > self._after)
        return self._ready.popleft()
