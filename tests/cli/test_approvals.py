"""Calls that a person must allow, answered from another process or at the terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.register import proves
from tests.fakes.modelserver import Calls, ModelServer, Says

from .conftest import Here
from .program import (
    LOCAL,
    LONG_S,
    command,
    environment,
    expert,
    facts,
    folded,
    is_one_message,
    keys,
    log_of,
    perstack,
)

RUN = ("run", "worker", "Tidy up")
RULES = 'approve = ["exec(touch *)"]\ndeny = ["writeTextFile(path=*.toml)"]\n'
TOUCH: dict[str, Any] = {
    "command": "touch",
    "args": ["made.txt"],
    "env": {},
    "cwd": ".",
    "stdout": True,
    "stderr": True,
}


@pytest.fixture(autouse=True)
def ruled(workspace: Path) -> None:
    (workspace / "perstack.toml").write_text(LOCAL + expert(more=RULES))


def turns() -> list[Calls | Says]:
    write = ("writeTextFile", {"path": "x.toml", "text": "a = 1"})
    return [Calls([("exec", TOUCH), write]), Says("All is tidy.")]


def made(workspace: Path) -> bool:
    return (workspace / "made.txt").exists()


@proves("approvals.from-another-process")
@pytest.mark.parametrize("full", [False, True], ids=["compact", "full"])
def test_a_yes_from_another_process_lets_the_call_be_made(workspace: Path, full: bool):
    more = ["--full-events"] if full else []
    with ModelServer(turns()) as server:
        first = perstack(*RUN, *more, cwd=workspace, env=keys(server))
        assert not made(workspace)
        go_on = ("--continue-job", first.job, "-i", *more)
        second = perstack("run", "worker", "yes", *go_on, cwd=workspace, env=keys(server))
    assert (first.code, second.code) == (0, 0)
    first.checked(full=full)
    second.checked(full=full)
    assert "Waiting for your yes or no to exec {" in first.err
    assert '-i yes (or: -i "no, <why>")' in first.err
    (asked,) = first.of("callInteractiveTool")
    assert asked["toolCall"]["skillName"] == "@perstack/base"
    assert asked["toolCall"]["args"]["rule"] == "exec(touch *)"
    assert asked["toolCall"]["args"]["arguments"] == TOUCH
    assert len(first.of("stopRunByInteractiveTool")) == 1
    (begins,) = second.of("initializeRuntime")
    assert json.loads(begins["interactiveToolCall"]["text"]) == {"approve": True}
    assert made(workspace)
    assert not (workspace / "x.toml").exists()
    job = folded(workspace, first.job)
    assert job.done is not None
    assert job.done.text == "All is tidy."
    (told,) = second.of("resolveToolResults")
    assert "not allowed here, by the rule writeTextFile(path=*.toml)" in json.dumps(told)


def test_a_no_is_told_to_the_model_with_its_words(workspace: Path, here: Here):
    with ModelServer(turns()) as server:
        first = here(*RUN, env=keys(server))
        words = "no, use the other directory"
        ran = here("run", "worker", words, "--continue-job", first.job, "-i", env=keys(server))
    assert ran.code == 0
    assert "They said: use the other directory" in json.dumps(ran.of("resolveToolResults"))
    assert not made(workspace)


def test_an_answer_that_is_neither_yes_nor_no_changes_nothing(workspace: Path, here: Here):
    with ModelServer(turns()) as server:
        first = here(*RUN, env=keys(server))
        before = log_of(workspace, first.job).read_bytes()
        for text in ("sure", "yes please", "", "{}", '{"approve": "yes"}', "null"):
            go_on = ("--continue-job", first.job, "-i")
            ran = here("run", "worker", text, *go_on, env=keys(server))
            assert (ran.code, ran.out) == (1, "")
            assert is_one_message(ran.err)
            assert 'must be "yes" or "no"' in ran.err
    assert log_of(workspace, first.job).read_bytes() == before
    assert not made(workspace)


def test_rules_of_the_command_line_hold_beside_those_of_the_expert(workspace: Path, here: Here):
    with ModelServer(turns()) as server:
        first = here(*RUN, "--deny", "exec(touch *)", "--approve", "write*", env=keys(server))
    assert first.code == 0
    assert folded(workspace, first.job).done is not None
    assert not made(workspace)
    begun = facts(workspace, first.job)[0]
    assert (begun["approve"], begun["deny"]) == (["write*"], ["exec(touch *)"])


def test_what_is_no_rule_is_refused_before_anything_is_written(workspace: Path, here: Here):
    for option in ("--approve", "--deny"):
        ran = here(*RUN, option, "exec(", "--provider", "ollama")
        assert (ran.code, ran.out) == (1, "")
        assert is_one_message(ran.err)
        assert "'exec(' is no rule" in ran.err
    assert not (workspace / "perstack").exists()


def test_at_a_terminal_the_question_is_asked_there(workspace: Path):
    main, other = pty.openpty()
    with ModelServer(turns()) as server:
        process = subprocess.Popen(
            command(*RUN, "--output", "text"),
            cwd=workspace,
            env=environment({**keys(server), "TERM": "dumb"}),
            stdin=other,
            stdout=other,
            stderr=other,
        )
        os.close(other)
        shown = read_until(main, b'"no, <why>"')
        assert b"may exec be called? (rule: exec(touch *))" in shown
        assert b'"touch"' in shown
        os.write(main, b"maybe\n")
        assert b'must be "yes" or "no"' in read_until(main, b'"no, <why>"')
        assert not made(workspace)
        os.write(main, b"yes\n")
        shown = read_until(main, b"All is tidy.")
        assert process.wait(LONG_S) == 0
    os.close(main)
    assert made(workspace)


def read_until(terminal: int, words: bytes) -> bytes:
    """What the program shows up to `words`. Ends with whatever there is, if it ends before."""
    shown = b""
    while words not in shown:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        shown += piece
    return shown
