"""What a tool's server asks during a call, and the answer from another process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.fakes.modelserver import Calls, ModelServer, Says

from .conftest import Here
from .program import LOCAL, expert, facts, folded, is_one_message, keys, log_of, perstack

ASKING = Path(__file__).parents[1] / "fakes" / "mcp_asking.py"
RUN = ("run", "worker", "Book table 4")
SKILLS = f"""
[experts.worker.skills.tables]
type = "mcpStdioSkill"
command = {json.dumps(sys.executable)}
args = [{json.dumps(str(ASKING))}]
"""


@pytest.fixture(autouse=True)
def tables(workspace: Path) -> None:
    (workspace / "perstack.toml").write_text(LOCAL + expert(skills=SKILLS))


def turns() -> list[Calls | Says]:
    return [Calls([("book", {"table": 4})]), Says("All is arranged.")]


@pytest.mark.parametrize("full", [False, True], ids=["compact", "full"])
def test_answers_from_other_processes_let_the_call_come_to_its_end(workspace: Path, full: bool):
    more = ["--full-events"] if full else []
    with ModelServer(turns()) as server:
        first = perstack(*RUN, *more, cwd=workspace, env=keys(server))
        go_on = ("--continue-job", first.job, "-i", *more)
        second = perstack("run", "worker", "Monday", *go_on, cwd=workspace, env=keys(server))
        call = second.of("callInteractiveTool")[0]["toolCall"]
        told = {"toolCallId": call["id"], "toolName": call["toolName"]}
        told |= {"skillName": call["skillName"], "text": '{"sure": true, "guests": 3}'}
        third = perstack(
            *("run", "worker", json.dumps(told), *go_on), cwd=workspace, env=keys(server)
        )
    assert [ran.code for ran in (first, second, third)] == [0, 0, 0]
    assert 'Waiting for your answer to book {"message":"For which day?"' in first.err
    for ran in (first, second):
        ran.checked(full=full)
        assert ran.of("callInteractiveTool")[0]["toolCall"]["skillName"] == "tables"
        assert len(ran.of("stopRunByInteractiveTool")) == 1
    third.checked(full=full)
    assert call["args"]["message"] == "Book table 4 for Monday?"
    assert set(call["args"]["requestedSchema"]["properties"]) == {"sure", "guests"}
    (begins,) = third.of("initializeRuntime")
    assert json.loads(begins["interactiveToolCall"]["text"]) == {"sure": True, "guests": 3}
    (resolved,) = third.of("resolveToolResults")
    assert "Table 4 is yours on Monday" in json.dumps(resolved)
    job = folded(workspace, first.job)
    assert job.done is not None
    assert job.done.text == "All is arranged."
    kinds = [fact["type"] for fact in facts(workspace, first.job)]
    assert kinds.count("toolCalled") == 3
    assert (kinds.count("asked"), kinds.count("askAnswered")) == (2, 2)
    assert "booked for 3" in (workspace / "booked.txt").read_text()


def test_null_declines(workspace: Path, here: Here):
    with ModelServer(turns()) as server:
        first = here(*RUN, env=keys(server))
        ran = here("run", "worker", "null", "--continue-job", first.job, "-i", env=keys(server))
    assert ran.code == 0
    ran.checked()
    assert "not booked: decline" in json.dumps(ran.of("resolveToolResults"))
    assert folded(workspace, first.job).done is not None
    assert "booked for" not in (workspace / "booked.txt").read_text()


def test_an_answer_that_is_not_what_was_asked_for_changes_nothing(workspace: Path, here: Here):
    with ModelServer(turns()) as server:
        first = here(*RUN, env=keys(server))
        go_on = ("--continue-job", first.job, "-i")
        here("run", "worker", "Monday", *go_on, env=keys(server))
        before = log_of(workspace, first.job).read_bytes()
        wrong = [
            here("run", "worker", text, *go_on, env=keys(server))
            for text in ("yes", "[1]", '{"guests": 3}', '{"sure": "of course"}')
        ]
        extra = here("run", "worker", '{"sure": true, "more": {"a": 1}}', *go_on, env=keys(server))
    for ran in (*wrong, extra):
        assert (ran.code, ran.out) == (1, "")
        assert is_one_message(ran.err)
    assert "The answer must be a JSON object, or null to decline. Its JSON Schema: " in wrong[0].err
    assert "`sure` is required" in wrong[2].err
    assert "`sure` must be a boolean, not a string" in wrong[3].err
    assert "`more` is no plain value" in extra.err
    assert log_of(workspace, first.job).read_bytes() == before
