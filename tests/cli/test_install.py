"""`perstack install` and a run that keeps to the lock, as processes: lines, exit codes, events."""

from __future__ import annotations

import shutil
import socket
import tomllib
from pathlib import Path

import pytest

from tests.fakes.modelserver import Calls, ModelServer, Says
from tests.lock.hashes import rehashed
from tests.ops.installing import FIND, SEND, Project

from .conftest import Here
from .program import Ran, expert, is_one_message, keys, perstack

RUN = ("run", "lead", "Go")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def run_against(project: Project, *turns: Calls | Says, options: tuple[str, ...] = ()) -> Ran:
    with ModelServer(turns) as server:
        return perstack(*RUN, *options, cwd=project.place, env=keys(server))


def test_the_lines_of_an_installation(project: Project) -> None:
    ran = perstack("install", cwd=project.place)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "Resolving experts...",
        "Found 2 expert(s)",
        "Collecting tool definitions...",
        "  helper: Found 19 tool(s)",
        "  lead: Found 19 tool(s)",
        f"Generated {project.path}",
    ]
    assert tomllib.loads(project.path.read_text())["lockFormat"] == 2
    again = perstack("install", cwd=project.place)
    assert again.code == 0
    assert again.out.splitlines()[-1] == f"Up to date: {project.path}"


def test_the_lock_lies_beside_the_named_file(project: Project, tmp_path: Path) -> None:
    config = project.place / "perstack.toml"
    ran = perstack("install", "--config", str(config), "--no-tools", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert project.path.exists()


def test_variables_come_from_named_files(here: Here, workspace: Path) -> None:
    base = '[experts.worker.skills."@perstack/base"]\ntype = "mcpStdioSkill"\ncommand = "npx"\n'
    needs = f'{base}packageName = "@perstack/base"\nrequiredEnv = ["TOKEN"]'
    (workspace / "perstack.toml").write_text(expert(skills=needs))
    ran = here("install")
    assert ran.code == 1
    assert is_one_message(ran.err)
    assert "TOKEN" in ran.err
    (workspace / "my.env").write_text("TOKEN=t")
    assert here("install", "--env-path", "my.env").code == 0


def test_exit_codes_tell_what_is_wrong_with_a_lock(here: Here, workspace: Path) -> None:
    lock = workspace / "perstack.lock"
    missing = here("install", "--frozen")
    assert (missing.code, is_one_message(missing.err)) == (5, True)
    assert here("install").code == 0
    assert here("install", "--frozen").code == 0
    text = lock.read_text()
    lock.write_text(text.replace("Do it.", "Do all."))
    for args in (("install", "--frozen"), ("run", "worker", "Go"), ("show", "worker")):
        ran = here(*args)
        assert (ran.code, is_one_message(ran.err)) == (4, True)
        assert str(lock) in ran.err
    lock.write_text(rehashed(text.replace("lockFormat = 2", "lockFormat = 3")))
    newer = here("run", "worker", "Go")
    assert newer.code == 1
    assert "newer Perstack" in newer.err
    lock.write_text("nonsense")
    assert here("run", "worker", "Go").code == 4
    mended = here("install")
    assert mended.code == 0
    assert "warning: " in mended.err
    assert lock.read_text().splitlines()[5:] == text.splitlines()[5:]
    (workspace / "perstack.toml").write_text(expert(instruction="Do it well."))
    stale = here("run", "worker", "Go", "--frozen")
    assert (stale.code, is_one_message(stale.err)) == (5, True)


def test_without_a_project_there_is_nothing_to_install(here: Here, tmp_path: Path) -> None:
    ran = here("install", cwd=tmp_path)
    assert ran.code == 1
    assert "perstack.toml not found" in ran.err


def test_a_run_warns_of_a_lock_that_is_out_of_date(project: Project) -> None:
    perstack("install", cwd=project.place)
    project.write(instruction="Lead well.")
    ran = run_against(project, Says("Done."))
    assert ran.code == 0
    assert "warning: " in ran.err
    assert '"lead" is defined otherwise now' in ran.err
    ran.checked()


def test_a_run_warns_of_a_server_with_other_tools(project: Project) -> None:
    perstack("install", cwd=project.place)
    project.offer({**FIND, "description": "Finds\x1b[2J it all."}, SEND)
    ran = run_against(project, Calls([("find", {"query": "x"})]), Says("Done."))
    assert ran.code == 0
    assert 'warning: Skill "listed" has other tools than perstack.lock says' in ran.err
    assert '  - find: description: "Finds things." -> "Finds' in ran.err
    assert "\x1b" not in ran.err
    ran.checked()
    told = [event["message"] for event in ran.of("skillStderr")]
    assert any("other tools than perstack.lock says" in text for text in told)


def test_a_frozen_run_ends_at_a_server_with_other_tools(project: Project) -> None:
    perstack("install", cwd=project.place)
    project.offer(FIND)
    ran = run_against(project, Calls([("find", {"query": "x"})]), options=("--frozen",))
    assert ran.code == 1
    assert 'error: Skill "listed" has other tools than perstack.lock says' in ran.err
    assert "  - send: removed" in ran.err
    assert project.calls == 0
    ran.checked()
    assert "completeRun" not in [event["type"] for event in ran.events]


def reachable(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.e2e
def test_a_server_from_npm_is_locked_and_used(tmp_path: Path) -> None:
    if shutil.which("npx") is None or not reachable("registry.npmjs.org"):
        pytest.skip("needs npx, and the npm registry")
    skill = '[experts.lead.skills.every]\ntype = "mcpStdioSkill"\ncommand = "npx"\n'
    skill += 'packageName = "@modelcontextprotocol/server-everything"'
    (tmp_path / "perstack.toml").write_text(expert("lead", skills=skill))
    home = {"HOME": str(Path.home())}
    installed = perstack("install", cwd=tmp_path, env=home)
    assert (installed.code, installed.err) == (0, "")
    assert perstack("install", "--frozen", cwd=tmp_path, env=home).code == 0
    with ModelServer([Calls([("echo", {"message": "hello"})]), Says("Done.")]) as server:
        ran = perstack(*RUN, "--frozen", cwd=tmp_path, env={**home, **keys(server)})
    assert ran.code == 0
    kinds = [event["type"] for event in ran.checked()]
    assert kinds.index("startGeneration") < kinds.index("skillStarting") < len(kinds)
    assert "Echo: hello" in ran.out
