"""A machine with secrets, services and a workspace, and an attacker behind walls: what did it get?

All attacks of one runtime are made in one go (`loot_of`), by a server or by `exec`, and kept by name; tests judge
what came of each. Every secret holds `MARK`, so whatever comes back can be searched for it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, Literal

import anyio

from perstack._net import NotPublic, is_public
from perstack.definition import StdioSkill
from perstack.engine import Walls
from perstack.job import Notice, ProxyAccess, SkillWalled, Text
from perstack.sandbox import Place
from perstack.skills import Skill, open_base
from tests.fakes import hostile

from .outside import certificate, server_context

MARK = "pristine-otter-4711"
"""In every secret, and nowhere else."""

_numbers = count(1)

Via = Literal["server", "exec"]
WallsFor = Callable[["Arena"], AbstractAsyncContextManager[Walls]]


class LookUps:
    """Names of the outside: what they lead to, and who was asked for. `here` is the address of our TLS server."""

    def __init__(self, here: str) -> None:
        self.here = here
        self.asked: list[str] = []

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked.append(name)
        if name == "api.example":
            return (self.here,)
        if name == "rebound.example" and not is_public("169.254.169.254"):
            raise NotPublic(name, "169.254.169.254")
        raise socket.gaierror(socket.EAI_NONAME, "not known")


@dataclass
class Arena:
    """The machine around the walls. env: what the runtime has. posted: bodies that reached the allowed host."""

    root: Path
    env: dict[str, str]
    here: str
    victim_port: int
    outer_address: str
    visits: list[str] = field(default_factory=list[str])
    posted: list[bytes] = field(default_factory=list[bytes])

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def place(self) -> Place:
        root = str(self.workspace)
        keys = (f"{root}/.env", f"{root}/.env.local")
        return Place(workspace=root, hidden=(f"{root}/perstack",), keys=keys)

    @property
    def skill(self) -> StdioSkill:
        return StdioSkill(
            command="python3",
            args=("hostile.py",),
            required_env=("WANTED",),
            allowed_domains=("api.example", "rebound.example"),
        )


@contextmanager
def arena_in(root: Path) -> Generator[Arena]:
    """A machine in `root`. Its services end with the block."""
    here = f"127.{os.getpid() % 200 + 10}.{os.getpid() // 200 % 250 + 1}.{next(_numbers)}"
    for path, text in {
        "home/.ssh/id_rsa": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{MARK}\n",
        "home/.aws/credentials": f"aws_secret_access_key = {MARK}\n",
        "home/.config/perstack/credentials.toml": f'key = "{MARK}"\n',
        "home/.bash_history": f"export KEY={MARK}\n",
        "other/secret.txt": f"{MARK}\n",
        "workspace/.env": f"ANTHROPIC_API_KEY={MARK}\n",
        "workspace/perstack/jobs/old/log.jsonl": f'{{"secret": "{MARK}"}}\n',
        "workspace/perstack.toml": '[experts.worker]\ninstruction = "Work."\n',
        "workspace/.bashrc": "# mine\n",
        "workspace/.git/config": "[core]\n",
        "workspace/.git/hooks/post-checkout": "#!/bin/sh\n",
        "workspace/ca.pem": certificate()[0].decode(),
        "workspace/notes.txt": "notes\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    shutil.copy(hostile.__file__, root / "workspace" / "hostile.py")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(root / "home"),
        "WANTED": "wanted",
        **dict.fromkeys(
            ("ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DB_PASSWORD"), MARK
        ),
        "SSH_AUTH_SOCK": str(root / "agent"),
        "HTTPS_PROXY": f"http://user:{MARK}@proxy.example:1",
    }
    with _services(here) as (port, visits, posted):
        yield Arena(
            root=root,
            env=env,
            here=here,
            victim_port=port,
            outer_address=_outer_address(),
            visits=visits,
            posted=posted,
        )


def _outer_address() -> str:
    """An address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@contextmanager
