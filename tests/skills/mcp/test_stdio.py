"""A local server comes, serves and goes; whatever it does, nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from perstack.definition import StdioSkill
from perstack.errors import MissingEnv, SkillUnavailable, UserError
from perstack.job import SkillConnected, SkillDisconnected, SkillStarting, SkillStderr
from perstack.skills import Launch, unwrapped
from perstack.skills.environment import INHERITED
from perstack.skills.launch import NOTICE_MAX, command_of, environment_of
from perstack.skills.servers import open_stdio_skill

from .world import MARK, NASTY, World, processes_with, told, until

pytestmark = pytest.mark.anyio


async def test_a_server_comes_serves_and_goes(world: World):
    async with world.nasty() as skill:
        by_name = {tool.name: tool for tool in skill.tools}
        assert told(await skill.use("echo", {"a": [1]})) == '{"a": [1]}'
        assert len(world.processes()) == 2  # the server, and its guard
    assert world.processes() == []

    assert by_name["echo"].description == "Says it again."  # without what nobody sees
    assert (by_name["echo"].reads_only, by_name["echo"].may_repeat) == (True, False)
    assert (by_name["repeat"].reads_only, by_name["repeat"].may_repeat) == (False, True)
    assert by_name["repeat"].title == "Again"
    assert not by_name["die"].repeatable
    assert "bad name!" not in by_name

    starting, connected, disconnected = (
        world.heard(kind)[0] for kind in (SkillStarting, SkillConnected, SkillDisconnected)
    )
    assert isinstance(starting, SkillStarting)
    assert isinstance(connected, SkillConnected)
    assert (starting.command, starting.args) == (sys.executable, (str(NASTY),))
    assert connected.server == ("nasty", "0.1")
    for duration in (connected.spawn_s, connected.handshake_s, connected.discovery_s):
        assert duration is not None
        assert duration >= 0
    assert [starting, connected, disconnected] == [
        notice for notice in world.notices if not isinstance(notice, SkillStderr)
    ]
    (left_out,) = world.heard(SkillStderr)
    assert "tool 'bad name!' is left out" in left_out.text


@pytest.mark.parametrize("habit", ["garbage", "chatty", "modern", "newest", "pages"])
async def test_a_server_with_odd_habits_serves(world: World, habit: str):
    async with world.nasty(habit) as skill:
        names = [tool.name for tool in skill.tools]
        for number in range(5):
            assert told(await skill.use("echo", {"n": number})) == json.dumps({"n": number})
    assert names[:2] == ["echo", "repeat"]
    assert len(names) == 20
    assert world.heard(SkillConnected)[0].server == (
        ("modern", "1") if habit in ("modern", "newest") else ("nasty", "0.1")
    )
    texts = [notice.text for notice in world.heard(SkillStderr)]
    if habit == "garbage":
        assert "Listening, hurrah! {not json}" in texts
    assert all(len(text) <= NOTICE_MAX + 100 for text in texts)


async def test_pages_without_end_come_to_an_end(world: World):
    async with world.nasty("endless") as skill:
        assert [tool.name for tool in skill.tools] == [f"t{page}" for page in range(100)]


@pytest.mark.parametrize("habits", [("deaf",), ("daemon",), ("deaf", "daemon"), ("stuffed",)])
async def test_a_server_that_does_not_want_to_go_goes(world: World, habits: tuple[str, ...]):
    async with world.nasty(*habits):
        assert len(world.processes()) == (3 if "daemon" in habits else 2)
    assert world.processes() == []


@pytest.mark.parametrize(
    ("habit", "reason", "tail"),
    [
        ("crash", "it exited with code 1", "I cannot start: no licence"),
        ("mute", "it did not answer within 1 s", ""),
        ("offspec", "what it said is not MCP: tools.0.inputSchema: Field required", ""),
    ],
)
async def test_a_server_that_does_not_come_is_unavailable(
    world: World, habit: str, reason: str, tail: str
):
    with pytest.raises(SkillUnavailable) as caught:
        async with world.nasty(habit, startup_s=1 if habit == "mute" else 30):
            pass
    assert (caught.value.skill, caught.value.reason, caught.value.stderr_tail) == (
        "s",
        reason,
        tail,
    )
    assert world.processes() == []
    assert world.heard(SkillConnected) == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("no-such-program-anywhere", "No such file or directory"),
        ("/etc/passwd", "Permission denied"),
        ("nul\0l", "embedded null byte"),
    ],
)
async def test_a_program_that_cannot_be_started_is_unavailable(
    world: World, command: str, reason: str
):
    with pytest.raises(SkillUnavailable, match=reason):
        async with world.open(command, "x"):
            pass


async def test_what_goes_wrong_in_the_block_comes_out_as_it_is(world: World):
    with pytest.raises(KeyError, match="mine"):
        async with world.nasty():
            raise KeyError("mine")
    assert world.processes() == []


async def test_what_was_opened_is_closed(world: World):
    async with world.nasty():
        pass
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        async with world.nasty() as skill:
            await skill.use("die", {})
            await skill.use("echo", {})
    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_a_cancelled_block_leaves_nothing(world: World):
    with anyio.CancelScope() as scope:
        async with world.nasty("daemon") as skill, anyio.create_task_group() as tasks:
            tasks.start_soon(skill.use, "hang", {"no": "arguments"})
            scope.cancel()
    assert scope.cancelled_caught
    assert world.processes() == []


async def test_cancelled_while_it_starts_it_leaves_nothing(world: World):
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def start() -> None:
                async with world.nasty("mute", "daemon"):
                    raise AssertionError

            tasks.start_soon(start)
            await until(lambda: len(world.processes()) == 3)
            scope.cancel()
    assert world.processes() == []


async def test_a_closed_skill_cannot_be_used(world: World):
    async with world.nasty() as skill:
        pass
    with pytest.raises(SkillUnavailable):
        await skill.use("echo", {})


async def test_a_server_sees_little_of_our_environment(world: World):
    env = {
        **world.env,
        "SECRET_API_KEY": "sk-1",
        "LD_PRELOAD": "/evil.so",
        "WANTED": "w",
        "USER": "me",
    }
    skill = StdioSkill(
        command=sys.executable,
        args=(str(NASTY),),
        required_env=(MARK, "WANTED", "LD_PRELOAD", "PATH"),
    )
    async with open_stdio_skill("s", skill, env, world.workspace, hear=world.notices.append) as s:
        seen = json.loads(told(await s.use("env", {})))
    assert (seen["WANTED"], seen["USER"], seen["PATH"]) == ("w", "me", env["PATH"])
    assert not seen.keys() & {"SECRET_API_KEY", "LD_PRELOAD"}
    usual = {*INHERITED, "USER", "LOGNAME", MARK, "WANTED"}
    assert seen.keys() - usual <= {"LC_CTYPE"}  # Python sets that one itself


async def test_a_sandbox_puts_its_launcher_in_front(world: World):
    marks: list[str] = []

    @contextmanager
    def wrap(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Generator[Launch]:
        marks.append(env[MARK])
        with unwrapped(["env", "WALLED=yes", *argv], env, cwd) as launch:
            yield launch

    async with world.nasty(wrap=wrap) as skill:
        assert json.loads(told(await skill.use("env", {})))["WALLED"] == "yes"
    assert marks == [world.mark]
    assert world.heard(SkillStarting)[0].command == sys.executable  # what the author wrote


RUNTIME = """
import os, pathlib, sys, anyio
from perstack.definition import StdioSkill
from perstack.skills.servers import open_stdio_skill

