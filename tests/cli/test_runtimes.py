"""Experts run by programs of other vendors, which stand-ins play."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from tests.behaviour.register import proves
from tests.dialect.teller import states
from tests.fakes import vendor_streams as streams
from tests.fakes.vendor_cli import install, seen

from .conftest import Here
from .program import LONG_S, Ran, begun, ended, expert, facts, folded, is_one_message, perstack

PROGRAMS = {"claude-code": "claude", "gemini": "gemini", "cursor": "cursor-agent"}
STREAMS = {"claude-code": streams.claude, "gemini": streams.gemini, "cursor": streams.cursor}
KEYS = {
    "ANTHROPIC_API_KEY": "secret-sk-ant",
    "GEMINI_API_KEY": "secret-gm-key",
    "CURSOR_API_KEY": "secret-cur-key",
    "OPENAI_API_KEY": "secret-sk-oai",
    "GITHUB_TOKEN": "secret-gh",
}
OWN = {
    "claude-code": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "cursor": "CURSOR_API_KEY",
}
RUN = ("run", "worker", "What does a.txt say?", "--runtime")
ALL = pytest.mark.parametrize("runtime", PROGRAMS)


@pytest.fixture
def bin(tmp_path: Path) -> Path:
    return tmp_path / "bin"


def fake(bin: Path, runtime: str, **how: Any) -> Path:
    lines = how.pop("lines", STREAMS[runtime]())
    return install(bin, PROGRAMS[runtime], lines, **how)


def env(bin: Path, **more: str) -> Mapping[str, str]:
    return {"PATH": f"{bin}:{os.environ['PATH']}", "GEMINI_API_KEY": "secret-gm-key", **more}


def job_of(ran: Ran, workspace: Path):
    return folded(workspace, ran.job)


@proves("runtimes.same-log")
@ALL
@pytest.mark.parametrize("full", [False, True], ids=["compact", "full"])
def test_a_run_ends_in_the_same_log_and_the_same_stream(
    workspace: Path, bin: Path, runtime: str, full: bool
):
    fake(bin, runtime)
    more = ["--full-events"] if full else []
    ran = perstack(*RUN, runtime, *more, cwd=workspace, env=env(bin))
    assert ran.code == 0, ran.err
    ran.checked(full=full)
    assert [event["type"] for event in states(ran.events)] == [
        *("startRun", "startGeneration", "callTools", "resolveToolResults", "finishToolCall"),
        *("continueToNextStep", "startGeneration", "completeRun"),
    ]
    (begins,) = ran.of("initializeRuntime")
    assert (begins["runtime"], begins["model"]) == (runtime, f"{runtime}:default")
    (called,) = ran.of("callTools")
    assert {call["skillName"] for call in called["toolCalls"]} == {runtime}
    (end,) = ran.of("completeRun")
    assert end["text"].endswith(streams.ANSWER)
    assert end["checkpoint"]["metadata"] == {"runtime": runtime}
    assert end["checkpoint"]["usage"]["outputTokens"] == 30
    job = job_of(ran, workspace)
    assert job.done is not None
    assert job.done.text == end["text"]


@proves("runtimes.own-variables")
@ALL
def test_the_program_gets_the_query_on_stdin_and_only_its_own_variables(
    workspace: Path, bin: Path, runtime: str
):
    fake(bin, runtime)
    ran = perstack(*RUN, runtime, "--model", "big", cwd=workspace, env=env(bin, **KEYS))
    assert ran.code == 0, ran.err
    asked = seen(bin)
    assert asked["cwd"] == str(workspace)
    assert asked["stdin"].endswith("What does a.txt say?")
    assert "What does" not in " ".join(asked["argv"])
    assert asked["argv"][-2:] == ["--model", "big"]
    assert "stream-json" in asked["argv"]
    assert ("Do it." in asked["argv"]) == (runtime == "claude-code")
    assert {name for name in KEYS if name in asked["env"]} == {OWN[runtime]}
    assert asked["env"]["HOME"] == "/nonexistent"
    (begun,) = [fact for fact in facts(workspace, ran.job) if fact["type"] == "jobStarted"]
    assert begun["runtime"] == runtime
    assert begun["model"]["model"] == "big"
    assert not any(value in json.dumps(facts(workspace, ran.job)) for value in KEYS.values())


@ALL
def test_a_variable_that_is_not_set_is_not_passed(workspace: Path, bin: Path, runtime: str):
    fake(bin, runtime)
    ran = perstack(*RUN, runtime, cwd=workspace, env=env(bin, ANTHROPIC_API_KEY=""))
    assert ran.code == 0, ran.err
    assert "ANTHROPIC_API_KEY" not in seen(bin)["env"]


@ALL
def test_a_program_that_is_not_there_is_said_so_before_anything_is_written(
    workspace: Path, here: Here, tmp_path: Path, runtime: str
):
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = here(*RUN, runtime, env={"PATH": str(empty)})
    assert (ran.code, ran.out) == (1, "")
    assert f'Runtime "{runtime}" prerequisites not met: ' in ran.err
    assert "is not installed." in ran.err
    assert "\nSee: https://" in ran.err
    assert not (workspace / "perstack").exists()


def test_a_program_that_cannot_sign_in_is_said_so(workspace: Path, here: Here, bin: Path):
    fake(bin, "gemini")
    path = {"PATH": f"{bin}:{os.environ['PATH']}"}
    ran = here(*RUN, "gemini", env=path)
    assert ran.code == 1
    assert "GEMINI_API_KEY environment variable is not set." in ran.err
    home = workspace / "home"
    (home / ".gemini").mkdir(parents=True)
    (home / ".gemini" / "oauth_creds.json").write_text("{}")
    assert here(*RUN, "gemini", env={**path, "HOME": str(home)}).code == 0


def test_a_program_whose_version_fails_is_not_used(workspace: Path, here: Here, bin: Path):
    fake(bin, "claude-code", bad_version=3)
    ran = here(*RUN, "claude-code", env=env(bin))
    assert ran.code == 1
    assert "--version failed with exit code 3" in ran.err


@proves("runtimes.outside-only")
@ALL
@pytest.mark.parametrize("spelled", ["{}", "tools", ""])
def test_a_program_that_an_expert_may_have_written_is_not_used(
    workspace: Path, bin: Path, runtime: str, spelled: str
):
    own = workspace / "tools" if spelled else workspace
    fake(own, runtime)
    theirs = env(Path(spelled.format(own)))
    alone = {**theirs, "PATH": theirs["PATH"].split(":")[0] + ":/usr/bin:/bin"}
    refused = perstack(*RUN, runtime, cwd=workspace, env=alone)
    assert refused.code == 1
    assert "not installed" in refused.err
    fake(bin, runtime)
    ran = perstack(*RUN, runtime, cwd=workspace, env={**alone, "PATH": f"{alone['PATH']}:{bin}"})
    assert ran.code == 0
    assert not (own / "seen.json").exists()
    path = seen(bin)["env"]["PATH"].split(":")
    assert str(bin) in path
    assert all(os.path.isabs(each) and not each.startswith(str(workspace)) for each in path)


@proves("runtimes.refused-before")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--approve", "exec"), "there are rules"),
        (("--deny", "exec"), "there are rules"),
        (("--max-cost", "1"), "keeps to no maxTokens and no maxCost"),
        (("--max-tokens", "10"), "keeps to no maxTokens and no maxCost"),
        (("--frozen",), "leave out --frozen"),
        (("--record", "x.jsonl"), "leave out --cassette and --record"),
    ],
)
def test_what_would_be_missing_without_notice_is_refused(
    workspace: Path, here: Here, bin: Path, more: tuple[str, ...], words: str
):
    fake(bin, "claude-code")
    if more == ("--frozen",):
        assert here("install", env=env(bin)).code == 0
    ran = here(*RUN, "claude-code", *more, env=env(bin))
    assert (ran.code, ran.out) == (1, "")
    assert is_one_message(ran.err)
    assert words in ran.err
    assert not (bin / "seen.json").exists()


def test_rules_of_the_expert_are_refused_too(workspace: Path, here: Here, bin: Path):
    fake(bin, "claude-code")
    (workspace / "perstack.toml").write_text(expert(more='approve = ["exec"]'))
    ran = here(*RUN, "claude-code", env=env(bin))
    assert ran.code == 1
    assert "there are rules" in ran.err


def test_a_job_does_not_go_on_with_such_a_program(workspace: Path, here: Here, bin: Path):
    fake(bin, "claude-code")
    first = here(*RUN, "claude-code", env=env(bin))
    again = ("--continue-job", first.job)
    ran = here("run", "worker", "More", "--runtime", "claude-code", *again, env=env(bin))
    assert ran.code == 1
    assert "cannot go on with a job" in ran.err


@proves("runtimes.refused-before")
def test_what_it_does_not_know_is_reported_before(workspace: Path, here: Here, bin: Path):
    fake(bin, "cursor")
    skills = """
