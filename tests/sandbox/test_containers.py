"""Containers as walls: what runs in them, what it finds there, and that nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Any

import anyio
import pytest

from perstack.definition import StdioSkill
from perstack.errors import SandboxError
from perstack.job import ContainerStatus, Notice, ProxyAccess
from perstack.ops.walls.docker import load_image
from perstack.sandbox import Place, open_container_walls
from perstack.sandbox.daemon import owned, process_mark, remove, sweep
from perstack.sandbox.docker import OWNER_LABEL, dockerfile, image_of
from perstack.skills import open_base
from perstack.skills.launch import Murmur, open_process
from tests.cli.program import begun, ended, environment, expert, folded, keys, perstack
from tests.fakes.modelserver import Calls, Hangs, ModelServer, Says

from .daemon import Docker
from .outside import LookUps

pytestmark = pytest.mark.anyio

BASE = StdioSkill(command="npx", package_name="@perstack/base", allowed_domains=("api.example",))

Exec = Callable[..., Any]


def variables(daemon: Docker, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Those of a runtime that uses the test's daemon and image."""
    return environment({**daemon.env, "PERSTACK_DOCKER_IMAGE": daemon.image, **(more or {})})


@asynccontextmanager
async def programs(
    daemon: Docker,
    workspace: Path,
    *,
    env: Mapping[str, str] | None = None,
    passed: tuple[str, ...] = (),
    tell: Callable[[Notice], None] = lambda _: None,
) -> AsyncGenerator[Exec]:
    """`exec` of an Expert whose programs run in containers."""
    own = variables(daemon, env)
    image = await load_image(own, tell)
    place = Place(workspace=str(workspace), hidden=(f"{workspace}/perstack",))
    with anyio.fail_after(120):
        async with (
            open_container_walls(image, place, own, passed=passed, look_up=LookUps()) as walls,
            walls.around_programs(BASE, tell) as wrap,
            open_base(workspace, own, given={}, wrap=wrap) as base,
        ):

            async def run(*words: str, ms: int = 60_000, **env: str) -> dict[str, Any]:
                args = {
                    "command": words[0],
                    "args": list(words[1:]),
                    "env": env,
                    "timeout": ms,
                }
                args |= {"cwd": str(workspace), "stdout": True, "stderr": True}
                outcome = await base.use("exec", args, ())
                return json.loads(getattr(outcome.parts[0], "text", "{}"))

            yield run


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "workspace"
    place.mkdir()
    return place


async def test_a_program_works_in_the_workspace_and_its_exit_code_is_told(
    daemon: Docker, workspace: Path
):
    async with programs(daemon, workspace) as run:
        said = await run("sh", "-c", "echo $PWD; echo made > file")
        assert said == {"output": f"{workspace}\n"}
        assert (await run("sh", "-c", "exit 7"))["exitCode"] == 7
        assert (await run("no-such-program"))["exitCode"] == 127
    assert (workspace / "file").read_text() == "made\n"
    assert os.stat(workspace / "file").st_uid == os.stat(workspace).st_uid
    assert os.listdir(workspace) == ["file"]
    assert daemon.containers() == []


@pytest.mark.parametrize("swapped", [False, True])
async def test_nothing_runs_if_a_link_takes_the_place_of_a_directory_that_is_mounted(
    swapped: bool, daemon: Docker, workspace: Path, tmp_path: Path
):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("secret")
    (workspace / ".claude").mkdir()
    (workspace / ".claude" / "secret").write_text("mine")
    own = variables(daemon)
    image = await load_image(own, lambda _: None)
    async with (
        open_container_walls(image, Place(workspace=str(workspace)), own) as walls,
        walls.around_programs(BASE, lambda _: None) as wrap,
    ):
        with wrap(("cat", ".claude/secret"), {}, str(workspace)) as launch:
            if swapped:
                (workspace / ".claude").rename(workspace / "old")
                (workspace / ".claude").symlink_to(tmp_path / "elsewhere")
            done = await anyio.run_process(launch.argv, env=launch.env, check=False)
    assert (done.returncode, done.stdout) == ((126, b"") if swapped else (0, b"mine"))


