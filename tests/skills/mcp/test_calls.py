"""Calls: what comes back, when it does not, and when the server ends meanwhile."""

from __future__ import annotations

import json
import math
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing

from perstack.errors import SkillUnavailable
from perstack.job import File, Image, SkillConnected, SkillDisconnected, SkillStarting, Text
from perstack.skills import Outcome, Tool
from perstack.skills.launch import LINE_MAX
from perstack.skills.mcp_results import TEXT_MAX
from perstack.skills.patience import LONGEST, Patience

from .world import World, told, until

pytestmark = pytest.mark.anyio

NOTHING: dict[str, Any] = {}


async def test_many_calls_at_once_each_get_their_own_answer(world: World):
    answers: dict[int, str] = {}
    async with world.nasty() as skill, anyio.create_task_group() as tasks:

        async def call(number: int) -> None:
            answers[number] = told(await skill.use("echo", {"n": number}))

        for number in range(100):
            tasks.start_soon(call, number)
    assert answers == {number: json.dumps({"n": number}) for number in range(100)}


async def test_a_call_that_is_slow_does_not_hold_up_another(world: World):
    async with world.nasty() as skill, anyio.create_task_group() as tasks:
        tasks.start_soon(skill.use, "hang", NOTHING)
        assert told(await skill.use("echo", {})) == "{}"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("tool", "text", "is_error"),
    [
        ("refuse", "Error calling tool refuse: MCP error -32602: No, thanks", True),
        ("fail", "it did not work", True),
        ("nothing", 'Tool nothing returned nothing with arguments: {"a":1}', False),
        ("structured", '{"answer":42}', False),
    ],
)
async def test_what_comes_back_is_told(world: World, tool: str, text: str, is_error: bool):
    async with world.nasty() as skill:
        outcome = await skill.use(tool, {"a": 1})
    assert (told(outcome), outcome.is_error) == (text, is_error)


async def test_a_result_that_is_not_mcp_is_an_error_and_no_end(world: World):
    async with world.nasty() as skill:
        outcome = await skill.use("broken", {})
        assert outcome.is_error
        assert told(outcome).startswith("Error calling tool broken: the result cannot be used")
        assert told(await skill.use("echo", {})) == "{}"


async def test_all_kinds_of_content_arrive(world: World):
    async with world.nasty() as skill:
        outcome = await skill.use("odd", {})
    assert not outcome.is_error
    words = [part.text if isinstance(part, Text) else part for part in outcome.parts]
    assert words == [
        "Error: No content",
        Image(data="iVBORw0KGgo=", mime_type="image/png"),
        "[image of type image/png whose data is not base64]",
        "[image of type image/tiff, 9 bytes, which cannot be shown here]",
        "[audio of type audio/wav, 9 bytes, which cannot be shown here]",
        "Resource a: file:///a.txt (text/plain)",
        "told",
        File(data="JVBERi0xLjQ=", mime_type="application/pdf"),
    ]


async def test_a_text_of_a_million_characters_arrives_whole(world: World):
    async with world.nasty() as skill:
        assert told(await skill.use("big", {"size": 1_000_000})) == "x" * 1_000_000


async def test_more_text_than_anybody_reads_is_cut_and_said_to_be(world: World):
    async with world.nasty() as skill:
        outcome = await skill.use("big", {"size": TEXT_MAX + 5})
    first, note = outcome.parts
    assert isinstance(first, Text)
    assert isinstance(note, Text)
    assert len(first.text) == TEXT_MAX
    assert "5 bytes longer" in note.text


async def test_a_message_too_long_to_be_read_fails_its_call_at_once(world: World):
    async with world.nasty() as skill:
        outcome = await skill.use("huge", {"size": LINE_MAX + 1})
        assert outcome.is_error
        assert f"more than {LINE_MAX} bytes" in told(outcome)
        assert told(await skill.use("echo", {})) == "{}"


# Time ----------------------------------------------------------------------------------------------------


async def test_a_call_without_answer_times_out_and_is_cancelled_at_the_server(world: World):
    async with world.nasty(tool_s=1) as skill:
        outcome = await skill.use("hang", {})
        assert outcome.is_error
        assert told(outcome) == (
            "Error calling tool hang: MCP error -32001: Request timed out: no answer within 1 s"
        )
        assert len(json.loads(told(await skill.use("hung", {})))) == 1


async def test_a_call_that_is_cancelled_here_is_cancelled_there(world: World):
    async with world.nasty() as skill:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(skill.use, "hang", NOTHING)
            await skill.use("echo", {})  # it has been sent by now
            tasks.cancel_scope.cancel()
        assert len(json.loads(told(await skill.use("hung", {})))) == 1


async def test_a_server_that_reads_nothing_does_not_hold_a_call_for_ever(world: World):
    async with world.nasty("stuffed", tool_s=0.5) as skill:
        for _ in range(3):
            outcome = await skill.use("echo", {"a": "x" * 1_000_000})
            assert outcome.is_error
            assert "timed out" in told(outcome)


async def test_progress_is_a_sign_of_life(world: World):
    async with world.nasty(tool_s=2) as skill:
        outcome = await skill.use("slow", {"times": 6, "pause": 0.5})
    assert told(outcome) == "done at last"


