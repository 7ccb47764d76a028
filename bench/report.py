"""What is measured, and what is aimed at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .entries import AIOHTTP, BARE, FLOOR, Entry, Work
from .figures import Aim, Figure
from .measure import Broken, Run, run

PERSTACK = "perstack"

Rounds = Mapping[str, Sequence[Run]]
"""Program → its runs, one for each round."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured. everything: also what takes very long."""

    rounds: int
    steps: tuple[int, ...]
    delegates: int
    jobs: tuple[int, ...]
    entries: tuple[Entry, ...]
    everything: bool = False


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Bench:
    """Runs the programs in turns and gathers figures.

    notes: what was left out, and why. broken: one of our own programs did not do its work.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.figures: list[Figure] = []
        self.aims: list[Aim] = []
        self.notes: list[str] = []
        self.broken = False
        self._entries = [entry for entry in plan.entries if self._installed(entry)]

    def _installed(self, entry: Entry) -> bool:
        if why := entry.install():
            self.notes.append(f"{entry.name} left out, it could not be installed: {why}")
        return not why

    def measure(self) -> None:
        """All of the plan."""
        self._warm_up()
        self._one_agent()
        self._delegates()
        for count in self.plan.jobs:
            self._jobs(count)

    def _rounds(
        self,
        work: Work,
        script: str,
        *,
        expect: int,
        jobs: int = 1,
        delay_s: float = 0.0,
        alone: bool = False,
        rounds: int | None = None,
    ) -> Rounds:
        """Every program that does `work`, in turns; what fails is noted and left out."""
        found: dict[str, list[Run]] = {}
        taking = [
            entry
            for entry in self._entries
            if work in entry.does and (self.plan.everything or jobs <= entry.most_jobs)
        ]
        for number in range(rounds or self.plan.rounds):
            for entry in tuple(taking):
                say(f"{work} {script} x {jobs}, round {number + 1}: {entry.name}")
                try:
                    done = run(
                        entry.command(jobs),
                        script=script,
                        delay_s=delay_s,
                        expect=expect,
                        files=entry.files,
                        env=entry.surroundings(),
                        alone=alone,
                    )
                except Broken as error:
                    say(f"{error}\n{error.output}")
                    self.notes.append(f"{entry.name} failed at {script} x {jobs}: {error}")
                    self.broken |= not entry.peer
                    taking.remove(entry)
                    found.pop(entry.name, None)
                else:
                    found.setdefault(entry.name, []).append(done)
        return found

    def _warm_up(self) -> None:
        """Once through everything, so that bytecode is compiled and files are in memory."""
        self._rounds("nothing", "says:", expect=0, rounds=1)
        self._rounds("steps", "steps:1", expect=2, rounds=1)
        self._rounds("jobs", "steps:1", expect=2, rounds=1)
        self.notes = [note for note in self.notes if "left out" in note]

    def _add(
        self,
        id: str,
        title: str,
        unit: str,
        values: Mapping[str, Sequence[float]],
        base: str = "",
        *,
        aim: float | None = None,
        aim_ratio: float | None = None,
    ) -> None:
        figure = Figure.of(id, title, unit, values, base=base)
        self.figures.append(figure)
        ours = figure.row(PERSTACK)
        if ours and aim is not None:
            self.aims.append(Aim(what=f"{title}, {unit}", value=ours.value, limit=aim))
        if ours and ours.ratio and aim_ratio is not None:
            self.aims.append(Aim(what=f"{title}, x {base}", value=ours.ratio, limit=aim_ratio))

    def _one_agent(self) -> None:
        bare = self._rounds("nothing", "says:", expect=0)
        by_steps = {
            count: self._rounds("steps", f"steps:{count}", expect=count + 1, alone=True)
            for count in self.plan.steps
        }
        few, middle, most = self.plan.steps[0], self.plan.steps[-2], self.plan.steps[-1]
        start = _each({**bare, **by_steps[few]}, lambda run: 1_000 * run.start_s)
        self._add(
            "start", "Process start to first model request", "ms", start, BARE.name, aim_ratio=20
        )
        for count, rounds in by_steps.items():
            title = f"One agent, {count} steps: its own time per step"
            own = _each(rounds, _step_ms)
            self._add(f"step:{count}", title, "ms", own, FLOOR.name, aim_ratio=8)
        title = f"One agent, {most} steps: its own time in the last tenth of them"
        self._add(
            "last", title, "ms", _each(by_steps[most], lambda run: run.last_steps_ms), FLOOR.name
        )
        title = f"One agent, {most} steps: memory"
        self._add("memory", title, "MB", _each(by_steps[most], lambda run: run.rss_mb), FLOOR.name)
        for where, size in (("stored", _stored), ("stdout", _told)):
            for count, rounds in by_steps.items():
                ours = {PERSTACK: rounds[PERSTACK]} if PERSTACK in rounds else {}
                title = f"One agent, {count} steps: bytes per step, {where}"
                self._add(f"{where}:{count}", title, "bytes", _each(ours, size))
        against = f"per step, {most} steps against {middle}"
        self._add(
            "growth:time",
            f"One agent, growth of its own time {against}",
            "x",
            _growth(by_steps[most], by_steps[middle], _step_ms),
            aim=1.15,
        )
        for where, size in (("stored", _stored), ("stdout", _told)):
            growth = _growth(by_steps[most], by_steps[middle], size)
            ours = {name: own for name, own in growth.items() if name == PERSTACK}
            title = f"One agent, growth of bytes {against}, {where}"
            self._add(f"growth:{where}", title, "x", ours, aim=1.15)

    def _delegates(self) -> None:
        count = self.plan.delegates
        rounds = self._rounds("delegates", f"delegates:{count}:3", expect=2 + 4 * count)
        title = f"{count} delegates at once, 3 steps each"
        for id, unit, what, value in (
            ("wall", "s", "wall", _wall),
            ("cpu", "s", "processor", _cpu),
        ):
            self._add(f"delegates:{id}", f"{title}: {what}", unit, _each(rounds, value), FLOOR.name)

    def _jobs(self, count: int) -> None:
        rounds = self._rounds(
            "jobs",
            "steps:5",
            expect=6 * count,
            jobs=count,
            delay_s=0.25,
            rounds=min(self.plan.rounds, 3) if count >= 1_000 else None,
        )
        title = f"{count:,} jobs of 5 steps in one process, the model answering after 250 ms"
        many = count >= 1_000
        wall, cpu = _each(rounds, _wall), _each(rounds, _cpu)
        memory = _each(rounds, lambda run: run.rss_mb)
        limit = 2.5 if many else None
        self._add(f"jobs:{count}:wall", f"{title}: wall", "s", wall, AIOHTTP.name, aim_ratio=limit)
        self._add(f"jobs:{count}:cpu", f"{title}: processor", "s", cpu, AIOHTTP.name)
        limit = 250 if many else None
        self._add(f"jobs:{count}:memory", f"{title}: memory", "MB", memory, AIOHTTP.name, aim=limit)


def _each(rounds: Rounds, value: Callable[[Run], float]) -> dict[str, list[float]]:
    return {name: [value(run) for run in runs] for name, runs in rounds.items()}


def _growth(most: Rounds, middle: Rounds, value: Callable[[Run], float]) -> dict[str, list[float]]:
    """How often `value` of the longer run is that of the shorter one, round by round."""
    return {
        name: [
            value(long) / value(short)
            for long, short in zip(runs, middle[name], strict=True)
            if value(short)
        ]
        for name, runs in most.items()
        if name in middle
    }


def _step_ms(run: Run) -> float:
    return run.step_ms


def _stored(run: Run) -> float:
    return run.stored_bytes / run.requests


def _told(run: Run) -> float:
    return run.stdout_bytes / run.requests


def _wall(run: Run) -> float:
    return run.wall_s


def _cpu(run: Run) -> float:
    return run.cpu_s