async def test_a_program_gets_its_variables_and_no_others(daemon: Docker, workspace: Path):
    env = {"TOKEN": "two\nlines", "SECRET": "sk-secret", "ANTHROPIC_API_KEY": "sk-key"}
    async with programs(daemon, workspace, env=env, passed=("TOKEN",)) as run:
        printing = "import os, json; print(json.dumps(dict(os.environ)))"
        said = await run("python3", "-c", printing, GIVEN="by the call", DOCKER_HOST="tcp://evil")
        found = json.loads(said["output"])
        everywhere = await run("sh", "-c", "cat /proc/*/environ /proc/1/environ; true")
    proxied = {name for name in found if "proxy" in name.lower()}
    assert found["TOKEN"] == "two\nlines"
    assert found["GIVEN"] == "by the call"
    assert set(found) - proxied - {"LC_CTYPE"} <= {
        *("TOKEN", "GIVEN", "DOCKER_HOST", "HOME", "PATH", "SHELL", "USER", "LOGNAME", "LANG"),
        *("TMPDIR", "TERM", "PWD", "NODE_USE_ENV_PROXY", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"),
    }
    assert "sk-" not in json.dumps(everywhere)


async def test_no_value_of_a_variable_is_in_a_command_line(daemon: Docker, workspace: Path):
    env = {"TOKEN": "very-secret-value"}
    lines: list[bytes] = []

    def look() -> None:
        while not (workspace / "here").exists():
            sleep(0.01)
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                lines.append(place.read_bytes())
        (workspace / "seen").touch()

    async with programs(daemon, workspace, env=env, passed=("TOKEN",)) as run:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, look)
            waiting = "touch here; while ! test -e seen; do sleep 0.05; done"
            assert "error" not in await run("sh", "-c", waiting)
    assert any(b"--network" in line for line in lines)
    assert not any(b"very-secret-value" in line for line in lines)


async def test_the_system_is_read_only_and_without_rights(daemon: Docker, workspace: Path):
    (workspace / "perstack").mkdir()
    (workspace / "perstack" / "log").write_text("history")
    async with programs(daemon, workspace) as run:
        for words in (
            ("touch", "/usr/x"),
            ("touch", "/etc/x"),
            ("touch", "perstack/x"),
            ("cat", "perstack/log"),
            ("mv", "perstack", "elsewhere"),
            ("mount", "-t", "tmpfs", "none", "/tmp"),
            ("unshare", "-U", "true"),
            ("kill", "-9", "1"),
            ("kill", "1"),
            ("cat", "/proc/1/mem"),
            ("cat", "/etc/shadow"),
            ("ls", "/var/run/docker.sock"),
        ):
            assert "error" in await run(*words), words
        status = (await run("cat", "/proc/self/status"))["output"]
        tried = "import socket; socket.socket(socket.AF_UNIX)"
        assert "error" in await run("python3", "-c", tried)
    wanted = {"CapEff:": "0" * 16, "CapBnd:": "0" * 16, "NoNewPrivs:": "1", "Seccomp:": "2"}
    found = dict(line.split()[:2] for line in status.splitlines())
    assert {name: found[name] for name in wanted} == wanted
    assert (workspace / "perstack" / "log").read_text() == "history"


async def test_limits_hold(daemon: Docker, workspace: Path):
    bomb = (
        "import os, sys\n"
        "made = 0\n"
        "try:\n"
        "  while made < 2000:\n"
        "    if os.fork() == 0: os.read(0, 1) or __import__('time').sleep(60); os._exit(0)\n"
        "    made += 1\n"
        "except OSError: pass\n"
        "print(made); sys.stdout.flush(); os._exit(0)"
    )
    eater = "data = []\nwhile True: data.append(bytearray(64 << 20))"
    async with programs(daemon, workspace) as run:
        assert int((await run("python3", "-c", bomb))["output"]) < 300
        assert "exitCode" in await run("python3", "-c", eater)
        full = await run("dd", "if=/dev/zero", "of=/tmp/big", "bs=1M", "count=2000")
        assert "No space left" in full["error"]


