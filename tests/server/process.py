"""A registry server in a process of its own, as its command starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Served:
    """A server at work. said: what it wrote until it listened."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@contextmanager
def serving(database: str, *options: str, cwd: Path | None = None) -> Generator[Served]:
    """`perstack registry serve` on a free port; killed at the end if it still runs."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "perstack.cli.main", "registry", "serve"),
            *("--port", "0", "--database", database, *options),
        ],
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if "REGISTRY" not in name},
    )
    assert process.stderr is not None
    try:
        said: list[str] = []
        for line in process.stderr:
            said.append(line.strip())
            if line.startswith("Listening on "):
                break
        else:
            raise AssertionError(f"it ended with {process.wait()}: {said}")
        yield Served(process, said[-1].removeprefix("Listening on "), said)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()
