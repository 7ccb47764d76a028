"""`exec`: what a program gets, what comes back, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import psutil
import pytest

from perstack.skills import Launch, unwrapped
from perstack.skills.base import open_base

from .told import Asked, base_over

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


def alive(mark: str) -> list[int]:
    """The processes that have `mark` in their command line and have not ended."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            state = (process / "stat").read_text(encoding="latin-1").rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark.encode() in words and state not in "ZX":
            found.append(int(process.name))
    return found


@pytest.fixture
def mark(tmp_path: Path) -> str:
    """A word that only the processes of this test have in their command line."""
    return f"mark-{tmp_path.name}-{os.getpid()}"


async def test_output_comes_back_as_asked_for(tmp_path: Path):
    talk = ("sh", "-c", "echo out; echo err >&2")
    async with base_over(tmp_path) as base:
        assert await base.run(*talk) == {"output": "out\nerr\n"}
        assert await base.run(*talk, stderr=False) == {"output": "out\n"}
        assert await base.run(*talk, stdout=False) == {"output": "err\n"}
        silent = {"output": "Command executed successfully, but produced no output."}
        assert await base.run(*talk, stdout=False, stderr=False) == silent
        assert await base.run("echo") == silent


async def test_there_is_no_shell(tmp_path: Path):
    async with base_over(tmp_path) as base:
        told = await base.run("echo", "$HOME", "*", ";", "a b", "`id`", "|", "cat")
        assert told == {"output": "$HOME * ; a b `id` | cat\n"}


async def test_a_failing_program_tells_what_it_can(tmp_path: Path):
    async with base_over(tmp_path) as base:
        told = await base.run("sh", "-c", "echo out; echo err >&2; exit 3")
        assert told == {
            "error": "Command failed: sh -c echo out; echo err >&2; exit 3\nerr\n",
            "stdout": "out\n",
            "stderr": "err\n",
            "exitCode": 3,
        }
        assert await base.run("false", stderr=False) == {
            "error": "Command failed: false\n",
            "exitCode": 1,
        }
        told = await base.run("sh", "-c", "kill -KILL $$")
        assert told == {"error": "Command failed: sh -c kill -KILL $$\n", "signal": "SIGKILL"}
        outcome = await base.use(
            "exec", command="false", args=[], env={}, cwd=".", stdout=True, stderr=True
        )
        assert outcome.is_error


async def test_a_program_that_cannot_be_started_says_why(tmp_path: Path):
    (tmp_path / "plain").touch()
    async with base_over(tmp_path) as base:
        assert await base.run("no-such-program") == {"error": "spawn no-such-program ENOENT"}
        assert await base.run("./plain") == {"error": "spawn ./plain EACCES"}
        assert await base.run("echo", "a\0b") == {"error": "spawn echo EINVAL"}
        assert await base.run("echo", cwd="gone") == {"error": "spawn echo ENOENT"}
        assert await base.run("echo", cwd="plain") == {"error": "spawn echo ENOTDIR"}


async def test_it_runs_in_the_directory_that_was_named(tmp_path: Path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "link").symlink_to("d/e")
    script = tmp_path / "d" / "here.sh"
    script.write_text("#!/bin/sh\npwd\n", encoding="utf-8")
    script.chmod(0o755)
    async with base_over(tmp_path) as base:
        assert await base.run("pwd") == {"output": f"{tmp_path}\n"}
        assert await base.run("pwd", cwd="d/e") == {"output": f"{tmp_path}/d/e\n"}
        assert await base.run("pwd", cwd="link") == {"output": f"{tmp_path}/d/e\n"}
        assert await base.run("./here.sh", cwd="d") == {"output": f"{tmp_path}/d\n"}


