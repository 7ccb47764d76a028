"""The two databases behind one interface: writes one after the other, kept whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import psycopg
import pytest

from perstack.server.queries import audit
from perstack.server.queries.audit import Actor
from perstack.server.storage.migrate import migrations, statements
from perstack.server.storage.repository import DatabaseError, Repository, Session, open_repository

from .house import open_registry, reason

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def noting(target: str) -> Callable[[Session], int]:
    def write(session: Session) -> int:
        audit.note(session, Actor("test"), "note", target, 0)
        return (session.one("SELECT count(*) FROM audit") or [0])[0]

    return write


async def targets(repository: Repository) -> list[str]:
    rows = await repository.read(
        lambda session: session.all("SELECT target FROM audit ORDER BY seq")
    )
    return [row[0] for row in rows]


async def test_each_write_sees_those_before_and_all_are_kept(database: str):
    seen: list[int] = []
    async with open_repository(database) as repository:

        async def write(n: int) -> None:
            seen.append(await repository.write(noting(str(n))))

        async with anyio.create_task_group() as tasks:
            for n in range(50):
                tasks.start_soon(write, n)
        assert sorted(seen) == list(range(1, 51))
    async with open_repository(database) as repository:
        assert len(await targets(repository)) == 50
        assert await repository.read(lambda session: list(audit.breaks(session))) == []


async def test_a_write_that_fails_undoes_itself_and_no_other(database: str):
    def fail(session: Session) -> None:
        noting("lost")(session)
        raise LookupError("no")

    failed: list[str] = []
    async with open_repository(database) as repository:

        async def write(n: int) -> None:
            try:
                await repository.write(fail if n % 3 == 0 else noting(str(n)))
            except LookupError:
                failed.append(str(n))

        async with anyio.create_task_group() as tasks:
            for n in range(12):
                tasks.start_soon(write, n)
        assert sorted(failed, key=int) == ["0", "3", "6", "9"]
        kept = await targets(repository)
        assert sorted(kept, key=int) == ["1", "2", "4", "5", "7", "8", "10", "11"]


async def test_what_is_not_to_be_kept_is_seen_and_undone(database: str):
    async with open_repository(database) as repository:
        assert await repository.write(noting("a"), keep=False) == 1
        assert await targets(repository) == []
        assert await repository.write(noting("b")) == 1


async def test_a_transaction_that_cannot_be_sealed_keeps_nothing(database: str):
    def refuse(session: Session) -> None:
        if session.one("SELECT 1 FROM audit WHERE target = 'bad'"):
            raise LookupError("unsealed")

    async with open_repository(database) as repository:
        repository.seal = refuse
        await repository.write(noting("good"))
        with pytest.raises(LookupError, match="unsealed"):
            await repository.write(noting("bad"))
        await repository.write(noting("better"))
        assert await targets(repository) == ["good", "better"]


async def test_what_nobody_waits_for_is_written_before_the_end(database: str):
    async with open_repository(database) as repository:
        repository.write_later(noting("later"))
    async with open_repository(database) as repository:
        assert await targets(repository) == ["later"]


async def test_an_error_of_the_database_is_told_as_such(database: str):
    async with open_repository(database) as repository:
        with pytest.raises(DatabaseError):
            await repository.read(lambda session: session.one("SELECT * FROM nowhere"))
        with pytest.raises(DatabaseError):
            await repository.write(lambda session: session.run("INSERT INTO nowhere VALUES (1)"))
        await repository.write(noting("after"))
        assert await targets(repository) == ["after"]


async def test_connections_that_were_cut_are_made_anew(database: str):
    """As when the database was restarted between two requests."""
    if not database.startswith("postgresql:"):
        pytest.skip("SQLite has no connections to be cut")

    def cut() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            for pid in pids:
                connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    def pid_of(session: Session) -> int:
        return (session.one("SELECT pg_backend_pid()") or [0])[0]

    async with open_repository(database) as repository:
        pids = [await repository.read(pid_of), await repository.write(pid_of)]
        assert pids[0] != pids[1]
        await anyio.to_thread.run_sync(cut)
        assert await repository.write(noting("a")) == 1
        assert await targets(repository) == ["a"]


async def test_slow_reads_see_one_moment(database: str):
    async with open_repository(database) as repository:
        await repository.write(noting("a"))

        def look(session: Session) -> int:
            return (session.one("SELECT count(*) FROM audit") or [0])[0]

        assert await repository.read_slowly(look) == 1


async def test_a_database_of_a_newer_version_is_refused(database: str):
    async with open_repository(database) as repository:
        await repository.write(
            lambda session: session.run("INSERT INTO migrations VALUES (9999, '9999_new.sql', 'x')")
        )
    with pytest.raises(
        DatabaseError, match=r"newer version of perstack \(migration 9999_new\.sql\)"
    ):
        async with open_repository(database):
            pass


async def test_migrations_are_carried_out_once_by_whoever_comes_first(database: str):
    async def open_one() -> None:
        async with open_repository(database):
            pass

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(open_one)
    async with open_repository(database) as repository:
        rows = await repository.read(
            lambda session: session.all("SELECT number FROM migrations ORDER BY number")
        )
        assert [row[0] for row in rows] == [m.number for m in migrations(repository.dialect)]


def test_both_databases_have_the_same_migrations():
    names = [[m.name for m in migrations(dialect)] for dialect in ("sqlite", "postgres")]
    assert names[0] == names[1]
    assert [m.number for m in migrations("sqlite")] == list(range(1, len(names[0]) + 1))
    assert statements("-- c;\nA; -- d\n B\n;") == ["A", "B"]


async def test_a_file_that_is_no_database_is_refused_whole(tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_text("not a database, and longer than a header must be" * 10)
    with pytest.raises(DatabaseError, match="cannot be used"):
        async with open_repository(str(file)):
            pass
    assert file.read_text().startswith("not a database")


async def test_a_server_without_its_database_says_so(database: str):
    async with open_registry(database) as registry:
        await registry.repository.write(
            lambda session: session.run("ALTER TABLE experts RENAME TO x")
        )
        answer = await registry.get("/experts/x")
        assert reason(answer) == (503, "The database is not available")
        assert answer.json()["requestId"] == answer.headers["x-request-id"]
