"""The servers that are measured: each in a process of its own, started as its manual says, over a folder."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from ..entries import PEERS

START_S = 60.0
PACKAGES = 200
"""Of each peer, of one version: fewer than of ours, since it takes them far longer to get them."""

GROWN, VERSIONS = 50, 20
"""How many packages verdaccio has besides, and how many versions of each: a client gets them all in one answer."""

TEXT = "What it does, for whom, and how, in a sentence or two. " * 28
"""Makes an answer of verdaccio about as long as one of ours."""

VERDACCIO = """\
storage: ./storage
auth:
  htpasswd:
    file: ./htpasswd
uplinks: {}
packages:
  "**":
    access: $all
    publish: $all
log: {type: stdout, level: fatal}
"""


class Failed(Exception):
    """A server that does not start, or does not do what it should."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server at work. started_s: from starting the process to its first answer."""

    pid: int
    port: int
    started_s: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, str]:
        """Status, body and ETag of one answer."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            given = {"content-type": "application/json"} if body else {}
            line.request(method, path, body or None, {**given, **(headers or {})})
            answer = line.getresponse()
            return answer.status, answer.read(), answer.getheader("etag") or ""
        finally:
            line.close()


@contextmanager
def serving(
    command: Sequence[str], folder: Path, ready: str, port: int, env: dict[str, str] | None = None
) -> Generator[Running]:
    """Runs `command` in `folder` until the block is left. ready: a path that answers 200 once it can work."""
    began = time.perf_counter()
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        while not _answers(port, ready):
            if process.poll() is not None or time.perf_counter() - began > START_S:
                told = (folder / "server.log").read_text(errors="replace").strip()[-500:]
                raise Failed(f"{command[0]} did not start: {told}")
            time.sleep(0.005)
        yield Running(pid=process.pid, port=port, started_s=time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int, path: str) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", path)
        return line.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


# Ours -----------------------------------------------------------------------------------------------------


@contextmanager
def perstack(database: Path) -> Generator[Running]:
    port = free_port()
    command = [sys.executable, "-m", "perstack.cli.main", "registry", "serve"]
    command += ["--port", str(port), "--database", str(database)]
    with serving(command, database.parent, "/readyz", port) as running:
        yield running


# Peers ----------------------------------------------------------------------------------------------------


def install_verdaccio() -> str:
    """Why it cannot be installed, or an empty string."""
    folder = PEERS / "verdaccio"
    if (folder / "node_modules" / ".bin" / "verdaccio").exists():
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {
        "private": True,
        "dependencies": {"verdaccio": "^6"},
        "overrides": {"node-fetch": "2.7.0"},
    }
    (folder / "package.json").write_text(json.dumps(wanted), encoding="utf-8")
    return _done(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder)])


def install_pypiserver() -> str:
    """Why it cannot be installed, or an empty string."""
    folder = PEERS / "pypiserver"
    if (folder / "bin" / "pypi-server").exists():
        return ""
    made = _done([sys.executable, "-m", "venv", str(folder)])
    return made or _done([str(folder / "bin" / "pip"), "install", "--quiet", "pypiserver"])


def versions() -> dict[str, str]:
    """Of the peers that are installed."""
    found: dict[str, str] = {}
    manifest = PEERS / "verdaccio" / "node_modules" / "verdaccio" / "package.json"
    if manifest.exists():
        found["verdaccio"] = json.loads(manifest.read_text(encoding="utf-8"))["version"]
    for each in distributions(
        path=[str(one) for one in (PEERS / "pypiserver").glob("lib/*/site-packages")]
    ):
        if each.name == "pypiserver":
            found["pypiserver"] = each.version
    return found


def _done(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip().splitlines() or ["failed"])[-1] if done.returncode else ""


@contextmanager
def verdaccio(folder: Path) -> Generator[Running]:
    """With its packages published, if the folder is empty. Raises Failed."""
    filled = (folder / "storage").exists()
    (folder / "config.yaml").write_text(VERDACCIO, encoding="utf-8")
    port = free_port()
    program = PEERS / "verdaccio" / "node_modules" / ".bin" / "verdaccio"
    command = [str(program), "--config", "config.yaml", "--listen", f"127.0.0.1:{port}"]
    with serving(command, folder, "/-/ping", port, {"NODE_ENV": "production"}) as running:
        for name, body in () if filled else _packages():
            status, said, _ = running.ask("PUT", f"/{name}", body)
            if status != 201:
                raise Failed(f"verdaccio takes no package: {status} {said[:200]!r}")
        yield running


def _packages() -> Iterator[tuple[str, bytes]]:
    """Names, and what is put there."""
    for n in range(PACKAGES):
        name = f"package-{n:03}"
        yield name, _package(name, "1.0.0", TEXT)
    for n in range(GROWN):
        name = f"grown-{n:03}"
        for minor in range(VERSIONS):
            yield name, _package(name, f"1.{minor}.0", TEXT[: len(TEXT) // 4])


def _package(name: str, number: str, description: str) -> bytes:
    file = f"{name}-{number}.tgz"
    version = {
        "name": name,
        "version": number,
        "description": description,
        "dist": {
            "tarball": f"http://127.0.0.1/{name}/-/{file}",
            "shasum": hashlib.sha1(bytes(3)).hexdigest(),
        },
    }
    document = {
        "_id": name,
        "name": name,
        "readme": "",
        "dist-tags": {"latest": number},
        "versions": {number: version},
        "_attachments": {
            file: {"content_type": "application/octet-stream", "data": "AAAA", "length": 3}
        },
    }
    return json.dumps(document).encode()


@contextmanager
def pypiserver(folder: Path) -> Generator[Running]:
    packages = folder / "packages"
    packages.mkdir(exist_ok=True)
    for n in range(PACKAGES):
        (packages / f"package_{n:03}-1.0.0.tar.gz").write_bytes(b"made up")
    port = free_port()
    program = PEERS / "pypiserver" / "bin" / "pypi-server"
    command = [str(program), "run", "--interface", "127.0.0.1", "--port", str(port), str(packages)]
    with serving(command, folder, "/health", port) as running:
        yield running
