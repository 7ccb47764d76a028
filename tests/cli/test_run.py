"""A whole session through the command line, on every wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.errors import CorruptLog
from perstack.job import wanted
from tests.behaviour.register import proves
from tests.fakes.modelserver import ModelServer
from tests.fakes.script import FITNESS_ANSWER, FITNESS_LOG, TRAINING_REQUEST

from .program import Provider, folded, keys, log_of, perstack

QUERY = "Plan my day, and mind my left knee (codeword: heliotrope)"

WIRES: list[tuple[Provider, str, str]] = [
    ("anthropic", "anthropic", ""),
    ("openai", "chat", ""),
    ("openai", "responses", '[provider]\nproviderName="openai"\nsetting={name="responses"}'),
    ("google", "gemini", ""),
]


@proves("run.whole-session", "run.delegate-isolation", "run.stdout-is-events")
@pytest.mark.parametrize("full", [False, True], ids=["compact", "full"])
@pytest.mark.parametrize(("provider", "wire", "toml"), WIRES, ids=[wire for _, wire, _ in WIRES])
def test_a_whole_session(provider: Provider, wire: str, toml: str, full: bool, tmp_path: Path):
    (tmp_path / "perstack.toml").write_text(toml)
    options = ["--full-events"] if full else []
    with ModelServer("fitness") as server:
        ran = perstack(
            *("run", "fitness-assistant", QUERY, "--provider", provider, *options),
            cwd=tmp_path,
            env=keys(server, provider),
        )

    assert (ran.code, ran.err) == (0, "")
    events = ran.checked(full=full)
    assert [(event["type"], event["expertKey"]) for event in ran.of("startRun", "completeRun")] == [
        ("startRun", "fitness-assistant"),
        ("startRun", "pro-trainer"),
        ("completeRun", "pro-trainer"),
        ("startRun", "fitness-assistant"),
        ("completeRun", "fitness-assistant"),
    ]
    assert next(e for e in reversed(events) if e["type"] == "completeRun")["text"] == FITNESS_ANSWER
    assert (tmp_path / "fitness-log.md").read_text() == FITNESS_LOG

    job = folded(tmp_path, ran.job)
    assert job.done is not None
    assert (job.done.outcome, job.done.text) == ("completed", FITNESS_ANSWER)
    assert wanted(job) == ()

    assert {request.wire for request in server.requests} == {wire}
    assert server.refusals == []
    of_child = [r for r in server.requests if r.query == TRAINING_REQUEST]
    assert len(of_child) == 2
    for request in of_child:  # nothing the parent was told or has said
        assert b"heliotrope" not in request.raw
        assert b"Let me look at your log" not in request.raw
        assert b"fitness assistant" not in request.raw
    assert b"sk-test-1234" not in log_of(tmp_path, ran.job).read_bytes()


@proves("run.compact-is-linear")
def test_the_compact_stream_grows_with_the_work_and_not_with_its_square(tmp_path: Path):
    (tmp_path / "note.txt").write_text("a line\n" * 40)

    def size(steps: int, *options: str) -> int:
        with ModelServer(f"steps:{steps}") as server:
            ran = perstack("run", "reader", "Go", *options, cwd=tmp_path, env=keys(server))
        assert ran.code == 0
        ran.checked(full=bool(options))
        return len(ran.out)

    (tmp_path / "perstack.toml").write_text('[experts.reader]\ninstruction = "Read."\n')
    few, many = size(3), size(24)
    assert many < 10 * few
    assert size(24, "--full-events") > 10 * size(3, "--full-events")


def test_a_log_that_was_changed_ends_the_command_with_its_place(tmp_path: Path):
    with ModelServer("fitness") as server:
        ran = perstack("run", "fitness-assistant", "Plan", cwd=tmp_path, env=keys(server))
        log = log_of(tmp_path, ran.job)
        log.write_bytes(log.read_bytes().replace(b"squats", b"sit-ups", 1))
        again = perstack(
            *("run", "fitness-assistant", "More", "--continue-job", ran.job),
            cwd=tmp_path,
            env=keys(server),
        )
    assert again.code == 4
    assert again.out == ""
    assert "log.jsonl: event " in again.err
    with pytest.raises(CorruptLog):
        folded(tmp_path, ran.job)