def _services(here: str) -> Generator[tuple[int, list[str], list[bytes]]]:
    """The allowed host, on port 443 of `here`, and a service of this machine that nobody inside may reach."""
    visits: list[str] = []
    posted: list[bytes] = []

    class Allowed(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["content-length"])))
            self._answer()

        def _answer(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"welcome")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    def visited(server: socket.socket) -> None:
        while True:
            try:
                link, who = server.accept()
            except OSError:
                return
            visits.append(str(who))
            link.close()

    victim = socket.create_server(("0.0.0.0", 0))  # as a careless service would
    allowed = ThreadingHTTPServer((here, 443), Allowed)
    allowed.socket = server_context().wrap_socket(
        allowed.socket, server_side=True, do_handshake_on_connect=False
    )
    threads = [
        threading.Thread(target=allowed.serve_forever, kwargs={"poll_interval": 0.05}),
        threading.Thread(target=visited, args=(victim,)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield int(victim.getsockname()[1]), visits, posted
    finally:
        allowed.shutdown()
        allowed.server_close()
        victim.shutdown(socket.SHUT_RDWR)
        victim.close()
        for thread in threads:
            thread.join()


def can_listen_at_443() -> bool:
    """Whether the allowed host can be where it must be."""
    try:
        socket.create_server(("127.0.0.99", 443)).close()
    except OSError:
        return False
    return True


# The attacker -----------------------------------------------------------------------------------------------


class Attacker:
    """Uses the tools of `hostile.py` behind walls."""

    def __init__(self, skill: Skill, via: Via, arena: Arena) -> None:
        self._skill = skill
        self._via = via
        self._arena = arena

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What it got: `got`, None for nothing, and `error`."""
        if self._via == "server":
            outcome = await self._skill.use(tool, arguments)
            return json.loads(_text(outcome.parts))
        told = await self.run("python3", "hostile.py", tool, json.dumps(arguments))
        if "error" in told:
            return {"got": None, "error": told["error"]}
        return json.loads(told["output"])

    async def run(self, command: str, *words: str) -> dict[str, Any]:
        """What comes of a program, by `exec`."""
        args: dict[str, Any] = {"command": command, "args": list(words), "env": {}}
        args |= {"cwd": str(self._arena.workspace), "stdout": True, "stderr": False}
        outcome = await self._skill.use("exec", {**args, "timeout": 120_000})
        return json.loads(_text(outcome.parts))


def _text(parts: Sequence[Any]) -> str:
    (part,) = parts
    assert isinstance(part, Text)
    return part.text


@asynccontextmanager
async def attacker(
    arena: Arena, walls: Walls, via: Via, told: list[Notice], name: str = "hostile"
) -> AsyncGenerator[Attacker]:
    """The attacker at work, as a server or by `exec`."""
    if via == "server":
        from perstack.skills import open_stdio_skill

        async with (
            walls.around_server(name, arena.skill, told.append) as wrap,
            open_stdio_skill(
                name,
                arena.skill,
                arena.env,
                arena.workspace,
                hear=told.append,
                startup_s=120,
                tool_s=120,
                wrap=wrap,
            ) as skill,
        ):
            yield Attacker(skill, via, arena)
    else:
        async with (
            walls.around_programs(arena.skill, told.append) as wrap,
            open_base(arena.workspace, arena.env, wrap=wrap) as base,
        ):
            yield Attacker(base, via, arena)


@dataclass(frozen=True)
class Attack:
    """One attack, and what must be true of what it got.

    rows: of the list of properties that this proves. given: the tool's arguments. holds: (what it got, the arena)
    → whether the wall held; None: it got nothing at all.
    """

    name: str
    tool: str
    given: Callable[[Arena], Mapping[str, Any]] = lambda _: {}
    holds: Callable[[Any, Loot], bool] | None = None
    via: tuple[Via, ...] = ("server", "exec")


@dataclass
class Loot:
    """What came of all attacks: by name. decisions: of the proxy. asked: names that were looked up."""

    arena: Arena
    got: dict[str, dict[str, Any]]
    decisions: list[ProxyAccess]
    asked: list[str]
    walls: list[SkillWalled]

    def decided(self, domain: str, port: int = 443) -> set[str]:
        """What the proxy said of a host."""
        return {d.action for d in self.decisions if (d.domain, d.port) == (domain, port)}


def loot_of(
    arena: Arena,
    via: Via,
    attacks: Sequence[Attack],
    walls_for: Callable[[Arena, LookUps], AbstractAsyncContextManager[Walls]],
) -> Loot:
    """Makes all attacks, one after the other."""
    told: list[Notice] = []
    look_ups = LookUps(arena.here)
    got: dict[str, dict[str, Any]] = {}

    async def make() -> None:
        with anyio.fail_after(500):
            async with (
                walls_for(arena, look_ups) as walls,
                attacker(arena, walls, via, told) as attack,
            ):
                for each in attacks:
                    if via in each.via:
                        got[each.name] = await attack(each.tool, **each.given(arena))

    anyio.run(make)
    return Loot(
        arena=arena,
        got=got,
        decisions=[notice for notice in told if isinstance(notice, ProxyAccess)],
        asked=look_ups.asked,
        walls=[notice for notice in told if isinstance(notice, SkillWalled)],
    )
