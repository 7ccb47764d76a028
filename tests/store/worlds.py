"""Processes for the tests of the store: writers to be killed, and small disks to be filled.

    python -m tests.store.worlds <world> <perstack directory>

`writers` takes a line "<job> <bytes> <sync every>" and forks a writer, which says its pid, then the seq of each
event that `append` returned to it; when it is dead, "dead" follows. `holder` opens job "a", says "open", and keeps
it until its standard input ends. The others do one thing and say what they saw as one JSON object.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import anyio

from perstack.errors import PerstackError
from perstack.job import Event, RunFinished, UserSpoke
from perstack.store import FileStore

from .facts import ROOT, started, written
from .forking import fork_writers, say

# --- writers ------------------------------------------------------------------------------------------------


def writers(root: Path) -> None:
    async def write(line: str) -> None:
        job, size, every = line.split()
        async with FileStore(root).open(job) as (log, events):
            for event in started(job)[len(events) :]:
                say(str((await log.append(event)).seq))
            while True:
                event = await log.append(UserSpoke(text="x" * int(size)), sync=False)
                if int(every) and event.seq % int(every) == 0:
                    event = await log.append(UserSpoke(text="synced"), sync=True)
                say(str(event.seq))

    fork_writers(write)


# --- who has it ---------------------------------------------------------------------------------------------


def holder(root: Path) -> None:
    anyio.run(_hold, root)


async def _hold(root: Path) -> None:
    async with FileStore(root).open("a"):
        say("open")
        await anyio.to_thread.run_sync(sys.stdin.read)


# --- small disks --------------------------------------------------------------------------------------------


def full(root: Path) -> None:
    """On a disk with 256 KiB: fill it, then make room, then go on."""
    _tmpfs(root.parent, "size=256k")
    ballast = root.parent / "ballast"
    ballast.write_bytes(b"." * 100_000)
    anyio.run(_fill_and_go_on, root, 1000, ballast.unlink)


def limited(root: Path) -> None:
    """With files of 100,000 bytes at most, until the limit is raised."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    anyio.run(
        _fill_and_go_on,
        root,
        3000,
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)),
    )


async def _fill_and_go_on(root: Path, size: int, make_room: Any) -> None:
    store = FileStore(root)
    kept = 0
    refused: list[str] = []
    async with store.open("a") as (log, _):
        for event in started("a"):
            kept = (await log.append(event)).seq
        while len(refused) < 2:
            try:
                kept = (await log.append(UserSpoke(text="x" * size), sync=kept % 10 == 0)).seq
            except PerstackError as error:
                refused.append(f"{type(error).__name__}: {error}")
        while_full = len(await store.read("a"))
        listed_full = [summary.status for summary in await store.summaries()]
    async with store.open("a") as (_, events):
        reopened_full = len(events)
    async with store.open("a") as (log, _):
        try:
            await log.append(UserSpoke(text="x" * size * 2))
        except PerstackError:
            refused.append("still")
        make_room()
        on = (await log.append(UserSpoke(text="x" * size), sync=True)).seq
        await log.append(RunFinished(run=ROOT, outcome="completed"), sync=True)
    events = await store.read("a")
    said = {
        "kept": kept,
        "refused": refused,
        "while_full": while_full,
        "listed_full": listed_full,
        "reopened_full": reopened_full,
        "on": on,
        "events": len(events),
        "listed": [summary.status for summary in await store.summaries()],
    }
    say(json.dumps(said))


def readonly(root: Path) -> None:
    """A workspace that was mounted read-only after its jobs ran."""
    _tmpfs(root.parent, "size=1m")
    anyio.run(written, FileStore(root), "a", started("a"))
    (root / "jobs" / "a" / "head.json").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(root.parent)], check=True)
    anyio.run(_look_around, root)


def forbidden(root: Path) -> None:
    """A workspace of somebody else, by a user without rights."""
    os.umask(0)
    root.parent.mkdir(exist_ok=True)
    anyio.run(written, FileStore(root), "a", started("a"))
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    anyio.run(_look_around, root)


async def _look_around(root: Path) -> None:
    store = FileStore(root)
    said: dict[str, str] = {}
    for name, job in (("open", "a"), ("new", "b")):
        try:
            async with store.open(job):
                said[name] = "opened"
        except PerstackError as error:
            said[name] = f"{type(error).__name__}: {error}"
    try:
        said["read"] = f"{len(await store.read('a'))} events"
    except PerstackError as error:
        said["read"] = f"{type(error).__name__}: {error}"
    said["jobs"] = " ".join(await store.jobs())
    said["summaries"] = " ".join(f"{s.job} {s.status} {s.fault}" for s in await store.summaries())
    say(json.dumps(said))


def appendonly(root: Path) -> None:
    """On a file that can only grow, a line that was half written cannot be taken back."""
    _tmpfs(root.parent, "size=256k")
    log_file = root / "jobs" / "a" / "log.jsonl"
    said = anyio.run(_fill_without_way_back, root, log_file)
    length = os.stat(log_file).st_size
    _chattr("-a", log_file)
    said["events"] = len(anyio.run(_reopen, root))
    said["cut_off"] = length - os.stat(log_file).st_size
    say(json.dumps(said))


async def _fill_without_way_back(root: Path, log_file: Path) -> dict[str, Any]:
    refused: list[str] = []
    kept = 0
    async with FileStore(root).open("a") as (log, _):
        for event in started("a"):
            kept = (await log.append(event)).seq
        _chattr("+a", log_file)
        while len(refused) < 2:
            try:
                kept = (await log.append(UserSpoke(text="x" * 10_000))).seq
            except PerstackError as error:
                refused.append(f"{type(error).__name__}: {error}")
    return {"kept": kept, "refused": refused}


async def _reopen(root: Path) -> tuple[Event, ...]:
    async with FileStore(root).open("a") as (_, events):
        return events


def _chattr(change: str, path: Path) -> None:
    subprocess.run(["chattr", change, str(path)], check=True)


def _tmpfs(path: Path, options: str) -> None:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)


# --- for the tests ------------------------------------------------------------------------------------------

REPOSITORY = Path(__file__).parents[2]
APART = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "-Urm"]


@contextmanager
def world(name: str, root: Path, *, own_mounts: bool = False) -> Generator[subprocess.Popen[str]]:
    """A process in one of the worlds above, killed at the end. own_mounts: it may mount what it likes."""
    command = [
        *(APART if own_mounts else []),
        sys.executable,
        "-m",
        "tests.store.worlds",
        name,
        str(root),
    ]
    with subprocess.Popen(
        command, cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(name: str, root: Path, *, own_mounts: bool = False) -> dict[str, Any]:
    """What the process in a world saw."""
    with world(name, root, own_mounts=own_mounts) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(out)


def lines_of(process: subprocess.Popen[str]) -> IO[str]:
    """Its standard output."""
    assert process.stdout is not None
    return process.stdout


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Write one line to its standard input."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def mounts_allowed() -> bool:
    """Whether a process may have mounts of its own on this machine."""
    return _works("mount -t tmpfs tmpfs /mnt")


def append_only_allowed() -> bool:
    """Whether it may also make a file there that can only grow."""
    return _works(
        "mount -t tmpfs tmpfs /mnt && touch /mnt/f && chattr +a /mnt/f && ! truncate -s 0 /mnt/f"
    )


def _works(script: str) -> bool:
    try:
        command = [*APART, "sh", "-c", script]
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def kill(pid: int) -> None:
    """As `kill -9`; it may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
