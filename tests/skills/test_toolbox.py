"""What an Expert may call, and what becomes of the calls it makes."""

from __future__ import annotations

import pytest

from perstack.definition import (
    BASE_SKILL,
    DEFAULT_BASE,
    Expert,
    InteractiveSkill,
    InteractiveTool,
    StdioSkill,
)
from perstack.errors import DefinitionError
from perstack.job import Call
from perstack.skills import Tool, base_tools, toolbox_of

ASK = InteractiveSkill(
    tools={"askUser": InteractiveTool(input_json_schema='{"type":"object","required":["q"]}')}
)
TOOLS = {BASE_SKILL: base_tools()}


def expert(**skills: object) -> Expert:
    named = {BASE_SKILL: DEFAULT_BASE, **skills}
    return Expert(key="lead", name="lead", instruction="x", skills=named)  # pyright: ignore[reportArgumentType]


def worker(key: str) -> Expert:
    return Expert(key=key, name=key.split("@")[0] or key, instruction="x", description="works")


def test_tools_come_from_skills_people_and_delegates() -> None:
    box = toolbox_of(expert(ask=ASK), [worker("helper")], TOOLS)
    kinds = {name: (entry.kind, entry.skill) for name, entry in box.entries.items()}
    assert kinds["readTextFile"] == ("tool", BASE_SKILL)
    assert kinds["todo"] == ("todo", BASE_SKILL)
    assert kinds["attemptCompletion"] == ("complete", BASE_SKILL)
    assert kinds["askUser"] == ("ask", "ask")
    assert kinds["helper"] == ("delegate", "helper")
    assert len(kinds) == 17 + 2


def test_omit_comes_before_pick() -> None:
    base = StdioSkill(command="npx", package_name=BASE_SKILL, pick=("exec", "todo"), omit=("exec",))
    box = toolbox_of(expert(**{BASE_SKILL: base}), [], TOOLS)
    assert list(box.entries) == ["todo"]


def test_two_tools_of_one_name_are_a_fault() -> None:
    with pytest.raises(DefinitionError) as caught:
        toolbox_of(expert(), [worker("exec")], TOOLS)
    assert [fault.path for fault in caught.value.faults] == ["experts.lead"]
    assert '"@perstack/base" and "exec" both offer a tool "exec"' in str(caught.value)


def test_a_call_is_completed_with_what_answers_it() -> None:
    box = toolbox_of(expert(), [worker("helper")], TOOLS)
    call = box.complete(Call(id="1", tool="readTextFile", args={"path": "a"}))
    assert (call.kind, call.skill, call.repeatable, call.fault) == ("tool", BASE_SKILL, True, "")
    assert not box.complete(Call(id="1", tool="exec", args={})).repeatable


def test_a_call_of_a_tool_with_another_name_here_keeps_its_own_name_too() -> None:
    server = StdioSkill(command="npx", package_name="files")
    tools = {**TOOLS, "files": [Tool(name="exec", description="", schema={"type": "object"})]}
    box = toolbox_of(expert(files=server), [], tools)
    assert box.complete(Call(id="1", tool="files__exec")).own_name == "exec"
    assert box.complete(Call(id="1", tool="readTextFile", args={"path": "a"})).own_name == ""


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        ("nothing", {}, "There is no tool 'nothing'. The tools are: "),
        ("readTextFile", {}, "Invalid arguments for readTextFile: `path` is required."),
        ("helper", {"query": 3}, "Invalid arguments for helper: `query` must be a string"),
        ("todo", {"newTodos": "x"}, "Invalid arguments for todo: `newTodos` must be an array"),
        ("askUser", {}, "Invalid arguments for askUser: `q` is required."),
    ],
)
def test_a_call_that_cannot_be_made_says_why(tool: str, args: dict[str, object], said: str) -> None:
    box = toolbox_of(expert(ask=ASK), [worker("helper")], TOOLS)
    assert box.complete(Call(id="1", tool=tool, args=args)).fault.startswith(said)


def test_what_the_model_said_is_wrong_stays_said() -> None:
    box = toolbox_of(expert(), [], TOOLS)
    call = box.complete(Call(id="1", tool="exec", fault="not JSON"))
    assert call.fault == "not JSON"
