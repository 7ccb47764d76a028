"""Ctrl+C, SIGTERM, a closed terminal: the job is put down in good order and can be taken up again."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.behaviour.register import proves
from tests.fakes.modelserver import Calls, Fails, Hangs, ModelServer, Says

from .program import (
    LOCAL,
    LONG_S,
    WITHOUT_WALLS,
    begun,
    command,
    ended,
    environment,
    expert,
    facts,
    keys,
    perstack,
)

RUN = ("run", "worker", "Go", "--job-id", "job")
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture(autouse=True)
def no_walls(workspace: Path) -> None:
    """What a signal does to the programs themselves is seen."""
    (workspace / "perstack.toml").write_text(LOCAL + expert())


def runs(script: str) -> Calls:
    args: dict[str, Any] = {"command": "sh", "args": ["-c", script], "env": {}, "cwd": "."}
    return Calls([("exec", {**args, "stdout": True, "stderr": True, "timeout": 600_000})])


def fifo(path: Path) -> Path:
    """Opening it waits for the one who writes to it."""
    os.mkfifo(path)
    return path


def said_through(path: Path, process: subprocess.Popen[bytes]) -> str:
    """What the next writer says into a fifo; it is waited for as long as `process` lives."""
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        said = b""
        while not said.endswith(b"\n"):
            assert process.poll() is None
            if select.select([reader], [], [], 0.02)[0]:
                said += os.read(reader, 100)
        return said.decode().strip()
    finally:
        os.close(reader)


def bash(pipeline: str, *args: str) -> list[str]:
    """A pipeline that begins with the program, and ends with its exit code."""
    return ["/bin/bash", "-c", f'{pipeline}; exit "${{PIPESTATUS[0]}}"', "bash", *command(*args)]


def group_is_gone(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    return False


@proves("run.interrupt-exit-codes", "run.interrupt-leaves-nothing", "run.interrupt-resumable")
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_while_a_command_runs(number: signal.Signals, code: int, workspace: Path):
    ready = fifo(workspace / "ready")
    turns = [
        runs("echo once >> count; sleep 1000 & sleep 1000 & echo $$ > ready; wait"),
        Says("I know that it was interrupted."),
    ]
    with ModelServer(turns) as server:
        process = begun(*RUN, cwd=workspace, env=keys(server))
        leader = int(said_through(ready, process))
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) == 3  # the shell, and two sleepers
        process.send_signal(number)
        ran = ended(process)
        left = psutil.wait_procs(family, timeout=5)[1]

        assert ran.code == code
        assert left == []
        assert group_is_gone(leader)
        assert ran.checked()[-2]["type"] == "stopRunByError"
        assert ran.of("stopRunByError")[0]["error"]["name"] == "Interrupted"
        last = facts(workspace, "job")[-1]
        assert (last["type"], last["reason"], last["what"]) == (
            "stopped",
            "interrupted",
            number.name,
        )
        go_on = "perstack run worker --continue-job job"
        assert ran.err == f"{WITHOUT_WALLS}Stopped: {number.name}. Go on with: {go_on}\n"

        again = perstack(*shlex.split(go_on)[1:], cwd=workspace, env=keys(server))
    assert (again.code, again.err) == (0, WITHOUT_WALLS)
    assert (workspace / "count").read_text() == "once\n"
    (told,) = (result for m in server.requests[-1].messages for result in m.results)
    assert "interrupted" in told


@proves("run.interrupt-exit-codes", "run.interrupt-resumable")
@pytest.mark.parametrize(("number", "code"), SIGNALS[:2])
def test_a_signal_while_the_model_thinks(number: signal.Signals, code: int, workspace: Path):
    turns = [Hangs(3, of=Says("words that will not be heard")), Says("Here I am.")]
    with ModelServer(turns) as server:
        process = begun(*RUN, cwd=workspace, env=keys(server))
        server.wait_until(lambda s: len(s.requests) == 1, LONG_S)
        process.send_signal(number)
        ran = ended(process)
        assert ran.code == code
        server.wait_until(lambda s: s.abandoned == 1)
        again = perstack("run", "worker", "--continue-job", "job", cwd=workspace, env=keys(server))
    assert again.code == 0
    assert again.of("completeRun")[0]["text"] == "Here I am."
    assert server.requests[0].messages == server.requests[1].messages


def test_a_signal_while_it_waits_to_try_again(workspace: Path):
    turns = [Fails(529, "Overloaded", headers={"retry-after": "500"}), Says("Here I am.")]
    with ModelServer(turns) as server:
        process = begun(*RUN, "--output", "text", cwd=workspace, env=keys(server))
        assert process.stdout is not None
        while b"waiting" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert ended(process).code == 130
        again = perstack("run", "worker", "--continue-job", "job", cwd=workspace, env=keys(server))
    assert again.code == 0


@proves("run.second-signal")
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(second: signal.Signals, workspace: Path):
    """The command answers the first with stubbornness; the process does not wait for it a second time."""
    stubborn = 'trap "echo no > told" TERM; echo $$ > ready; while :; do sleep 0.05; done'
    ready, told = fifo(workspace / "ready"), fifo(workspace / "told")
    with ModelServer([runs(stubborn), Says("done")]) as server:
        process = begun(*RUN, cwd=workspace, env=keys(server))
        leader = int(said_through(ready, process))
        process.send_signal(signal.SIGINT)
        try:
            said_through(told, process)
            process.send_signal(second)
            ran = ended(process)
        finally:
            if not group_is_gone(leader):
                os.killpg(leader, signal.SIGKILL)
        assert ran.code in (-second, 130)  # 130: the stubborn one was gone before
        again = perstack("run", "worker", "--continue-job", "job", cwd=workspace, env=keys(server))
    assert again.code == 0


def test_a_signal_that_is_to_be_ignored_is_ignored(workspace: Path):
    """As under `nohup`, and in the background of a script."""
    with ModelServer([Hangs(0)]) as server:
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'trap "" HUP INT; exec "$@"', "sh", *command(*RUN)],
            cwd=workspace,
            env=environment(keys(server)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        server.wait_until(lambda s: len(s.requests) == 1, LONG_S)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        ran = ended(process)
    assert ran.code == 143
    assert facts(workspace, "job")[-1]["what"] == "SIGTERM"


@proves("run.lost-stdout")
@pytest.mark.parametrize("output", ["json", "text"])
def test_a_reader_that_leaves_puts_the_job_down(output: str, workspace: Path):
    """`perstack run ... | head -1`"""
    (workspace / "note.txt").write_text("a note\n")
    with ModelServer("steps:12", delay_s=0.05) as server:  # time for the reader to leave
        pipeline = subprocess.run(
            bash('"$@" | head -n 1', *RUN, "--output", output),
            cwd=workspace,
            env=environment(keys(server)),
            capture_output=True,
            timeout=LONG_S,
            check=False,
        )
        assert len(pipeline.stdout.splitlines()) == 1
        err = pipeline.stderr.decode().removeprefix(WITHOUT_WALLS)
        assert pipeline.returncode == 1
        assert err == (
            "error: stdout cannot be written: Broken pipe.\n"
            "Stopped: stdout could not be written. Go on with: perstack run worker --continue-job job\n"
        )
        last = facts(workspace, "job")[-1]
        assert (last["type"], last["reason"]) == ("stopped", "interrupted")
        again = perstack("run", "worker", "--continue-job", "job", cwd=workspace, env=keys(server))
    assert again.code == 0


def test_a_full_stdout_puts_the_job_down(workspace: Path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with ModelServer("steps:3") as server, Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(*RUN),
            cwd=workspace,
            env=environment(keys(server)),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=LONG_S,
            check=False,
        )
    assert done.returncode == 1
    assert b"error: stdout cannot be written: No space left on device." in done.stderr
    assert b"Traceback" not in done.stderr
    assert facts(workspace, "job")[-1]["type"] == "stopped"


def test_show_and_help_take_a_reader_that_leaves(workspace: Path):
    for args in (("show", "worker"), ("run", "--help")):
        done = subprocess.run(
            bash('"$@" | true', *args),
            cwd=workspace,
            env=environment(),
            capture_output=True,
            timeout=LONG_S,
            check=False,
        )
        assert done.returncode in (0, 1)
        assert done.stderr == b""
