"""Looking after a registry: what was changed is found, and a copy or an export is the whole registry."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from click.testing import CliRunner

from perstack.cli.commands.registry import registry as command
from perstack.errors import UserError
from perstack.registry import open_checkpoint
from perstack.server.extensions.log import verifier_key
from perstack.server.settings import Settings
from perstack.server.storage.repository import Session
from perstack.server.upkeep.copying import snapshot
from perstack.server.upkeep.moving import export, take_in
from perstack.server.upkeep.verifying import differences

from .house import Registry, open_registry, wire

pytestmark = pytest.mark.anyio


async def filled(registry: Registry) -> str:
    key = await registry.key("acme")
    for number in range(3):
        await registry.publish("@acme/triage", f"1.{number}.0", key=key, tags=["stable"])
    await registry.publish("@acme/lead", key=key, delegates=["@acme/triage@^1.0.0"])
    await registry.publish("@acme/secret", key=key, visibility="private")
    await registry.post(f"/experts/{wire('@acme/triage@1.0.0')}", {"status": "deprecated"}, key=key)
    return key


async def differing(registry: Registry) -> list[str]:
    def look(session: Session) -> list[str]:
        with snapshot(session):
            return list(differences(session, verifier_key(session, Settings())))

    return await registry.repository.read_slowly(look)


async def test_what_was_written_is_as_it_was(registry: Registry):
    await filled(registry)
    assert await differing(registry) == []


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE documents SET body = ?", "has the digest"),
        ("UPDATE versions SET digest = 'sha256:0' WHERE n = 1", "is missing"),
        ("DELETE FROM log_entries WHERE idx = 1", "entry 1 is missing"),
        ("UPDATE log_entries SET body = ? WHERE idx = 2", "entry 2 was changed"),
        ("UPDATE log_tiles SET body = ?", "tile 0 at level 0"),
        ("UPDATE log_checkpoints SET root = ? WHERE size = 3", "checkpoint of 3 entries"),
        ("UPDATE audit SET action = 'nothing' WHERE seq = 3", "audit row 3 was changed"),
        ("DELETE FROM audit WHERE seq = 2", "audit row 2 is missing"),
        ("UPDATE versions SET version = '9.9.9' WHERE n = 2", "tells of @acme/triage@1.1.0"),
    ],
)
async def test_every_change_behind_its_back_is_found(registry: Registry, sql: str, said: str):
    await filled(registry)
    values = (b"x",) if "?" in sql else ()
    await registry.repository.write(lambda session: session.run(sql, *values), keep=True)
    found = await differing(registry)
    assert any(said in one for one in found), found


async def exported(registry: Registry, *, log_key: bool = True) -> bytes:
    to = io.BytesIO()
    await registry.repository.read_slowly(lambda session: export(session, to, log_key=log_key))
    return to.getvalue()


async def told(registry: Registry, key: str) -> dict[str, Any]:
    """All that clients can ask for, as far as it matters to them."""
    paths = [
        f"/experts/{wire('@acme/triage@1.1.0')}",
        f"/experts/{wire('@acme/triage')}/versions",
        f"/experts/{wire('@acme/triage')}/tags",
        f"/experts/{wire('@acme/triage')}/dependents",
        "/index/@acme/triage",
        "/index/config.json",
        "/changes",
        "/search?q=acme",
        "/api/registry/v1/tlog/checkpoint",
        f"/experts/{wire('@acme/secret')}",
        "/keys",
        "/orgs/acme/audit",
    ]
    return {path: (await registry.get(path, key=key)).text for path in paths}


async def test_an_export_is_the_whole_registry(registry: Registry, tmp_path: Path):
    """Also from one kind of database to the other: what comes in is on SQLite."""
    key = await filled(registry)
    before = await told(registry, key)
    tar = await exported(registry)
    async with open_registry(str(tmp_path / "other.db"), extensions=()) as empty:
        await empty.repository.write(lambda session: take_in(session, io.BytesIO(tar)))
    async with open_registry(str(tmp_path / "other.db")) as other:
        assert await told(other, key) | {"/keys": ""} == before | {"/keys": ""}
        assert await differing(other) == []
        await other.publish("@acme/triage", "2.0.0", key=key)
        assert await differing(other) == []


async def test_an_export_comes_in_again_where_it_came_from(registry: Registry):
    key = await filled(registry)
    tar = await exported(registry)

    def again(session: Session) -> None:
        for table in (
            "search",
            "traits",
            "edges",
            "tags",
            "fetches",
            "versions",
            "experts",
            "log_entries",
        ):
            session.run(f"DELETE FROM {table}")
        take_in(session, io.BytesIO(tar))

    before = await told(registry, key)
    await registry.repository.write(again)
    assert await told(registry, key) == before
    made = await registry.publish("@acme/new", key=key)
    assert made["log"]["index"] == 6
    assert await differing(registry) == []


async def test_the_key_of_the_log_is_exported_only_if_asked_for(registry: Registry):
    await filled(registry)
    assert b"PRIVATE+KEY" not in await exported(registry, log_key=False)
    told = tarfile.open(fileobj=io.BytesIO(await exported(registry, log_key=True)))
    rows = told.extractfile("tables/settings.jsonl")
    assert rows is not None
    assert "log_signing_key" in [json.loads(line)["name"] for line in rows]


async def test_an_export_can_be_served_as_static_files(registry: Registry):
    await filled(registry)
    tar = tarfile.open(fileobj=io.BytesIO(await exported(registry)))
    names = set(tar.getnames())
    assert {"log/checkpoint", "log/tile/0/000.p/6", "log/tile/entries/000.p/6"} <= names
    for name in sorted(name for name in names if name.startswith("log/tile")):
        found = tar.extractfile(name)
        assert found is not None
        served = await registry.get(f"/api/registry/v1/tlog/{name.removeprefix('log/')}")
        assert served.content == found.read()


def changed(tar: bytes, name: str, data: bytes | None) -> bytes:
    """The tar with one member changed, or left out."""
    to = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(tar)) as old, tarfile.open(fileobj=to, mode="w") as new:
        for member in old:
            found = old.extractfile(member)
            assert found is not None
            kept = found.read()
            if member.name == name:
                if data is None:
                    continue
                kept = data
                member.size = len(data)
            new.addfile(member, io.BytesIO(kept))
    return to.getvalue()


async def test_what_was_changed_in_an_export_does_not_come_in(registry: Registry, tmp_path: Path):
    await filled(registry)
    tar = await exported(registry)
    names = tarfile.open(fileobj=io.BytesIO(tar)).getnames()
    document = next(name for name in names if name.startswith("documents/"))
    broken = [
        changed(tar, document, b"{}"),
        changed(tar, "tables/log_tiles.jsonl", b""),
        changed(tar, "tables/log_entries.jsonl", b""),
        changed(tar, "tables/audit.jsonl", None),
        changed(tar, "manifest.json", None),
        changed(tar, "manifest.json", b'{"format":"perstack.registry/9","size":0,"root":""}'),
        changed(tar, "tables/keys.jsonl", b"nonsense\n"),
        tar[: len(tar) // 2],
        b"",
    ]
    async with open_registry(str(tmp_path / "other.db"), extensions=()) as empty:
        for one in broken:
            with pytest.raises((UserError, ValueError)):
                await empty.repository.write(
                    lambda session, one=one: take_in(session, io.BytesIO(one))
                )
        assert await empty.repository.read(lambda s: s.all("SELECT * FROM experts")) == []
    with pytest.raises(UserError, match="not empty"):
        await registry.repository.write(lambda session: take_in(session, io.BytesIO(tar)))


# --- the commands ---------------------------------------------------------------------------------------------


async def test_a_backup_is_taken_while_the_registry_is_at_work(tmp_path: Path):
    database, copy = str(tmp_path / "registry.db"), tmp_path / "copy.db"
    async with open_registry(database) as registry:
        await filled(registry)
        done = await anyio.to_thread.run_sync(
            lambda: CliRunner().invoke(command, ["backup", str(copy), "--database", database])
        )
        assert done.exit_code == 0, done.output
    assert copy.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(copy) as found:
        assert found.execute("SELECT count(*) FROM versions").fetchone() == (5,)
    found.close()
    async with open_registry(str(copy)) as again:
        assert await differing(again) == []


def test_the_commands_verify_export_and_import(tmp_path: Path):
    database, other = str(tmp_path / "registry.db"), str(tmp_path / "other.db")

    async def fill() -> str:
        async with open_registry(database) as registry:
            await filled(registry)
            return (await registry.get("/api/registry/v1/tlog/checkpoint")).text

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(command, list(words))
        assert done.exception is None or isinstance(done.exception, SystemExit | UserError)
        return done.exit_code, done.output

    note = anyio.run(fill)
    seen = tmp_path / "seen"
    seen.write_text(note, encoding="utf-8")
    code, said = run("verify", "--database", database, "--seen", str(seen))
    assert (code, said.partition(":")[0]) == (0, "All is as it was written")
    root = said.rpartition("root ")[2]

    tar = str(tmp_path / "all.tar")
    assert root in run("export", tar, "--log-key", "--database", database)[1]
    assert Path(tar).stat().st_mode & 0o777 == 0o600
    assert run("export", tar, "--database", database)[0] == 1
    assert root in run("import", tar, "--database", other)[1]
    assert run("verify", "--database", other, "--seen", str(seen)) == (0, said)

    without, third = str(tmp_path / "without.tar"), str(tmp_path / "third.db")
    assert root in run("export", without, "--database", database)[1]
    assert root in run("import", without, "--database", third)[1]
    assert run("verify", "--database", third) == (0, said)
    assert run("verify", "--database", third, "--seen", str(seen))[0] == 1  # signed by another key
    assert run("verify", "--database", str(tmp_path / "none.db"))[0] == 1
    assert not (tmp_path / "none.db").exists()

    with sqlite3.connect(other) as found:
        found.execute("UPDATE audit SET target = 'x' WHERE seq = 1")
    found.close()
    code, said = run("verify", "--database", other)
    assert (code, said) == (4, "audit row 1 was changed\n")
    assert open_checkpoint(note, _key(database)).size == 6


def _key(database: str) -> str:
    async def look() -> str:
        async with open_registry(database) as registry:
            return (await registry.get("/index/config.json")).json()["logKey"]

    return anyio.run(look)
