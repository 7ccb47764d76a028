"""What the tests of the command line share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from perstack.cli.main import status_of

from .program import Ran, environment, expert

Here = Callable[..., Ran]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A project with one Expert, `worker`, who has the base skill."""
    place = tmp_path / "workspace"
    place.mkdir()
    (place / "perstack.toml").write_text(expert())
    return place


@pytest.fixture
def here(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    """The program in this process: for what does not need one of its own, and much quicker."""

    def run(*args: str, cwd: Path = workspace, env: Mapping[str, str] | None = None) -> Ran:
        told_env = environment(env)
        for name in os.environ.keys() - told_env.keys():
            monkeypatch.delenv(name)
        for name, value in told_env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        code = status_of(list(args))
        written = capsys.readouterr()
        return Ran(code, written.out, written.err)

    return run
