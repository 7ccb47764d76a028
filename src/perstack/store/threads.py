"""Threads of a store's own, so that slow tools, which use the common ones, cannot hold a log up."""

from __future__ import annotations

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar


class OwnThreads:
    """At most `at_once` threads in each event loop. name: its own among all of them."""

    def __init__(self, name: str, at_once: int) -> None:
        self._limiters: RunVar[CapacityLimiter] = RunVar(name)
        self._at_once = at_once

    @property
    def limiter(self) -> CapacityLimiter:
        """What to run in them with: `to_thread.run_sync(..., limiter=...)`."""
        try:
            return self._limiters.get()
        except LookupError:
            limiter = CapacityLimiter(self._at_once)
            self._limiters.set(limiter)
            return limiter