async def test_the_way_out_is_that_of_the_policy(daemon: Docker, workspace: Path):
    told: list[Notice] = []
    asking = ("curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}")
    async with programs(daemon, workspace, tell=told.append) as run:
        denied = await run(*asking, "https://evil.example/")
        plain = await run(*asking, "http://api.example/")
        direct = await run(*asking, "--noproxy", "*", "https://api.example/")
        address = await run(*asking, "--noproxy", "*", "http://169.254.169.254/")
    assert "403" in denied["error"]
    assert plain == {"output": "400"}
    assert direct["exitCode"] == 6  # a name is not known inside
    assert address["exitCode"] == 7  # there is no network to be connected by
    decisions = [(n.action, n.domain, n.port) for n in told if isinstance(n, ProxyAccess)]
    assert ("blocked", "evil.example", 443) in decisions
    assert not any(action == "allowed" for action, _, _ in decisions)


async def test_a_program_that_takes_too_long_is_ended_with_all_it_started(
    daemon: Docker, workspace: Path
):
    stubborn = "trap '' TERM; setsid sleep 300 & sleep 300"
    async with programs(daemon, workspace) as run:
        assert "timed out" in (await run("sh", "-c", stubborn, ms=1500))["error"]
    assert daemon.containers() == []


async def test_a_server_is_told_of_and_ends_with_its_walls(daemon: Docker, workspace: Path):
    told: list[Notice] = []
    own = variables(daemon)
    image = await load_image(own, told.append)
    script = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
    skill = StdioSkill(command="python3", args=("-c", script))
    with anyio.fail_after(60):
        async with (
            open_container_walls(image, Place(workspace=str(workspace)), own) as walls,
            walls.around_server("geo", skill, told.append) as wrap,
            open_process(
                "geo", ("python3", "-c", script), {}, workspace, Murmur(print), wrap=wrap
            ) as process,
        ):
            await process.write(b"hello\n")
            assert await process.line() == b"HELLO"
    assert [n.status for n in told if isinstance(n, ContainerStatus)] == [
        "starting",
        "running",
        "stopped",
    ]
    assert daemon.containers() == []


async def test_what_a_lost_runtime_left_is_swept_and_what_others_use_is_not(daemon: Docker):
    lost = await anyio.open_process([sys.executable, "-c", "input()"])
    marks = {"lost": process_mark(lost.pid), "alive": process_mark(os.getpid())}
    lost.kill()
    await lost.wait()
    await lost.aclose()
    marks["elsewhere"] = "another-machine.1.1"
    docker = {**os.environ, **daemon.env}
    for name, mark in marks.items():
        label = f"{OWNER_LABEL}={mark}.{name}"
        daemon.told("create", "--label", label, "--network", "none", daemon.image, "true")
    await sweep(docker)
    left = {name: await owned(docker, f"{mark}.{name}") for name, mark in marks.items()}
    assert {name: len(ids) for name, ids in left.items()} == {"lost": 0, "alive": 1, "elsewhere": 1}
    await remove(docker, [id for ids in left.values() for id in ids])
    assert daemon.containers() == []


async def test_an_image_is_built_once_and_its_making_is_told(daemon: Docker):
    env = {**environment(daemon.env), "PERSTACK_BASE_IMAGE": daemon.image}
    told: list[Notice] = []
    image = await load_image(env, told.append)
    assert image.name == image_of(dockerfile(daemon.image))
    assert [getattr(notice, "stage", "") for notice in told][0::10] != []
    assert getattr(told[-1], "stage", "") == "complete"
    told.clear()
    assert await load_image(env, told.append) == image
    assert told == []
    daemon.told("image", "rm", image.name)


