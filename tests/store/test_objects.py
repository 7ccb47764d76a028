"""Objects on storage as it can be: slow to take over, far away, gone, closed to us, or not to be trusted.

What every store promises is in `test_every_store.py`; here is what only this one does.
"""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import obstore
import pytest

from perstack._ids import drawn
from perstack.errors import CorruptLog, JobBusy, StoreError
from perstack.job import Event, UserSpoke, fold
from perstack.store import FileStore, Log, ObjectStore
from perstack.store.objects import LARGE, MANY

from . import object_worlds
from .facts import ended, spoken, started, step, texts, written
from .storage import ENV, Storage, Way, objects_in, place_at, remove, storage_process, store_in
from .worlds import kill, lines_of, tell

pytestmark = pytest.mark.anyio
NEVER_S = 1000.0


def _names(place: str, prefix: str) -> list[str]:
    found = obstore.list(objects_in(place), prefix).collect()  # pyright: ignore[reportUnknownMemberType]  # of arro3
    return sorted(meta["path"] for meta in found)


def _held(place: str, key: str) -> bytes:
    return bytes(obstore.get(objects_in(place), key).bytes())


async def _opened(store: ObjectStore, job: str = "a") -> tuple[Event, ...]:
    async with store.open(job) as (_, events):
        return events


async def _until_free(store: ObjectStore, then: Callable[[Log], Awaitable[object]]) -> None:
    """Opens job "a" as soon as nobody else has it."""
    with anyio.fail_after(20):
        while True:
            try:
                async with store.open("a") as (log, _):
                    await then(log)
                    return
            except JobBusy:
                await anyio.lowlevel.checkpoint()


# What is there --------------------------------------------------------------------------------------------


async def test_the_segments_one_after_the_other_are_the_log_of_a_file(
    storage: Storage, tmp_path: Path
):
    place = storage.place()
    store = store_in(place)
    facts = (*started("a"), *step(), *spoken(*map(str, range(100))), *ended())
    async with store.open("a") as (log, _):
        kept = tuple([await log.append(fact, sync=n % 7 == 0) for n, fact in enumerate(facts)])
    names = _names(place, "jobs/a/log")
    assert len(names) > 10
    assert names[0] == "jobs/a/log/000000000001.jsonl"
    file = tmp_path / "perstack" / "jobs" / "a" / "log.jsonl"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"".join([_held(place, name) for name in names]))
    assert await FileStore(tmp_path / "perstack").read("a") == kept
    assert await store.lines("a") == file.read_bytes()


async def test_each_event_is_sent_once(storage: Storage):
    with Way(storage) as way:
        store = store_in(place_at(way.endpoint, drawn()), store_s=NEVER_S)
        async with store.open("a") as (log, _):
            for n, fact in enumerate(spoken(*["x" * 900] * 300)):
                await log.append(fact, sync=n % 10 == 0)
        sent = [size for path, size in way.puts if "/log/" in path]
        assert sum(sent) == len(await store.lines("a"))
        assert len(sent) == 31


async def test_an_event_that_is_not_synced_is_stored_with_the_next_that_is(storage: Storage):
    place = storage.place()
    other = store_in(place)
    async with store_in(place, store_s=NEVER_S).open("a") as (log, _):
        await log.append(UserSpoke(text="one"))
        assert await other.read("a") == ()
        await log.append(UserSpoke(text="two"), sync=True)
        assert texts(await other.read("a")) == ["one", "two"]
        await log.append(UserSpoke(text="three"))
        assert texts(await other.read("a")) == ["one", "two"]
    assert texts(await other.read("a")) == ["one", "two", "three"]


async def test_an_event_that_is_not_synced_is_stored_soon(storage: Storage):
    place = storage.place()
    other = store_in(place)
    async with store_in(place, store_s=0.01).open("a") as (log, _):
        await log.append(UserSpoke(text="one"))
        with anyio.fail_after(10):
            async for event in other.follow("a"):
                assert texts([event]) == ["one"]
                break


