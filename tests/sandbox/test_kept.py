"""What would run unasked later, neither programs nor file tools can write. Judged by what is left."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from perstack._kept import DEFINITIONS, HELD, KEPT, LOCK, Place, is_below, kept_in, own_places
from perstack.definition import DEFAULT_BASE, StdioSkill
from perstack.errors import SandboxError, ToolError
from perstack.job import Text
from perstack.ops.history.jobs import STORAGE_URL_VARIABLE
from perstack.ops.project import Flags, settle
from perstack.ops.walls.build import open_walls
from perstack.ops.walls.needs import Need
from perstack.sandbox import NativeWalls, layers_of, policy_for, trusted_path
from perstack.sandbox.native import Standing
from perstack.skills import Skill, open_base
from perstack.skills.base.paths import Workspace
from tests.behaviour.register import proves
from tests.cli.program import LONG_S, expert, keys, perstack
from tests.fakes.modelserver import Calls, ModelServer, Says

FOLDERS = (".claude", ".codex", ".git/hooks", ".git/info", ".husky", ".idea", ".vscode", ".zed")
SECRET = "pristine-otter-4711"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    root.mkdir()
    return root


def place_in(workspace: Path, **more: Any) -> Place:
    root = str(workspace)
    usual: dict[str, Any] = {
        "hidden": (f"{root}/perstack",),
        "keys": (f"{root}/.env", f"{root}/.env.local"),
    }
    return Place(workspace=root, **{**usual, **more})


def furnished(workspace: Path) -> None:
    """All that is kept is there."""
    for name in (*KEPT, *HELD, DEFINITIONS, LOCK, ".env", ".env.local"):
        place = workspace / name
        if name in FOLDERS:
            place.mkdir(parents=True, exist_ok=True)
            (place / "one").write_text(f"of {name}\n")
        elif name not in (".git", "perstack"):
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.write_text(f"{name} is the user's\n")


def state_of(root: Path) -> dict[str, bytes | None]:
    """All that is below, files with their bytes."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


def base_over(place: Place, attack: Any) -> None:
    """Lets `attack` use the base skill behind walls."""

    async def go() -> None:
        walls = NativeWalls(place, {"PATH": os.environ["PATH"]})
        with anyio.fail_after(LONG_S):
            async with (
                walls.around_programs(DEFAULT_BASE, lambda _: None) as wrap,
                open_base(Path(place.workspace), os.environ, wrap=wrap, place=walls.place) as base,
            ):
                await attack(base)

    anyio.run(go)


async def told(base: Skill, tool: str, **args: Any) -> dict[str, Any]:
    try:
        (part,) = (await base.use(tool, args)).parts
    except ToolError as error:
        return {"error": str(error)}
    assert isinstance(part, Text)
    return json.loads(part.text)


async def exec_told(base: Skill, *words: str) -> dict[str, Any]:
    args: dict[str, Any] = {"command": words[0], "args": list(words[1:]), "env": {}, "cwd": ""}
    return await told(base, "exec", **args, stdout=True, stderr=True)


def spellings(name: str) -> Generator[str]:
    yield name
    yield f"sub/../{name}"
    yield f"around/{name}"  # a link back to the workspace
    yield name.upper()


async def with_file_tools(base: Skill, names: list[str]) -> None:
    """All that file tools could do to make something of the attacker's stand at `names`, or to take it away."""
    for name in names:
        for path in spellings(name):
            await told(base, "writeTextFile", path=path, text="evil")
            await told(base, "appendTextFile", path=path, text="evil")
            await told(base, "editTextFile", path=path, oldText="user", newText="evil")
            await told(base, "createDirectory", path=path)
            for within in ("one", "evil", "config", "hgrc"):
                await told(base, "writeTextFile", path=f"{path}/{within}", text="evil")
            for bait in ("bait", "bait-folder"):
                await told(base, "moveFile", source=bait, destination=path)
            await told(base, "moveFile", source=path, destination="stolen")
            await told(base, "moveFile", source="stolen", destination="bait")
            await told(base, "deleteFile", path=path)
            await told(base, "deleteDirectory", path=path, recursive=True)


