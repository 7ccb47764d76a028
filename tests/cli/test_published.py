"""Published Experts from the command line: exit codes, and what is said."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import anyio
import pytest

from tests.behaviour.register import proves
from tests.fakes.modelserver import ModelServer, Says
from tests.registry.house import House, open_house, request

from .program import Ran, environment, expert, is_one_message, keys, perstack


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A registry with @acme/branch, which needs @acme/leaf."""
    (tmp_path / "registry").mkdir()
    with open_house(tmp_path / "registry", "acme") as found:
        leaf, branch = request("@acme/leaf"), request("@acme/branch", "1.0.0", "@acme/leaf@^1")
        anyio.run(found.publish, leaf, branch)
        yield found


@pytest.fixture
def env(house: House, tmp_path: Path) -> dict[str, str]:
    return {
        "PERSTACK_OFFLINE": "",
        "PERSTACK_API_BASE_URL": house.url,
        "PERSTACK_CACHE_DIR": str(tmp_path / "cache"),
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """`lead` delegates to @acme/branch."""
    place = tmp_path / "project"
    place.mkdir()
    (place / "perstack.toml").write_text(expert("lead", more='delegates = ["@acme/branch@^1"]'))
    return place


def run_on(place: Path, env: Mapping[str, str], *args: str) -> Ran:
    with ModelServer([Says("Done.")]) as server:
        return perstack("run", *args, cwd=place, env={**env, **keys(server)})


@proves("registry.without-a-project")
def test_a_published_expert_runs_in_an_empty_directory(env: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "empty"
    place.mkdir()
    ran = run_on(place, env, "@acme/branch@^1", "Go")
    assert (ran.code, ran.err) == (0, "")
    assert {event.get("expertKey") for event in ran.checked()} >= {"@acme/branch@1.0.0"}
    more = run_on(place, env, "@acme/branch", "More", "--continue")
    assert more.code == 0
    assert more.job == ran.job


def test_an_installation_is_used_without_the_registry(
    house: House, env: dict[str, str], project: Path
) -> None:
    installed = perstack("install", "--vendor", cwd=project, env=env)
    assert (installed.code, installed.err) == (0, "")
    assert "Vendored 2 document(s)" in installed.out
    house.forget()
    assert run_on(project, env, "lead", "Go", "--frozen").code == 0
    elsewhere = {**env, "PERSTACK_CACHE_DIR": str(project / "no-cache")}
    assert run_on(project, elsewhere, "lead", "Go", "--frozen", "--offline").code == 0
    shown = perstack("show", "lead", "--offline", cwd=project, env=elsewhere)
    assert "@acme/branch@1.0.0" in shown.out
    assert house.asked == []


@proves("registry.as-published")
def test_what_was_changed_ends_with_its_own_exit_code(env: dict[str, str], project: Path) -> None:
    perstack("install", "--no-tools", cwd=project, env=env)
    lock = project / "perstack.lock"
    text = lock.read_text()
    lock.write_text(text.replace("Be @acme/leaf 1.0.0.", "Obey."))
    for command in (("run", "lead", "Go"), ("show", "lead"), ("install",)):
        ran = perstack(*command, cwd=project, env=env)
        assert (ran.code, ran.out.replace("Resolving experts...\n", "")) == (4, "")
        assert is_one_message(ran.err)
    lock.write_text(text)
    documents = Path(env["PERSTACK_CACHE_DIR"]) / "v1" / "documents"
    for path in documents.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"Be ", b"Do "))
    ran = perstack("run", "lead", "Go", cwd=project, env=env)
    assert ran.code == 4
    assert "was changed" in ran.err


def test_a_lock_that_lacks_a_delegate_is_out_of_date(env: dict[str, str], project: Path) -> None:
    perstack("install", "--no-tools", cwd=project, env=env)
    file = project / "perstack.toml"
    file.write_text(file.read_text().replace('@^1"]', '@^1", "@acme/leaf"]'))
    assert perstack("install", "--frozen", "--no-tools", cwd=project, env=env).code == 5
    assert perstack("run", "lead", "Go", "--frozen", cwd=project, env=env).code == 5


def test_a_url_that_is_none_is_refused(env: dict[str, str], project: Path) -> None:
    ran = perstack("install", "--registry", "http://registry.example", cwd=project, env=env)
    assert ran.code == 1
    assert "--registry" in ran.err
    assert is_one_message(ran.err)


def test_what_is_locked_is_used_without_loading_what_asks_registries(
    env: dict[str, str], project: Path
) -> None:
    assert perstack("install", "--no-tools", cwd=project, env=env).code == 0
    code = (
        "import sys; from perstack.cli.main import status_of; status = status_of(['show', 'lead']);"
        "print(*sys.modules, file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env=environment(env),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "@acme/branch@1.0.0" in done.stdout
    loaded = set(done.stderr.split())
    assert "perstack.registry" in loaded
    assert loaded & {"httpx2", "httpx", "cryptography", "mcp"} == set()


def test_vendoring_writes_so_frozen_forbids_it(env: dict[str, str], project: Path) -> None:
    ran = perstack("install", "--vendor", "--frozen", cwd=project, env=env)
    assert ran.code == 1
    assert not (project / "perstack.lock").exists()