def test_patience_is_renewed_by_progress_and_ends_all_the_same():
    """In virtual time: 10 s between signs of life, ten times that in all."""

    async def story() -> tuple[float, str, float, str, float]:
        silent = Patience(10)
        with silent.scope:
            await trio.sleep_forever()
        first = trio.current_time()

        busy = Patience(10)
        with busy.scope:
            while True:
                await trio.sleep(9)
                await busy.progress(0.1)
        second = trio.current_time() - first

        asked = Patience(10)
        with asked.scope:
            await trio.sleep(5)
            asked.stop()
            await asked.progress(1)
            await trio.sleep(3600)  # a person takes their time
            asked.go_on()
            await trio.sleep_forever()
        third = trio.current_time() - first - second
        return first, silent.spent, second, busy.spent, third

    clock = trio.testing.MockClock(autojump_threshold=0)
    first, silent, second, busy, third = trio.run(story, clock=clock)
    assert (first, second, third) == pytest.approx((10, 10 * LONGEST, 5 + 3600 + 10))
    assert silent == "no answer within 10 s"
    assert busy == f"it took more than {10 * LONGEST} s"
    assert not math.isinf(second)


# The server ends -----------------------------------------------------------------------------------------


async def test_a_server_that_dies_is_started_once_more_and_then_not_again(world: World):
    async with world.nasty() as skill:
        for _ in range(2):
            before = told(await skill.use("pid", {}))
            outcome = await skill.use("die", {})
            assert outcome.is_error
            assert told(outcome) == (
                "Error calling tool die: the server ended before it answered "
                "(it exited with code 3); outcome unknown"
            )
            if len(world.heard(SkillStarting)) == 1:
                assert told(await skill.use("pid", {})) != before
        for _ in range(2):
            with pytest.raises(SkillUnavailable) as caught:
                await skill.use("echo", {})
            assert caught.value.reason == "it exited with code 3"
            assert "Oh no, I die" in caught.value.stderr_tail
    kinds = (SkillStarting, SkillConnected, SkillDisconnected)
    assert [len(world.heard(kind)) for kind in kinds] == [2, 2, 2]


async def test_all_calls_in_flight_hear_of_the_end_and_share_one_new_start(world: World):
    outcomes: list[Outcome] = []
    async with world.nasty() as skill:

        async def call(tool: str) -> None:
            outcomes.append(await skill.use(tool, {}))

        async with anyio.create_task_group() as tasks:
            for tool in ("hang", "hang", "hang", "die"):
                tasks.start_soon(call, tool)
        assert all(outcome.is_error for outcome in outcomes)
        assert all("outcome unknown" in told(outcome) for outcome in outcomes)
        outcomes.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(call, "echo")
        assert [told(outcome) for outcome in outcomes] == ["{}"] * 5
    assert len(world.heard(SkillStarting)) == 2


async def test_a_child_that_holds_the_pipes_does_not_hide_the_end(world: World):
    async with world.nasty("daemon") as skill:
        assert "outcome unknown" in told(await skill.use("die", {}))
        assert len(world.processes()) <= 3
        assert told(await skill.use("echo", {})) == "{}"


async def test_a_server_that_closes_its_output_is_opened_anew(world: World):
    async with world.nasty("silent") as skill:
        await until(lambda: world.heard(SkillDisconnected))
        assert len(world.heard(SkillStarting)) == 1  # not before it is needed
        await skill.use("echo", {})
        assert len(world.heard(SkillStarting)) == 2


async def test_a_server_that_cannot_be_started_again_is_unavailable(world: World):
    world.mark = str(world.workspace / "mark")  # where it notes that it was started
    world.env["PERSTACK_TEST_MARK"] = world.mark
    async with world.nasty("once") as skill:
        await skill.use("die", {})
        for _ in range(2):
            with pytest.raises(SkillUnavailable) as caught:
                await skill.use("echo", {})
            assert caught.value.reason == "it exited with code 4"
            assert caught.value.stderr_tail.endswith("Not a second time")


# What the server says unasked ----------------------------------------------------------------------------


@pytest.mark.parametrize("habits", [(), ("modern",)])
async def test_changed_tools_are_listed_again(world: World, habits: tuple[str, ...]):
    changes: list[tuple[set[str], set[str]]] = []

    def changed(before: tuple[Tool, ...], now: tuple[Tool, ...]) -> None:
        changes.append(({tool.name for tool in before}, {tool.name for tool in now}))

    async with world.nasty(*habits, changed=changed) as skill:
        while habits and told(await skill.use("listeners", {})) == "0":
            await anyio.lowlevel.checkpoint()
        await skill.use("grow", {})
        await until(lambda: changes)
        assert "grown" in {tool.name for tool in skill.tools}
    ((before, now),) = changes
    assert now - before == {"grown"}


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({"name": "Ada"}, {"action": "accept", "content": {"name": "Ada"}}),
        (None, {"action": "decline"}),
    ],
)
async def test_a_person_is_asked_if_there_is_one(
    world: World, answer: dict[str, Any] | None, result: dict[str, Any]
):
    asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(message: str, schema: dict[str, Any]) -> dict[str, Any] | None:
        asked.append((message, schema))
        return answer

    async with world.nasty(ask=ask) as skill:
        assert json.loads(told(await skill.use("ask", {}))) == result
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    assert asked == [("What is your name?", schema)]


async def test_a_question_that_comes_as_a_result_is_asked_as_well(world: World):
    async def ask(message: str, schema: dict[str, Any]) -> dict[str, Any] | None:
        return {"name": "Ada"}

    async with world.nasty("modern", ask=ask) as skill:
        answer = json.loads(told(await skill.use("ask", {})))
    assert answer == {"action": "accept", "content": {"name": "Ada"}, "state": "s-1"}
