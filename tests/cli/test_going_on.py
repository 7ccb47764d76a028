"""A job over several processes: continued, resumed from a checkpoint, answered, and let on after a limit."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from perstack.cli.exits import LIMIT
from tests.behaviour.register import proves
from tests.fakes.modelserver import Calls, Hangs, ModelServer, Says, Seen, Tokens

from .conftest import Here
from .program import asking, begun, ended, expert, facts, folded, keys, log_of, perstack

ASK = Calls([("askUser", {"question": "Which?"})])


@proves("run.continue")
def test_continue_takes_the_experts_latest_job(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(expert() + expert("other"))
    with ModelServer([Says("one"), Says("two"), Says("other"), Says("three")]) as server:
        env = keys(server)
        here("run", "worker", "First", "--job-id", "a", env=env)
        here("run", "worker", "Second", "--job-id", "b", env=env)
        here("run", "other", "Third", "--job-id", "c", env=env)
        ran = here("run", "worker", "And now?", "--continue", env=env)
    assert (ran.code, ran.job) == (0, "b")
    assert heard(server.requests[-1]) == ["Second", "two", "And now?"]
    (start,) = ran.of("startRun")
    assert start["initialCheckpoint"]["status"] == "completed"
    assert start["runId"] != folded(workspace, "b").root
    assert ran.checked()[-2]["text"] == "three"


@proves("run.continue", "run.step-numbers-go-on")
def test_a_continued_job_goes_on_counting(workspace: Path):
    (workspace / "note.txt").write_text("a note\n")
    with ModelServer("steps:2") as server:
        env = keys(server)
        first = perstack("run", "worker", "First", cwd=workspace, env=env)
        second = perstack(
            *("run", "worker", "Second", "--continue-job", first.job), cwd=workspace, env=env
        )
    assert (first.code, second.code) == (0, 0)
    assert first.of("completeRun")[0]["stepNumber"] == 3
    assert second.of("startRun")[0]["stepNumber"] == 4
    assert second.job == first.job
    assert {e["runId"] for e in first.of("startRun")}.isdisjoint(
        e["runId"] for e in second.of("startRun")
    )
    second.checked()


def heard(request: Seen) -> list[object]:
    """All that was said up to a request, in order, whoever's message a wire puts it into."""
    return [
        said
        for message in request.messages
        for said in (*message.results, message.text, *message.calls)
        if said
    ]


@proves("run.resume-from")
def test_every_checkpoint_of_the_stream_can_be_resumed_from(workspace: Path):
    """Each is taken from stdout, and the model hears what it had heard there, and then the new words."""
    (workspace / "note.txt").write_text("a note\n")
    with ModelServer("steps:3") as server:
        env = keys(server)
        first = perstack("run", "worker", "Go", cwd=workspace, env=env)
        known = {request.replies: heard(request) for request in server.requests}
        known[4] = [*known[3], "done"]
        told = [e["checkpoint"] for e in first.of("continueToNextStep", "completeRun")]
        assert [checkpoint["stepNumber"] for checkpoint in told] == [1, 2, 3, 4]
        kept = log_of(workspace, first.job).read_bytes()
        for checkpoint in told:
            asked = len(server.requests)
            ran = perstack(
                *("run", "worker", "Say it in short", "--continue-job", first.job),
                *("--resume-from", checkpoint["id"]),
                cwd=workspace,
                env=env,
            )
            assert ran.code == 0
            ran.checked()
            request = server.requests[asked]
            assert heard(request) == [*known[checkpoint["stepNumber"]], "Say it in short"]
            now = log_of(workspace, first.job).read_bytes()
            assert now.startswith(kept)  # nothing is cut: a rewind is a fact like any other
            kept = now


@proves("run.resume-from")
def test_a_rewound_job_is_told_from_its_checkpoint(here: Here, workspace: Path):
    with ModelServer([Says("one"), Says("two"), Says("other two")]) as server:
        env = keys(server)
        first = here("run", "worker", "First", "--job-id", "a", env=env)
        here("run", "worker", "Second", "--continue-job", "a", env=env)
        place = first.of("completeRun")[0]["checkpoint"]["id"]
        ran = here(
            *("run", "worker", "Something else", "--continue-job", "a", "--resume-from", place),
            env=env,
        )
    assert ran.code == 0
    assert heard(server.requests[-1]) == ["First", "one", "Something else"]
    assert ran.of("startRun")[0]["initialCheckpoint"]["id"] != place
    assert ran.of("startRun")[0]["stepNumber"] == 2


