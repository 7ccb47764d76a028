"""Servers that others wrote, as people use them: from npm, from PyPI, and our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from perstack.definition import RemoteSkill
from perstack.job import Image, SkillConnected, Text
from perstack.skills.servers import open_remote_skill

from .test_remote import NO_PROXIES
from .test_stdio import RUNTIME
from .world import MARK, World, processes_with, told, until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


async def test_server_everything_serves(world: World, node_servers: Path):
    program = str(node_servers / "server-everything" / "dist" / "index.js")
    async with world.open("node", program) as skill:
        by_name = {tool.name: tool for tool in skill.tools}
        assert by_name["get-sum"].schema["required"] == ["a", "b"]
        assert told(await skill.use("echo", {"message": "hi"})) == "Echo: hi"
        wrong = await skill.use("get-sum", {"a": "one"})
        assert wrong.is_error
        image = (await skill.use("get-tiny-image", {})).parts[1]
        assert isinstance(image, Image)
        structured = told(await skill.use("get-structured-content", {"location": "New York"}))
        assert json.loads(structured).keys() == {"temperature", "conditions", "humidity"}
        links = (await skill.use("get-resource-links", {"count": 2})).parts
        assert isinstance(links[1], Text)
        assert links[1].text.startswith("Resource ")
        resource = {"resourceType": "Blob", "resourceId": 1}
        assert len((await skill.use("get-resource-reference", resource)).parts) == 3
        long = {"duration": 1, "steps": 4}
        outcome = await skill.use("trigger-long-running-operation", long)
        assert told(outcome).startswith("Long running operation completed")
        seen = told(await skill.use("get-env", {}))
    assert json.loads(seen)[MARK] == world.mark
    (connected,) = world.heard(SkillConnected)
    assert connected.server is not None
    assert connected.server[0] == "mcp-servers/everything"


async def test_a_person_is_asked_by_server_everything(world: World, node_servers: Path):
    program = str(node_servers / "server-everything" / "dist" / "index.js")
    asked: list[str] = []

    async def ask(message: str, schema: dict[str, object]) -> dict[str, object] | None:
        asked.append(message)
        return None

    async with world.open("node", program, ask=ask) as skill:
        outcome = await skill.use("trigger-elicitation-request", {})
    assert len(asked) == 1
    assert isinstance(outcome.parts[0], Text)
    assert "declined" in outcome.parts[0].text.lower()


async def test_server_filesystem_keeps_to_its_folder(world: World, node_servers: Path):
    program = str(node_servers / "server-filesystem" / "dist" / "index.js")
    async with world.open("node", program, str(world.workspace)) as skill:
        await skill.use("write_file", {"path": str(world.workspace / "a.txt"), "content": "hé"})
        read = await skill.use("read_text_file", {"path": str(world.workspace / "a.txt")})
        assert told(read) == "hé"  # once, though its structured content says it again
        refused = await skill.use("read_text_file", {"path": "/etc/passwd"})
        assert refused.is_error
        assert "Access denied" in told(refused)
    assert (world.workspace / "a.txt").read_text(encoding="utf-8") == "hé"


async def test_npx_and_all_it_starts_come_and_go(world: World, npx_everything: tuple[str, ...]):
    async with world.open("npx", *npx_everything) as skill:
        assert told(await skill.use("echo", {"message": "hi"})) == "Echo: hi"
        assert len(world.processes()) >= 3  # guard, npm, server, and perhaps a shell
    assert world.processes() == []


def test_npx_and_all_it_starts_end_when_the_runtime_is_killed(
    world: World, npx_everything: tuple[str, ...]
):
    argv = [sys.executable, "-c", RUNTIME, MARK, world.mark, "npx", *npx_everything]
    with subprocess.Popen(argv, cwd=world.workspace, stdout=subprocess.PIPE) as runtime:
        assert runtime.stdout is not None
        assert runtime.stdout.readline() == b"ready\n"
        assert len(processes_with(world.mark)) >= 3
        os.kill(runtime.pid, signal.SIGKILL)
    until_s = time.monotonic() + 30
    while processes_with(world.mark):
        assert time.monotonic() < until_s


async def test_uvx_starts_a_server_from_pypi(world: World, uvx_time: tuple[str, ...]):
    async with world.open("uvx", *uvx_time) as skill:
        assert {tool.name for tool in skill.tools} == {"get_current_time", "convert_time"}
        now = told(await skill.use("get_current_time", {"timezone": "Europe/Berlin"}))
        assert json.loads(now)["timezone"] == "Europe/Berlin"
        assert (await skill.use("get_current_time", {"timezone": "Nowhere"})).is_error


async def test_our_own_base_skill_is_a_server_like_any_other(world: World):
    async with world.open(sys.executable, "-m", "perstack.cli.main", "base") as skill:
        by_name = {tool.name: tool for tool in skill.tools}
        assert by_name["readTextFile"].reads_only
        assert not by_name["exec"].repeatable
        await skill.use("writeTextFile", {"path": "b.txt", "text": "from afar"})
        assert "from afar" in told(await skill.use("readTextFile", {"path": "b.txt"}))
        run: dict[str, Any] = {
            "command": "env",
            "args": [],
            "env": {},
            "cwd": ".",
            "stdout": True,
            "stderr": True,
        }
        assert world.mark not in told(await skill.use("exec", run))
    assert (world.workspace / "b.txt").read_text(encoding="utf-8") == "from afar"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # of the SDK's HTTP see test_remote.py
@pytest.mark.parametrize(("kind", "path"), [("streamableHttp", "mcp"), ("sse", "sse")])
async def test_server_everything_serves_over_http(
    world: World, node_servers: Path, kind: str, path: str, unused_port: int
):
    program = str(node_servers / "server-everything" / "dist" / "index.js")
    env = {**world.env, "PORT": str(unused_port)}
    with _serving(["node", program, kind], env):
        skill = RemoteSkill(endpoint=f"http://127.0.0.1:{unused_port}/{path}")
        async with open_remote_skill(
            "far", skill, NO_PROXIES, hear=world.notices.append, allow_loopback=True
        ) as opened:
            assert told(await opened.use("echo", {"message": "hi"})) == "Echo: hi"
            image = (await opened.use("get-tiny-image", {})).parts[1]
            assert isinstance(image, Image)
    await until(lambda: not world.processes())


class _serving:
    """A server, from when it says that it listens."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self._server = subprocess.Popen(
            argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> None:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            if b"listening" in line or b"running on port" in line:
                return

    def __exit__(self, *_: object) -> None:
        self._server.kill()
        self._server.communicate()
