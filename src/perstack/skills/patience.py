"""How long a call may take: so long between signs of life, and so long in all."""

from __future__ import annotations

import math

import anyio

LONGEST = 10
"""How many times its idle time a call may take in all, however much progress it reports."""


class Patience:
    """The time limit of one call: `idle_s` between signs of life, LONGEST times that in all."""

    def __init__(self, idle_s: float) -> None:
        now = anyio.current_time()
        self.scope = anyio.CancelScope(deadline=now + idle_s)
        self._idle_s = idle_s
        self._latest = now + LONGEST * idle_s
        self._stopped: float | None = None
        self._stops = 0

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """A sign of life. The SDK calls it for each one the server reports."""
        if not self._stops:
            self.scope.deadline = min(anyio.current_time() + self._idle_s, self._latest)

    def stop(self) -> None:
        self._stops += 1
        if self._stops == 1:
            self._stopped = anyio.current_time()
            self.scope.deadline = math.inf

    def go_on(self) -> None:
        self._stops -= 1
        if not self._stops and self._stopped is not None:
            now = anyio.current_time()
            self._latest += now - self._stopped
            self.scope.deadline = min(now + self._idle_s, self._latest)

    @property
    def spent(self) -> str:
        if self.scope.deadline >= self._latest:
            return f"it took more than {LONGEST * self._idle_s:g} s"
        return f"no answer within {self._idle_s:g} s"
