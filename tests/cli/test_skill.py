"""`perstack skill test`: skills tried by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ops.installing import FIND, SEND, Project

from .conftest import Here
from .program import LOCAL, expert, is_one_message, perstack

NASTY = Path(__file__).parents[1] / "fakes" / "mcp_nasty.py"
TEST = ("skill", "test", "lead")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def tried(here: Here, project: Project, *args: str) -> dict[str, Any]:
    ran = here(*TEST, *args, "--json", cwd=project.place)
    assert ran.err == ""
    return json.loads(ran.out)


def test_the_tools_of_all_skills_are_listed(here: Here, project: Project) -> None:
    project.write(skill='omit = ["send"]')
    project.offer(FIND, SEND, {**SEND, "name": "exec"})
    ran = here(*TEST, cwd=project.place)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert any(line.startswith("@perstack/base: 17 tool(s)") for line in lines)
    assert any(line.startswith("listed: 3 tool(s), listed 1, ready after") for line in lines)
    assert "  find  [reads only]" in lines
    assert "    Finds things." in lines
    assert "  send  [hidden by omit]" in lines
    assert "  exec  [shown as listed__exec, since another tool has its name]" in lines
    assert any('"enum":["fast",null]' in line for line in lines)


def test_one_skill_alone_as_json(here: Here, project: Project) -> None:
    project.write(skill='pick = ["find"]')
    trial = tried(here, project, "listed")
    (skill,) = trial["skills"]
    assert (skill["skill"], skill["type"], skill["error"]) == ("listed", "mcpStdioSkill", "")
    assert skill["server"] == ["listed", "1"]
    find, send = skill["tools"]
    assert (find["name"], find["shownAs"], find["hiddenBy"]) == ("find", "find", "")
    assert find["inputSchema"] == FIND["inputSchema"]
    assert (send["name"], send["shownAs"], send["hiddenBy"]) == ("send", "", "pick")
    assert trial["called"] is None


def test_a_tool_is_called_by_hand(here: Here, project: Project) -> None:
    call = ("--tool", "find", "--args", '{"query": "x"}')
    ran = here(*TEST, *call, cwd=project.place)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == ["find of listed answered:", 'find {"query": "x"}']
    trial = tried(here, project, *call)
    assert trial["called"]["tool"] == "find"
    assert trial["called"]["outcome"]["parts"] == [{"type": "text", "text": 'find {"query": "x"}'}]


def test_a_hidden_tool_and_a_renamed_one_can_be_called(here: Here, project: Project) -> None:
    project.write(skill='omit = ["send"]')
    project.offer(SEND, {**SEND, "name": "exec"})
    assert here(*TEST, "--tool", "send", cwd=project.place).out.startswith(
        "send of listed answered"
    )
    shown = here(*TEST, "--tool", "listed__exec", cwd=project.place)
    assert shown.out.startswith("exec of listed answered")
    own = here(*TEST, "listed", "--tool", "exec", cwd=project.place)
    assert own.out.startswith("exec of listed answered")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("nothing",), '"lead" has no skill "nothing". It has: "@perstack/base", "listed".'),
        (("--tool", "nothing"), 'There is no tool "nothing". The tools are: '),
        (("--tool", "find", "--args", '{"q": 1}'), "Invalid arguments for find: "),
        (("--tool", "find", "--args", "[1]"), "is no JSON object"),
        (("--args", "{}"), "--args requires --tool"),
    ],
)
def test_what_was_asked_wrongly_is_one_sentence(
    args: tuple[str, ...], says: str, here: Here, project: Project
) -> None:
    ran = here(*TEST, *args, cwd=project.place)
    assert ran.code == 1
    assert is_one_message(ran.err)
    assert says in ran.err
    assert project.calls == 0


def test_an_expert_that_is_not_there(here: Here, project: Project) -> None:
    ran = here("skill", "test", "laed", cwd=project.place)
    assert ran.code == 1
    assert 'Did you mean "lead"' in ran.err


def nasty(workspace: Path, *habits: str) -> None:
    words = json.dumps([str(NASTY), *habits])
    skill = f'[experts.worker.skills.nasty]\ntype = "mcpStdioSkill"\ncommand = "{sys.executable}"\nargs = {words}'
    (workspace / "perstack.toml").write_text(LOCAL + expert(skills=skill))


def test_the_last_words_of_a_server_that_cannot_start(here: Here, workspace: Path) -> None:
    nasty(workspace, "crash")
    ran = here("skill", "test", "worker")
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert any(line.startswith("nasty: not available: ") for line in lines)
    assert "    I cannot start: no licence" in lines
    assert any(line.startswith("@perstack/base: 17 tool(s)") for line in lines)
    called = here("skill", "test", "worker", "--tool", "echo")
    assert called.code == 1
    assert "I cannot start: no licence" in called.err


def test_a_result_that_is_an_error_is_a_failure(here: Here, workspace: Path) -> None:
    nasty(workspace)
    for tool, says in (
        ("fail", "it did not work"),
        ("refuse", "No, thanks"),
        ("die", "outcome"),
    ):
        ran = here("skill", "test", "worker", "nasty", "--tool", tool)
        assert ran.code == 1, tool
        assert ran.out.startswith(f"{tool} of nasty failed:")
        assert says in ran.out
    odd = here("skill", "test", "worker", "nasty", "--tool", "odd")
    assert odd.code == 0
    assert "[image/png, " in odd.out


def test_what_a_server_says_cannot_move_the_cursor(here: Here, project: Project) -> None:
    project.offer({**SEND, "description": "Clears\x1b[2J the screen"})
    ran = here(*TEST, cwd=project.place)
    assert "\x1b" not in ran.out


def test_questions_are_shown_and_not_called(here: Here, workspace: Path) -> None:
    ask = '[experts.worker.skills.ask]\ntype = "interactiveSkill"\n[experts.worker.skills.ask.tools.askUser]\n'
    skills = f"{ask}description = \"Asks\"\ninputJsonSchema = '{{}}'"
    (workspace / "perstack.toml").write_text(expert(skills=skills))
    assert "  askUser" in here("skill", "test", "worker", "ask").out.splitlines()
    ran = here("skill", "test", "worker", "--tool", "askUser")
    assert ran.code == 1
    assert "answered by a person" in ran.err


def test_differences_from_the_lock_are_shown(here: Here, project: Project) -> None:
    assert tried(here, project, "listed")["skills"][0]["differs"] is None
    assert perstack("install", cwd=project.place).code == 0
    assert tried(here, project, "listed")["skills"][0]["differs"] == []
    project.offer(FIND)
    assert tried(here, project, "listed")["skills"][0]["differs"] == ["send: removed"]
    lines = here(*TEST, "listed", cwd=project.place).out.splitlines()
    assert "  It has other tools than perstack.lock says:" in lines
    assert "    - send: removed" in lines