[experts.worker.skills.tables]
type = "mcpStdioSkill"
command = "nosuchserver"
args = ["x"]
[experts.helper]
instruction = "Help."
"""
    text = expert(more='delegates = ["helper"]', skills=skills)
    (workspace / "perstack.toml").write_text(text)
    ran = here(*RUN, "cursor", "--max-steps", "9", "--timeout", "5", env=env(bin))
    assert ran.code == 0, ran.err
    assert "cursor runs every command without asking" in ran.err
    assert "cursor does not know: skill tables, delegate helper." in ran.err
    assert "--max-steps, --timeout mean nothing to cursor." in ran.err


@ALL
def test_a_program_that_fails_says_why(workspace: Path, here: Here, bin: Path, runtime: str):
    fake(bin, runtime, lines=STREAMS[runtime]()[:3], exit=41, stderr="Please sign in.\n")
    ran = here(*RUN, runtime, env=env(bin))
    assert ran.code == 1
    assert "failed with exit code 41: Please sign in." in ran.err
    ran.checked()
    (end,) = ran.of("stopRunByError")
    assert end["error"]["name"] == "RuntimeFailed"


@ALL
def test_a_program_that_just_ends_has_failed(workspace: Path, here: Here, bin: Path, runtime: str):
    fake(bin, runtime, lines=["Welcome!", *STREAMS[runtime]()[:-1]])
    ran = here(*RUN, runtime, env=env(bin))
    assert ran.code == 1
    assert "ended without a result" in ran.err
    assert "Welcome!" in ran.err
    ran.checked()
    job = job_of(ran, workspace)
    assert streams.ANSWER in str(job.root_run)


@ALL
def test_a_last_line_without_an_end_counts(workspace: Path, here: Here, bin: Path, runtime: str):
    fake(bin, runtime, torn=True)
    ran = here(*RUN, runtime, env=env(bin))
    assert ran.code == 0, ran.err


@proves("runtimes.all-ends")
def test_nothing_that_the_program_started_outlives_it(workspace: Path, here: Here, bin: Path):
    fake(bin, "claude-code", child=True)
    ran = here(*RUN, "claude-code", env=env(bin))
    assert ran.code == 0, ran.err
    assert is_gone(int((bin / "child.pid").read_text()))


def test_a_program_that_takes_too_long_is_ended(workspace: Path, here: Here, bin: Path):
    fake(bin, "gemini", lines=streams.gemini()[:4], hangs=True, child=True)
    ran = here(*RUN, "gemini", "--max-duration", "1500", env=env(bin))
    assert ran.code == 1
    assert "gemini timed out after 1.5 s" in ran.err
    ran.checked()
    for file in ("child.pid", "said.pid"):
        if (bin / file).exists():
            assert is_gone(int((bin / file).read_text()))


@proves("runtimes.all-ends")
def test_a_signal_puts_the_job_down_and_ends_the_program(workspace: Path, bin: Path):
    fake(bin, "claude-code", lines=streams.claude()[:-2], hangs=True, child=True)
    process = begun(*RUN, "claude-code", cwd=workspace, env=env(bin))
    assert process.stdout is not None
    heard = b""
    with killing(process):
        while b"resolveToolResults" not in heard:
            piece = os.read(process.stdout.fileno(), 65536)
            assert piece
            heard += piece
    process.send_signal(signal.SIGINT)
    ran = ended(process)
    assert ran.code == 130
    whole = Ran(ran.code, heard.decode() + ran.out, ran.err)
    whole.checked()
    job = job_of(whole, workspace)
    assert job.stopped is not None
    assert is_gone(int((bin / "child.pid").read_text()))
    assert "cannot be taken up again" in ran.err


@contextmanager
def killing(process: subprocess.Popen[bytes]) -> Generator[None]:
    """Ends what hangs."""
    timer = Timer(LONG_S, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except FileNotFoundError:
        return True
