"""One program, run once: how long, how much processor, how much memory, how many bytes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TypedDict

from tests.fakes.modelserver import ModelServer, script_named

LAUNCHER = Path(__file__).parent / "launch.py"
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
        took = launched(
            [part.replace("{url}", server.url) for part in command],
            folder,
            surroundings,
            out,
            err,
            timeout_s,
        )
        if took["code"] != 0 or server.serial != expect:
            err.seek(0)
            out.seek(0)
            told = (err.read() or out.read()).decode(errors="replace").strip()[-2_000:]
            last = "".join(told.splitlines()[-1:])
            ended = "not finished in time" if took["code"] is None else f"exit code {took['code']}"
            raise Broken(f"{ended}, {server.serial} of {expect} requests: {last}", told)
        asked = server.requests
        return Run(
            wall_s=took["wall_s"],
            cpu_s=took["cpu_s"],
            rss_mb=took["rss_mb"],
            start_s=server.first_s - took["started_s"] if expect else took["wall_s"],
            stored_bytes=size_of(place) - before,
            stdout_bytes=out.seek(0, os.SEEK_END),
            requests=server.serial,
            gaps_s=tuple(after.arrived_s - before.answered_s for before, after in pairwise(asked)),
        )


class Took(TypedDict):
    """What `launch.py` tells. code: None if it was not finished in time."""

    started_s: float
    wall_s: float
    cpu_s: float
    rss_mb: float
    code: int | None


def launched(
    command: Sequence[str],
    folder: str,
    env: dict[str, str],
    out: IO[bytes],
    err: IO[bytes],
    timeout_s: float,
) -> Took:
    """Run `command` through `launch.py`; its clock is ours."""
    reading, writing = os.pipe()
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(writing), str(timeout_s), *command]
    with os.fdopen(reading, "rb") as answer:
        process = subprocess.Popen(
            launcher,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=(writing,),
        )
        os.close(writing)
        told = answer.read()
        process.wait()
    return json.loads(told)


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
