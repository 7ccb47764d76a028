"""What is said where an upstream is at fault: it says what cannot be (502), or it says nothing now (503)."""

from __future__ import annotations

from ..wire.http import Refused

AWAY_MS = 5_000
"""For how long an upstream that was not reached is not asked."""


def wrong(what: str) -> Refused:
    return Refused(502, what)


def away(what: str) -> Refused:
    return Refused(503, what, headers={"Retry-After": str(AWAY_MS // 1000)})
