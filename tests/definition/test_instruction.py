# ruff: noqa: E501  (the text is compared whole)
"""What the model is told before the first message."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from perstack.definition import (
    BASE_SKILL,
    DEFAULT_BASE,
    DelegateTool,
    Expert,
    InteractiveSkill,
    RemoteSkill,
    Skill,
    StdioSkill,
    compose_instruction,
    delegate_tool,
    has_completion_tool,
    tool_name_clashes,
)

AT = "2026-01-31T12:00:00.000Z"
BASE: dict[str, Skill] = {BASE_SKILL: DEFAULT_BASE}


def expert(name: str = "lead", **fields: object) -> Expert:
    known: dict[str, object] = {
        "key": name,
        "name": name,
        "instruction": "Count it.",
        "skills": BASE,
    }
    return Expert(**(known | fields))  # type: ignore[arg-type]


def told(who: Expert, *delegates: Expert) -> str:
    return compose_instruction(who, delegates, at=AT, workspace="/work")


def test_the_whole_text_of_an_expert_with_everything():
    lead = expert(
        "@acme/lead",
        instruction="Count the files.\n\n- all of them",
        skills={
            **BASE,
            "search": StdioSkill(
                command="x", args=("y",), rule="Search first.", description="Hidden"
            ),
            "quiet": RemoteSkill(endpoint="https://a.com"),
        },
    )
    reader = expert("@acme/reader", description="Reads files.")
    assert told(lead, reader, expert("writer")) == snapshot("""\
You are lead, an Expert run by Perstack. You work on the user's request with the tools you have, on your own, until it is done.

- The first user message states the goal.
- Check what you assume. Look at the results of your calls before you go on.
- Keep calling tools while there is work left: a reply without a call ends the run. Calls that do not depend on each other may go out in one turn.
- When the work is done, call `attemptCompletion` alone, without other calls beside it. If it comes back with open todos, finish those first. Then write the final answer.
- A request outside your field, or one that cannot be understood: call `attemptCompletion` at once, then say so and name your field.

Started at: 2026-01-31T12:00:00.000Z
Working directory: /work

---

## Task

Count the files.

- all of them

---

## Skills

### Rules for skill "search"

Search first.

---

## Delegates

These Experts can be called as tools. Each starts afresh and knows only the query you send.

- reader: Reads files.
- writer: Hand a task to the Expert writer.
""")


def test_the_task_is_there_word_for_word():
    instruction = "  ## Task\n\n---\n${HOME} {braces} %s \\n 🙂\n\n"
    assert instruction in told(expert(instruction=instruction))


def test_sections_with_nothing_in_them_are_left_out():
    text = told(expert())
    assert "## Task" in text
    assert "## Skills" not in text
    assert "## Delegates" not in text


def test_the_same_run_gets_the_same_text():
    assert told(expert()) == told(expert())
    assert AT in told(expert())
    assert "/work" in told(expert())


@pytest.mark.parametrize(
    ("skills", "offered"),
    [
        (BASE, True),
        ({}, False),
        ({BASE_SKILL: StdioSkill(command="npx", pick=("readTextFile",))}, False),
        ({BASE_SKILL: StdioSkill(command="npx", pick=("exec", "attemptCompletion"))}, True),
        ({BASE_SKILL: StdioSkill(command="npx", omit=("exec",))}, True),
        ({BASE_SKILL: StdioSkill(command="npx", omit=("attemptCompletion",))}, False),
        ({BASE_SKILL: RemoteSkill(endpoint="https://a.com")}, True),
        ({BASE_SKILL: InteractiveSkill(tools={})}, False),
        ({"other": StdioSkill(command="npx", pick=("attemptCompletion",))}, False),
    ],
)
def test_the_model_is_told_of_the_completion_tool_only_if_it_has_it(
    skills: dict[str, Skill], offered: bool
):
    who = expert(skills=skills)
    assert has_completion_tool(who) is offered
    assert ("attemptCompletion" in told(who)) is offered
    assert ("reply without calling a tool" in told(who)) is not offered


def test_a_delegate_is_one_tool_named_by_what_follows_its_scope():
    tool = delegate_tool(expert("@acme/reader", description="Reads files."))
    assert isinstance(tool, DelegateTool)
    name, description, schema = tool
    assert (name, description) == ("reader", "Reads files.")
    assert schema["required"] == ["query"]
    assert schema["properties"]["query"]["type"] == "string"


def test_a_delegate_without_description_is_still_described():
    assert (
        delegate_tool(expert("@acme/reader")).description
        == "Hand a task to the Expert @acme/reader."
    )


def test_the_first_of_a_tool_name_keeps_it():
    named = [("a", "one"), ("b", "one"), ("a", "two"), ("a", "two")]
    assert list(tool_name_clashes(named)) == [("two", "a", "one"), ("two", "a", "one")]