def baited(workspace: Path) -> None:
    (workspace / "sub").mkdir()
    (workspace / "around").symlink_to(".")
    (workspace / "bait").write_text("evil")
    (workspace / "bait-folder").mkdir()
    (workspace / "bait-folder" / "hgrc").write_text("evil")


def kept_names(workspace: Path) -> list[str]:
    return [path.removeprefix(f"{workspace}/") for path in kept_in(place_in(workspace))]


# There --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("walls")
@proves("walls.kept-files", "walls.one-rule-for-all")
def test_file_tools_change_nothing_that_is_kept(workspace: Path):
    furnished(workspace)
    baited(workspace)
    before = state_of(workspace)

    async def attack(base: Skill) -> None:
        await with_file_tools(base, kept_names(workspace))

    base_over(place_in(workspace), attack)
    after = state_of(workspace)
    assert {name: after.get(name) for name in before} == before
    made = {name for name in after if name not in before}
    # In what only holds something kept they work as anywhere.
    assert {name.split("/")[0].lower() for name in made} <= {".git", ".hg", ".jj"}
    closed = [
        name
        for path, kept in kept_in(place_in(workspace)).items()
        if kept.how != "open"
        for name in [path.removeprefix(f"{workspace}/")]
    ]
    assert not any(is_below(name.lower(), each) for name in made for each in closed)


@pytest.mark.usefixtures("walls")
@proves("walls.kept-files", "walls.one-rule-for-all")
def test_programs_change_nothing_that_is_kept(workspace: Path):
    furnished(workspace)
    before = state_of(workspace)
    script = "; ".join(
        f"echo evil > {path}; echo evil > {path}/evil; mv {path} stolen; rm -rf {path}; mv bait {path}"
        for path in map(shlex.quote, kept_names(workspace))
    )

    async def attack(base: Skill) -> None:
        await exec_told(base, "sh", "-c", script)

    base_over(place_in(workspace), attack)
    after = state_of(workspace)
    assert {name: after.get(name) for name in before} == before
    copy = "stolen"  # what cannot be moved is copied, as all that can be read
    assert {name for name in after if name not in before} <= {
        copy,
        *(f"{folder}/evil" for folder in (".git", ".hg", ".jj", ".jj/repo")),
    }


# Not there ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("walls")
@proves("walls.one-rule-for-all")
def test_file_tools_bring_nothing_into_being_that_is_kept(workspace: Path):
    baited(workspace)

    async def attack(base: Skill) -> None:
        await with_file_tools(base, kept_names(workspace))

    base_over(place_in(workspace), attack)
    for path, kept in kept_in(place_in(workspace)).items():
        assert not os.path.lexists(path) or (kept.how == "open" and not kept.held), path


@pytest.mark.usefixtures("walls")
@proves("walls.next-run")
def test_programs_bring_nothing_into_being_that_the_next_run_reads(workspace: Path):
    (workspace / "start").mkdir()
    place = place_in(workspace, starts=(f"{workspace}/start",))
    names = (DEFINITIONS, ".env", ".env.local", f"start/{DEFINITIONS}", ".git", ".vscode")
    script = "; ".join(
        f"echo evil > {name}; mkdir {name}; echo evil > {name}/config; rm -rf {name}; rmdir {name}; "
        f"mkdir made; mv made {name}; ln -sfn /etc {name}; git init {name}"
        for name in names
    )

    async def attack(base: Skill) -> None:
        for _ in range(2):
            await exec_told(base, "sh", "-c", f"{script}; touch works")

    base_over(place, attack)
    assert (workspace / "works").exists()
    assert [name for name in names if os.path.lexists(workspace / name)] == []


@pytest.mark.usefixtures("walls")
@proves("walls.next-run")
def test_definitions_can_be_written_by_a_run_that_is_about_them(workspace: Path):
    (workspace / DEFINITIONS).write_text("# mine\n")

    async def write(base: Skill) -> None:
        done = await told(base, "writeTextFile", path=DEFINITIONS, text="# better\n")
        assert "error" not in done

    base_over(place_in(workspace, drafts=True), write)
    assert (workspace / DEFINITIONS).read_text() == "# better\n"


