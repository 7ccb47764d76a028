"""The runtime "sandbox" as a user has it: what runs, what is refused and said, and what is left of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from perstack.definition import DEFAULT_BASE
from perstack.sandbox import Layers, Place, Policy, layers_of, policy_for
from perstack.sandbox.held import held, is_placeholder, look_around, pinned
from perstack.sandbox.launch import Launch
from perstack.sandbox.native import Standing, bwrap_args
from tests.behaviour.register import proves
from tests.cli.program import (
    LONG_S,
    WITHOUT_WALLS,
    Ran,
    begun,
    expert,
    is_one_message,
    keys,
    perstack,
)
from tests.fakes import mcp_listed
from tests.fakes.modelserver import Calls, ModelServer, Says

RUN = ("run", "worker", "Go", "--job-id", "job")
NAMED = """
[experts.worker.skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
pick = ["exec", "attemptCompletion"]
"""
NO_EXEC = NAMED.replace('pick = ["exec", "attemptCompletion"]', 'omit = ["exec"]')


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "workspace"
    place.mkdir()
    (place / "perstack.toml").write_text(expert())
    return place


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A PATH with a shell and no bubblewrap."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in ("sh", "true"):
        found = shutil.which(name)
        assert found
        (place / name).symlink_to(found)
    return str(place)


def runs(*words: str, timeout: int = 60_000) -> Calls:
    args: dict[str, Any] = {"command": words[0], "args": list(words[1:]), "env": {}, "cwd": "."}
    return Calls([("exec", {**args, "stdout": True, "stderr": True, "timeout": timeout})])


def ran(
    workspace: Path, *words: str, more: tuple[str, ...] = (), env: dict[str, str] | None = None
) -> tuple[Ran, str]:
    """A run whose model executes `words`, and what came back to the model."""
    with ModelServer([runs(*words), Says("done")]) as server:
        done = perstack(*RUN, *more, cwd=workspace, env={**keys(server), **(env or {})})
        results = server.requests[-1].messages[-1].results if len(server.requests) > 1 else ()
        return done, "".join(results)


def exec_policy(workspace: Path, env: Mapping[str, str] | None = None) -> Policy:
    """What the programs of `exec` get. env: variables there are outside; None: `PATH` alone."""
    own = {"PATH": os.environ["PATH"]} if env is None else env
    return policy_for("x", DEFAULT_BASE, own, Place(workspace=str(workspace)), serves=False)


def launched(launch: Launch, workspace: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        launch.argv,
        env=launch.env,
        pass_fds=launch.fds,
        cwd=workspace,
        capture_output=True,
        check=False,
        timeout=LONG_S,
    )


# What runs --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("walls")
def test_exec_runs_behind_walls_and_nothing_is_said(workspace: Path):
    script = "id -u; pwd; env; cat .env perstack/jobs/*/log.jsonl; ls -a"
    (workspace / ".env").write_text("SECRET=mine\n")
    done, told = ran(workspace, "sh", "-c", f"{script}; true")
    assert (done.code, done.err) == (0, "")
    assert "sk-test-1234" not in told
    assert "SECRET" not in told
    lines = json.loads(told)["output"].splitlines()
    assert lines[:2] == ["1000", str(workspace)]
    assert "perstack" in lines


@pytest.mark.usefixtures("walls")
def test_a_program_that_lies_in_a_directory_of_its_users_runs_and_its_neighbours_are_not_shown(
    workspace: Path, tmp_path: Path
):
    """The installer of uv puts `uvx` there."""
    own = tmp_path / "home" / ".local" / "bin"
    own.mkdir(parents=True)
    (own / "neighbour").write_text("a secret")
    (own / "uvx").write_text(
        '#!/bin/sh\necho "the one in $(dirname "$0"), beside $(ls "$(dirname "$0")")"\n'
    )
    (own / "uvx").chmod(0o755)
    env = {"HOME": str(tmp_path / "home"), "PATH": f"{own}:{os.environ['PATH']}"}
    done, told = ran(workspace, "uvx", env=env)
    assert (done.code, done.err) == (0, "")
    assert json.loads(told)["output"].strip() == f"the one in {own}, beside uvx"


@pytest.mark.usefixtures("walls")
def test_no_variable_of_a_call_is_heard_outside(workspace: Path):
    """A loader, a shell or a C library outside would obey some of them."""
    chosen = {"SHELLOPTS": "xtrace", "PS4": "$(touch pwned)", "LOCPATH": ".", "SECRET": "s3cret"}
    policy = exec_policy(workspace)
    with ExitStack() as stack:
        standing = Standing(policy, layers_of(), stack)
        with standing.wrap(("env",), chosen, str(workspace)) as launch:
            assert launch.env == {}
            assert "s3cret" not in " ".join(launch.argv)
            done = launched(launch, workspace)
    assert done.returncode == 0
    inside = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert chosen.items() <= inside.items()
    assert not (workspace / "pwned").exists()


@pytest.mark.usefixtures("walls")
def test_the_workspace_is_as_it_was(workspace: Path):
    ran(workspace, "sh", "-c", "test -d .git && test -d .vscode && touch made")
    assert sorted(os.listdir(workspace)) == ["made", "perstack", "perstack.toml"]


@pytest.mark.usefixtures("walls")
def test_git_works_but_for_what_runs_later(workspace: Path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@y")
    subprocess.run([*git, "init", "-q"], cwd=workspace, check=True)
    script = (
        "git -c user.name=x -c user.email=x@y commit -q --allow-empty -m made && git log --format=%s; "
        "git config core.fsmonitor evil; git init -q . ; echo x > .git/hooks/pre-commit; true"
    )
    _, told = ran(workspace, "sh", "-c", script)
    assert json.loads(told)["output"].startswith("made\n")
    assert "evil" not in (workspace / ".git/config").read_text()
    assert not (workspace / ".git/hooks/pre-commit").exists()
    assert not (workspace / ".git/commondir").exists()


@pytest.mark.usefixtures("walls")
def test_a_server_elsewhere_must_be_let_in(workspace: Path, tmp_path: Path):
    script = shutil.copy(mcp_listed.__file__, tmp_path / "server.py")
    (workspace / "offer").mkdir()
    (workspace / "offer" / "tools.json").write_text(
        '[{"name": "find", "inputSchema": {"type": "object"}}]'
    )
    skill = (
        f'[experts.worker.skills.listed]\ntype = "mcpStdioSkill"\ncommand = "python3"\n'
        f'args = ["{script}", "offer"]\n'
    )
    (workspace / "perstack.toml").write_text(expert(skills=skill))
    test = ("skill", "test", "worker", "listed")
    refused = perstack(*test, cwd=workspace)
    assert refused.code == 1
    assert f"--read {script}" in refused.out + refused.err
    let_in = perstack(*test, "--read", str(script), cwd=workspace)
    assert (let_in.code, let_in.err) == (0, "")
    assert let_in.out.startswith("listed: 1 tool(s)")


# What is refused, and said ----------------------------------------------------------------------------------


@proves("walls.fail-closed")
def test_without_bubblewrap_exec_is_refused_and_the_model_is_told(workspace: Path, bare: str):
    done, told = ran(workspace, "true", env={"PATH": bare})
    assert done.code == 0
    assert done.err.startswith("warning: No program can be run")
    for text in (done.err, told):
        assert "apt install bubblewrap" in text
        assert "--runtime local" in text
    assert "error" in json.loads(told)


@pytest.mark.parametrize(
    ("skills", "more"),
    [
        (NAMED, ()),
        ('[experts.worker.skills.x]\ntype = "mcpStdioSkill"\ncommand = "sh"\nargs = ["x"]\n', ()),
        ("", ("--runtime", "sandbox")),
    ],
    ids=["exec by name", "a server", "the runtime by name"],
)
@proves("walls.fail-closed", "cli.no-weaker-runtime")
def test_without_bubblewrap_what_needs_walls_is_not_run(
    skills: str, more: tuple[str, ...], workspace: Path, bare: str
):
    (workspace / "perstack.toml").write_text(expert(skills=skills))
    with ModelServer([Says("done")]) as server:
        done = perstack(*RUN, *more, cwd=workspace, env={**keys(server), "PATH": bare})
        assert server.requests == []
    assert done.code == 1
    assert is_one_message(done.err)
    assert "bubblewrap" in done.err
    assert not (workspace / "perstack").exists()


def test_without_bubblewrap_what_starts_no_program_runs(workspace: Path, bare: str):
    (workspace / "perstack.toml").write_text(expert(skills=NO_EXEC))
    with ModelServer([Says("done")]) as server:
        done = perstack(*RUN, cwd=workspace, env={**keys(server), "PATH": bare})
    assert (done.code, done.err) == (0, "")
    env = {"PATH": bare, "TMPDIR": str(workspace.parent)}
    demo = perstack("run", "fitness-assistant", "--demo", cwd=workspace, env=env)
    assert demo.code == 0
    assert "bubblewrap" not in demo.err.replace(str(workspace.parent), "")


def test_a_system_that_refuses_namespaces_is_told_apart(workspace: Path, bare: str):
    Path(bare, "bwrap").write_text(
        "#!/bin/sh\necho 'No permissions to create a new namespace' >&2\nexit 1\n"
    )
    Path(bare, "bwrap").chmod(0o755)
    _, told = ran(workspace, "true", env={"PATH": bare})
    (workspace / "perstack.toml").write_text(expert(skills=NAMED))
    done, _ = ran(workspace, "true", env={"PATH": bare})
    assert done.code == 1
    for text in (told, done.err):
        assert "No permissions to create a new namespace" in text
        assert "user namespaces" in text


def test_without_walls_that_is_said_once(workspace: Path):
    done, told = ran(workspace, "true", more=("--runtime", "local"))
    assert (done.code, done.err) == (0, WITHOUT_WALLS)
    assert "error" not in json.loads(told)


@pytest.mark.parametrize("home", ["{0}", "{0}/me"])
def test_a_workspace_that_holds_the_home_directory_is_refused(home: str, workspace: Path):
    done, _ = ran(workspace, "true", env={"HOME": home.format(workspace)})
    assert done.code == 1
    assert is_one_message(done.err)
    assert "--workspace" in done.err


def test_the_home_directory_cannot_be_let_read(workspace: Path, tmp_path: Path):
    done, _ = ran(
        workspace, "true", more=("--read", str(tmp_path)), env={"HOME": str(tmp_path / "me")}
    )
    assert done.code == 1
    assert is_one_message(done.err)
    assert "--read" in done.err


def test_a_history_behind_a_link_is_refused(workspace: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (workspace / "perstack").symlink_to(tmp_path / "elsewhere")
    done, _ = ran(workspace, "true")
    assert done.code == 1
    assert "--store" in done.err


@pytest.mark.usefixtures("walls")
@proves("walls.shown-first")
def test_what_would_run_is_shown_and_nothing_is_done(workspace: Path):
    shown = perstack("show", "worker", "--json", cwd=workspace)
    key = {"ANTHROPIC_API_KEY": "sk-test-1234"}
    dry = perstack(*RUN, "--dry-run", cwd=workspace, env=key)
    text = perstack(*RUN, "--dry-run", "--output", "text", cwd=workspace)  # needs no key
    assert (dry.code, text.code) == (0, 0)
    (policy,) = json.loads(dry.out)["walls"]
    assert json.loads(shown.out)["walls"] == [policy]
    assert (policy["skill"], policy["serves"], policy["domains"]) == ("@perstack/base", False, [])
    assert {"inside": f"{workspace}/perstack", "how": "hide"}.items() <= next(
        mount for mount in policy["mounts"] if mount["inside"] == f"{workspace}/perstack"
    ).items()
    assert "@perstack/base (each program of exec)" in text.out
    assert "sk-test-1234" not in shown.out + dry.out + text.out
    assert not (workspace / "perstack").exists()


# What is left -----------------------------------------------------------------------------------------------


def until(happened: Callable[[], bool]) -> None:
    """Looks again until it has; a machine with much else to do takes its time."""
    end = time.monotonic() + LONG_S
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(mark: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if mark in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found if process.pid != os.getpid()]


@pytest.mark.usefixtures("walls")
@proves("walls.nothing-stays")
def test_a_killed_runtime_takes_along_what_moved_to_another_session(workspace: Path):
    mark = f"left-by-{os.getpid()}-{time.monotonic_ns()}"
    script = (
        "import os, sys, time, signal\n"
        "for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    open('ready', 'w').close()\n"
        "time.sleep(3600)\n"
    )
    with ModelServer([runs("python3", "-c", script, mark, timeout=0), Says("done")]) as server:
        process = begun(*RUN, cwd=workspace, env=keys(server))
        until((workspace / "ready").exists)
        assert len(alive(mark)) > 2
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LONG_S)
        until(lambda: not alive(mark))
    assert is_placeholder(f"{workspace}/.vscode")
    ran(workspace, "true", more=("--continue-job", "job"))
    with held(exec_policy(workspace, os.environ)):
        pass
    assert not (workspace / ".vscode").exists()


@pytest.mark.usefixtures("walls")
def test_a_command_that_takes_too_long_takes_its_children_along(workspace: Path):
    mark = f"slow-{os.getpid()}-{time.monotonic_ns()}"
    script = "import os, time\nif os.fork() == 0: os.setsid()\ntime.sleep(3600)\n"
    with ModelServer([runs("python3", "-c", script, mark, timeout=1000), Says("done")]) as server:
        assert perstack(*RUN, cwd=workspace, env=keys(server)).code == 0
        assert "timed out" in "".join(server.requests[-1].messages[-1].results)
    assert alive(mark) == []


@proves("walls.kept-files")
def test_what_is_mounted_and_what_it_is_compared_with_come_from_one_look(workspace: Path):
    (workspace / ".claude").mkdir()
    (workspace / ".cursor").symlink_to(".claude")
    policy = exec_policy(workspace, {})
    seen = look_around(policy)
    (workspace / ".claude").rmdir()  # whoever works in the workspace now swaps them
    (workspace / ".claude").symlink_to("/etc")
    (workspace / ".cursor").unlink()
    (workspace / ".cursor").mkdir()
    args = bwrap_args(
        policy, Layers(bwrap="bwrap", version=(0, 8), machine="x86_64", landlock=0), seen
    )
    held_to = [line.partition(" ")[2] for line in pinned(policy, seen).splitlines()]
    own = {at for at in args if at.startswith(f"{workspace}/")}
    assert own == set(held_to) == {f"{workspace}/.claude", f"{workspace}/perstack.toml"}


@pytest.mark.usefixtures("walls")
@pytest.mark.parametrize("name", [".bashrc", ".git/config"])
@proves("walls.kept-files")
def test_nothing_runs_if_a_file_is_replaced_while_walls_are_built(
    name: str, workspace: Path, tmp_path: Path
):
    (tmp_path / "secret").write_text("secret")
    (workspace / ".git").mkdir()
    (workspace / name).write_text("mine")
    policy = exec_policy(workspace)
    with ExitStack() as stack:
        standing = Standing(policy, layers_of(), stack)
        for swapped in (False, True):
            with standing.wrap(("cat", name), {}, str(workspace)) as launch:
                if swapped:
                    (workspace / name).unlink()
                    (workspace / name).symlink_to(tmp_path / "secret")
                done = launched(launch, workspace)
            assert b"secret" not in done.stdout
            assert (done.returncode == 0) == (not swapped)


def test_a_program_of_the_workspace_is_not_taken_for_bubblewrap(workspace: Path, bare: str):
    own = workspace / "bin"
    own.mkdir()
    (own / "bwrap").write_text('#!/bin/sh\ntouch "$PWD/taken"\n')
    (own / "bwrap").chmod(0o755)
    done, _ = ran(workspace, "true", env={"PATH": f"{own}:{bare}"})
    assert not (workspace / "taken").exists()
    assert "bubblewrap" in done.err
    assert sys.platform == "linux" or done.code == 0


def test_what_a_link_in_the_workspace_leads_to_is_not_shown(workspace: Path, tmp_path: Path):
    program = tmp_path / "private" / "bin" / "tool"
    program.parent.mkdir(parents=True)
    (tmp_path / "private" / "lib").mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    own = workspace / "bin"
    own.mkdir()
    (own / "node").symlink_to(program)
    policy = exec_policy(workspace, {"PATH": f"{own}:/usr/bin"})
    assert not policy.shows(str(program))
    assert str(own) in policy.variables["PATH"].split(":")  # inside it may be used
    program.rename(program.with_name("node"))
    policy = exec_policy(workspace, {"PATH": str(program.parent)})
    assert policy.shows(str(program.with_name("node")))


def test_a_program_of_the_workspace_is_not_taken_for_docker(workspace: Path, bare: str):
    own = workspace / "bin"
    own.mkdir()
    (own / "docker").write_text('#!/bin/sh\n: > "$0.taken"\n')
    (own / "docker").chmod(0o755)
    with ModelServer([Says("done")]) as server:
        env = {**keys(server), "PATH": f"{own}:{bare}"}
        done = perstack(*RUN, "--runtime", "docker", cwd=workspace, env=env)
    assert done.code != 0
    assert "not installed" in done.err
    assert os.listdir(own) == ["docker"]