async def main():
    command, *args = sys.argv[3:]
    skill = StdioSkill(command=command, args=tuple(args), required_env=(sys.argv[1],))
    env = {**os.environ, sys.argv[1]: sys.argv[2]}
    async with open_stdio_skill("s", skill, env, pathlib.Path.cwd(), hear=lambda notice: None):
        print("ready", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


def _started(argv: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, cwd=cwd, stdout=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_when_the_runtime_is_killed_its_servers_end(world: World, number: signal.Signals):
    argv = [sys.executable, "-c", RUNTIME, MARK, world.mark]
    server = ["sh", "-c", f"{sys.executable} {NASTY} deaf daemon; true"]
    with _started([*argv, *server], world.workspace) as runtime:
        assert runtime.stdout is not None
        assert runtime.stdout.readline() == b"ready\n"
        assert len(processes_with(world.mark)) == 4  # guard, shell, server, daemon
        os.kill(runtime.pid, number)
    await until(lambda: not processes_with(world.mark))


async def test_when_its_guard_is_killed_the_server_is_ended(world: World):
    async with world.nasty() as skill:
        (guard,) = [int(line.split()[0]) for line in world.processes() if "guard.py" in line]
        os.kill(guard, signal.SIGKILL)
        outcome = await skill.use("hang", {})
        assert outcome.is_error
        assert "outcome unknown" in told(outcome)
        assert told(await skill.use("echo", {})) == "{}"  # opened anew
    assert world.processes() == []


# What is started, and with what ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skill", "command"),
    [
        (StdioSkill(command="npx", package_name="a"), ("npx", "-y", "a")),
        (StdioSkill(command="npx", args=("a", "-y")), ("npx", "a", "-y")),
        (StdioSkill(command="npx", args=("a", "--b")), ("npx", "-y", "a", "--b")),
        (StdioSkill(command="uvx", package_name="a"), ("uvx", "a")),
        (StdioSkill(command="/bin/npx", args=("a",)), ("/bin/npx", "a")),
    ],
)
def test_the_command_is_what_the_author_wrote(skill: StdioSkill, command: tuple[str, ...]):
    assert command_of("s", skill) == command


@pytest.mark.parametrize(
    ("skill", "text"),
    [
        (
            StdioSkill(command="npx"),
            "Skill s has no packageName or args. Please provide one of them.",
        ),
        (
            StdioSkill(command="npx", package_name="a", args=("b",)),
            "Skill s has both packageName and args. Please provide only one of them.",
        ),
        (StdioSkill(command="", args=("b",)), "Skill s has no command"),
    ],
)
def test_a_command_that_cannot_be_is_said(skill: StdioSkill, text: str):
    with pytest.raises(UserError) as caught:
        command_of("s", skill)
    assert str(caught.value) == text


def test_a_missing_variable_is_named_with_the_skill():
    skill = StdioSkill(command="x", args=("y",), required_env=("A_KEY", "B_KEY", "C_KEY"))
    with pytest.raises(MissingEnv) as caught:
        environment_of("search", skill, {"B_KEY": "b", "C_KEY": ""})
    assert caught.value.names == ("A_KEY", "C_KEY")
    assert "search" in str(caught.value)


def test_a_workspace_that_is_gone_is_unavailable(tmp_path: Path):
    async def start() -> None:
        skill = StdioSkill(command="true", args=("x",))
        gone = tmp_path / "gone"
        async with open_stdio_skill("s", skill, {}, gone, hear=lambda _: None):
            raise AssertionError

    with pytest.raises(SkillUnavailable, match="No such file or directory"):
        anyio.run(start)
