"""Start-up loads nothing it does not need. A set is compared, not a stopwatch."""

from __future__ import annotations

import subprocess
import sys

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
        "import perstack; perstack.run",
    ],
)
def test_start_up_loads_no_heavy_library(statement: str) -> None:
    assert loaded_by(statement) & HEAVY == set()


def test_importing_the_package_loads_no_room() -> None:
    loaded = loaded_by("import perstack")
    assert not {name for name in loaded if name.startswith("perstack.")}
