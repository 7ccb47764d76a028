"""A registry on this machine, and a cache of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .house import House, open_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A registry with the teams `acme` and `globex`."""
    with open_house(tmp_path, "acme", "globex") as found:
        yield found