async def test_an_image_that_cannot_be_had_is_an_error_that_says_what_to_do(daemon: Docker):
    env = environment(daemon.env)
    with pytest.raises(SandboxError, match="PERSTACK_DOCKER_IMAGE"):
        await load_image({**env, "PERSTACK_DOCKER_IMAGE": "no-such-image:1"}, lambda _: None)
    with pytest.raises(SandboxError, match="PERSTACK_BASE_IMAGE"):
        await load_image({**env, "PERSTACK_BASE_IMAGE": "localhost:1/none"}, lambda _: None)


# As a user has it ---------------------------------------------------------------------------------------------


def execs(*words: str) -> Calls:
    args: dict[str, object] = {"command": words[0], "args": list(words[1:]), "env": {}, "cwd": "."}
    return Calls([("exec", {**args, "stdout": True, "stderr": True})])


RUN = ("run", "worker", "--runtime", "docker")


def test_a_run_in_docker_is_a_run(daemon: Docker, workspace: Path):
    (workspace / "perstack.toml").write_text(expert())
    look = "cat /proc/1/environ /proc/self/environ perstack/jobs/*/log.jsonl; echo $MINE; ls /.dockerenv"
    with ModelServer([execs("sh", "-c", look), Says("done")]) as server:
        env = variables(daemon, {**keys(server), "MINE": "passed on"})
        ran = perstack(*RUN, "look around", "--env", "MINE", cwd=workspace, env=env)
    assert ran.code == 0, ran.err
    assert ran.checked()[0]["runtime"] == "docker"
    result = json.dumps(ran.of("resolveToolResults"))
    assert "passed on" in result
    assert "/.dockerenv" in result
    assert "sk-test-1234" not in ran.out
    assert "jobStarted" not in result
    assert daemon.containers() == []


def test_an_image_that_is_built_for_a_run_is_told_of(daemon: Docker, workspace: Path):
    (workspace / "perstack.toml").write_text(expert())
    with ModelServer([Says("done")]) as server:
        env = variables(daemon, {**keys(server), "PERSTACK_BASE_IMAGE": daemon.image})
        del env["PERSTACK_DOCKER_IMAGE"]
        ran = perstack(*RUN, "look", cwd=workspace, env=env)
    assert ran.code == 0, ran.err
    name = image_of(dockerfile(daemon.image))
    assert ran.err.splitlines()[-2:] == [f"Building the image {name}", f"Built the image {name}"]
    assert ran.checked()[1]["type"] == "dockerBuildProgress"
    daemon.told("image", "rm", name)


