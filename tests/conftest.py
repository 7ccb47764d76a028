"""What every test shares: both async backends, and no way out to the network."""

from __future__ import annotations

import os
import signal

import pytest

from perstack import models
from perstack.ops.packages.sources import OFFLINE

os.environ[OFFLINE] = "1"  # also for the programs under test; who has a registry here takes it away


def pytest_configure() -> None:
    """Programs under test get signals as from a terminal, also where the tests run in the background.

    What a shell ignores for its background jobs, children inherit as ignored.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True, scope="session")
def no_model_is_asked_by_accident() -> None:
    """Only this machine may be connected to."""
    models.ALLOW_REQUESTS = False
