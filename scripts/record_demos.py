"""Record the shipped demos: python scripts/record_demos.py [TARGET]

TARGET: the directory to write `<expert>/cassette.jsonl` to, the package's own if not given.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import perstack
from perstack.job import Usage
from perstack.ops.shipped import DEMOS, demo_of
from perstack.testing import ScriptedModel, Turn, calls, says

PLAN = """\
Warm-up: 5 minutes brisk walking, ankle circles.
1. Glute bridges, 3 x 12
2. Step-ups on a low step, 3 x 10 each side, slowly
3. Side plank, 3 x 20 seconds each side
4. Calf raises, 3 x 15
Cool-down: 5 minutes of stretching for hips and calves.
Why: after a run the day before, this strengthens what protects the knee without loading it."""

LOG = """\

## Friday

Ran 30 minutes in the morning. Felt good.

### Plan for tomorrow

"""

BOARD = """\
# Tic-tac-toe

|   | 1 | 2 | 3 |
|---|---|---|---|
| a |   |   |   |
| b |   |   |   |
| c |   |   |   |

Moves: none yet.
"""

REVIEW = """\
# Review

## accounts.py, line 9: SQL injection in `balance`

The owner's name is put into the statement as text. A name with a quote in it changes the query, so anybody who
chooses a name can read every account. Pass it as a parameter:
`db.execute("select balance from accounts where owner = ?", (owner,))`.

## accounts.py, lines 13-15: a transfer can lose money

The two updates are neither in one transaction nor committed, and nothing checks the balance or that both accounts
exist. If the process ends between them, the amount is gone. Wrap both in `with db:`, check `rowcount`, and refuse
an amount that is negative or larger than the balance.

## accounts.py, line 10: an unknown owner crashes

`fetchone` gives `None` for an unknown owner, and `row[0]` then raises TypeError. Say which owner is unknown.
"""

STORIES: dict[str, dict[tuple[str, int], Turn]] = {
    "fitness-assistant": {
        ("", 1): calls(
            ("readTextFile", {"path": "fitness-log.md"}),
            thought="The log tells what was done before.",
            text="Let me look at your log.",
            usage=Usage(input_tokens=1_240, output_tokens=61, reasoning_tokens=12),
        ),
        ("", 2): calls(
            (
                "pro-trainer",
                {
                    "query": "Design tomorrow's session. Goal: run 10 km in spring. Limits: sensitive left "
                    "knee, at most forty minutes. Last sessions: Monday 25 min easy run, Wednesday squats "
                    "and core 30 min, today 30 min run, felt good."
                },
            ),
            text="A good run. I will ask the trainer for tomorrow.",
            usage=Usage(input_tokens=1_510, output_tokens=118, cached_input_tokens=1_240),
        ),
        ("/2.1", 1): calls(
            ("readTextFile", {"path": "fitness-log.md"}),
            usage=Usage(input_tokens=610, output_tokens=33),
        ),
        ("/2.1", 2): says(PLAN, usage=Usage(input_tokens=790, output_tokens=171)),
        ("", 3): calls(
            ("appendTextFile", {"path": "fitness-log.md", "text": LOG + PLAN + "\n"}),
            usage=Usage(input_tokens=1_830, output_tokens=214, cached_input_tokens=1_510),
        ),
        ("", 4): says(
            "Thirty minutes and feeling good: well done! Tomorrow is strength for the legs, kind to your knee: "
            "bridges, step-ups, side planks and calf raises, about half an hour. Today's run and the plan are in "
            "your log.",
            usage=Usage(input_tokens=2_110, output_tokens=66, cached_input_tokens=1_830),
        ),
    },
    "tic-tac-toe": {
        ("", 1): calls(
            ("writeTextFile", {"path": "tic-tac-toe.md", "text": BOARD}),
            text="A fresh board.",
            usage=Usage(input_tokens=905, output_tokens=84),
        ),
        ("", 2): says(
            "The board is empty and you are X. Name a square to begin, for example b2.\n\n"
            "|   | 1 | 2 | 3 |\n|---|---|---|---|\n| a |   |   |   |\n| b |   |   |   |\n| c |   |   |   |",
            usage=Usage(input_tokens=1_032, output_tokens=79, cached_input_tokens=905),
        ),
    },
    "code-reviewer": {
        ("", 1): calls(
            ("readTextFile", {"path": "accounts.py"}),
            ("todo", {"newTodos": ["read accounts.py", "write review.md"]}),
            thought="Read before judging.",
            usage=Usage(input_tokens=1_480, output_tokens=97, reasoning_tokens=9),
        ),
        ("", 2): calls(
            ("writeTextFile", {"path": "review.md", "text": REVIEW}),
            ("todo", {"completedTodos": [0, 1]}),
            usage=Usage(input_tokens=2_004, output_tokens=388, cached_input_tokens=1_480),
        ),
        ("", 3): says(
            "Three findings in accounts.py: an SQL injection, transfers that can lose money, and a crash for an "
            "unknown owner. The details are in review.md.",
            usage=Usage(input_tokens=2_430, output_tokens=51, cached_input_tokens=2_004),
        ),
    },
}


def record(expert: str, target: Path) -> None:
    """Play one story in a fresh workspace, and record it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    demo = demo_of(expert)
    with tempfile.TemporaryDirectory() as place:
        workspace = Path(place, "workspace").resolve()
        shutil.copytree(demo.workspace, workspace)
        job = perstack.run_sync(
            expert,
            demo.query,
            workspace=workspace,
            env={},
            model=ScriptedModel(STORIES[expert]),
            record=target,
        )
    if job.done is None or job.done.outcome != "completed":
        raise SystemExit(f"{expert}: {job.done}")


def main(target: Path | None) -> None:
    for expert in DEMOS:
        record(
            expert, (target or demo_of(expert).workspace.parent.parent) / expert / "cassette.jsonl"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
