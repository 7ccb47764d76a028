"""One upstream as it is asked: as whom, and for how long it is left alone when it was not reached.

Nobody's key is passed on. The upstream is asked without a key, and if that says no, with the mirror's own for this
upstream, if it has one; what only the key was given is private.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from perstack.errors import RegistryError
from perstack.registry import PREFIX, Fetch, Fetched

from .faults import AWAY_MS, away, wrong

log = logging.getLogger("perstack.server")


class Remote:
    """url: of the upstream. key: of this server there; empty without one. now: the clock, ms."""

    def __init__(self, url: str, fetch: Fetch, key: str, now: Callable[[], int]) -> None:
        self.url = url
        self._fetch = fetch
        self._key = key
        self._now = now
        self._away_until = 0

    async def ask(self, path: str, limit: int, etag: str = "") -> tuple[Fetched, bool]:
        """What the upstream answers, and whether it did so only to our key. Raises Refused: 502, 503.

        path: below the prefix. limit: bytes. etag: of what is kept; then the answer may be 304.
        """
        answer = await self._asked(path, limit, etag, "")
        if not self._key or answer.status not in (401, 403, 404):
            return answer, False
        return await self._asked(path, limit, etag, self._key), True

    async def _asked(self, path: str, limit: int, etag: str, key: str) -> Fetched:
        if self._away_until > self._now():
            raise away(f"{self.url} cannot be reached")
        headers = {"if-none-match": etag} if etag else {}
        if key:
            headers["authorization"] = f"Bearer {key}"
        try:
            answer = await self._fetch(f"{self.url}{PREFIX}{path}", headers, limit)
        except RegistryError as error:
            log.warning("%s", error)
            if error.status:
                raise wrong(f"{self.url} gives an answer that is too long") from error
            self._away_until = self._now() + AWAY_MS
            raise away(f"{self.url} cannot be reached") from error
        if answer.status >= 500 or answer.status == 429:
            log.warning("%s%s%s was answered with status %d", self.url, PREFIX, path, answer.status)
            raise away(f"{self.url} does not answer now (status {answer.status})")
        return answer

    def check_success(self, path: str, answer: Fetched) -> None:
        """Raises Refused (502) for any other status than 200."""
        if answer.status != 200:
            log.warning("%s%s: status %d", self.url, path, answer.status)
            raise wrong(f"{self.url} answers with status {answer.status}")
