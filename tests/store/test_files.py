"""What lies on the disk: torn ends, changed bytes, links, rights, and the summary cache."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from inspect import isfunction
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import anyio
import pytest

from perstack.errors import CorruptLog, StoreError, UserError
from perstack.job import Event, UserSpoke, decode_events, encode_event
from perstack.store import FileStore
from perstack.store.files import FileLog

from .facts import ended, spoken, started, step, written

if TYPE_CHECKING:
    from _typeshed import TraceFunction

pytestmark = pytest.mark.anyio


one_backend = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # long, and not about tasks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "perstack"


@pytest.fixture
def store(root: Path) -> FileStore:
    return FileStore(root)


async def _log(store: FileStore, root: Path, job: str = "a") -> tuple[Path, bytes]:
    """A short log of `job`, and its bytes."""
    await written(store, job, (*started(job), *spoken("one", "two")))
    path = root / "jobs" / job / "log.jsonl"
    return path, path.read_bytes()


# --- the end of the log -------------------------------------------------------------------------------------


@one_backend
async def test_a_log_cut_anywhere_holds_what_was_whole_and_goes_on(store: FileStore, root: Path):
    path, data = await _log(store, root)
    whole = await store.read("a")
    ends = [place for place, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data)):
        path.write_bytes(data[:length])
        held = whole[: sum(end <= length for end in ends)]  # the newline itself may be missing
        assert await store.read("a") == held
        async with store.open("a") as (log, events):
            assert events == held
            added = await log.append(UserSpoke(text="on"))
        assert await store.read("a") == (*held, added)
        assert decode_events(path.read_bytes().splitlines())[0] == (*held, added)


async def test_a_reader_does_not_touch_a_torn_end(store: FileStore, root: Path):
    path, data = await _log(store, root)
    for torn in (data[:-1], data[:-50], data + b'{"type":'):
        path.write_bytes(torn)
        await store.read("a")
        await store.summaries()
        assert path.read_bytes() == torn


async def test_a_follower_waits_for_the_newline(store: FileStore, root: Path):
    path, data = await _log(store, root)
    path.write_bytes(data[:-1])
    seen: list[int] = []
    three = anyio.Event()

    async def follow() -> None:
        async for event in store.follow("a"):
            seen.append(event.seq)
            if event.seq == 3:
                three.set()
            if event.seq == 5:
                return

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await three.wait()
            assert len(await store.read("a")) == 4
            assert seen == [1, 2, 3]
            async with store.open("a") as (log, _):
                await log.append(UserSpoke(text="on"))
    assert seen == [1, 2, 3, 4, 5]


async def test_a_follower_is_told_that_the_log_became_shorter(store: FileStore, root: Path):
    path, data = await _log(store, root)
    following = store.follow("a")
    with anyio.fail_after(10):
        for _ in range(4):
            await anext(following)
        path.write_bytes(data[:100])
        with pytest.raises(CorruptLog) as corrupt:
            await anext(following)
    assert (corrupt.value.path, corrupt.value.seq) == (str(path), 4)


async def test_a_follower_is_told_that_the_log_is_gone(store: FileStore, root: Path):
    path, _ = await _log(store, root)
    following = store.follow("a", after=3)
    with anyio.fail_after(10):
        await anext(following)
        path.unlink()
        with pytest.raises(StoreError):
            await anext(following)


# --- changed bytes ------------------------------------------------------------------------------------------


@one_backend
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "with a torn end"])
async def test_every_changed_byte_is_found_and_placed(store: FileStore, root: Path, torn: bool):
    path, data = await _log(store, root)
    end = len(data)
    if torn:
        data += data[:200]
    for place, byte in enumerate(data):
        seq = 1 + data[:place].count(b"\n")  # of the line the byte is in; a newline ends its line
        for changed in {byte ^ 1, byte ^ 0x80, ord("\n")} - {byte}:
            path.write_bytes(data[:place] + bytes([changed]) + data[place + 1 :])
            if place >= end and changed != ord("\n"):
                assert len(await store.read("a")) == 4  # nobody was told of what is torn
                continue
            with pytest.raises(CorruptLog) as corrupt:
                await store.read("a")
            assert (corrupt.value.path, corrupt.value.seq) == (str(path), seq)


async def test_a_corrupt_log_is_not_opened_and_not_changed(store: FileStore, root: Path):
    path, data = await _log(store, root)
    lines = data.splitlines(keepends=True)
    cases = {
        "lost": (lines[0] + lines[2] + lines[3], 2),
        "moved": (lines[0] + lines[2] + lines[1] + lines[3], 2),
        "doubled": (lines[0] + lines[1] + lines[1], 3),
        "empty line": (data + b"\n", 5),
        "zeros": (lines[0] + bytes(len(lines[1]) - 1) + b"\n" + lines[2], 2),
        "other": (data + b'{"type":"userSpoke","seq":5,"text":"x"}\n', 5),
    }
    for name, (corrupted, seq) in cases.items():
        path.write_bytes(corrupted)
        for attempt in (_open(store), store.read("a"), anext(store.follow("a", after=9))):
            with pytest.raises(CorruptLog) as corrupt:
                await attempt
            assert (corrupt.value.path, corrupt.value.seq) == (str(path), seq), name
        assert path.read_bytes() == corrupted
        (path.parent / "head.json").unlink(missing_ok=True)
        (summary,) = await store.summaries()
        assert summary.status == "unreadable"
        assert f"event {seq}" in summary.fault
    path.write_bytes(data)
    await _open(store)  # what was refused is not left locked


async def _open(store: FileStore, job: str = "a") -> tuple[Event, ...]:
    async with store.open(job) as (_, events):
        return events


async def test_a_log_that_lies_where_another_job_should_is_refused(store: FileStore, root: Path):
    path, data = await _log(store, root)
    other = root / "jobs" / "b"
    other.mkdir()
    (other / "log.jsonl").write_bytes(data)
    with pytest.raises(CorruptLog) as corrupt:
        await store.read("b")
    assert corrupt.value.seq == 1
    assert path.exists()


# --- names, links, rights -----------------------------------------------------------------------------------


async def test_history_is_private_and_not_committed_by_accident(store: FileStore, root: Path):
    path, _ = await _log(store, root)
    assert (root / ".gitignore").read_text() == "*\n"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert sorted(file.name for file in path.parent.iterdir()) == ["head.json", "log.jsonl"]


async def test_a_gitignore_that_was_changed_or_deleted_is_left_alone(store: FileStore, root: Path):
    await _log(store, root, "a")
    (root / ".gitignore").unlink()
    await _log(store, root, "b")
    assert not (root / ".gitignore").exists()
    (root / ".gitignore").write_text("jobs/\n")
    await _log(store, root, "c")
    assert (root / ".gitignore").read_text() == "jobs/\n"


@pytest.mark.parametrize("linked", ["jobs", "jobs/a", "jobs/a/log.jsonl"])
async def test_a_symbolic_link_below_perstack_is_refused(
    store: FileStore, root: Path, tmp_path: Path, linked: str
):
    path, _ = await _log(store, root)
    elsewhere = tmp_path / "elsewhere"
    (root / linked).rename(elsewhere)
    (root / linked).symlink_to(elsewhere)
    before = _names(tmp_path)
    for attempt in (_open(store), store.read("a"), anext(store.follow("a"))):
        with pytest.raises(UserError) as refused:
            await attempt
        assert str(root / linked) in str(refused.value)
    assert _names(tmp_path) == before
    assert path.exists()


def _names(path: Path) -> list[str]:
    return sorted(str(file) for file in path.rglob("*"))


async def test_a_linked_job_is_not_listed(store: FileStore, root: Path, tmp_path: Path):
    await _log(store, root)
    (root / "jobs" / "a").rename(tmp_path / "elsewhere")
    (root / "jobs" / "a").symlink_to(tmp_path / "elsewhere")
    assert await store.jobs() == ()
    (root / "jobs").rename(root / "real")
    (root / "jobs").symlink_to(root / "real")
    with pytest.raises(UserError):
        await store.jobs()


async def test_perstack_itself_may_be_a_link(tmp_path: Path):
    (tmp_path / "big disk").mkdir()
    (tmp_path / "perstack").symlink_to(tmp_path / "big disk")
    await _log(FileStore(tmp_path / "perstack"), tmp_path / "perstack")
    assert (tmp_path / "big disk" / "jobs" / "a" / "log.jsonl").exists()


async def test_a_fifo_in_place_of_a_log_is_refused_at_once(store: FileStore, root: Path):
    path, _ = await _log(store, root)
    path.unlink()
    os.mkfifo(path)
    with anyio.fail_after(10):
        for attempt in (_open(store), store.read("a")):
            with pytest.raises(UserError):
                await attempt


async def test_a_workspace_that_is_not_there_is_named(tmp_path: Path):
    store = FileStore(tmp_path / "gone" / "perstack")
    with pytest.raises(StoreError, match=str(tmp_path / "gone")):
        await _open(store)
    assert await store.read("a") == ()
    assert await store.jobs() == ()


@pytest.mark.parametrize("place", ["perstack", "perstack/jobs", "perstack/jobs/a"])
async def test_a_file_in_place_of_a_directory_is_named(tmp_path: Path, place: str):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()
    store = FileStore(tmp_path / "perstack")
    for attempt in (_open(store), store.read("a")):
        with pytest.raises(StoreError, match=place):
            await attempt


async def test_strange_things_among_the_jobs_are_passed_over(store: FileStore, root: Path):
    await _log(store, root)
    (root / "jobs" / ".DS_Store").touch()
    (root / "jobs" / "a file").touch()
    (root / "jobs" / "file").touch()
    (root / "jobs" / "empty").mkdir()
    (root / "jobs" / "half").mkdir()
    (root / "jobs" / "half" / "log.jsonl").touch()
    assert await store.jobs() == ("a",)
    assert [summary.job for summary in await store.summaries()] == ["a"]
    assert await store.read("empty") == await store.read("half") == ()


async def test_a_log_deleted_under_its_writer_is_noticed_at_the_next_sync(
    store: FileStore, root: Path
):
    async with store.open("a") as (log, _):
        await log.append(UserSpoke(text="one"))
        (root / "jobs" / "a" / "log.jsonl").unlink()
        with pytest.raises(StoreError, match="deleted"):
            await log.append(UserSpoke(text="two"), sync=True)
        with pytest.raises(StoreError, match="deleted"):
            await log.append(UserSpoke(text="three"))


async def test_a_log_that_was_closed_takes_no_more(store: FileStore):
    async with store.open("a") as (log, _):
        pass
    with pytest.raises(StoreError):
        await log.append(UserSpoke(text="late"))
    assert await store.read("a") == ()


async def test_time_never_goes_back(store: FileStore, root: Path):
    path, _ = await _log(store, root)
    # A log written by a clock that was ahead.
    path.write_bytes(encode_event(UserSpoke(text="future", seq=1, at=9e9))[0])
    async with store.open("a") as (log, _):
        assert (await log.append(UserSpoke(text="now"))).at == 9e9


# --- the summary cache --------------------------------------------------------------------------------------


async def test_a_list_reads_no_log_that_its_cache_is_about(store: FileStore, root: Path):
    await written(store, "a", (*started("a"), *step(), *ended()))
    path = root / "jobs" / "a" / "log.jsonl"
    fresh = await store.summaries()
    data = path.read_bytes()
    path.write_bytes(b"?" * (len(data) - 200) + data[-200:])  # as long, and with the same last sum
    assert await store.summaries() == fresh
    with pytest.raises(CorruptLog):
        await store.read("a")


async def test_without_its_cache_the_list_is_the_same_and_the_cache_comes_back(
    store: FileStore, root: Path
):
    await written(store, "a", (*started("a"), *step(), *ended()))
    head = root / "jobs" / "a" / "head.json"
    kept, fresh = head.read_bytes(), await store.summaries()
    head.unlink()
    assert await store.summaries() == fresh
    assert head.read_bytes() == kept


async def test_a_cache_that_lies_is_found_out(store: FileStore, root: Path):
    await written(store, "a", (*started("a"), *step(), *ended()))
    await written(store, "b", (*started("b"), *step(), *ended()))
    head = root / "jobs" / "a" / "head.json"
    kept = head.read_bytes()
    fresh = {summary.job: summary for summary in await store.summaries()}

    def changed(**members: object) -> bytes:
        return json.dumps({**json.loads(kept), **members}).encode()

    told = json.loads(kept)["summary"]
    lies = {
        "not JSON": b"}{",
        "empty": b"",
        "not UTF-8": b"\xff\xfe\x00",
        "half": kept[: len(kept) // 2],
        "not an object": b"[]",
        "newer": changed(format=2),
        "too far": changed(offset=10**9),
        "not far enough": changed(offset=3),
        "negative": changed(offset=-1),
        "no sum": changed(sum=""),
        "another sum": changed(sum="0" * 64),
        "a wrong status": changed(summary={**told, "status": "failed"}),
        "a wrong type": changed(summary={**told, "steps": "two"}),
        "another job": (root / "jobs" / "b" / "head.json").read_bytes(),
    }
    for name, lie in lies.items():
        head.write_bytes(lie)
        assert {summary.job: summary for summary in await store.summaries()} == fresh, name
        assert head.read_bytes() == kept, name


async def test_a_cache_from_before_the_last_event_is_not_believed(store: FileStore, root: Path):
    await written(store, "a", (*started("a"), *step()))
    head = root / "jobs" / "a" / "head.json"
    old = head.read_bytes()
    await written(store, "a", ended())
    head.write_bytes(old)
    assert [summary.status for summary in await store.summaries()] == ["completed"]


@one_backend
async def test_an_interrupt_at_any_place_of_an_append_leaves_no_summary_that_lies(
    store: FileStore, root: Path
):
    head = root / "jobs" / "a" / "head.json"
    statuses: set[str] = set()
    for place in range(40):
        shutil.rmtree(root, ignore_errors=True)
        async with store.open("a") as (log, _):
            for event in (*started("a"), *step(), *ended()[:-1]):
                await log.append(event)
            with _interrupted(FileLog, place), suppress(KeyboardInterrupt):
                await log.append(ended()[-1])
        (told,) = await store.summaries()
        head.unlink()
        assert await store.summaries() == (told,), place
        statuses.add(told.status)
    assert statuses == {"interrupted", "completed"}


@contextmanager
def _interrupted(kind: type, place: int) -> Generator[None]:
    """An interrupt before the line with this number, from 0, of those that methods of `kind` go through."""
    codes = {member.__code__ for member in vars(kind).values() if isfunction(member)}
    left = place

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        nonlocal left
        if frame.f_code not in codes:
            return None
        if event == "line":
            left -= 1
            if left == -1:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


async def test_a_cache_that_cannot_be_written_keeps_nobody_from_listing(
    store: FileStore, root: Path
):
    (root / "jobs" / "a" / "head.json.new").mkdir(parents=True)
    await written(store, "a", (*started("a"), *ended()))
    assert [summary.status for summary in await store.summaries()] == ["completed"]
    assert not (root / "jobs" / "a" / "head.json").exists()


async def test_a_cache_that_is_a_link_is_neither_read_nor_written_through(
    store: FileStore, root: Path, tmp_path: Path
):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    await written(store, "a", (*started("a"), *ended()))
    for name in ("head.json", "head.json.new", "owner.json", "owner.json.new"):
        path = root / "jobs" / "a" / name
        path.unlink(missing_ok=True)
        path.symlink_to(precious)
    async with store.open("a"):
        pass
    assert [summary.status for summary in await store.summaries()] == ["completed"]
    assert precious.read_text() == "mine"


@one_backend
async def test_a_thousand_jobs_are_listed_in_order(store: FileStore, root: Path):
    await written(store, "first", (*started("first"), *ended()))
    folder = root / "jobs" / "first"
    for n in range(1000):
        copy = root / "jobs" / f"job{n}"
        copy.mkdir()
        (copy / "log.jsonl").write_bytes((folder / "log.jsonl").read_bytes())
        os.utime(copy / "log.jsonl", ns=(n, n))
    assert (await store.jobs())[1:] == tuple(f"job{n}" for n in reversed(range(1000)))
