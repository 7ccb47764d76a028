"""kill -9 at any instant, then `--continue-job`: the same outcome, and nothing is done twice.

Each trial is a process that is killed at a random instant of its life. PERSTACK_TEST_KILLS says how many there
are (default 240, some 25 s); a thousand find what two hundred do not.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.behaviour.register import proves
from tests.dialect.check import check_event
from tests.fakes.modelserver import Calls, ModelServer, Says, Seen, Turn

from .forks import Forks
from .program import LOCAL, LONG_S, WITHOUT_WALLS, begun, ended, expert, facts, folded, keys, log_of

KILLS = int(os.environ.get("PERSTACK_TEST_KILLS", "240"))
WORKERS = 2

PROJECT = LOCAL + expert(more='delegates = ["helper"]') + expert("helper")
ANSWER = "All parts are done."
QUERY = "Do all parts"
NEW = ("run", "worker", QUERY, "--job-id", "job")
GOES_ON = ("run", "worker", "--continue-job", "job")


def mark(name: str) -> tuple[str, dict[str, object]]:
    """A call that must not be made twice: it adds a line to a file of that name."""
    return "exec", {
        "command": "sh",
        "args": ["-c", f"echo done >> marks/{name}"],
        "env": {},
        "cwd": ".",
        "stdout": True,
        "stderr": True,
    }


def append(name: str) -> tuple[str, dict[str, object]]:
    """The same by the base skill's own hand."""
    return "appendTextFile", {"path": f"marks/{name}", "text": "done\n"}


def script(seen: Seen) -> Turn:
    """Steps with marks in them, and two delegates side by side that have marks of their own."""
    if seen.query.startswith("Part "):
        part = seen.query[-1]
        turns: tuple[Turn, ...] = (
            Calls([mark(f"{part}-1"), append(f"{part}-2")]),
            Calls([append(f"{part}-3")]),
            Says(f"{seen.query} is done."),
        )
    else:
        turns = (
            Calls([mark("root-1")], text="I begin."),
            Calls(
                [
                    append("root-2"),
                    ("readTextFile", {"path": "perstack.toml"}),
                    mark("root-3"),
                    ("todo", {"newTodos": ["go on"]}),
                ]
            ),
            Calls([("helper", {"query": "Part A"}), ("helper", {"query": "Part B"})]),
            Calls([append("root-4"), ("todo", {"completedTodos": [0]})]),
            Calls([("attemptCompletion", {})]),
            Says(ANSWER),
        )
    return turns[min(seen.replies, len(turns) - 1)]


MARKS = [f"root-{n}" for n in range(1, 5)] + [f"{part}-{n}" for part in "AB" for n in range(1, 4)]


def workspace_at(path: Path) -> Path:
    (path / "marks").mkdir(parents=True)
    (path / "perstack.toml").write_text(PROJECT)
    for name in MARKS:
        (path / "marks" / name).touch()
    return path


def one_job(
    forks: Forks, server: ModelServer, workspace: Path, whole_s: float, luck: random.Random
) -> int:
    """One job, killed again and again until it is done. Gives how often it was."""
    args, kills, before, told = NEW, 0, b"", list[str]()
    while True:
        ran = forks.run(
            *args,
            cwd=workspace,
            env=keys(server),
            kill_after_s=luck.uniform(0, 1.1 * whole_s) if kills < 12 else None,
        )
        for event in ran.events:
            check_event(event, full=False)
        told += [event["id"] for event in ran.events]
        log = log_of(workspace, "job")
        after = log.read_bytes() if log.exists() else b""
        assert after.startswith(before), "what was in the log is not in it any more"
        before = after[: after.rfind(b"\n") + 1]
        if ran.code == 0 or "Job job is done." in ran.err:  # done, and killed on its way out
            assert len(told) == len(set(told)), "an event was told twice"
            return kills
        assert ran.code == -9, ran.err
        kills += 1
        started = b'"type":"runStarted"' in before
        args = GOES_ON if started else (*GOES_ON, QUERY) if before else NEW


