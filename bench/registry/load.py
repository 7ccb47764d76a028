"""Load: `wrk` replays requests over some connections, and what came of it.

wrk takes little of the processor that the server needs, and measures in microseconds. What else runs on the
machine slows both; so a server's own time of the processor is told, too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parent / "replay.lua"


class NoLoad(Exception):
    """There is no wrk, or it failed."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a stretch of load came to. cpu_s: what the server took of the processor meanwhile."""

    requests: int
    seconds: float
    bytes: int
    refused: int
    p50_ms: float
    p99_ms: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """Of the processor, for one request: what other programs do to the machine is hardly in it."""
        return 1e6 * self.cpu_s / self.requests

    @property
    def answer_bytes(self) -> float:
        return self.bytes / self.requests


def there() -> bool:
    return shutil.which("wrk") is not None


def message(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """One request as it goes over the wire."""
    lines = {"Host": "127.0.0.1", **(headers or {})}
    if body:
        lines |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def load(url: str, messages: Iterable[bytes], *, connections: int, seconds: int, pid: int) -> Load:
    """Sends `messages` in turn for so long. pid: of the server. Raises NoLoad."""
    with tempfile.NamedTemporaryFile(prefix="bench-", suffix=".requests") as file:
        for one in messages:
            file.write(b"%d\n%b" % (len(one), one))
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
        command += ["-s", str(SCRIPT), url, "--", file.name]
        before = cpu_of(pid)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
        took = cpu_of(pid) - before
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise NoLoad(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
    told = json.loads(found[1])
    if told["broken"] or not told["requests"]:
        raise NoLoad(f"wrk: {told['requests']} answers, {told['broken']} connections broken")
    return Load(
        requests=told["requests"],
        seconds=told["duration_us"] / 1e6,
        bytes=told["bytes"],
        refused=told["refused"],
        p50_ms=told["p50_us"] / 1_000,
        p99_ms=told["p99_us"] / 1_000,
        cpu_s=took,
    )


def cpu_of(pid: int) -> float:
    """Seconds of the processor that a process has had."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int, what: str = "VmRSS") -> float:
    """MiB that a process has in memory now, or had at most (`VmHWM`)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
