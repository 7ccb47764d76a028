"""A job in a thread of its own, as a door sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from perstack.errors import UserError
from perstack.job import Heard, Stopped
from perstack.models import Delta, Hear, Reply, Request
from perstack.ops.project import Flags
from perstack.ops.running.at_work import (
    AtWork,
    Ended,
    Failed,
    Noticed,
    Past,
    Settled,
    Source,
    Told,
    Watch,
)
from perstack.ops.running.order import GoOn, Order
from perstack.testing import MemoryStore, ScriptedModel, calls, says

pytestmark = pytest.mark.anyio

ASKING = """
[experts."worker"]
instruction = "Do it."
[experts."worker".skills."human"]
type = "interactiveSkill"
[experts."worker".skills."human".tools."askUser"]
inputJsonSchema = '{"type": "object"}'
"""


def order_in(place: Path, model: object, store: MemoryStore, **more: object) -> Order:
    (place / "perstack.toml").write_text(ASKING)
    return Order(
        expert="worker",
        query="Go",
        cwd=place,
        workspace=place,
        env={"PATH": "/usr/bin:/bin"},
        flags=Flags(runtime="local"),
        model=model,  # pyright: ignore[reportArgumentType]  # a Model, whichever
        store=store,
        **more,  # pyright: ignore[reportArgumentType]  # fields of an Order
    )


async def heard(source: Source, enough: Callable[[list[Told]], object]) -> list[Told]:
    """What it tells until that is `enough`."""
    told: list[Told] = []
    with anyio.fail_after(30):
        while not enough(told):
            await anyio.sleep(0.01)  # a door takes when it draws
            told += source.take()
    return told


def ended(told: list[Told]) -> list[Told]:
    return [one for one in told if isinstance(one, Ended | Failed)]


async def test_all_of_it_is_told_in_order(tmp_path: Path):
    store = MemoryStore()
    work = AtWork(order_in(tmp_path, ScriptedModel(says("Done.", thought="Hm.")), store, job="j"))
    try:
        told = await heard(work, ended)
    finally:
        work.close()
    assert isinstance(told[0], Settled)
    assert told[0].job == "j"
    assert told[1] == Past(())
    assert [one for one in told if hasattr(one, "seq")] == list(await store.read("j"))
    kinds = [
        one.notice.kind
        for one in told
        if isinstance(one, Noticed) and isinstance(one.notice, Heard)
    ]
    assert kinds == ["thought", "text"]
    assert isinstance(told[-1], Ended)
    assert told[-1].job.done is not None
    assert not work.at_work


class Slow:
    """A model that begins to speak, and never ends."""

    async def reply(self, request: Request, hear: Hear) -> Reply:
        hear(Delta(kind="text", text="Well, "))
        await anyio.sleep_forever()
        raise AssertionError


def speaking(told: list[Told]) -> bool:
    return any(isinstance(one, Noticed) for one in told)


async def test_it_is_put_down_where_it_stands(tmp_path: Path):
    store = MemoryStore()
    work = AtWork(order_in(tmp_path, Slow(), store, job="j"))
    try:
        await heard(work, speaking)
        work.stop()
        [end] = ended(await heard(work, ended))
    finally:
        work.close()
    assert isinstance(end, Ended)
    assert end.job.stopped is not None


async def test_closing_it_leaves_a_log_that_can_be_taken_up(tmp_path: Path):
    store = MemoryStore()
    work = AtWork(order_in(tmp_path, Slow(), store, job="j"))
    await heard(work, speaking)
    work.close()
    assert isinstance((await store.read("j"))[-1], Stopped)
    again = AtWork(order_in(tmp_path, ScriptedModel(says("Done.")), store, go_on=GoOn(job="j")))
    try:
        [end] = ended(await heard(again, ended))
    finally:
        again.close()
    assert isinstance(end, Ended)
    assert end.job.done is not None


async def test_a_stop_before_it_has_begun_is_heeded(tmp_path: Path):
    work = AtWork(order_in(tmp_path, Slow(), MemoryStore()))
    work.stop()
    try:
        [end] = ended(await heard(work, ended))
    finally:
        work.close()
    assert isinstance(end, Ended)
    assert end.job.stopped is not None


async def test_what_cannot_begin_is_told_and_writes_nothing(tmp_path: Path):
    store = MemoryStore()
    order = order_in(tmp_path, ScriptedModel(), store, go_on=GoOn(job="nobody"))
    work = AtWork(order)
    try:
        [end] = ended(await heard(work, ended))
    finally:
        work.close()
    assert isinstance(end, Failed)
    assert isinstance(end.error, UserError)
    assert await store.jobs() == ()


async def test_a_job_of_somebody_else_can_be_watched(tmp_path: Path):
    store = MemoryStore()
    asks = calls(("askUser", {"question": "Which?"}))
    work = AtWork(order_in(tmp_path, ScriptedModel(asks), store, job="j"))
    told = await heard(work, ended)
    work.close()
    known = await store.read("j")
    watch = Watch(store, "j", after=2)
    try:
        seen = await heard(watch, lambda seen: len(seen) >= len(known) - 2)
    finally:
        watch.close()
    assert seen == list(known[2:])
    assert told
