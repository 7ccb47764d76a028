"""Requests to one registry: with the user's key, within a time, a few at once, and again where that does no harm.

Requests that change nothing are tried again, with growing pauses, when the registry is not reached or says that it
is busy. Everything else is asked once: what has become of a publish that was not answered, only its owner can say.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Protocol

import anyio

from perstack._value import Value
from perstack.errors import RegistryError

from .place import Place

TIMEOUT_S = 30.0
CONNECTIONS = 16
PAUSES_S = (0.3, 1.0)
"""Before the second attempt and before the third, each made longer at random."""
LONGEST_PAUSE_S = 20.0

_AGAIN = (408, 429, 500, 502, 503, 504)


class Answer(Value, frozen=True):
    """An answer of any kind. headers: by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes


class Send(Protocol):
    """Sends one request. limit: bytes the answer may have. Raises RegistryError if there is none."""

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limit: int
    ) -> Answer: ...


class Asking:
    """Asks one registry. Any number of requests may be under way; 16 go out at once.

    timeout_s: for one attempt. pauses_s: before further attempts.
    """

    def __init__(
        self,
        place: Place,
        send: Send,
        *,
        timeout_s: float = TIMEOUT_S,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self.place = place
        self._send = send
        self._timeout_s = timeout_s
        self._pauses_s = tuple(pauses_s)
        self._turns = anyio.CapacityLimiter(CONNECTIONS)

    async def ask(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        limit: int,
        *,
        again: bool,
    ) -> Answer:
        """The answer, whatever it says. limit: bytes it may have. Raises RegistryError if there is none."""
        told = {"content-type": "application/json", **headers}
        place = self.place
        if (key := place.asked_with) and url.startswith(f"{place.asked}/"):
            told["authorization"] = f"Bearer {key}"
        for pause_s in (*(self._pauses_s if again else ()), None):
            try:
                async with self._turns:
                    with anyio.fail_after(self._timeout_s):
                        answer = await self._send(method, url, told, body, limit)
            except TimeoutError as error:
                what = f"{url} gave no answer within {self._timeout_s:g} s."
                raise RegistryError(what, reason="Request aborted", aborted=True) from error
            except RegistryError:
                if pause_s is None:
                    raise
                wait_s = 0.0
            else:
                if pause_s is None or answer.status not in _AGAIN:
                    return answer
                wait_s = _retry_after_s(answer)
            await anyio.sleep(max(wait_s, pause_s * (1 + random.random())))
        raise AssertionError("the last attempt returns or raises")


def _retry_after_s(answer: Answer) -> float:
    try:
        return min(max(float(answer.headers.get("retry-after", "0")), 0.0), LONGEST_PAUSE_S)
    except ValueError:
        return 0.0
