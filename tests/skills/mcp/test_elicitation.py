"""Servers that ask a person something during a call."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from perstack.job import Answer
from perstack.skills import NeedsAnswer, Skill

from .world import World, told

pytestmark = pytest.mark.anyio

ASKING = Path(__file__).parents[2] / "fakes" / "mcp_asking.py"
NOTHING: dict[str, Any] = {}
NAME = "What is your name?"


async def asked(skill: Skill, *answers: Answer) -> str:
    with pytest.raises(NeedsAnswer) as caught:
        await skill.use("ask", {}, answers)
    return caught.value.question.message


@pytest.mark.parametrize("habits", [(), ("modern",)], ids=["older", "newer"])
async def test_a_call_is_called_off_with_the_question_and_made_again_with_the_answer(
    world: World, habits: tuple[str, ...]
):
    state = {"state": "s-1"} if habits else {}
    async with world.nasty(*habits) as skill:
        with pytest.raises(NeedsAnswer) as caught:
            await skill.use("ask", {})
        assert caught.value.question.message == NAME
        assert caught.value.question.schema == {
            "type": "object",
            "properties": {"name": {"type": "string"}},
        }
        assert await asked(skill, Answer(message="Something else?", content={})) == NAME
        accepted = await skill.use("ask", {}, [Answer(message=NAME, content={"name": "Ada"})])
        assert json.loads(told(accepted)) == {
            **state,
            "action": "accept",
            "content": {"name": "Ada"},
        }
        declined = await skill.use("ask", {}, [Answer(message=NAME)])
        assert json.loads(told(declined)) == {**state, "action": "decline"}
        assert told(await skill.use("echo", {"a": 1})) == '{"a": 1}'


async def test_the_server_hears_that_the_call_was_called_off(world: World):
    async with world.nasty() as skill:
        await asked(skill)
        assert len(json.loads(told(await skill.use("hung", {})))) == 1


async def test_an_older_server_with_several_calls_at_work_is_declined(world: World):
    async with world.nasty() as skill, anyio.create_task_group() as tasks:
        tasks.start_soon(skill.use, "hang", NOTHING)
        outcome = await skill.use("ask", {})
        assert json.loads(told(outcome)) == {"action": "decline"}
        tasks.cancel_scope.cancel()


async def test_a_newer_server_says_which_of_several_calls_it_asks_in(world: World):
    async with world.nasty("modern") as skill, anyio.create_task_group() as tasks:
        tasks.start_soon(skill.use, "hang", NOTHING)
        assert await asked(skill) == NAME
        tasks.cancel_scope.cancel()


async def test_a_tool_that_asks_twice_gets_both_answers_from_the_start(world: World):
    notes = world.workspace / "booked.txt"
    day = Answer(message="For which day?", content={"day": "Monday"})
    async with world.open(sys.executable, str(ASKING)) as skill:
        with pytest.raises(NeedsAnswer) as first:
            await skill.use("book", {"table": 4})
        assert first.value.question.message == day.message
        with pytest.raises(NeedsAnswer) as second:
            await skill.use("book", {"table": 4}, [day])
        assert second.value.question.message == "Book table 4 for Monday?"
        sure = Answer(message=second.value.question.message, content={"sure": True, "guests": 3})
        outcome = await skill.use("book", {"table": 4}, [day, sure])
        assert told(outcome) == "Table 4 is yours on Monday"
        assert not outcome.is_error
    assert notes.read_text().split("\n")[-2] == "booked for 3"
    assert notes.read_text().count("begun 4") == 3
