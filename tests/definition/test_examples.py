"""The example projects: each loads without a complaint, and the scripts beside them do what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perstack.definition import (
    BASE_SKILL,
    Parsed,
    StdioSkill,
    compose_instruction,
    parse_delegate,
    parse_project,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
PROJECTS = sorted(path.parent.name for path in EXAMPLES.glob("*/perstack.toml"))

BASE_TOOLS = set(
    "attemptCompletion todo clearTodo exec getFileInfo healthCheck readTextFile readImageFile readPdfFile "
    "writeTextFile appendTextFile editTextFile moveFile deleteFile listDirectory createDirectory "
    "deleteDirectory".split()
)


def load(name: str) -> Parsed:
    return parse_project((EXAMPLES / name / "perstack.toml").read_text(encoding="utf-8"), name)


def test_the_examples_are_these():
    assert PROJECTS == [
        "bug-finder",
        "fitness-assistant",
        "github-issue-bot",
        "gmail-assistant",
        "tic-tac-toe",
    ]


@pytest.mark.parametrize("name", PROJECTS)
def test_an_example_loads_without_fault_or_warning(name: str):
    parsed = load(name)
    assert parsed.faults == ()
    assert parsed.warnings == ()
    for key in parsed.names:
        expert = parsed.expert(key)
        delegates = [parsed.expert(parse_delegate(text).name) for text in expert.delegates]
        text = compose_instruction(expert, delegates, at="2026-01-01T00:00:00Z", workspace="/")
        assert expert.instruction in text
        assert expert.description
        assert "attemptCompletion" in text


@pytest.mark.parametrize("name", PROJECTS)
def test_an_example_picks_only_base_tools_that_exist(name: str):
    parsed = load(name)
    for expert in parsed.project.experts.values():
        base = expert.skills[BASE_SKILL]
        assert isinstance(base, StdioSkill)
        assert set(base.pick) <= BASE_TOOLS
        assert base.pick


@pytest.mark.parametrize("name", PROJECTS)
def test_the_readme_of_an_example_names_its_experts_and_files(name: str):
    readme = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    assert [key for key in load(name).names if key not in readme] == []
    shown = {"README.md", "perstack.toml", ".gitignore"}
    files = [path.name for path in (EXAMPLES / name).iterdir() if path.is_file()]
    assert [file for file in files if file not in shown and file not in readme] == []


def event(type_: str, who: str = "root", **more: object) -> dict[str, Any]:
    return {"type": type_, "id": "e", "expertKey": who, "jobId": "j", "runId": "r", **more}


def calls(tool: str, who: str = "root", **args: object) -> dict[str, Any]:
    call = {"id": "c", "skillName": "s", "toolName": tool, "args": args}
    return event("callTools", who, toolCalls=[call])


STORY = [
    {"type": "initializeRuntime", "id": "e", "jobId": "j", "runId": "r"},
    event("startRun"),
    calls("readTextFile", path="src/a.py"),
    calls("exec", command="gh", args=["issue", "view"]),
    event("startRun", "helper"),
    event("completeRun", "helper", text="not the answer"),
    event("completeRun", text="It is line 3."),
]


def run(script: str, events: list[dict[str, Any]], *args: str, **env: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-X", "utf8", str(EXAMPLES / script), *args],
        input="".join(json.dumps(item) + "\n" for item in events),
        capture_output=True,
        encoding="utf-8",
        env={"PATH": os.environ["PATH"], **env},
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_progress_tells_calls_and_the_answer_of_the_root():
    assert run("gmail-assistant/progress.py", STORY) == (
        0,
        "[root] readTextFile(path=src/a.py)\n"
        "[root] exec(command=gh, args=['issue', 'view'])\n"
        "[helper] done\n"
        "\nIt is line 3.\n",
    )


def test_progress_tells_a_failure():
    error = {"name": "Overloaded", "message": "try later", "isRetryable": False}
    events = [event("stopRunByError", error=error), event("stopRunByExceededMaxSteps", "x")]
    assert run("gmail-assistant/progress.py", events) == (
        0,
        "[root] failed: try later\n[x] stopped: the limit of steps is reached\n",
    )


def test_the_comment_holds_the_answer_and_no_arguments():
    status, text = run("github-issue-bot/comment.py", STORY, "--print")
    assert status == 0
    assert text == (
        "✅ **root**\n\nIt is line 3.\n\n<details><summary>2 calls</summary>\n\n"
        "- `readTextFile` `src/a.py`\n- `exec`\n\n</details>\n"
    )


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (event("stopRunByError", error={"message": "no money"}), "It failed: no money"),
        (event("stopRunByExceededMaxSteps"), "limit of steps"),
        (event("startGeneration"), "ended without an answer"),
    ],
)
def test_the_comment_says_that_there_is_no_answer(last: dict[str, Any], said: str):
    status, text = run("github-issue-bot/comment.py", [event("startRun"), last], "--print")
    assert status == 1
    assert text.startswith("❌ **root**")
    assert said in text


def test_the_comment_is_posted_with_gh_at_the_start_and_at_the_end(tmp_path: Path):
    gh = tmp_path / "gh"
    gh.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/args\ncat >> {tmp_path}/bodies\necho >> {tmp_path}/bodies\n'
    )
    gh.chmod(0o755)
    status, text = run(
        "github-issue-bot/comment.py",
        STORY,
        PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        GITHUB_REPO="me/project",
        COMMENT_ID="7",
    )
    assert (status, text) == (0, "")
    bodies = [json.loads(line)["body"] for line in (tmp_path / "bodies").read_text().splitlines()]
    assert bodies[0] == "⏳ **root** is working\n\n- `readTextFile` `src/a.py`\n"
    assert "It is line 3." in bodies[-1]
    assert set((tmp_path / "args").read_text().splitlines()) == {
        "api --silent --method PATCH repos/me/project/issues/comments/7 --input -"
    }


def test_a_long_run_shows_its_last_steps():
    events = [event("startRun"), *(calls("exec", path=f"f{n}") for n in range(20))]
    _, text = run("github-issue-bot/comment.py", events, "--print")
    assert "20 calls" in text
    assert "8 more" in text
    assert "`f7`" not in text
    assert "`f19`" in text
