"""How long a call may take: so long between signs of life, and so long in all."""

from __future__ import annotations

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

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """A sign of life. The SDK calls it for each one the server reports."""
        self.scope.deadline = min(anyio.current_time() + self._idle_s, self._latest)

    @property
    def spent(self) -> str:
        if self.scope.deadline >= self._latest:
            return f"it took more than {LONGEST * self._idle_s:g} s"
        return f"no answer within {self._idle_s:g} s"
