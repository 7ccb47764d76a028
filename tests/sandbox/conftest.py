"""What the tests of walls share."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from perstack.errors import SandboxError
from perstack.sandbox import layers_of

from .daemon import Docker, docker


@pytest.fixture(scope="session")
def daemon() -> Generator[Docker]:
    """A docker daemon, with an image to run skills in."""
    with docker() as found:
        if isinstance(found, str):
            pytest.skip(found)
        yield found


@pytest.fixture
def walls() -> None:
    """They can be built here."""
    try:
        layers_of()
    except SandboxError as error:
        pytest.skip(str(error))