@proves("run.answers")
def test_an_answer_comes_from_another_process(workspace: Path):
    (workspace / "perstack.toml").write_text(asking())
    with ModelServer([ASK, Says("You chose b.")]) as server:
        env = keys(server)
        waits = perstack("run", "worker", "Help me choose", cwd=workspace, env=env)
        assert waits.code == 0
        stop = waits.checked()[-2]
        assert stop["type"] == "stopRunByInteractiveTool"
        assert stop["checkpoint"]["pendingToolCalls"][0]["toolName"] == "askUser"
        assert waits.err == (
            'Waiting for your answer to askUser {"question":"Which?"}\n'
            f"Answer with: perstack run worker --continue-job {waits.job} -i <answer>\n"
        )
        answered = perstack(
            *("run", "worker", "b", "--continue-job", waits.job, "-i"), cwd=workspace, env=env
        )
    assert (answered.code, answered.err) == (0, "")
    answered.checked()
    assert answered.of("startRun")[0]["initialCheckpoint"]["status"] == "stoppedByInteractiveTool"
    assert len(answered.of("completeRun")) == 1
    assert server.requests[-1].messages[-1].results == ("b",)
    assert answered.job == waits.job


@proves("run.answers")
def test_of_two_questions_the_answer_names_its_own(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(asking())
    both = Calls(
        [
            ("listDirectory", {"path": "."}),
            ("askUser", {"question": "Which?"}),
            ("confirm", {"what": "all"}),
        ]
    )
    with ModelServer([both, Says("Thank you.")]) as server:
        env = keys(server)
        waits = here("run", "worker", "Help", env=env)
        pending = waits.of("stopRunByInteractiveTool")[0]["checkpoint"]["pendingToolCalls"]
        assert [call["toolName"] for call in pending] == ["askUser", "confirm"]
        told = {
            "toolCallId": pending[1]["id"],
            "toolName": "confirm",
            "skillName": "human",
            "text": "yes",
        }
        first = here("run", "worker", json.dumps(told), "--continue-job", waits.job, "-i", env=env)
        assert first.code == 0
        assert first.of("stopRunByInteractiveTool")
        assert len(server.requests) == 1  # the model is asked when all are answered
        second = here("run", "worker", "b", "--continue-job", waits.job, "-i", env=env)
    assert second.of("completeRun")[0]["text"] == "Thank you."
    results = [result for m in server.requests[-1].messages for result in m.results]
    assert results[1:] == ["b", "yes"]


@proves("run.limit-parks", "run.exit-codes")
def test_at_its_step_limit_a_job_parks_and_goes_on_with_more(workspace: Path):
    (workspace / "note.txt").write_text("a note\n")
    with ModelServer("steps:4") as server:
        env = keys(server)
        run = ("run", "worker", "Go", "--job-id", "job", "--max-steps", "2")
        parked = perstack(*run, cwd=workspace, env=env)
        assert parked.code == LIMIT == 6
        assert parked.checked()[-2]["type"] == "stopRunByExceededMaxSteps"
        assert parked.err == (
            "Stopped at a limit: maxSteps 2. Go on with: "
            "perstack run worker --continue-job job --max-steps <more>\n"
        )
        same = perstack("run", "worker", "--continue-job", "job", cwd=workspace, env=env)
        assert same.code == 6
        assert len(server.requests) == 2
        more = perstack(
            *("run", "worker", "--continue-job", "job", "--max-steps", "10"),
            cwd=workspace,
            env=env,
        )
    assert more.code == 0
    assert more.of("completeRun")[0]["text"] == "done"
    assert len(server.requests) == 5
    assert folded(workspace, "job").limits.max_steps == 10


@proves("run.limit-parks")
def test_at_its_token_limit_a_job_parks_and_goes_on_with_more(here: Here, workspace: Path):
    (workspace / "note.txt").write_text("a note\n")
    with ModelServer("steps:4") as server:
        env = keys(server)
        parked = here("run", "worker", "Go", "--job-id", "job", "--max-tokens", "200", env=env)
        assert parked.code == 6
        go_on = parked.err.split("Go on with: ")[1].split()
        assert go_on[-2] == "--max-tokens"
        more = here(*go_on[1:-1], "100000", env=env)
    assert more.code == 0


@proves("run.one-writer")
def test_a_job_that_another_process_runs_is_busy(workspace: Path):
    with ModelServer([Hangs(1)]) as server:
        env = keys(server)
        process = begun("run", "worker", "Go", "--job-id", "job", cwd=workspace, env=env)
        server.wait_until(lambda s: len(s.requests) == 1, 60)
        try:
            before = log_of(workspace, "job").read_bytes()
            ran = perstack("run", "worker", "Hi", "--continue-job", "job", cwd=workspace, env=env)
            same = perstack("run", "worker", "Hi", "--job-id", "job", cwd=workspace, env=env)
        finally:
            process.terminate()
            ended(process)
    for refused in (ran, same):
        assert (refused.code, refused.out) == (1, "")
        assert f"Job job is being run by another process (pid {process.pid} on " in refused.err
    assert before == log_of(workspace, "job").read_bytes()[: len(before)]
    assert facts(workspace, "job")[-1]["what"] == "SIGTERM"


@proves("run.settings-go-on")
def test_a_job_keeps_its_model_unless_told_otherwise(here: Here, workspace: Path):
    """What the first command line said of the model holds for those that go on without saying it again."""
    with ModelServer([Says(str(n), tokens=Tokens(input=10)) for n in range(5)]) as server:
        env = keys(server) | keys(server, "openai")
        run = ("run", "worker", "Go", "--job-id", "job")
        here(*run, "--provider", "openai", "--model", "gpt-5-mini", env=env)
        go_on = ("run", "worker", "More", "--continue-job", "job")
        here(*go_on, env=env)
        here(*go_on, "--reasoning-budget", "high", env=env)
        here(*go_on, "--model", "gpt-5", env=env)
        here(*go_on, "--provider", "anthropic", "--model", "claude-sonnet-4-5", env=env)
        asked = [(request.wire, request.model) for request in server.requests]
    assert asked == [
        ("chat", "gpt-5-mini"),
        ("chat", "gpt-5-mini"),
        ("chat", "gpt-5-mini"),
        ("chat", "gpt-5"),
        ("anthropic", "claude-sonnet-4-5"),
    ]
    assert folded(workspace, "job").model.reasoning == "high"


def test_a_job_that_ended_before_it_had_begun_wants_its_query_again(here: Here, workspace: Path):
    with ModelServer([Says("one"), Says("two")]) as server:
        env = keys(server)
        here("run", "worker", "Go", "--job-id", "job", env=env)
        log = log_of(workspace, "job")
        log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])  # as a crash leaves it
        silent = here("run", "worker", "--continue-job", "job", env=env)
        assert (silent.code, silent.out) == (1, "")
        assert "ended before it had begun. Say again what it is to do." in silent.err
        ran = here("run", "worker", "Go", "--continue-job", "job", env=env)
    assert ran.code == 0
    assert server.requests[-1].query == "Go"


@proves("run.says-how-to-go-on")
def test_the_command_that_is_offered_works_as_it_stands(
    here: Here, workspace: Path, tmp_path: Path
):
    """With the options that brought the job about: from where it was given, it finds everything again."""
    (elsewhere := tmp_path / "else where").mkdir()
    (elsewhere / "note.txt").write_text("a note\n")
    (tmp_path / "my experts.toml").write_text(expert("o-worker"))
    with ModelServer("steps:4") as server:
        options = ("--config", "my experts.toml", "--workspace", "else where", "--max-steps", "2")
        parked = here("run", "o-worker", "Go", *options, cwd=tmp_path, env=keys(server))
        assert parked.code == 6
        line = parked.err.split("Go on with: ")[1].replace("<more>", "20")
        assert "--workspace 'else where'" in line
        done = here(*shlex.split(line)[1:], cwd=tmp_path, env=keys(server))
    assert (done.code, done.job) == (0, parked.job)
