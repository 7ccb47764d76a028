"""`--record` and `--cassette`: what was recorded once plays again, without a provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.register import proves
from tests.fakes.modelserver import ModelServer
from tests.fakes.script import FITNESS_ANSWER, FITNESS_LOG

from .program import Provider, Ran, facts, keys, perstack

RUN = ("run", "fitness-assistant", "Plan my day", "--job-id", "job")


def substance(ran: Ran) -> list[dict[str, Any]]:
    """What was done, without what differs between any two runs (times, durations, the model's name)."""
    kept = ("callTools", "callDelegate", "attemptCompletion", "completeRun")
    members = ("type", "expertKey", "stepNumber", "text", "toolCalls", "toolCall", "usage")
    return [{key: event[key] for key in members if key in event} for event in ran.of(*kept)]


@proves("cassettes.replay")
@pytest.mark.parametrize("provider", ["anthropic", "openai", "google"])
def test_a_recording_plays_again_elsewhere(provider: Provider, tmp_path: Path):
    (first := tmp_path / "first").mkdir()
    (second := tmp_path / "another place").mkdir()
    with ModelServer("fitness") as server:
        recorded = perstack(
            *(*RUN, "--provider", provider, "--record", "../tape.jsonl"),
            cwd=first,
            env=keys(server, provider),
        )
    assert (recorded.code, recorded.err) == (0, "")
    tape = (tmp_path / "tape.jsonl").read_text()
    assert "sk-test-1234" not in tape
    assert str(first) not in tape

    replayed = perstack(*RUN, "--cassette", "../tape.jsonl", cwd=second)
    assert (replayed.code, replayed.err) == (0, "")
    assert replayed.of("completeRun")[-1]["text"] == FITNESS_ANSWER
    assert (second / "fitness-log.md").read_text() == FITNESS_LOG
    assert substance(replayed) == substance(recorded)
    assert [(fact["type"], fact.get("run")) for fact in facts(second, "job")] == [
        (fact["type"], fact.get("run")) for fact in facts(first, "job")
    ]
    replayed.checked()


def test_a_recording_is_the_same_each_time(tmp_path: Path):
    tapes: list[bytes] = []
    for name in ("first", "second"):
        (place := tmp_path / name).mkdir()
        with ModelServer("fitness") as server:
            ran = perstack(*RUN, "--record", "tape.jsonl", cwd=place, env=keys(server))
        assert ran.code == 0
        tapes.append((place / "tape.jsonl").read_bytes())
    assert tapes[0] == tapes[1]


def test_a_replay_can_be_recorded(tmp_path: Path):
    """So a recording can be brought to a new format, or to another place."""
    (first := tmp_path / "first").mkdir()
    (second := tmp_path / "second").mkdir()
    with ModelServer("fitness") as server:
        assert perstack(*RUN, "--record", "../a.jsonl", cwd=first, env=keys(server)).code == 0
    ran = perstack(*RUN, "--cassette", "../a.jsonl", "--record", "../b.jsonl", cwd=second)
    assert ran.code == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
