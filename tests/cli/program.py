"""The program `perstack` as a user has it: a process of its own, an environment of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from perstack.job import Job, fold
from perstack.store import events_in
from perstack.store.chain import End
from tests.dialect.check import check_stream
from tests.fakes.modelserver import ModelServer

Provider = Literal["anthropic", "openai", "google"]

LONG_S = 60
"""For a machine that has much else to do. What takes that long has hung."""


@dataclass(frozen=True)
class Ran:
    """A process that has ended. code: its exit code, negative for a signal that ended it."""

    code: int
    out: str
    err: str

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def job(self) -> str:
        return self.events[0]["jobId"]

    def checked(self, *, full: bool = False, ended: bool = True) -> list[dict[str, Any]]:
        """The events, held against schema and sequence."""
        return check_stream(self.out.splitlines(), full, ended=ended)

    def of(self, *types: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] in types]


def command(*args: str) -> list[str]:
    return [sys.executable, "-P", "-m", "perstack.cli.main", *args]


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a process gets: nothing of ours but the way to its programs."""
    alone = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PERSTACK_OFFLINE": "1"}
    return {**alone, **(env or {})}


def perstack(*args: str, cwd: Path, env: Mapping[str, str] | None = None) -> Ran:
    """Run one command line to its end."""
    done = subprocess.run(
        command(*args),
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LONG_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def begun(*args: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start one command line. Whoever does waits for it with `ended`."""
    return subprocess.Popen(
        command(*args),
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[bytes]) -> Ran:
    try:
        out, err = process.communicate(timeout=LONG_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ran(process.returncode, out.decode(), err.decode())


def keys(server: ModelServer, provider: Provider = "anthropic") -> dict[str, str]:
    """The variables that lead a provider's requests to the fake server, as its users set them."""
    match provider:
        case "anthropic":
            return {"ANTHROPIC_API_KEY": "sk-test-1234", "ANTHROPIC_BASE_URL": server.url}
        case "openai":
            return {"OPENAI_API_KEY": "sk-test-1234", "OPENAI_BASE_URL": f"{server.url}/v1"}
        case "google":
            return {
                "GOOGLE_GENERATIVE_AI_API_KEY": "sk-test-1234",
                "GOOGLE_GENERATIVE_AI_BASE_URL": server.url,
            }


def log_of(workspace: Path, job: str) -> Path:
    return workspace / "perstack" / "jobs" / job / "log.jsonl"


def folded(workspace: Path, job: str) -> Job:
    """The job as its log has it. Whatever is torn at the log's end is not in it."""
    path = log_of(workspace, job)
    events, _, _ = events_in(path.read_bytes(), End(), job=job, path=str(path))
    return fold(events)


def facts(workspace: Path, job: str) -> list[dict[str, Any]]:
    """The lines of a log."""
    return [json.loads(line) for line in log_of(workspace, job).read_text().splitlines()]


LOCAL = 'runtime = "local"\n'
"""For a project whose servers and programs are the subject, and not the walls around them."""


WITHOUT_WALLS = "Runtime local: `exec` runs with your rights, without walls.\n"
"""What is said of it on stderr."""


def expert(
    name: str = "worker", *, instruction: str = "Do it.", skills: str = "", more: str = ""
) -> str:
    """One Expert as TOML. more: further lines of its own table; skills: tables of its skills."""
    return f'[experts."{name}"]\ninstruction = "{instruction}"\n{more}\n{skills}\n'


def asking(name: str = "worker") -> str:
    """An Expert that can ask a person: `askUser(question)`, and `confirm(what)`."""
    return expert(
        name,
        skills=f"""
[experts."{name}".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
[experts."{name}".skills.human]
type = "interactiveSkill"
[experts."{name}".skills.human.tools.askUser]
description = "Ask the user"
inputJsonSchema = '{{"type": "object", "properties": {{"question": {{"type": "string"}}}}}}'
[experts."{name}".skills.human.tools.confirm]
inputJsonSchema = '{{"type": "object"}}'
""",
    )


def is_one_message(err: str) -> bool:
    """Whether stderr is what a person can read: an error, and no traceback."""
    return "Traceback" not in err and len(re.findall(r"^error: ", err, re.MULTILINE)) == 1
