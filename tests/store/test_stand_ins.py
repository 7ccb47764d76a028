"""The stand-ins of `perstack.testing`, beyond what every store promises."""

from __future__ import annotations

import anyio
import pytest

from perstack.errors import ModelError, ToolError
from perstack.job import History, Text, UserSpoke, said
from perstack.models import Delta, Model, Reply, Request
from perstack.skills import Outcome, Skill, Tool
from perstack.testing import (
    Crash,
    Meeting,
    MemoryStore,
    OffScript,
    ScriptedModel,
    ScriptedSkill,
    calls,
    fails,
    says,
)

from .facts import ended, spoken, started, texts, written

pytestmark = pytest.mark.anyio


def _request(path: str = "", step: int = 1, *, concluding: bool = False) -> Request:
    history = History([said("go")])
    return Request(
        model="m",
        instruction="You work.",
        history=history,
        expert="worker",
        path=path,
        step=step,
        concluding=concluding,
    )


async def _reply(model: Model, request: Request) -> tuple[Reply, list[Delta]]:
    heard: list[Delta] = []
    return await model.reply(request, heard.append), heard


async def test_a_scripted_model_says_one_thing_after_the_other():
    model = ScriptedModel(calls(("look", {"at": "x"})), fails("RateLimited"), says("done"))
    first, _ = await _reply(model, _request())
    assert [(call.id, call.tool, call.args) for call in first.message.calls] == [
        ("c1", "look", {"at": "x"})
    ]
    assert first.finish == "calls"
    with pytest.raises(ModelError) as failed:
        await _reply(model, _request(step=2))
    assert (failed.value.name, failed.value.retryable) == ("RateLimited", True)
    last, _ = await _reply(model, _request(step=2))
    assert (last.message.text, last.finish) == ("done", "stop")
    with pytest.raises(OffScript, match="request 4"):
        await _reply(model, _request(step=3))
    assert [request.step for request in model.requests] == [1, 2, 2]


async def test_what_a_scripted_model_says_is_heard_piece_by_piece():
    model = ScriptedModel(says("one\ntwo", thought="hm"))
    reply, heard = await _reply(model, _request())
    assert heard == [Delta("thought", "hm"), Delta("text", "one\n"), Delta("text", "two")]
    assert reply.message.model == "scripted/m"
    assert reply.usage.total_tokens > 0


async def test_a_script_may_go_by_place():
    model = ScriptedModel(
        {
            ("", 1): calls(("ask the other", {"query": "q"})),
            ("", 2): (fails(), says("lead")),
            ("/1.1", 1): says("other"),
        }
    )
    other, _ = await _reply(model, _request("/1.1"))
    assert other.message.text == "other"
    for _ in range(2):
        first, _ = await _reply(model, _request())
        assert len(first.message.calls) == 1
    with pytest.raises(ModelError):
        await _reply(model, _request(step=2))
    for _ in range(2):
        lead, _ = await _reply(model, _request(step=2))
        assert lead.message.text == "lead"
    with pytest.raises(OffScript, match=r"/7\.1"):
        await _reply(model, _request("/7.1"))


async def test_a_script_may_be_a_function_of_the_request():
    model = ScriptedModel(lambda request: says(f"{request.step}", cut=request.concluding))
    reply, _ = await _reply(model, _request(step=4, concluding=True))
    assert (reply.message.text, reply.finish) == ("4", "length")


async def test_a_meeting_proves_that_requests_are_in_flight_together():
    both = Meeting(2)
    model = ScriptedModel(says("a"), says("b"), each=both.arrive)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_reply, model, _request())
            tasks.start_soon(_reply, model, _request())
    alone = Meeting(2)
    with anyio.move_on_after(0) as waited:
        await alone.arrive()
    assert waited.cancelled_caught


async def test_a_scripted_skill_is_made_of_functions():
    async def later(args: dict[str, object]) -> str:
        await anyio.lowlevel.checkpoint()
        return f"later {args['n']}"

    failed = Outcome(parts=(Text(text="no"),), is_error=True)
    about = Tool(name="add", description="Adds.", schema={"type": "object"}, may_repeat=True)
    skill = ScriptedSkill(
        {
            "add": lambda args: str(args["a"] + args["b"]),
            "later": later,
            "fail": lambda _: failed,
            "raise": lambda _: ToolError("told to the model"),
        },
        [about],
    )
    offered: Skill = skill
    assert [tool.name for tool in offered.tools] == ["add", "later", "fail", "raise"]
    assert offered.tools[0] is about
    assert await skill.use("add", {"a": 1, "b": 2}) == Outcome(parts=(Text(text="3"),))
    assert await skill.use("later", {"n": 1}) == Outcome(parts=(Text(text="later 1"),))
    assert await skill.use("fail", {}) is failed
    with pytest.raises(ToolError):
        await skill.use("raise", {})
    assert skill.uses[0] == ("add", {"a": 1, "b": 2})


@pytest.mark.parametrize("reached", [False, True], ids=["before writing", "after writing"])
async def test_a_crash_ends_the_writing_once_and_lets_the_job_be_opened_again(reached: bool):
    store = MemoryStore(crash_at=3, written=reached)

    async def write_on_and_on() -> None:
        async with store.open("a") as (log, _):
            try:
                for fact in spoken("one", "two", "three", "four"):
                    await log.append(fact)
            finally:
                await log.append(UserSpoke(text="last words"))

    with pytest.raises(Crash):
        await write_on_and_on()
    held = ["one", "two", "three"] if reached else ["one", "two"]
    assert texts(await store.read("a")) == held
    async with store.open("a") as (log, events):
        assert texts(events) == held
        await log.append(UserSpoke(text="on"))
    assert texts(await store.read("a")) == [*held, "on"]


async def test_the_clock_of_a_memory_store_is_the_same_on_every_day():
    logs = [await written(MemoryStore(), "a", (*started("a"), *ended())) for _ in range(2)]
    assert logs[0] == logs[1]
    assert [round(event.at - logs[0][0].at, 3) for event in logs[0]] == [0, 0.001, 0.002, 0.003]
