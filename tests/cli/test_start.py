"""`perstack start` where there is no screen to draw on."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.behaviour.register import proves
from tests.fakes.modelserver import ModelServer, Says

from .conftest import Here
from .program import command, environment, is_one_message, keys


@proves("workbench.no-terminal")
def test_without_a_terminal_it_names_the_command_that_needs_none(workspace: Path):
    done = subprocess.run(
        command("start", "worker", "Go"),
        cwd=workspace,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert is_one_message(done.stderr)
    assert "perstack run" in done.stderr


def test_as_text_it_is_what_run_prints(here: Here):
    with ModelServer([Says("Done.")]) as server:
        ran = here("start", "worker", "Go", "--output", "text", env=keys(server))
    assert ran.code == 0
    assert "Done." in ran.out


def test_as_text_it_needs_an_expert(here: Here):
    ran = here("start", "--output", "text")
    assert ran.code == 1
    assert "missing required argument 'expertKey'" in ran.err


def test_options_that_go_on_need_to_know_whose_job(here: Here):
    assert "missing required argument 'expertKey'" in here("start", "--continue").err
    assert "--continue-job" in here("start", "worker", "--resume-from", "x").err
    assert "-i requires" in here("start", "worker", "--continue", "-i").err