SERVER = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    match asked.get("method"):
        case "initialize":
            info = {"name": "geo", "version": "1"}
            told = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            told = {"tools": [{"name": "place", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            told = {"content": [{"type": "text", "text": open("/etc/passwd").read()}]}
        case _:
            told = {}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": told}), flush=True)
"""
SERVES = """
runtime = "docker"
[experts.worker]
instruction = "Do it."
[experts.worker.skills.geo]
type = "mcpStdioSkill"
command = "python3"
args = ["server.py"]
allowedDomains = ["geo.example"]
"""


def test_servers_are_asked_tried_and_used_in_containers(daemon: Docker, workspace: Path):
    (workspace / "perstack.toml").write_text(SERVES)
    (workspace / "server.py").write_text(SERVER)
    with ModelServer([Calls([("place", {})]), Says("done")]) as server:
        env = variables(daemon, keys(server))
        installed = perstack("install", cwd=workspace, env=env)
        tried = perstack(
            "skill", "test", "worker", "geo", "--tool", "place", cwd=workspace, env=env
        )
        ran = perstack("run", "worker", "where", cwd=workspace, env=env)
    assert (installed.code, tried.code, ran.code) == (0, 0, 0), installed.err + tried.err + ran.err
    image_only = "root:x:0:0:root:/root:/bin/sh"
    assert image_only in tried.out
    assert image_only in json.dumps(ran.of("resolveToolResults"))
    statuses = [event["status"] for event in ran.of("dockerContainerStatus")]
    assert statuses == ["starting", "running", "stopped"]
    assert daemon.containers() == []


def test_what_would_run_in_containers_is_shown(daemon: Docker, workspace: Path):
    (workspace / "perstack.toml").write_text(SERVES)
    with ModelServer([]) as server:
        env = variables(daemon, {**keys(server), "MINE": "1"})
        ran = perstack("run", "worker", "x", "--dry-run", "--env", "MINE", cwd=workspace, env=env)
    assert ran.code == 0, ran.err
    walls = next(each for each in json.loads(ran.out)["walls"] if each["skill"] == "geo")
    assert (walls["skill"], walls["passed"], walls["domains"]) == ("geo", ["MINE"], ["geo.example"])
    shown = {mount["inside"] for mount in walls["mounts"]}
    assert str(workspace) in shown
    assert not any(path.startswith(("/usr", "/bin", "/etc")) for path in shown)


def test_a_job_goes_on_in_docker(daemon: Docker, workspace: Path):
    (workspace / "perstack.toml").write_text(expert())
    turns = [execs("touch", "one"), Says("first"), execs("touch", "two"), Says("second")]
    with ModelServer(turns) as server:
        env = variables(daemon, keys(server))
        first = perstack(*RUN, "begin", cwd=workspace, env=env)
        second = perstack(*RUN, "go on", "--continue", cwd=workspace, env=env)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert first.job == second.job
    assert {"one", "two"} <= {path.name for path in workspace.iterdir()}
    done = folded(workspace, first.job).done
    assert done is not None
    assert done.text == "second"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_container_and_can_go_on(
    daemon: Docker, workspace: Path, number: signal.Signals
):
    (workspace / "perstack.toml").write_text(expert())
    with ModelServer([execs("sh", "-c", "touch began; sleep 300"), Says("done")]) as server:
        env = variables(daemon, keys(server))
        process = begun(*RUN, "work", "--job-id", "job", cwd=workspace, env=env)
        while not (workspace / "began").exists():
            assert process.poll() is None
        process.send_signal(number)
        ran = ended(process)
        assert ran.code == (-9 if number == signal.SIGKILL else 128 + number)
        for id in daemon.containers():  # the link to the runtime is broken, so they are ending
            subprocess.run(
                ["docker", "wait", id],
                env={**os.environ, **daemon.env},
                capture_output=True,
                timeout=60,
            )
        again = perstack(
            "run", "worker", "--continue-job", "job", "--runtime", "docker", cwd=workspace, env=env
        )
    assert again.code == 0, again.err
    assert daemon.containers() == []


def test_a_variable_that_is_to_be_passed_must_be_there(daemon: Docker, workspace: Path):
    (workspace / "perstack.toml").write_text(expert())
    with ModelServer([Says("done")]) as server:
        env = variables(daemon, keys(server))
        ran = perstack(*RUN, "look", "--env", "NOT_THERE", cwd=workspace, env=env)
    assert ran.code == 1
    assert "Missing required environment variables: NOT_THERE" in ran.err
    assert not (workspace / "perstack").exists()


def test_without_a_daemon_nothing_runs(workspace: Path):
    (workspace / "perstack.toml").write_text(expert())
    with ModelServer([Says("done")]) as server:
        env = {**keys(server), "DOCKER_HOST": f"unix://{workspace}/none.sock"}
        ran = perstack(*RUN, "look", cwd=workspace, env=environment(env))
        assert server.requests == []
    assert ran.code == 1
    assert "--runtime sandbox" in ran.err
    assert not (workspace / "perstack").exists()


def test_a_model_that_is_asked_is_asked_from_outside(daemon: Docker, workspace: Path):
    """No container runs while nothing is to be run in one."""
    (workspace / "perstack.toml").write_text(expert())
    with ModelServer([Hangs()]) as server:
        env = variables(daemon, keys(server))
        process = begun(*RUN, "work", cwd=workspace, env=env)
        server.wait_until(lambda s: len(s.requests) == 1, 60)
        assert daemon.containers() == []
        process.send_signal(signal.SIGINT)
        assert ended(process).code == 130
