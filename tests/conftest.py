"""What every test shares: both async backends, and no way out to the network."""

from __future__ import annotations

import pytest

from perstack import models


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True, scope="session")
def no_model_is_asked_by_accident() -> None:
    """Only this machine may be connected to."""
    models.ALLOW_REQUESTS = False
