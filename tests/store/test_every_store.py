"""What every store promises, whatever it is made of."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from perstack.errors import JobBusy, UserError
from perstack.job import Event, Rewound, Stopped, UserSpoke, fold
from perstack.store import FileStore, Store
from perstack.testing import MemoryStore

from .facts import asked_a_person, ended, spoken, started, step, texts, written
from .storage import Storage, store_in

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["files", "memory", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    match request.param:
        case "files":
            return FileStore(tmp_path / "perstack")
        case "memory":
            return MemoryStore()
        case _:
            storage: Storage = request.getfixturevalue("storage")
            return store_in(storage.place())


async def test_what_was_appended_is_read_back_in_order_with_its_place_and_time(store: Store):
    facts = (*started("a"), *step(), *ended())
    kept = await written(store, "a", facts)
    assert await store.read("a") == kept
    assert [event.seq for event in kept] == list(range(1, len(facts) + 1))
    assert [type(event) for event in kept] == [type(fact) for fact in facts]
    times = [event.at for event in kept]
    assert times == sorted(times)
    assert all(time == round(time, 3) > 1_600_000_000 for time in times)


async def test_a_place_said_by_the_appender_does_not_count_and_a_time_does(store: Store):
    async with store.open("a") as (log, _):
        first = await log.append(UserSpoke(text="hi", seq=77, at=5.0))
        second = await log.append(UserSpoke(text="hi"))
    assert (first.seq, first.at) == (1, 5.0)
    assert second.at > 1_600_000_000
    assert await store.read("a") == (first, second)


async def test_an_unknown_job_has_no_events(store: Store):
    assert await store.read("nobody") == ()
    assert await store.jobs() == ()
    assert await store.summaries() == ()


async def test_a_job_that_was_only_opened_is_no_job_yet(store: Store):
    async with store.open("a") as (_, events):
        assert events == ()
    assert await store.jobs() == ()
    assert await store.summaries() == ()


async def test_reading_after_an_event_gives_the_rest(store: Store):
    kept = await written(store, "a", started("a") + step())
    assert await store.read("a", after=3) == kept[3:]
    assert await store.read("a", after=5) == ()
    assert await store.read("a", after=99) == ()


async def test_opened_again_it_holds_what_it_held_and_goes_on_from_there(store: Store):
    first = await written(store, "a", started("a"))
    async with store.open("a") as (log, events):
        assert events == first
        third = await log.append(UserSpoke(text="more"), sync=True)
    assert third.seq == 3
    assert await store.read("a") == (*first, third)


async def test_there_is_one_writer(store: Store):
    async with store.open("a"):
        with pytest.raises(JobBusy) as busy:
            async with store.open("a"):
                pass
        assert busy.value.job == "a"
        async with store.open("b"):
            pass
    async with store.open("a"):
        pass


async def test_an_error_in_the_writer_lets_go_of_the_log(store: Store):
    async def fail() -> None:
        async with store.open("a") as (log, _):
            await log.append(UserSpoke(text="kept"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with store.open("a") as (_, events):
        assert texts(events) == ["kept"]


async def test_reading_while_it_is_written_sees_all_that_append_has_returned(store: Store):
    async with store.open("a") as (log, _):
        for n in range(1, 6):
            await log.append(UserSpoke(text=str(n)))
            assert texts(await store.read("a")) == [str(m) for m in range(1, n + 1)]


async def test_two_tasks_may_append_to_one_log(store: Store):
    async def say(text: str) -> None:
        for _ in range(20):
            await log.append(UserSpoke(text=text), sync=text == "b")

    async with store.open("a") as (log, _):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, "a")
            tasks.start_soon(say, "b")
    assert sorted(texts(await store.read("a"))) == ["a"] * 20 + ["b"] * 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        "line\nline\r\n\u2028\u2029\x85end",
        "\x00\x1f\x7f\ufeff",
        "日本語 🧑🏽‍🚀 é é",
        "\U0010ffff",
        '","sum":"' + "0" * 64 + '"}',
        "x" * 5_000_000,
    ],
    ids=["empty", "newlines", "controls", "scripts", "last code point", "like a sum", "big"],
)
async def test_any_text_comes_back_as_it_was(store: Store, text: str):
    await written(store, "a", spoken(text, "after"))
    assert texts(await store.read("a")) == [text, "after"]


async def test_a_follower_sees_everything_once(store: Store):
    await written(store, "a", spoken(*map(str, range(10))))
    seen: list[Event] = []
    caught_up = anyio.Event()

    async def follow() -> None:
        async for event in store.follow("a", after=4):
            seen.append(event)
            if len(seen) == 6:
                caught_up.set()
            if event.seq == 30:
                tasks.cancel_scope.cancel()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await caught_up.wait()
            async with store.open("a") as (log, _):
                for n in range(10, 30):
                    await log.append(UserSpoke(text=str(n)))
                    await anyio.lowlevel.checkpoint()
            await anyio.sleep_forever()
    assert [event.seq for event in seen] == list(range(5, 31))
    assert texts(seen) == [str(n) for n in range(4, 30)]


async def test_a_follower_may_come_before_the_job(store: Store):
    seen: list[str] = []

    async def follow() -> None:
        async for event in store.follow("later"):
            seen.extend(texts([event]))
            tasks.cancel_scope.cancel()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await anyio.lowlevel.checkpoint()
            await written(store, "later", spoken("hello"))
            await anyio.sleep_forever()
    assert seen == ["hello"]


async def test_many_readers_and_followers_see_the_same_log(store: Store):
    total = 60
    logs: list[list[str]] = [[] for _ in range(8)]

    async def follow(seen: list[str]) -> None:
        async for event in store.follow("a"):
            seen.extend(texts([event]))
            if event.seq == total:
                return

    async def read() -> None:
        length = 0
        while length < total:
            events = await store.read("a")
            assert texts(events) == [str(n) for n in range(len(events))]
            assert len(events) >= length
            length = len(events)
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks, store.open("a") as (log, _):
            for seen in logs:
                tasks.start_soon(follow, seen)
                tasks.start_soon(read)
            for n in range(total):
                await log.append(UserSpoke(text=str(n)), sync=n % 10 == 0)
                await anyio.lowlevel.checkpoint()
    assert logs == [[str(n) for n in range(total)]] * 8


@pytest.mark.parametrize(
    "id",
    [
        "",
        ".",
        "..",
        "a..b",
        "../a",
        "a/b",
        "/etc",
        "-x",
        ".hidden",
        "_x",
        "a b",
        "a\n",
        "ä",
        "a" * 129,
        "a\0",
    ],
)
async def test_what_cannot_be_an_id_is_refused_everywhere(store: Store, id: str):
    with pytest.raises(UserError):
        async with store.open(id):
            pass
    with pytest.raises(UserError):
        await store.read(id)
    with pytest.raises(UserError):
        async for _ in store.follow(id):
            pass


@pytest.mark.parametrize("id", ["a", "0", "A.b-c_d", "a" * 128, "a.", "x-"])
async def test_what_can_be_an_id_names_a_job(store: Store, id: str):
    await written(store, id, started(id))
    assert await store.jobs() == (id,)
    assert len(await store.read(id)) == 2


async def test_the_job_written_to_last_comes_first(store: Store):
    for job in ("a", "b", "c"):
        await written(store, job, started(job))
    with anyio.fail_after(10):
        for job in ("b", "a", "c"):
            async with store.open(job) as (log, _):
                while (await store.jobs())[0] != job:  # clocks of file systems tick slowly
                    await log.append(UserSpoke(text="again"))
    assert await store.jobs() == ("c", "a", "b")
    assert [summary.job for summary in await store.summaries()] == ["c", "a", "b"]


async def test_a_summary_says_what_the_log_amounts_to(store: Store):
    kept = await written(store, "a", (*started("a", query="q" * 300), *step(), *ended()))
    (summary,) = await store.summaries()
    assert summary.job == "a"
    assert summary.status == "completed"
    assert summary.expert == "worker"
    assert summary.query == "q" * 200
    assert summary.model == "anthropic/claude"
    assert (summary.events, summary.steps) == (7, 2)
    assert summary.usage == fold(kept).usage
    assert summary.usage.total_tokens == 24
    assert (summary.started_at, summary.updated_at) == (kept[0].at, kept[-1].at)
    assert (summary.writer, summary.fault) == ("", "")


async def test_a_summary_tells_a_running_job_from_an_interrupted_one(store: Store):
    async with store.open("a") as (log, _):
        for fact in (*started("a"), *step()):
            await log.append(fact)
        (running,) = await store.summaries()
    (interrupted,) = await store.summaries()
    assert (running.status, bool(running.writer)) == ("running", True)
    assert (interrupted.status, interrupted.writer) == ("interrupted", "")


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        (started("a")[:1], "interrupted"),
        (started("a") + asked_a_person(), "waiting"),
        ((*started("a"), Stopped(reason="limit", what="maxSteps 1")), "stopped"),
        ((*started("a"), *ended(), Rewound(to=2)), "interrupted"),
    ],
    ids=["just begun", "asks a person", "stopped", "rewound"],
)
async def test_a_summary_says_where_a_job_stands(
    store: Store, facts: tuple[Event, ...], status: str
):
    await written(store, "a", facts)
    assert [summary.status for summary in await store.summaries()] == [status]


async def test_a_log_that_cannot_be_folded_is_in_the_list_and_says_why(store: Store):
    await written(store, "bad", spoken("without a beginning"))
    await written(store, "good", started("good"))
    found = {summary.job: summary for summary in await store.summaries()}
    assert found["good"].status == "interrupted"
    assert found["bad"].status == "unreadable"
    assert "JobStarted" in found["bad"].fault


async def test_a_cancelled_append_leaves_a_log_that_goes_on(store: Store):
    async with store.open("a") as (log, _):
        for n in range(30):
            with anyio.move_on_after(0 if n % 2 else None):
                await log.append(UserSpoke(text=str(n)), sync=True)
        await log.append(UserSpoke(text="last"))
    events = await store.read("a")
    said = texts(events)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert said[-1] == "last"
    assert {str(n) for n in range(0, 30, 2)} <= set(said)


async def test_an_opening_that_was_cancelled_leaves_the_log_free(store: Store):
    for _ in range(5):
        with anyio.move_on_after(0):
            async with store.open("a") as (log, _):
                await log.append(UserSpoke(text="said"), sync=True)
                await anyio.sleep_forever()
    async with store.open("a") as (log, events):
        await log.append(UserSpoke(text="last"))
    assert texts(await store.read("a")) == [*texts(events), "last"]
