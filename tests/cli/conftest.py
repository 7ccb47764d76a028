"""What the tests of the command line share."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pytest

from perstack.cli.main import status_of
from tests.fakes.registry import RunningRegistry, running_registry

from .program import Ran, environment, expert
from .registries import Author

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


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningRegistry]:
    """A registry of this module alone."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def scope(request: pytest.FixtureRequest) -> str:
    """An organization of this test alone."""
    return f"org{abs(hash(request.node.name)) % 10**8}"


@pytest.fixture
def author(registry: RunningRegistry, scope: str, tmp_path: Path) -> Author:
    """Who has a project and the key of `scope`, and has published nothing."""
    return Author(tmp_path / "author", registry.env(scope))
