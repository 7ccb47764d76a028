"""Real processes: writers killed anywhere, two writers at once, disks that are full, read-only or not ours."""

from __future__ import annotations

import os
import random
import socket
import tempfile
from pathlib import Path

import anyio
import pytest

from perstack.errors import JobBusy
from perstack.job import Event, UserSpoke, fold
from perstack.store import FileStore

from . import worlds
from .facts import written


async def _reopened(root: Path, job: str) -> tuple[Event, ...]:
    async with FileStore(root).open(job) as (_, events):
        return events


@pytest.mark.parametrize(
    ("size", "every"),
    [(0, 0), (900, 7), (100_000, 0), (400_000, 0)],
    ids=["small", "some synced", "large", "huge"],
)
def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path, size: int, every: int):
    root = tmp_path / "perstack"
    chance = random.Random(size)
    with worlds.world("writers", root) as process:
        out = worlds.lines_of(process)
        before = 0
        for trial in range(50):
            job = f"job{trial // 5}"  # each job is killed five times, and goes on
            before = before if trial % 5 else 0
            worlds.tell(process, f"{job} {size} {every}")
            pid = int(out.readline())
            acknowledged = [
                int(out.readline()) for _ in range(chance.randrange(30 if size < 10_000 else 4))
            ]
            worlds.kill(pid)
            for line in out:
                if line == "dead\n":
                    break
                acknowledged.append(int(line))
            read = anyio.run(FileStore(root).read, job)
            events = anyio.run(_reopened, root, job)  # every sum is checked
            assert events == read
            assert acknowledged == sorted(acknowledged)
            known = max(acknowledged, default=before)
            assert known <= len(events) <= known + 2  # at most what was in flight is there besides
            before = len(events)
            if events:
                fold(events)


def test_the_second_process_is_told_who_has_the_job(tmp_path: Path):
    root = tmp_path / "perstack"
    with worlds.world("holder", root) as process:
        assert worlds.lines_of(process).readline() == "open\n"
        with pytest.raises(JobBusy) as busy:
            anyio.run(_reopened, root, "a")
        assert busy.value.job == "a"
        assert f"pid {process.pid} on {socket.gethostname()} since 20" in busy.value.owner
        anyio.run(FileStore(root).read, "a")
        worlds.kill(process.pid)
        process.wait(10)
        assert anyio.run(_reopened, root, "a") == ()
    assert not (root / "jobs" / "a" / "owner.json").exists()


def test_a_writer_that_ends_well_lets_go_too(tmp_path: Path):
    root = tmp_path / "perstack"
    with worlds.world("holder", root) as process:
        assert worlds.lines_of(process).readline() == "open\n"
        process.communicate("", timeout=20)
        assert process.returncode == 0
        assert anyio.run(_reopened, root, "a") == ()


def test_an_owner_that_cannot_be_read_keeps_nobody_from_being_told(tmp_path: Path):
    root = tmp_path / "perstack"
    with worlds.world("holder", root) as process:
        assert worlds.lines_of(process).readline() == "open\n"
        for text in (b"", b"{", b"[]", b'{"pid": "x"}'):
            (root / "jobs" / "a" / "owner.json").write_bytes(text)
            with pytest.raises(JobBusy):
                anyio.run(_reopened, root, "a")


def test_a_list_made_while_writers_come_and_go_makes_none_of_them_busy(tmp_path: Path):
    store = FileStore(tmp_path / "perstack")

    async def list_and_open() -> None:
        done = False

        async def keep_listing() -> None:
            while not done:
                assert {summary.job for summary in await store.summaries()} <= {"a", "b"}

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_listing)
            tasks.start_soon(keep_listing)
            for n in range(100):
                await written(store, "ab"[n % 2], [UserSpoke(text=str(n))])
            done = True

    anyio.run(list_and_open)


needs_mounts = pytest.mark.skipif(not worlds.mounts_allowed(), reason="no mounts of our own here")


@pytest.mark.parametrize("small", [pytest.param("full", marks=needs_mounts), "limited"])
def test_a_full_disk_loses_nothing_and_the_job_goes_on_when_there_is_room(
    tmp_path: Path, small: str
):
    said = worlds.told(small, _made(tmp_path), own_mounts=small == "full")
    kept = said["kept"]
    assert kept > 20
    assert said["while_full"] == said["reopened_full"] == kept
    assert said["listed_full"] == ["running"]
    first, second, third = said["refused"]
    assert first == second
    assert third == "still"
    assert first.startswith(f"StoreError: {tmp_path}")
    assert "--continue-job a" in first
    assert ("Free some space" if small == "full" else "ulimit -f") in first
    assert said["on"] == kept + 1
    assert said["events"] == kept + 2
    assert said["listed"] == ["completed"]


def _made(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace" / "perstack"


@pytest.mark.skipif(not worlds.append_only_allowed(), reason="no files that only grow here")
def test_a_line_that_cannot_be_taken_back_ends_the_writing(tmp_path: Path):
    said = worlds.told("appendonly", _made(tmp_path), own_mounts=True)
    first, second = said["refused"]
    assert "Free some space" in first
    assert "--continue-job a" in second
    assert "Half an event" in second
    assert said["events"] == said["kept"]
    assert said["cut_off"] > 0


@needs_mounts
def test_a_read_only_workspace_can_be_read_and_says_what_to_do(tmp_path: Path):
    said = worlds.told("readonly", _made(tmp_path), own_mounts=True)
    for way in ("open", "new"):
        assert said[way].startswith(f"StoreError: {tmp_path}")
        assert "read-only. Make it writable" in said[way]
    assert said["read"] == "2 events"
    assert said["jobs"] == "a"
    assert said["summaries"].startswith("a interrupted")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_somebody_elses_history_says_what_to_do():
    # Not below tmp_path, which nobody else may enter.
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        workspace = Path(place) / "workspace"
        said = worlds.told("forbidden", workspace / "perstack")
    for way in ("open", "new", "read", "summaries"):
        assert "permission denied. Give this user the right to use it" in said[way], way
    assert said["open"].startswith(f"StoreError: {workspace}/perstack/jobs/a: ")
    assert said["jobs"] == "a"
