"""The demos that come with the package: they play, and they are what their script says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import perstack
from perstack.ops.shipped import DEMOS, demo_of, shipped_project
from tests.behaviour.register import proves
from tests.cli.program import environment
from tests.cli.program import perstack as program

ROOT = Path(__file__).parents[2]


@proves("demos.play")
@pytest.mark.parametrize("output", ["json", "text"])
@pytest.mark.parametrize("expert", DEMOS)
def test_each_demo_plays_without_a_key(expert: str, output: str, tmp_path: Path):
    ran = program(
        *("run", expert, "--demo", "--output", output), cwd=tmp_path, env={"TMPDIR": str(tmp_path)}
    )
    assert ran.code == 0
    (place,) = tmp_path.iterdir()  # nothing is written where it was started, but its own directory
    assert ran.err == (
        "This is a demo: the model's words are recorded and no model is asked. "
        f"It works in {place}\n"
        f"See what happened: perstack log --workspace {place}\n"
    )
    (log,) = place.glob("perstack/jobs/*/log.jsonl")
    assert log.stat().st_size > 1000
    if output == "json":
        assert ran.checked()[-2]["type"] == "completeRun"
    else:
        assert ran.out.startswith(f"● {expert} query\n    {DEMOS[expert]}\n")


def test_a_demo_does_not_mind_what_the_project_calls_its_experts(tmp_path: Path):
    (tmp_path / "perstack.toml").write_text('[experts.tic-tac-toe]\ninstruction = "Sing."\n')
    env = {"TMPDIR": str(tmp_path)}
    assert program("run", "tic-tac-toe", "--demo", cwd=tmp_path, env=env).code == 0


def test_a_demo_answers_only_what_was_recorded(tmp_path: Path):
    env = {"TMPDIR": str(tmp_path)}
    ran = program("run", "tic-tac-toe", "Another", "--demo", cwd=tmp_path, env=env)
    assert (ran.code, ran.out) == (1, "")
    assert 'answers only: "Game start!"' in ran.err
    none = program("run", "pro-trainer", "--demo", cwd=tmp_path)
    assert (none.code, none.out) == (1, "")
    assert 'There is no demo of "pro-trainer". There are demos of: code-reviewer, ' in none.err


@proves("demos.as-their-script-says")
def test_the_script_makes_exactly_the_demos_that_are_shipped(tmp_path: Path):
    subprocess.run(
        [sys.executable, "scripts/record_demos.py", str(tmp_path)],
        cwd=ROOT,
        env=environment(),
        check=True,
        timeout=120,
    )
    for expert in DEMOS:
        made = (tmp_path / expert / "cassette.jsonl").read_bytes()
        assert made == demo_of(expert).cassette.read_bytes(), expert
    assert {path.name for path in tmp_path.iterdir()} == set(DEMOS)


def test_every_demo_is_of_a_shipped_expert():
    assert set(DEMOS) <= set(shipped_project().experts)


def test_a_demo_plays_from_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    job = perstack.run_sync("fitness-assistant", demo=True, env={})
    assert job.done is not None
    assert job.done.outcome == "completed"
    assert Path(job.workspace).parent == tmp_path
    assert "Plan for tomorrow" in Path(job.workspace, "fitness-log.md").read_text()
