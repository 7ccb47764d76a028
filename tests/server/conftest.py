"""The databases the registry's tests run on: SQLite in a file, and PostgreSQL where there is one."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from .house import Registry, open_registry

POSTGRES = os.environ.get("PERSTACK_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")


@pytest.fixture
def anyio_backend() -> str:
    """The server's own; that it needs none in particular is tested in test_repository.py."""
    return "asyncio"


@cache
def postgres_fault() -> str:
    """Why there is no PostgreSQL to test with, "" if there is one."""
    try:
        psycopg.connect(POSTGRES, connect_timeout=5).close()
    except psycopg.Error as error:
        return f"no PostgreSQL at {POSTGRES} (set PERSTACK_TEST_POSTGRES): {error}"
    return ""


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield str(tmp_path / "registry.db")
        return
    if fault := postgres_fault():
        pytest.skip(fault)
    schema = f"perstack_{uuid4().hex}"
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    try:
        yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    finally:
        with psycopg.connect(POSTGRES, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


@pytest.fixture
async def registry(database: str) -> AsyncGenerator[Registry]:
    """A running registry."""
    async with open_registry(database, oidc_issuers="github") as found:
        yield found