@pytest.mark.parametrize(
    "cwd", ["..", "/", "/etc", "out", "out/x", "perstack", "alias", "alias/jobs"]
)
async def test_it_does_not_start_outside_the_workspace(tmp_path: Path, cwd: str):
    (tmp_path / "ws" / "perstack" / "jobs").mkdir(parents=True)
    (tmp_path / "x").mkdir()
    (tmp_path / "ws" / "out").symlink_to("..")
    (tmp_path / "ws" / "alias").symlink_to("perstack")
    async with base_over(tmp_path / "ws") as base:
        told = await base.run("touch", "was-here", cwd=cwd)
    assert told["error"].startswith(("Access denied", "Parent directory does not exist"))
    for _, _, names in os.walk(tmp_path):
        assert names == []


async def test_no_key_of_the_runtime_is_in_its_environment(tmp_path: Path):
    env = {
        "PATH": os.environ["PATH"],
        "HOME": "/home/me",
        "ANTHROPIC_API_KEY": "sk-1",
        "AWS_SECRET_ACCESS_KEY": "x",
        "LD_PRELOAD": "/tmp/evil.so",
        "LANG": "C",
    }
    async with base_over(tmp_path, env) as base:
        told = await base.run("env", env={"MINE": "1", "path": "/evil", "LD_PRELOAD": "/evil.so"})
        seen = dict(line.split("=", 1) for line in told["output"].splitlines())
        assert seen == {"PATH": os.environ["PATH"], "HOME": "/home/me", "MINE": "1"}


async def test_it_has_nothing_to_read_and_no_descriptor_of_ours(tmp_path: Path):
    async with base_over(tmp_path) as base:
        assert await base.run("sh", "-c", "cat; echo end") == {"output": "end\n"}
        script = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')))"
        told = await base.run(sys.executable, "-c", script)
        assert told == {"output": "[0, 1, 2, 3]\n"}  # the last is the listing itself


async def test_bytes_that_are_no_text_come_back_as_such(tmp_path: Path):
    async with base_over(tmp_path) as base:
        assert await base.run("printf", r"a\377b") == {"output": "a\ufffdb"}


async def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path, mark: str):
    tree = f"echo begun; sh -c 'sleep 600; : {mark}' & sh -c 'sleep 600; : {mark}'; : {mark}"
    async with base_over(tmp_path) as base:
        told = await base.run("sh", "-c", tree, timeout=1000)
    assert told == {"error": "Command timed out after 1000ms.", "stdout": "begun\n"}
    assert alive(mark) == []


async def test_a_program_that_will_not_go_is_killed(tmp_path: Path, mark: str):
    async with base_over(tmp_path) as base:
        told = await base.run(
            "sh", "-c", f"trap '' TERM; while :; do sleep 1; done; : {mark}", timeout=300
        )
    assert told == {"error": "Command timed out after 300ms."}
    assert alive(mark) == []


async def test_a_program_with_no_limit_may_take_its_time(tmp_path: Path):
    async with base_over(tmp_path) as base:
        assert await base.run("echo", "done", timeout=0) == {"output": "done\n"}


async def test_children_that_keep_the_pipes_open_do_not_keep_us(tmp_path: Path, mark: str):
    with anyio.fail_after(30):
        async with base_over(tmp_path) as base:
            told = await base.run(
                "sh", "-c", f"echo done; sh -c 'sleep 600; : {mark}' &", timeout=0
            )
    assert told == {"output": "done\n"}
    assert alive(mark) == []


async def test_children_that_closed_the_pipes_are_ended_too(tmp_path: Path, mark: str):
    async with base_over(tmp_path) as base:
        quiet = f"sh -c 'sleep 600; : {mark}' >/dev/null 2>&1 & echo done"
        assert await base.run("sh", "-c", quiet) == {"output": "done\n"}
    assert alive(mark) == []


