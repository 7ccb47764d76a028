"""What every test shares: both async backends, and no way out to the network."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from perstack import models
from perstack.ops.packages.sources import OFFLINE

HERE = Path(__file__).parent
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


QUICK = ("definition", "golden", "job", "lock")
"""Folders of tests that start nothing and wait for nothing: milliseconds each, but for the laws among them."""

DOCKER = "sandbox"
"""The folder of those that share a docker daemon, of which each worker would start its own."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several workers share the tests, let them end together. Otherwise the order is left as it is.

    Each worker is given an equal part of the list, and takes it from its start; who has no more takes half of
    what is left to another, from its end. So each part begins with tests that take their time and ends with
    quick ones, which are then what is left to share. What needs docker is all in the first part.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    quick: list[pytest.Item] = []
    slow: list[pytest.Item] = []
    docker: list[pytest.Item] = []
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in QUICK and item.path.stem != "test_laws":
            quick.append(item)
        else:
            (docker if folder == DOCKER else slow).append(item)
    items[:] = [
        item
        for worker in range(workers)
        for each in ([*docker, *slow], quick)
        for item in each[len(each) * worker // workers : len(each) * (worker + 1) // workers]
    ]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True, scope="session")
def no_model_is_asked_by_accident() -> None:
    """Only this machine may be connected to."""
    models.ALLOW_REQUESTS = False
