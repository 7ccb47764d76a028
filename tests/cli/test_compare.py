"""`perstack compare`: where two jobs part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from perstack.testing import calls, says
from tests.ops.test_jobs_story import STORY, log_of, run, tell_story, workspace_in

from .conftest import Here
from .program import is_one_message

OTHER = {**STORY, ("/2.1", 1): calls(("appendTextFile", {"path": "plan.txt", "text": "three\n"}))}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace with the story, the same again, and one that took another turn."""
    workspace = workspace_in(tmp_path)
    tell_story(workspace, "one")
    tell_story(workspace, "same")
    tell_story(workspace, "other", OTHER)
    return workspace


def test_jobs_that_are_alike_exit_0(here: Here, place: Path):
    ran = here("compare", "one", "same", cwd=place)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot("""\
                A one                         B same
Expert          lead                          lead
Model           custom/custom, reasoning low  custom/custom, reasoning low
Outcome         completed                     completed
Steps           6                             6
Tokens          720 (600 in, 120 out)         720 (600 in, 120 out)
  lead          480 (400 in, 80 out)          480 (400 in, 80 out)
  @acme/helper  240 (200 in, 40 out)          240 (200 in, 40 out)

Tool calls:       A  B
  appendTextFile  1  1
  askUser         1  1
  helper          1  1
  readTextFile    1  1
  writeTextFile   1  1

Files:
  =  plan.txt  text sha256:c3f9c8c283a2  text sha256:c3f9c8c283a2

Alike: the same was asked, replied, called, returned and answered.

""")


def test_jobs_that_differ_exit_3_and_say_where_they_part(here: Here, place: Path):
    ran = here("compare", "one", "other", cwd=place)
    assert (ran.code, ran.err) == (3, "")
    assert ran.out == snapshot("""\
                A one                         B other
Expert          lead                          lead
Model           custom/custom, reasoning low  custom/custom, reasoning low
Outcome         completed                     completed
Steps           6                             6
Tokens          720 (600 in, 120 out)         720 (600 in, 120 out)
  lead          480 (400 in, 80 out)          480 (400 in, 80 out)
  @acme/helper  240 (200 in, 40 out)          240 (200 in, 40 out)

Tool calls:       A  B
  appendTextFile  1  1
  askUser         1  1
  helper          1  1
  readTextFile    1  1
  writeTextFile   1  1

Files:
  ≠  plan.txt  text sha256:c3f9c8c283a2  text sha256:c9b0fb1fa00b

They part at step 1 of @acme/helper (run /2.1); 2 places differ in all
  A: event 10, reply
    calls: [{"tool":"appendTextFile","args":{"path":"plan.txt","text":"two\\n"}}]
  B: event 10, reply
    calls: [{"tool":"appendTextFile","args":{"path":"plan.txt","text":"three\\n"}}]

""")


def test_the_json_says_all_there_is_to_say(here: Here, place: Path):
    ran = here("compare", "one", "other", "--json", cwd=place)
    assert (ran.code, ran.err) == (3, "")
    told = json.loads(ran.out)
    assert list(told) == ["alike", "parting", "differences", "a", "b"]
    assert told["parting"] == snapshot(
        {
            "path": "/2.1",
            "step": 1,
            "expert": "@acme/helper",
            "a": {
                "seq": 10,
                "kind": "reply",
                "said": {
                    "calls": [
                        {"tool": "appendTextFile", "args": {"path": "plan.txt", "text": "two\n"}}
                    ]
                },
            },
            "b": {
                "seq": 10,
                "kind": "reply",
                "said": {
                    "calls": [
                        {"tool": "appendTextFile", "args": {"path": "plan.txt", "text": "three\n"}}
                    ]
                },
            },
        }
    )
    assert (told["a"]["job"], told["b"]["job"]) == ("one", "other")
    assert list(told["a"]) == snapshot(
        [
            "job",
            "expert",
            "model",
            "reasoning",
            "limits",
            "definitions",
            "steps",
            "usage",
            "spent",
            "outcome",
            "text",
            "calls",
            "files",
        ]
    )
    assert told["a"]["calls"][1] == snapshot(
        {
            "seq": 6,
            "path": "",
            "step": 1,
            "expert": "lead",
            "skill": "@perstack/base",
            "tool": "writeTextFile",
            "args": {"path": "plan.txt", "text": "one\n"},
            "isError": False,
        }
    )
    alike = here("compare", "one", "same", "--json", cwd=place)
    assert (alike.code, json.loads(alike.out)["parting"]) == (0, None)


def test_a_job_that_did_less_did_nothing_there(here: Here, place: Path):
    run(place, calls(("askUser", {"question": "Why?"})), job_id="asks", query="Go")
    run(place, calls(("askUser", {"question": "Why?"})), says("So."), job_id="goes", query="Go")
    run(place, says("So."), query="Because.", continue_job="goes", answer=True)
    ran = here("compare", "asks", "goes", cwd=place)
    assert ran.code == 3
    assert "They part at step 1 of lead; 3 places differ in all\n" in ran.out
    assert "  A: nothing there\n  B: event " in ran.out
    assert "not ended" in ran.out


def test_the_workspace_says_where_to_look(here: Here, place: Path, tmp_path: Path):
    ran = here("compare", "one", "same", "--workspace", str(place), cwd=tmp_path)
    assert ran.code == 0
    env = {"PERSTACK_STORAGE_PATH": str(place / "perstack")}
    assert here("compare", "one", "same", cwd=tmp_path, env=env).code == 0


def test_a_job_that_is_not_there_exits_1_and_a_damaged_one_4(here: Here, place: Path):
    for args in (("one", "none"), ("none", "one")):
        ran = here("compare", *args, cwd=place)
        assert (ran.code, ran.out) == (1, "")
        assert "There is no job none" in ran.err
        assert is_one_message(ran.err)
    path = log_of(place, "same")
    path.write_bytes(path.read_bytes().replace(b"It is added.", b"It is added!"))
    ran = here("compare", "one", "same", cwd=place)
    assert (ran.code, ran.out) == (4, "")
    assert is_one_message(ran.err)
