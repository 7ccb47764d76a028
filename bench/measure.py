"""One program run once: how long, how much processor, how much memory, how many bytes."""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.fakes.modelserver import ModelServer, script_named

NOTE = "A short note.\n"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run took. Of the steps, what the program itself took: the model's time is not in it.

    stored_bytes: what it left in its folder. gaps_s: from each answer of the model to the next request of the
    same run, in order; empty if several conversations went on at once.
    """

    wall_s: float
    cpu_s: float
    rss_mb: float
    start_s: float
    stored_bytes: int
    stdout_bytes: int
    requests: int
    gaps_s: tuple[float, ...]

    @property
    def step_ms(self) -> float:
        return 1_000 * statistics.fmean(self.gaps_s)

    @property
    def last_steps_ms(self) -> float:
        """Mean of the last tenth of the steps."""
        return 1_000 * statistics.fmean(self.gaps_s[-max(1, len(self.gaps_s) // 10) :])


class Broken(Exception):
    """A program that did not do its work. output: the end of what it printed."""

    def __init__(self, what: str, output: str = "") -> None:
        super().__init__(what)
        self.output = output


def run(
    command: Sequence[str],
    *,
    script: str,
    delay_s: float = 0.0,
    expect: int,
    files: dict[str, str],
    env: dict[str, str],
    alone: bool = True,
    timeout_s: float = 900.0,
) -> Run:
    """Run `command` in an empty folder with `files` in it, against a fresh model server.

    {url} in the command, the environment and the files is the server's. expect: how many requests of the model
    make the work whole. alone: one conversation, so that steps can be told apart.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        ModelServer(script_named(script), delay_s=delay_s, strict=False, record=alone) as server,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        place = Path(folder)
        for name, text in {"note.txt": NOTE, **files}.items():
            (place / name).write_text(text.replace("{url}", server.url), encoding="utf-8")
        before = size_of(place)
        surroundings = surroundings_for(folder) | {
            name: value.replace("{url}", server.url) for name, value in env.items()
        }
        started_s = time.perf_counter()
        process = subprocess.Popen(
            [part.replace("{url}", server.url) for part in command],
            cwd=folder,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        usage = waited(process, timeout_s)
        wall_s = time.perf_counter() - started_s
        if process.returncode or server.serial != expect:
            err.seek(0)
            out.seek(0)
            told = (err.read() or out.read()).decode(errors="replace").strip()[-2_000:]
            last = told.splitlines()[-1:]
            what = f"exit code {process.returncode}, {server.serial} of {expect} requests"
            raise Broken(f"{what}: {''.join(last)}", told)
        asked = server.requests
        return Run(
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            rss_mb=usage.ru_maxrss / 1024,
            start_s=server.first_s - started_s if expect else wall_s,
            stored_bytes=size_of(place) - before,
            stdout_bytes=out.seek(0, os.SEEK_END),
            requests=server.serial,
            gaps_s=tuple(after.arrived_s - before.answered_s for before, after in pairwise(asked)),
        )


def waited(process: subprocess.Popen[bytes], timeout_s: float) -> os.struct_rusage:
    """The resources `process` used, it and its children, when it has ended."""
    handle = os.pidfd_open(process.pid)
    ready, _, _ = select.select([handle], [], [], timeout_s)
    os.close(handle)
    if not ready:
        process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if not ready:
        raise Broken(f"not finished after {timeout_s:g} s")
    return usage


def surroundings_for(folder: str) -> dict[str, str]:
    """The environment of a program: its own home, bytecode kept, nothing of ours that would colour it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "LANG", "LC_ALL", "TMPDIR")
    }
    return kept | {"HOME": folder, "PYTHONHASHSEED": "0"}


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
