"""One storage server for all tests that only want a place on it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from .storage import Storage, storage_process


@pytest.fixture(scope="session")
def storage() -> Generator[Storage]:
    """A server nobody stops. Each test has its own place there."""
    with storage_process() as running:
        yield running
