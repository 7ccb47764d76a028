"""The imports are held against the drawing in docs/concepts/architecture.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import perstack

SRC = Path(perstack.__file__).parent

GROUND = {"errors", "shipped", "_controls", "_ids", "_kept", "_net", "_value", "_version"}
PURE = {
    "definition": set[str](),
    "lock": {"definition"},
    "job": {"definition", "lock"},
    "dialect": {"definition", "lock", "job"},
}
ADAPTERS = ("models", "skills", "store", "sandbox", "registry")
DOORS = ("cli", "tui", "studio", "server")

MAY_IMPORT: dict[str, set[str]] = {
    **PURE,
    **{adapter: set(PURE) for adapter in ADAPTERS},
    "engine": {*PURE, *ADAPTERS},
    "ops": {*PURE, *ADAPTERS, "engine"},
    **{door: {*PURE, "ops"} for door in DOORS},
}
MAY_IMPORT["cli"] |= {"tui", "studio", "server", "skills", "engine"}
MAY_IMPORT["server"] |= {"registry"}

VERBS = {
    "history": set[str](),
    "walls": {"history"},
    "packages": {"walls"},
    "running": {"history", "walls", "packages"},
    "building": {"running"},
}
"""The folders of `ops`, and which of the others each may import."""

IDEAS = (
    "identity",
    "storage",
    "wire",
    "queries",
    "screening",
    "writes",
    "endpoints",
    "extensions",
    "mirrors",
    "pages",
    "upkeep",
)
"""The folders of `server`: each imports only those before it. What is beside them is of the server as a whole."""

WORLD = {
    "anyio",
    "asyncio",
    "glob",
    "os",
    "pathlib",
    "random",
    "secrets",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}


@cache
def imports() -> tuple[tuple[Path, str, str, bool], ...]:
    """As `imported` says. The house is read once for all tests: nothing changes in it while they run."""
    return tuple(imported())


def imported() -> Iterator[tuple[Path, str, str, bool]]:
    """(file, its room, what it imports as an absolute dotted name, whether it was written relatively)."""
    for path in sorted(SRC.rglob("*.py")):
        place = path.relative_to(SRC).with_suffix("").parts
        room = place[0]
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    for name in names:
                        yield path, room, name.name, False
                case ast.ImportFrom(module=module, level=0):
                    yield path, room, module or "", False
                case ast.ImportFrom(module=module, level=level):
                    package = ("perstack", *place)[:-level]
                    yield path, room, ".".join((*package, *((module or "").split(".")))), True
                case _:
                    pass


def test_each_room_imports_only_from_the_floors_below_it() -> None:
    wrong: list[str] = []
    for path, room, name, _ in imports():
        match name.split("."):
            case ["perstack", other, *_] if room in MAY_IMPORT and other != room:
                if other not in GROUND and other not in MAY_IMPORT[room]:
                    wrong.append(f"{path.relative_to(SRC)} imports {name}")
            case ["perstack", other, *_] if room in GROUND and other not in GROUND:
                wrong.append(f"{path.relative_to(SRC)} imports {name}")
            case _:
                pass
    assert wrong == []


def test_every_room_is_in_the_drawing() -> None:
    rooms = {path.name for path in SRC.iterdir() if (path / "__init__.py").exists()}
    assert rooms - GROUND <= MAY_IMPORT.keys()


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_does_not_reach_the_world(room: str) -> None:
    reached = [
        f"{path.relative_to(SRC)} imports {name}"
        for path, home, name, _ in imports()
        if home == room and name.split(".")[0] in WORLD
    ]
    assert reached == []


def test_rooms_import_each_other_by_their_doors() -> None:
    """`from perstack.job import fold`, never from an inner module of another room.

    Verbs are the exception: `ops` has no door of its own, so that a command imports no more than it does.
    """
    inner = [
        f"{path.relative_to(SRC)} imports {name}"
        for path, room, name, relative in imports()
        if not relative
        and name.startswith("perstack.")
        and len(name.split(".")) > 2
        and name.split(".")[1] != room
        and (SRC / name.split(".")[1]).is_dir()
        and room != "cli"
        and not (room in DOORS and name.split(".")[1] == "ops")
    ]
    assert inner == []


def test_the_folders_of_verbs_import_downwards() -> None:
    ops = SRC / "ops"
    upwards = [
        f"{path.relative_to(SRC)} imports {name}"
        for path, _, name, _ in imports()
        if path.parent.parent == ops
        and (other := name.removeprefix("perstack.ops.").split(".")[0]) in VERBS
        and name.startswith("perstack.ops.")
        and other not in {path.parent.name, *VERBS[path.parent.name]}
    ]
    assert upwards == []


def test_the_folders_of_the_server_import_downwards() -> None:
    server = SRC / "server"
    assert {path.parent.name for path in server.glob("*/__init__.py")} == set(IDEAS)
    upwards = [
        f"{path.relative_to(SRC)} imports {name}"
        for path, _, name, _ in imports()
        if path.parent.parent == server
        and name.startswith("perstack.server.")
        and (other := name.split(".")[2]) in IDEAS
        and IDEAS.index(other) > IDEAS.index(path.parent.name)
    ]
    assert upwards == []


def test_only_anyio_is_used_for_tasks() -> None:
    assert [str(p) for p, _, name, _ in imports() if name.split(".")[0] == "asyncio"] == []


def test_mcp_is_imported_in_three_modules_only() -> None:
    users = {str(p.relative_to(SRC)) for p, _, name, _ in imports() if name.split(".")[0] == "mcp"}
    assert users <= {"skills/mcp.py", "skills/oauth.py", "skills/base/server.py"}
