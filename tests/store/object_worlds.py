"""Processes that write to object storage, to be killed and stopped.

    python -m tests.store.object_worlds <world> <place>

`writers` takes a line "<job>" and forks a writer, which says its pid, then the seq of each event that `append`
returned to it, "+" before it if it was synced; when it is dead, "dead" follows. `holder` opens job "a", says
"open", and appends what it is told, a line each, "+" before it for a sync; it says the seq, or what went wrong.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

import anyio

from perstack.errors import JobBusy, PerstackError
from perstack.job import UserSpoke
from perstack.store import ObjectStore

from .facts import started
from .forking import fork_writers, say
from .storage import REPOSITORY, store_in

LEASE_S = 0.5
"""A dead writer is waited for no longer than this."""


def writers(place: str) -> None:
    async def write(job: str) -> None:
        store = store_in(place, lease_s=LEASE_S, store_s=0.05)
        while True:
            with suppress(JobBusy):  # the lease of the one before has to run out
                await _write(store, job)

    fork_writers(write)


async def _write(store: ObjectStore, job: str) -> None:
    async with store.open(job) as (log, events):
        for event in started(job)[len(events) :]:
            say(str((await log.append(event)).seq))
        while True:
            for n in range(5):
                sync = n == 4
                event = await log.append(UserSpoke(text="x" * 500), sync=sync)
                say(f"{'+' * sync}{event.seq}")
                await anyio.lowlevel.checkpoint()


def holder(place: str) -> None:
    anyio.run(_hold, store_in(place, lease_s=LEASE_S))


async def _hold(store: ObjectStore) -> None:
    async with store.open("a") as (log, _):
        say("open")
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            text = line.strip()
            try:
                event = await log.append(UserSpoke(text=text), sync=text.startswith("+"))
                say(str(event.seq))
            except PerstackError as error:
                say(f"{type(error).__name__}: {error}")


@contextmanager
def world(name: str, place: str) -> Generator[subprocess.Popen[str]]:
    """A process in one of the worlds above, killed at the end."""
    command = [sys.executable, "-m", "tests.store.object_worlds", name, place]
    with subprocess.Popen(
        command, cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