@pytest.mark.parametrize(("size", "count"), [(0, MANY), (LARGE // 3, 3)], ids=["many", "large"])
async def test_what_waits_is_bounded(storage: Storage, size: int, count: int):
    place = storage.place()
    other = store_in(place)
    async with store_in(place, store_s=NEVER_S).open("a") as (log, _):
        for _ in range(count):
            await log.append(UserSpoke(text="x" * size))
        assert len(await other.read("a")) == count
    assert len(await other.read("a")) == count
    assert len(_names(place, "jobs/a/log")) == (2 if size else 1)  # a segment has its bounds too


async def test_a_follower_on_another_machine_is_given_what_is_stored(storage: Storage):
    place = storage.place()
    seen: list[Event] = []

    async def follow() -> None:
        async for event in store_in(place).follow("a"):
            seen.append(event)
            if len(seen) == 20:
                return

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks, store_in(place).open("a") as (log, _):
            tasks.start_soon(follow)
            for n in range(20):
                await log.append(UserSpoke(text=str(n)), sync=n % 3 == 0)
    assert texts(seen) == [str(n) for n in range(20)]


# One writer -----------------------------------------------------------------------------------------------


def test_a_killed_writer_loses_nothing_that_was_synced(storage: Storage):
    place = storage.place()
    store = store_in(place)
    chance = random.Random(7)
    with object_worlds.world("writers", place) as process:
        out = lines_of(process)
        for trial in range(12):
            job = f"job{trial // 3}"  # each job is killed three times, and goes on
            tell(process, job)
            pid = int(out.readline())
            said = [out.readline() for _ in range(chance.randrange(1, 40))]
            kill(pid)
            for line in out:
                if line == "dead\n":
                    break
                said.append(line)
            synced = [int(line[1:]) for line in said if line.startswith("+")]
            acknowledged = int(said[-1].removeprefix("+"))
            events = anyio.run(store.read, job)  # every sum is checked
            assert max(synced, default=0) <= len(events) <= acknowledged + 5
            if events:
                fold(events)
                summaries = {summary.job: summary for summary in anyio.run(store.summaries)}
                assert summaries[job].events == len(events)


async def test_the_second_writer_is_told_who_has_the_job_and_until_when(storage: Storage):
    place = storage.place()
    with object_worlds.world("holder", place) as process:
        assert lines_of(process).readline() == "open\n"
        tell(process, "+one")
        assert lines_of(process).readline() == "1\n"
        with pytest.raises(JobBusy) as busy:
            await _opened(store_in(place))
        assert f"pid {process.pid} on {socket.gethostname()} since 20" in busy.value.owner
        assert "lease until 20" in busy.value.owner
        process.kill()
        await _until_free(store_in(place), lambda log: log.append(UserSpoke(text="two")))
    assert texts(await store_in(place).read("a")) == ["+one", "two"]


@pytest.mark.parametrize("next", ["+late", "late"], ids=["synced", "not synced"])
async def test_a_writer_that_slept_until_another_took_over_acknowledges_nothing(
    storage: Storage, next: str
):
    place = storage.place()
    other = store_in(place)
    with object_worlds.world("holder", place) as process:
        out = lines_of(process)
        assert out.readline() == "open\n"
        tell(process, "+one")
        assert out.readline() == "1\n"
        process.send_signal(signal.SIGSTOP)
        await _until_free(other, lambda log: log.append(UserSpoke(text="two"), sync=True))
        process.send_signal(signal.SIGCONT)
        for _ in range(2):
            tell(process, next)
            said = out.readline()
            assert said.startswith("StoreError: s3://history/")
            assert "another process took the job over" in said
            assert "up to event 1 is kept" in said
    assert texts(await other.read("a")) == ["+one", "two"]


async def test_a_writer_that_slept_and_was_not_missed_goes_on(storage: Storage):
    place = storage.place()
    with object_worlds.world("holder", place) as process:
        out = lines_of(process)
        assert out.readline() == "open\n"
        tell(process, "+one")
        assert out.readline() == "1\n"
        process.send_signal(signal.SIGSTOP)
        with anyio.fail_after(20):
            while (await store_in(place).summaries())[0].writer:
                pass
        process.send_signal(signal.SIGCONT)
        tell(process, "late")
        assert out.readline() == "2\n"
        process.communicate("", timeout=20)
    assert texts(await store_in(place).read("a")) == ["+one", "late"]


async def test_two_who_both_believe_the_log_is_theirs_do_not_both_write(storage: Storage):
    place = storage.place()
    first, second = store_in(place), store_in(place)
    async with first.open("a") as (log, _):
        await log.append(UserSpoke(text="one"), sync=True)
        remove(place, "heads/a.json")  # so the lease tells nobody anything
        async with second.open("a") as (other, events):
            assert texts(events) == ["one"]
            await log.append(UserSpoke(text="two"), sync=True)  # the first was quicker
            with pytest.raises(StoreError, match="another process took the job over"):
                await other.append(UserSpoke(text="other"), sync=True)
            with pytest.raises(StoreError, match="another process"):
                await other.append(UserSpoke(text="other"))
        await log.append(UserSpoke(text="three"), sync=True)
        async with second.open("a") as (other, _):
            await other.append(UserSpoke(text="other"), sync=True)  # now the second is
            with pytest.raises(StoreError, match="another process"):
                await log.append(UserSpoke(text="four"), sync=True)
    assert texts(await first.read("a")) == ["one", "two", "three", "other"]


async def test_of_many_who_want_a_job_one_gets_it(storage: Storage):
    place = storage.place()
    got: list[str] = []
    lost: list[str] = []
    done = anyio.Event()

    async def want(name: str) -> None:
        try:
            async with store_in(place).open("a") as (log, _):
                await log.append(UserSpoke(text=name), sync=True)
                got.append(name)
                await done.wait()
        except JobBusy:
            lost.append(name)
            if len(lost) == 7:
                done.set()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for n in range(8):
                tasks.start_soon(want, str(n))
    assert texts(await store_in(place).read("a")) == got
    assert len(got) == 1


# Bad ways -------------------------------------------------------------------------------------------------


async def test_a_write_whose_answer_is_lost_is_not_done_twice(storage: Storage):
    with Way(storage) as way:
        way.every_second = True
        store = store_in(place_at(way.endpoint, drawn()), lease_s=0.5)
        async with store.open("a") as (log, _):
            for n in range(20):
                await log.append(UserSpoke(text=str(n)), sync=True)
        assert texts(await store.read("a")) == [str(n) for n in range(20)]
        assert len(await _opened(store)) == 20


async def test_a_write_that_failed_unseen_is_made_up_for(storage: Storage):
    with Way(storage) as way:
        store = store_in(place_at(way.endpoint, drawn()), store_s=0.01)
        async with store.open("a") as (log, _):
            way.lose = 20  # more often than one write is tried
            await log.append(UserSpoke(text="one"))
            with anyio.fail_after(30):
                while way.lose > 10:
                    await anyio.lowlevel.checkpoint()
                way.lose = 0
                await log.append(UserSpoke(text="two"), sync=True)
        assert texts(await store.read("a")) == ["one", "two"]


async def test_storage_that_keeps_to_no_conditions_is_refused(storage: Storage):
    with Way(storage) as way:
        way.blind = True
        store = store_in(place_at(way.endpoint, drawn()))
        for _ in range(2):
            with pytest.raises(StoreError, match="does not keep to conditional writes"):
                await _opened(store)
        assert await store.jobs() == ()


@pytest.mark.parametrize("way_out", ["gone", "cut"])
async def test_when_the_storage_is_lost_the_writing_ends_and_what_was_stored_is_kept(
    storage: Storage, way_out: str
):
    with storage_process() as own, Way(storage) as way:
        store = store_in(own.place() if way_out == "gone" else place_at(way.endpoint, drawn()))
        async with store.open("a") as (log, _):
            await log.append(UserSpoke(text="one"), sync=True)
            own.process.kill()
            way.cut = True
            await log.append(UserSpoke(text="two"))
            said: set[str] = set()
            for sync in (True, True, False):
                with pytest.raises(StoreError) as failed:
                    await log.append(UserSpoke(text="three"), sync=sync)
                said.add(str(failed.value))
        (text,) = said
        assert "cannot be reached" in text
        assert "up to event 1 is kept" in text
        assert "--continue-job a" in text
        way.cut = False
        if way_out == "cut":
            assert texts(await store.read("a")) == ["one"]
        else:
            with pytest.raises(StoreError, match="cannot be reached"):
                await store.jobs()


async def test_a_job_of_which_nothing_was_stored_is_none_to_go_on_with(storage: Storage):
    with Way(storage) as way:
        store = store_in(place_at(way.endpoint, drawn()))
        async with store.open("a") as (log, _):
            way.cut = True
            with pytest.raises(StoreError, match="Nothing of the job is kept") as failed:
                await log.append(UserSpoke(text="one"), sync=True)
            way.cut = False
        assert "--continue-job" not in str(failed.value)


@pytest.mark.parametrize("failing", [False, True], ids=["in good order", "in an error"])
async def test_an_event_that_cannot_be_stored_when_the_log_is_closed_is_not_passed_over(
    storage: Storage, failing: bool
):
    async def write() -> None:
        async with store.open("a") as (log, _):
            await log.append(UserSpoke(text="one"))
            way.cut = True
            if failing:
                raise ZeroDivisionError

    with Way(storage) as way:
        store = store_in(place_at(way.endpoint, drawn()), store_s=NEVER_S)
        with pytest.raises(ZeroDivisionError if failing else StoreError) as failed:
            await write()
        said = failed.value.__notes__[0] if failing else str(failed.value)
        assert "cannot be reached" in said


async def test_storage_that_hangs_for_a_while_is_waited_for(storage: Storage):
    with storage_process() as own:
        store = store_in(own.place())
        async with store.open("a") as (log, _):
            own.process.send_signal(signal.SIGSTOP)
            await log.append(UserSpoke(text="one"))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: log.append(UserSpoke(text="two"), sync=True))
                await anyio.lowlevel.checkpoint()
                own.process.send_signal(signal.SIGCONT)
        assert texts(await store.read("a")) == ["one", "two"]


# Refused --------------------------------------------------------------------------------------------------


async def _all_refused(store: ObjectStore, what: str) -> None:
    for ask in (store.jobs, store.summaries, lambda: store.read("a"), lambda: _opened(store)):
        with pytest.raises(StoreError, match=what):
            await ask()
    with pytest.raises(StoreError, match=what):
        async for _ in store.follow("a"):
            pass


async def test_a_bucket_that_is_missing_is_named(storage: Storage):
    await _all_refused(
        store_in(storage.place("x", bucket="nowhere")), r"^s3://nowhere/x: .*no such bucket. Create"
    )


async def test_credentials_that_are_refused_say_which_to_check():
    with storage_process() as own:
        own.tell("POST", "/moto-api/reset-auth", b"0")  # from now on it looks at credentials
        await _all_refused(store_in(own.place()), "credentials were refused .*AWS_ACCESS_KEY_ID")


async def test_credentials_that_are_missing_say_which_to_set(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
):
    for name in ENV:
        monkeypatch.delenv(name, raising=False)
    with Way(storage) as nobody:
        nobody.cut = True  # whom a machine in the cloud would ask
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", nobody.endpoint)
        store = store_in(storage.place(), env={})
        with pytest.raises(StoreError, match=r"no credentials were found\. Set AWS_ACCESS_KEY_ID"):
            await store.jobs()


# Damage ---------------------------------------------------------------------------------------------------


async def _damaged(storage: Storage) -> tuple[str, list[str]]:
    """A place with a log of five segments, and their keys."""
    place = storage.place()
    async with store_in(place).open("a") as (log, _):
        for fact in (*started("a"), *step()):
            await log.append(fact, sync=True)
    return place, _names(place, "jobs/a/log")


async def _corrupt_at(place: str, seq: int) -> str:
    """The path that is named when the log is read; every way to read it ends at event `seq`."""
    store = store_in(place)
    paths: set[str] = set()
    for ask in (lambda: store.read("a"), lambda: _opened(store)):
        with pytest.raises(CorruptLog) as corrupt:
            await ask()
        assert corrupt.value.seq == seq
        paths.add(corrupt.value.path)
    (path,) = paths
    with pytest.raises(CorruptLog):
        async for _ in store.follow("a"):
            pass
    return path


@pytest.mark.parametrize("how", ["changed", "halved", "emptied", "lost"])
async def test_a_damaged_segment_is_found_and_named(storage: Storage, how: str):
    place, names = await _damaged(storage)
    objects, key = objects_in(place), names[2]
    data = _held(place, key)
    match how:
        case "changed":
            obstore.put(objects, key, data.replace(b"look", b"lock"))
        case "halved":
            obstore.put(objects, key, data[: len(data) // 2])
        case "emptied":
            obstore.put(objects, key, b"")
        case _:
            remove(place, key)
    assert await _corrupt_at(place, 3) == f"{place.partition('?')[0]}/{key}"


async def test_what_is_not_ours_beside_the_segments_is_left_alone(storage: Storage):
    place, _ = await _damaged(storage)
    objects = objects_in(place)
    for key in ("jobs/a/log/notes.txt", "jobs/a/log/7.jsonl", "jobs/a b/x", "heads/x"):
        obstore.put(objects, key, b"hello")
    store = store_in(place)
    assert len(await store.read("a")) == 5
    assert await store.jobs() == ("a",)
    assert [summary.events for summary in await store.summaries()] == [5]


@pytest.mark.parametrize(
    "head",
    [None, b"", b"{", b"[]", b'{"format": 1}', b'{"format": 2, "summary": {"job": "a"}}'],
    ids=["none", "empty", "torn", "a list", "bare", "from the future"],
)
async def test_without_its_head_a_job_is_listed_and_goes_on(storage: Storage, head: bytes | None):
    place, _ = await _damaged(storage)
    if head is None:
        remove(place, "heads/a.json")
    else:
        obstore.put(objects_in(place), "heads/a.json", head)
    store = store_in(place)
    assert await store.jobs() == ("a",)
    assert [(summary.events, summary.status) for summary in await store.summaries()] == [
        (5, "interrupted")
    ]
    await written(store, "a", ended())
    assert [summary.status for summary in await store.summaries()] == ["completed"]


async def test_a_head_is_believed_only_while_the_log_ends_where_it_says(storage: Storage):
    place, names = await _damaged(storage)
    obstore.put(objects_in(place), names[0], b"never read")
    store = store_in(place)
    assert [summary.events for summary in await store.summaries()] == [5]
    obstore.put(objects_in(place), names[4], _held(place, names[4]) + b" ")
    assert [summary.status for summary in await store.summaries()] == ["unreadable"]


def test_a_writer_that_is_stopped_is_running_until_its_lease_runs_out(storage: Storage):
    place = storage.place()
    with object_worlds.world("writers", place) as process:
        tell(process, "a")
        pid = int(lines_of(process).readline())
        while not lines_of(process).readline().startswith("+"):
            pass
        os.kill(pid, signal.SIGSTOP)
        statuses: list[str] = []
        while statuses[-1:] != ["interrupted"]:
            (summary,) = anyio.run(store_in(place).summaries)
            assert bool(summary.writer) == (summary.status == "running")
            statuses.append(summary.status)
        kill(pid)
    assert set(statuses) <= {"running", "interrupted"}
