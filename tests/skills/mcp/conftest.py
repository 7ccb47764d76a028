"""A world for each test, which must leave no process behind; and servers of others, fetched once."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from .world import World

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perstack-tests"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(uuid.uuid4().hex, tmp_path)
    yield world
    assert world.processes() == []


@pytest.fixture(scope="session")
def node_servers() -> Path:
    """The directory of installed npm servers. Skips if there is no npm, or the registry cannot be reached."""
    packages = (
        "@modelcontextprotocol/server-everything",
        "@modelcontextprotocol/server-filesystem",
    )
    home = CACHE / "node"
    modules = home / "node_modules"
    with _alone(home):
        if not all((modules / package / "dist" / "index.js").exists() for package in packages):
            _run(["npm", "install", "--no-save", "--silent", "--prefix", str(home), *packages])
    return modules / "@modelcontextprotocol"


@pytest.fixture(scope="session")
def npx_everything() -> tuple[str, ...]:
    """Arguments of npx for server-everything, which is in its cache."""
    args = ("--prefer-offline", "@modelcontextprotocol/server-everything")
    with _alone(CACHE / "npx"):
        _run(["npx", "-y", *args, "no-such-transport"], says="Unknown transport")
    return args


@pytest.fixture(scope="session")
def uvx_time() -> tuple[str, ...]:
    """Arguments of uvx for mcp-server-time, which is in its cache."""
    with _alone(CACHE / "uvx"):
        _run(["uvx", "mcp-server-time", "--help"])
    return ("--offline", "mcp-server-time")


class _alone:
    """One test process at a time."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._lock = open(home / "lock", "w", encoding="utf-8")

    def __enter__(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._lock.close()


def _run(command: Sequence[str], *, says: str = "") -> None:
    """Run to its end. says: what it has to say, whatever its exit code; else that must be 0."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{' '.join(command)} took too long, is the registry reachable?")
    if (says not in done.stderr) if says else done.returncode:
        pytest.skip(f"{' '.join(command)} failed, is the registry reachable? {done.stderr[-500:]}")


@pytest.fixture(scope="session")
def conformance_suite() -> Path:
    """The program of the official conformance suite, in the last version that runs on Node 20."""
    home = CACHE / "conformance"
    program = home / "node_modules" / ".bin" / "conformance"
    with _alone(home):
        if not program.exists():
            package = "@modelcontextprotocol/conformance@0.1.13"
            _run(["npm", "install", "--no-save", "--silent", "--prefix", str(home), package])
    return program


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
