"""What the tests of the workbench share."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import pytest

from .desks import PROJECT


@pytest.fixture
def anyio_backend() -> str:
    """Textual has its own loop, which is asyncio's; the jobs have others."""
    return "asyncio"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the project beside this file, with notes to work on."""
    place = tmp_path / "notes"
    place.mkdir()
    copyfile(PROJECT / "perstack.toml", place / "perstack.toml")
    (place / "notes.md").write_text("# Notes\n\n- buy milk\n- write tests\n")
    return place
