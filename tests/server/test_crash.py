"""A server that dies at any moment leaves whole versions or none, and keeps what it answered for."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from perstack.server.queries import audit
from perstack.server.storage import tlog
from perstack.server.storage.repository import Session

from .house import Registry, open_registry

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.anyio


async def test_a_publish_that_is_killed_at_any_step_leaves_nothing(database: str):
    async with open_registry(database) as registry:
        key = await registry.key("acme")
        await registry.publish("@acme/y", key=key)
    # the steps are the same for both; in the one that is slower to open, some will do
    stride = "1" if database.endswith(".db") else "6"
    done = await anyio.run_process(
        [sys.executable, "-m", "tests.server.dying", database, key, stride], cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    last = int(done.stdout)
    assert last > 20
    async with open_registry(database) as registry:
        told = (await registry.get("/experts/@acme/x/versions")).json()["data"]["versions"]
        assert [version["version"] for version in told] == [f"1.{last}.0"]
        await agree(registry)
        for n in (1, last - int(stride)):
            await registry.publish("@acme/x", f"1.{n}.0", key=key)
        await agree(registry)


async def agree(registry: Registry) -> None:
    """Every table tells of the same versions, and the log covers them."""

    def count(session: Session) -> list[int]:
        return [
            (session.one(sql) or [0])[0]
            for sql in (
                "SELECT count(*) FROM versions",
                "SELECT count(*) FROM documents",
                "SELECT count(*) FROM versions v JOIN documents d ON d.digest = v.digest",
                "SELECT count(*) FROM log_entries",
                "SELECT count(*) FROM audit WHERE action = 'publish'",
            )
        ]

    counts = await registry.repository.read(count)
    assert len(set(counts)) == 1, counts
    assert await registry.repository.read(lambda session: list(audit.breaks(session))) == []
    checkpoint = await registry.repository.read(tlog.latest_checkpoint)
    assert checkpoint is not None
    assert checkpoint.size == counts[0]
