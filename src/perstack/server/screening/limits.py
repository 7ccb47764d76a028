"""How often one may do what: a bucket of tokens for each action and each key, account and address.

A bucket is one number: the moment at which it will be full again. Each use moves that moment by one interval; when
it is further away than a whole bucket takes to fill, the use is refused. So there is nothing to refill, and a
bucket whose moment has passed can be forgotten.

Buckets live in memory, one set a process: they slow down who is too fast, and are no account of anything. The
clock is passed in. Nothing is limited unless the settings say so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from perstack.errors import UserError


class Rate(NamedTuple):
    """every_s: seconds until one more may be done; burst: how many may be done at once."""

    every_s: float
    burst: int


DEFAULTS: Mapping[str, Rate] = {
    "publish-new": Rate(600, 5),
    "publish-update": Rate(60, 30),
    "status": Rate(60, 100),
    "tag": Rate(60, 100),
    "unpublish": Rate(60, 100),
    "authenticate": Rate(12, 10),
    "search": Rate(0.2, 30),
    "names-a-day": Rate(864, 100),
}
"""authenticate: failures, by address. names-a-day: first versions of names, by organization."""

VERSIONS_OF_AN_EXPERT = 1000


def rates_of(setting: str) -> dict[str, Rate]:
    """What `rate_limits` says: `off`, `default`, or `action=per_minute/burst …` over the defaults; 0: no limit.

    Raises UserError.
    """
    words = setting.split()
    if words in ([], ["off"]):
        return {}
    rates = dict(DEFAULTS)
    for word in words:
        if word == "default":
            continue
        action, _, value = word.partition("=")
        minute, _, burst = value.partition("/")
        try:
            per_minute, most = float(minute), int(burst or 1)
        except ValueError:
            per_minute, most = math.nan, 0
        if action not in DEFAULTS or not 0 <= per_minute < math.inf or most < 1:
            raise UserError(
                f'The rate limit "{word}" cannot be read. Write off, default, or action=per_minute/burst'
                f" with one of {', '.join(DEFAULTS)}."
            )
        rates.pop(action, None)
        if per_minute:
            rates[action] = Rate(60 / per_minute, most)
    return rates


class Buckets:
    """The buckets of one process. keep: how many; beyond that, full ones are forgotten."""

    def __init__(self, rates: Mapping[str, Rate], keep: int = 100_000) -> None:
        self.rates = rates
        self.keep = keep
        self._full_at: dict[tuple[str, str], float] = {}

    def take(self, action: str, whose: Iterable[str], now_s: float) -> float:
        """Uses one token of each of `whose` buckets; 0 if all had one.

        Otherwise nothing is used, and this is how many seconds to wait for the slowest of them.
        """
        rate = self.rates.get(action)
        if rate is None:
            return 0.0
        moved: dict[tuple[str, str], float] = {}
        wait = 0.0
        for one in whose:
            full_at = max(self._full_at.get((action, one), 0.0), now_s) + rate.every_s
            wait = max(wait, full_at - rate.every_s * rate.burst - now_s)
            moved[action, one] = full_at
        if wait > 1e-9:
            return wait
        self._full_at |= moved
        if len(self._full_at) > self.keep:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now_s}
        return 0.0

    def __len__(self) -> int:
        return len(self._full_at)