def marks(workspace: Path) -> Iterator[tuple[str, int]]:
    for path in sorted((workspace / "marks").iterdir()):
        yield path.name, path.read_text().count("done")


def check(workspace: Path) -> int:
    """Holds a finished job against what it should have come to. Gives how many calls were left in doubt."""
    job = folded(workspace, "job")
    assert job.done is not None
    assert (job.done.outcome, job.done.text) == ("completed", ANSWER)
    assert job.steps == 5 + 2 * 3  # the reply that concludes belongs to the step before it
    assert job.stopped is None
    doubts = 0
    made = Counter[str]()
    calls: dict[tuple[str, str], str] = {}
    for fact in facts(workspace, "job"):
        match fact:
            case {"type": "replied", "run": run, "message": {"calls": asked}}:
                for call in asked:
                    args = call["args"]
                    name = args.get("path") or (args.get("args") or [""])[-1]
                    calls[run, call["id"]] = name.rpartition("/")[2]
            case {"type": "toolReturned", "run": run, "call": id, "parts": parts}:
                name = calls[run, id]
                if name not in MARKS:
                    continue
                if "interrupted" in parts[0]["text"]:
                    doubts += 1
                    made[name] += 0
                else:
                    assert not fact.get("isError"), parts
                    made[name] += 1
            case _:
                pass
    there = dict(marks(workspace))
    assert made.keys() == there.keys()
    for name, count in there.items():
        assert count <= 1, f"{name} was made {count} times"
        assert count >= made[name], f"{name} is said to be made, and is not"
    return doubts


@proves("run.crash-same-outcome", "run.crash-never-twice", "run.crash-log-only-grows")
def test_a_killed_job_goes_on_and_nothing_is_done_twice(tmp_path: Path):
    seed = random.randrange(1 << 32)
    with ModelServer(script) as server, Forks(tmp_path / "first") as forks:
        whole_s = math.inf  # how long a job takes that nobody kills
        for name in ("warm", "timed", "again"):
            workspace = workspace_at(tmp_path / name)
            began = time.perf_counter()
            ran = forks.run(*NEW, cwd=workspace, env=keys(server))
            whole_s = min(whole_s, time.perf_counter() - began)
            assert (ran.code, ran.err) == (0, WITHOUT_WALLS)
            assert check(workspace) == 0

    def work(worker: int) -> tuple[int, int, int]:
        luck = random.Random(f"{seed} {worker}")
        kills = doubts = jobs = 0
        with ModelServer(script) as server, Forks(tmp_path / f"scratch-{worker}") as forks:
            while kills < KILLS / WORKERS:
                workspace = workspace_at(tmp_path / f"{worker}-{jobs}")
                kills += one_job(forks, server, workspace, whole_s, luck)
                doubts += check(workspace)
                jobs += 1
        return kills, doubts, jobs

    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(work, range(WORKERS)))
    assert sum(kills for kills, _, _ in results) >= KILLS
    assert sum(doubts for _, doubts, _ in results) > 0, "no kill ever met a call in flight"


def test_it_is_the_same_for_processes_that_begin_from_nothing(tmp_path: Path):
    workspace = workspace_at(tmp_path / "job")
    luck = random.Random(random.randrange(1 << 32))
    with ModelServer(script) as server:
        args, kills = NEW, 0
        while True:
            process = begun(*args, cwd=workspace, env=keys(server))
            if kills < 6:
                # Killed while it is at work: after the next reply was asked for.
                asked = len(server.requests)
                server.wait_until(lambda s, asked=asked: len(s.requests) > asked, LONG_S)
                time.sleep(luck.uniform(0, 0.02))
                process.kill()
            ran = ended(process)
            if ran.code == 0:
                break
            assert ran.code == -9, ran.err
            kills += 1
            args = GOES_ON
    check(workspace)
