"""What the workbench costs: `python -m bench.workbench [--rounds N] [--events N]`.

- From the start of the process to the first picture, and to the list of Experts, in a pseudo-terminal; beside a
  bare Python, in turns. Aim: the first picture within 20 times that. It is drawn before Textual is loaded, so the
  list is what tells of Textual.
- From choosing a job of 10,000 events to its rows. Aim: a second.
- A frame while a job tells 1,000 events and 500 pieces of words a second, on top of that job. Aim: half of the
  33 ms there are for one, so that there is time for keys.

The lowest is what it costs when nobody else needs the machine; the median is what was seen.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Sequence
from pathlib import Path
from select import select
from statistics import median
from time import perf_counter

import anyio
from anyio.lowlevel import checkpoint
from msgspec.structs import replace
from textual.geometry import Region

from perstack.engine import NOBODY, Inbox
from perstack.job import Event, Heard
from perstack.models import Reply, Request
from perstack.ops.project import Flags
from perstack.ops.running.at_work import Noticed, Told
from perstack.ops.running.order import Order
from perstack.ops.running.run import carry_out, prepare
from perstack.testing import ScriptedModel, calls
from perstack.tui import Desk, Workbench
from perstack.tui.account import Account
from perstack.tui.app import FRAMES
from perstack.tui.session import Session
from perstack.tui.widgets.timeline import Timeline

# Starting -------------------------------------------------------------------------------------------------


def bare(env: dict[str, str]) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], env=env, check=True)
    return (perf_counter() - began) * 1000


def started(cwd: Path, env: dict[str, str]) -> tuple[float, float]:
    """Milliseconds to the first picture, and to the list."""
    began = perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execve(sys.executable, [sys.executable, "-m", "perstack.cli.main", "start"], env)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    seen, first = b"", 0.0
    try:
        while b"EXPERTS" not in seen:
            if not select([terminal], [], [], 30)[0]:
                raise RuntimeError(f"no list of Experts: {seen[-2_000:]!r}")
            seen += os.read(terminal, 65_536)
            if not first and b"perstack" in seen:
                first = (perf_counter() - began) * 1000
        return first, (perf_counter() - began) * 1000
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


# A long job -----------------------------------------------------------------------------------------------


def reading(request: Request) -> Reply:
    """A model that reads a file, again and again."""
    thought = "I should read that again." if request.step % 3 == 0 else ""
    return calls(("readTextFile", {"path": "note.txt"}), thought=thought)


async def long_job(workspace: Path, env: dict[str, str], events: int) -> Desk:
    """A job of at least so many events, each step three of them."""
    (workspace / "note.txt").write_text("one line of a note\n" * 8)
    limit = Flags(runtime="local", max_steps=events // 3 + 1)
    order = Order(expert="", cwd=workspace, workspace=workspace, env=env, flags=limit)
    desk = Desk(order)
    begin = replace(desk.new_job("reader", "Read."), model=ScriptedModel(reading), job="long")
    prepared = await prepare(begin)
    inbox = Inbox()
    await carry_out(prepared, inbox, NOBODY)
    inbox.close()
    return desk


class Flood:
    """A source that tells a frame's share of 1,000 events and 500 pieces of words a second."""

    def __init__(self, events: Sequence[Event], run: str) -> None:
        self._events = list(events)
        piece = Heard(run=run, step=1, kind="text", text="some words of a reply ")
        self._words = [Noticed(piece)] * (500 // FRAMES)

    def take(self) -> list[Told]:
        share = 1_000 // FRAMES
        told, self._events = self._events[:share], self._events[share:]
        return [*told, *self._words]

    def close(self) -> None:
        pass


async def opened(desk: Desk) -> tuple[float, float]:
    """Milliseconds to the rows of the job, and for a frame of the flood."""
    bench = Workbench(desk, watch=False)
    async with bench.run_test(size=(120, 40)) as pilot:
        [job] = await desk.jobs()
        await pilot.pause(1)
        began = perf_counter()
        bench.open_job(job)
        while not rows_of(bench):  # noqa: ASYNC110  # a look now and then, which takes nothing from who reads
            await anyio.sleep(0.005)
        took = (perf_counter() - began) * 1000
        events = await desk.events(job.job)
        known, more = events[: -len(events) // 6], events[-len(events) // 6 :]
        session = Session(desk, job.expert, Account(known))
        bench.follow(session)
        await pilot.pause(1)
        follow = bench.following
        assert follow is not None
        # not before: the screen, while it settles, would take from a short flood all there is
        session.listen(Flood(more, session.job.root))
        frames: list[float] = []
        while session.job.seq < len(events):
            began = perf_counter()
            session.pump()
            follow.draw()
            follow.timeline.render_lines(Region(0, 0, *follow.timeline.size))
            frames.append((perf_counter() - began) * 1000)
            await checkpoint()
    return took, median(frames)


def rows_of(bench: Workbench) -> int:
    """Lines of the job on the screen, 0 before there are any."""
    follow = bench.following
    shown = follow.query("#timeline").results(Timeline) if follow is not None else ()
    return sum(timeline.virtual_size.height for timeline in shown)


def report(name: str, times: Sequence[float], aim: str) -> None:
    sys.stdout.write(f"{name:<28} {min(times):8.1f} {median(times):8.1f}   {aim}\n")


def positive(text: str) -> int:
    """A number of 1 or more. Raises ArgumentTypeError."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of 1 or more")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=positive, default=10)
    parser.add_argument("--events", type=positive, default=10_000)
    given = parser.parse_args()
    env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        env |= {"HOME": folder, "TERM": "xterm-256color", "PYTHONPYCACHEPREFIX": str(place / "pyc")}
        (place / "perstack.toml").write_text('[experts."reader"]\ninstruction = "Read."\n')
        started(place, env)  # compiles what is imported
        rows = [(bare(env), *started(place, env)) for _ in range(given.rounds)]
        desk = anyio.run(long_job, place, env, given.events)
        long = [anyio.run(opened, desk) for _ in range(max(given.rounds // 3, 1))]
    sys.stdout.write(f"{'milliseconds':<28} {'lowest':>8} {'median':>8}   aim\n")
    alone = [row[0] for row in rows]
    report("bare Python", alone, "")
    report("first picture", [row[1] for row in rows], f"{20 * min(alone):.0f}")
    report("list of Experts", [row[2] for row in rows], "")
    report(f"a job of {given.events} events", [took for took, _ in long], "1000")
    report("a frame of the flood", [frame for _, frame in long], f"{500 / FRAMES:.0f}")


if __name__ == "__main__":
    main()
