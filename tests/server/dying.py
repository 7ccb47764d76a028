"""A publisher that is killed at each step of its write in turn.

    python -m tests.server.dying <database> <key> <stride>

For each n that is 1 more than a multiple of the stride, it publishes `@acme/x@1.n.0` and is killed (SIGKILL) at
the n-th statement that the write runs, the sealing included, until one lives to the end. Prints the last n.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

from perstack.registry import PREFIX
from perstack.server import App, Settings, make_app
from perstack.server.storage.repository import Dialect, Row, Session

from .house import payload


@dataclass
class Doom:
    """left: statements until the end."""

    left: int

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Doomed:
    """A session in which one statement is the last."""

    session: Session
    doom: Doom

    @property
    def dialect(self) -> Dialect:
        return self.session.dialect

    def one(self, sql: str, *values: Any) -> Row | None:
        self.doom.step()
        return self.session.one(sql, *values)

    def all(self, sql: str, *values: Any) -> list[Row]:
        self.doom.step()
        return self.session.all(sql, *values)

    def run(self, sql: str, *values: Any) -> int:
        self.doom.step()
        return self.session.run(sql, *values)

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self.doom.step()
        self.session.run_many(sql, rows)


async def attempt(database: str, key: str, n: int) -> int:
    """The status of the answer, if there is one."""
    app = make_app(Settings(database_url=database))
    async with app.running():
        doom = Doom(n)
        _doom(app, doom)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://registry.test"
        ) as http:
            answer = await http.post(
                f"{PREFIX}/experts/",
                json=payload("@acme/x", f"1.{n}.0", tags=["t"], delegates=["@acme/y@^1"]),
                headers={"authorization": f"Bearer {key}"},
            )
            doom.left = 0  # it lived
            return answer.status_code


def _doom(app: App, doom: Doom) -> None:
    """Puts the last statement somewhere into the next write."""
    repository = app.context.repository
    write, seal = repository.write, repository.seal

    async def doomed(work: Any, *, keep: bool = True) -> Any:
        return await write(lambda session: work(Doomed(session, doom)), keep=keep)

    repository.write = doomed
    repository.seal = lambda session: seal(Doomed(session, doom))


def main(database: str, key: str, stride: str) -> None:
    n, status = 1 - int(stride), -signal.SIGKILL
    while status == -signal.SIGKILL:
        n += int(stride)
        child = os.fork()
        if child == 0:
            os._exit(0 if anyio.run(attempt, database, key, n) == 200 else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        sys.exit(f"attempt {n} ended with {status}")
    print(n)  # noqa: T201  # for the test


if __name__ == "__main__":
    main(*sys.argv[1:])