async def test_a_child_in_a_session_of_its_own_is_not_held_but_does_not_hold_us(
    tmp_path: Path, mark: str
):
    with anyio.fail_after(30):
        async with base_over(tmp_path) as base:
            told = await base.run(
                "sh", "-c", f"echo done; setsid sh -c 'sleep 600; : {mark}' &", timeout=0
            )
    assert told == {"output": "done\n"}
    for escaped in alive(mark):  # what only a sandbox prevents
        os.kill(escaped, signal.SIGKILL)


async def test_a_flood_of_output_ends_the_program(tmp_path: Path, mark: str):
    async with base_over(tmp_path) as base:
        told = await base.run("yes", mark)
        assert told["error"] == "stdout maxBuffer length exceeded"
        assert len(told["stdout"]) == 10 * MIB
        assert alive(mark) == []
        told = await base.run("sh", "-c", f"yes {mark} >&2", stderr=False)
        assert told == {"error": "stderr maxBuffer length exceeded"}
    assert alive(mark) == []


async def test_output_up_to_the_limit_is_whole(tmp_path: Path):
    async with base_over(tmp_path) as base:
        told = await base.run("head", "-c", str(10 * MIB), "/dev/zero")
        assert told == {"output": "\0" * (10 * MIB)}


async def test_much_on_both_streams_does_not_stall(tmp_path: Path):
    both = "head -c 3000000 /dev/zero | tr '\\0' o; head -c 3000000 /dev/zero | tr '\\0' e >&2"
    async with base_over(tmp_path) as base:
        told = await base.run("sh", "-c", both)
    assert told["output"] == "o" * 3_000_000 + "e" * 3_000_000


async def started(file: Path) -> None:
    """Return when the program has made `file`."""
    while not await anyio.Path(file).exists():
        pass


async def test_a_cancelled_call_ends_its_program(tmp_path: Path, mark: str):
    script = f"trap '' TERM; touch started; sh -c 'sleep 600; : {mark}' & while :; do sleep 1; done; : {mark}"
    async with base_over(tmp_path) as base:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:

                async def call() -> None:
                    await base.run("sh", "-c", script, timeout=0)

                tasks.start_soon(call)
                await started(tmp_path / "started")
                assert alive(mark)
                tasks.cancel_scope.cancel()
    assert alive(mark) == []


async def test_calls_run_side_by_side(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    told: list[dict[str, object]] = []
    async with base_over(tmp_path) as base:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:

                async def call(asked: Asked, script: str) -> None:
                    told.append(await asked.run("sh", "-c", script))

                tasks.start_soon(call, base, "read word < pipe; echo $word")  # waits for the other
                tasks.start_soon(call, base, "echo hello > pipe")
    assert {"output": "hello\n"} in told


async def test_a_sandbox_can_put_its_launcher_in_front(tmp_path: Path):
    seen: list[Mapping[str, str]] = []

    @contextmanager
    def launcher(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Generator[Launch]:
        seen.append(env)
        assert cwd == str(tmp_path)
        with unwrapped(("env", "-u", "MINE", *argv), env, cwd) as launch:
            yield launch

    async with open_base(
        tmp_path, {"PATH": os.environ["PATH"], "KEY": "x"}, wrap=launcher
    ) as skill:
        told = await Asked(skill).run("sh", "-c", "echo ${MINE:-walled}", env={"MINE": "1"})
        assert told == {"output": "walled\n"}
        assert seen == [{"PATH": os.environ["PATH"], "MINE": "1"}]
        assert await Asked(skill).run("false") == {
            "error": "Command failed: false\n",
            "exitCode": 1,
        }


async def test_no_descriptor_and_no_child_stays(tmp_path: Path):
    async with base_over(tmp_path) as base:
        await base.run("true")  # what the loop opens once for itself
        before = set(os.listdir("/dev/fd"))
        children = set(psutil.Process().children())
        for argv in (["true"], ["false"], ["no-such-program"], ["sleep", "600"]):
            await base.run(*argv, timeout=100)
        assert set(os.listdir("/dev/fd")) == before
    assert set(psutil.Process().children()) <= children