@pytest.mark.usefixtures("walls")
@proves("walls.kept-files")
def test_a_repository_that_the_user_makes_meanwhile_is_kept_as_well(workspace: Path):
    policy = policy_for(
        "x", DEFAULT_BASE, {"PATH": os.environ["PATH"]}, place_in(workspace), serves=False
    )
    evil = "for name in commondir hooks/x info/x config; do echo evil > .git/$name; done; touch ran"
    with ExitStack() as stack:
        standing = Standing(policy, layers_of(), stack)
        for command in ("true", evil):
            with standing.wrap(("sh", "-c", command), {}, str(workspace)) as launch:
                done = subprocess.run(
                    launch.argv,
                    env=launch.env,
                    pass_fds=launch.fds,
                    cwd=workspace,
                    capture_output=True,
                    check=False,
                    timeout=LONG_S,
                )
            if command == "true":
                assert done.returncode == 0
                (workspace / ".git" / "config").write_text("[core]\n")
                (workspace / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    assert (workspace / "ran").exists()
    assert state_of(workspace / ".git") == {
        "HEAD": b"ref: refs/heads/main\n",
        "config": b"[core]\n",
    }


@pytest.mark.usefixtures("walls")
def test_who_may_not_make_a_repository_is_told_why(workspace: Path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    async def attempt(base: Skill) -> None:
        top = await exec_told(base, "git", "init")
        assert "perstack: .git is not an Expert's" in top["error"]
        below = await exec_told(base, "git", "init", "below")
        assert "error" not in below

    base_over(place_in(workspace), attempt)
    assert sorted(os.listdir(workspace)) == ["below"]


# The runtime's own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", own_places())
@proves("walls.one-rule-for-all")
def test_what_the_runtime_is_made_of_is_not_for_file_tools(own: str):
    with Workspace(Path("/")) as opened:
        for path in (own, f"{own}/evil.py"):
            with pytest.raises(ToolError), opened.at(path, "change"):
                pass
            with opened.at(path, "look") as place:
                assert place.path == path


# As a user has it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["sandbox", "local"])
@proves("walls.one-rule-for-all", "walls.next-run")
def test_file_tools_are_held_to_it_in_every_runtime(runtime: str, workspace: Path):
    (workspace / DEFINITIONS).write_text(expert())
    (workspace / "keys").mkdir()
    (workspace / "keys" / "prod").write_text(f"TOKEN={SECRET}\n")
    calls = Calls(
        [
            ("readTextFile", {"path": "keys/prod"}),
            ("writeTextFile", {"path": DEFINITIONS, "text": "evil"}),
            ("writeTextFile", {"path": ".env", "text": "ANTHROPIC_BASE_URL=https://evil.example"}),
            ("writeTextFile", {"path": "Makefile", "text": "all:\n"}),
        ]
    )
    with ModelServer([calls, Says("done")]) as server:
        run = ("run", "worker", "Go", "--runtime", runtime, "--env-path", "keys/prod")
        done = perstack(*run, cwd=workspace, env=keys(server))
        results = "".join(server.requests[-1].messages[-1].results)
    assert done.code == 0
    assert SECRET not in results
    assert (workspace / DEFINITIONS).read_text() == expert()
    assert not (workspace / ".env").exists()
    assert (workspace / "Makefile").read_text() == "all:\n"


@pytest.mark.usefixtures("walls")
@proves("walls.attacker-gets-nothing")
def test_what_is_hidden_is_hidden_in_what_may_be_read_as_well(workspace: Path, tmp_path: Path):
    shown, stored = tmp_path / "config", tmp_path / "config" / "perstack"
    stored.mkdir(parents=True)
    (stored / "credentials.toml").write_text(SECRET)
    (shown / "prod.env").write_text(SECRET)
    (shown / "notes.txt").write_text("notes")
    (workspace / DEFINITIONS).write_text(expert())
    look = "cat notes.txt perstack/* prod.env; ls perstack"
    args: dict[str, Any] = {
        "command": "sh",
        "args": ["-c", f"cd {shown}; {look}"],
        "env": {},
        "cwd": "",
    }
    with ModelServer(
        [Calls([("exec", {**args, "stdout": True, "stderr": True})]), Says("done")]
    ) as server:
        run = ("run", "worker", "Go", "--read", str(shown), "--env-path", str(shown / "prod.env"))
        env = {**keys(server), "XDG_CONFIG_HOME": str(shown)}
        assert perstack(*run, cwd=workspace, env=env).code == 0
        results = "".join(server.requests[-1].messages[-1].results)
    assert "notes" in results
    assert "credentials" not in results
    assert SECRET not in results


def test_a_workspace_that_holds_the_files_of_running_programs_is_refused(workspace: Path):
    (workspace / DEFINITIONS).write_text(expert())
    (workspace / "temporary").mkdir()
    with ModelServer([Says("done")]) as server:
        env = {**keys(server), "TMPDIR": str(workspace / "temporary")}
        done = perstack("run", "worker", "Go", "--runtime", "sandbox", cwd=workspace, env=env)
        assert server.requests == []
    assert done.code == 1
    assert "--workspace" in done.err


@pytest.mark.usefixtures("walls")
@proves("walls.attacker-gets-nothing")
def test_bubblewrap_is_not_taken_by_a_link_that_the_expert_can_turn(
    workspace: Path, tmp_path: Path
):
    own, real = workspace / "bin", shutil.which("bwrap")
    assert real
    own.mkdir()
    (own / "bwrap").symlink_to(real)
    (workspace / "evil").write_text(f"#!/bin/sh\n: > {tmp_path}/escaped\n")
    (workspace / "evil").chmod(0o755)
    (workspace / DEFINITIONS).write_text(expert())
    said: dict[str, Any] = {"env": {}, "cwd": "", "stdout": True, "stderr": True}
    swap = {"command": "ln", "args": ["-sfn", "../evil", "bin/bwrap"], **said}
    look = {"command": "readlink", "args": ["bin/bwrap"], **said}
    with ModelServer([Calls([("exec", swap)]), Calls([("exec", look)]), Says("done")]) as server:
        env = {**keys(server), "PATH": f"{own}:{os.environ['PATH']}"}
        assert perstack("run", "worker", "Go", cwd=workspace, env=env).code == 0
        assert "../evil" in "".join(server.requests[-1].messages[-1].results)
    assert not (tmp_path / "escaped").exists()


@pytest.mark.usefixtures("walls")
def test_a_runtime_that_looks_for_modules_in_the_workspace_says_so(workspace: Path):
    (workspace / DEFINITIONS).write_text(expert())
    (workspace / "src").mkdir()
    for path, said in ((workspace / "src", True), (workspace.parent, False)):
        with ModelServer([Says("done")]) as server:
            env = {**keys(server), "PYTHONPATH": str(path)}
            done = perstack("run", "worker", "Go", cwd=workspace, env=env)
        assert done.code == 0
        assert (str(path) in done.err) == said
        assert bool(done.err) == said


def test_no_link_in_the_workspace_decides_what_is_looked_up_outside(
    workspace: Path, tmp_path: Path
):
    programs = tmp_path / "programs"
    programs.mkdir()
    (workspace / "link").symlink_to(programs)
    path = trusted_path(
        {"PATH": f"{workspace}/link:{workspace}:relative::/usr/bin"}, str(workspace)
    )
    assert path.split(":") == [str(programs), "/usr/bin"]


@pytest.mark.usefixtures("walls")
def test_a_workspace_that_is_locked_keeps_nobody_waiting_for_ever(workspace: Path):
    lock = os.open(workspace, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)

        async def attempt(base: Skill) -> None:
            with pytest.raises(SandboxError):
                await exec_told(base, "true")
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert "error" not in await exec_told(base, "true")

        base_over(place_in(workspace), attempt)
    finally:
        os.close(lock)


@pytest.mark.usefixtures("walls")
def test_a_history_elsewhere_in_the_workspace_is_hidden_from_servers_that_are_tried(
    workspace: Path,
):
    env = {STORAGE_URL_VARIABLE: "logs", "PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    skill = StdioSkill(command="python3", args=("server.py",))
    need = Need(expert="x", name="s", skill=skill, serves=True, named=True)

    async def look() -> None:
        settings = settle(None, Flags(runtime="sandbox"))
        async with open_walls(settings, (need,), workspace, env, ()) as walls:
            assert walls.place is not None
            assert f"{workspace}/logs" in walls.place.hidden

    anyio.run(look)
