"""Start-up loads nothing it does not need. A set is compared, not a stopwatch."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "aiohttp",
    "anthropic",
    "google.genai",
    "httpx",
    "httpx2",
    "jsonschema",
    "mcp",
    "openai",
    "pydantic",
    "rich",
    "starlette",
    "textual",
}


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import perstack",
        "import perstack.cli.main",
        "import perstack.cli.commands.run",
        "import perstack.cli.commands.start",
        "import perstack; perstack.run",
    ],
)
def test_start_up_loads_no_heavy_library(statement: str) -> None:
    assert loaded_by(statement) & HEAVY == set()


def test_importing_the_package_loads_no_room() -> None:
    loaded = loaded_by("import perstack")
    assert not {name for name in loaded if name.startswith("perstack.")}


def test_the_first_picture_of_the_workbench_is_there_before_what_draws_the_others(tmp_path: Path):
    """The program itself, up to the moment in which that picture is on the terminal."""
    code = (
        "import os, sys; from perstack.cli import main, opening\n"
        "class Shown(opening.Opening):\n"
        "    def draw(self):\n"
        "        super().draw()\n"
        "        self.close()\n"
        "        open('loaded', 'w').write(' '.join(sys.modules)); os._exit(0)\n"
        "opening.Opening = Shown\n"
        "main.main(['start'])"
    )
    ours, its = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm"},
            stdin=its,
            stdout=its,
            stderr=its,
            check=True,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(its)
    loaded = set((tmp_path / "loaded").read_text().split())
    rooms = {f"perstack.{room}" for room in ("engine", "models", "sandbox", "store", "tui")}
    assert loaded & {*HEAVY, *rooms, "asyncio"} == set()
    assert "perstack.cli.opening" in loaded
