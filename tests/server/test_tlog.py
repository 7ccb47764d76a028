"""The transparency log grows as its tree does, however its entries come, and proves all it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.registry import (
    LogEntry,
    Tile,
    consistency_proof,
    leaf_hash,
    open_checkpoint,
    parse_bundle,
    parse_entry,
    reader,
    render_verifier_key,
    root_of,
    roots_upward,
    signing_key_of,
    tiles_at_edge,
    tiles_for_consistency,
    verifier_key_of,
    verify_follows,
    verify_published,
)
from perstack.server.storage import tlog
from perstack.server.storage.repository import Repository, Session, open_repository

pytestmark = pytest.mark.anyio

ORIGIN = "registry.example/api/registry/v1/tlog"
SIGNING = signing_key_of(ORIGIN, b"\x09" * 32)
KEY = render_verifier_key(verifier_key_of(SIGNING))
LEAVES = [leaf_hash(b"%d" % n) for n in range(66_000)]
LEVELS = roots_upward(LEAVES)


def root(size: int) -> bytes:
    return root_of(size, lambda node: LEVELS[node[0]][node[1]])


def edge(size: int) -> dict[tlog.Place, bytes]:
    return {
        (tile.level, tile.index): b"".join(
            LEVELS[tile.level * 8][tile.index * 256 : tile.index * 256 + tile.width]
        )
        for tile in tiles_at_edge(size)
    }


@given(st.sampled_from([0, 1, 254, 255, 256, 257, 511, 65_278, 65_535]), st.integers(0, 520))
def test_a_tree_grows_from_its_edge_alone(size: int, more: int) -> None:
    more = min(more, len(LEAVES) - size)
    grown = tlog.grow(size, edge(size), LEAVES[size : size + more])

    assert (grown.size, grown.root) == (size + more, root(size + more))
    for (level, index), hashes in grown.tiles.items():
        assert hashes == b"".join(LEVELS[level * 8][index * 256 :][: len(hashes) // 32])
    known = {place: edge(size).get(place) for place in edge(size)} | dict(grown.tiles)
    assert {place: known.get(place) for place in edge(size + more)} == edge(size + more)


@given(st.lists(st.integers(1, 300), max_size=6))
def test_it_does_not_matter_how_many_entries_come_at_once(steps: list[int]) -> None:
    size, tiles = 0, dict[tlog.Place, bytes]()
    for step in steps:
        grown = tlog.grow(size, {p: tiles[p] for p in edge(size)}, LEAVES[size : size + step])
        size, tiles = grown.size, tiles | grown.tiles
    at_once = tlog.grow(0, {}, LEAVES[:size])
    assert tiles == at_once.tiles


def published(number: int) -> LogEntry:
    return tlog.entry_of(
        "publish",
        "@acme/triage",
        at="2026-01-31T09:30:00.000Z",
        actor="acme",
        version=f"1.0.{number}",
        digest=f"sha256:{number:064x}",
    )


async def opened(repository: Repository) -> None:
    repository.seal = tlog.Signer(SIGNING, lambda: 1_769_851_800_000).seal
    await repository.write(lambda session: None)


def publish(count: int, first: int = 0):
    def work(session: Session) -> list[int]:
        return [tlog.append(session, published(first + n)) for n in range(count)]

    return work


def proof_of_growth(session: Session, old: int, new: int) -> tuple[bytes, ...]:
    """That the log of `new` entries begins with that of `old`, as a client makes it of tiles."""
    tiles = {each: tlog.read_tile(session, each) or b"" for each in tiles_for_consistency(old, new)}
    return consistency_proof(old, new, reader(new, tiles))


async def test_every_answer_is_covered_by_a_signed_checkpoint(tmp_path: Path) -> None:
    async with open_repository(str(tmp_path / "registry.db")) as repository:
        await opened(repository)
        indices = await repository.write(publish(300))
        first = await repository.read(tlog.latest_checkpoint)
        await repository.write(publish(5, 300))
        second = await repository.read(tlog.latest_checkpoint)
        proof = await repository.read(lambda session: tlog.proof_of_entry(session, 302))
        growth = await repository.read(lambda session: proof_of_growth(session, 300, 305))
        bundle = await repository.read(
            lambda session: tlog.read_tile(session, Tile(level=-1, index=1, width=49))
        )

    assert indices == list(range(300))
    assert first is not None
    assert second is not None
    assert (open_checkpoint(first.note, KEY).size, second.size) == (300, 305)
    assert proof is not None
    verify_published(proof, "@acme/triage", "1.0.302", published(302).digest, KEY)
    verify_follows(first, second, growth)
    assert bundle is not None
    assert parse_entry(parse_bundle(bundle)[-1]) == published(304)


async def test_a_log_without_entries_is_signed_too(tmp_path: Path) -> None:
    async with open_repository(str(tmp_path / "registry.db")) as repository:
        await opened(repository)
        checkpoint = await repository.read(tlog.latest_checkpoint)
    assert checkpoint is not None
    assert open_checkpoint(checkpoint.note, KEY).size == 0


async def test_a_write_that_fails_leaves_no_entry(tmp_path: Path) -> None:
    def fails(session: Session) -> None:
        tlog.append(session, published(7))
        raise LookupError

    async with open_repository(str(tmp_path / "registry.db")) as repository:
        await opened(repository)
        with pytest.raises(LookupError):
            await repository.write(fails)
        assert await repository.read(tlog.entries_in) == 0
        assert await repository.write(publish(1)) == [0]


async def test_a_partial_tile_can_still_be_had_after_it_grew(tmp_path: Path) -> None:
    async with open_repository(str(tmp_path / "registry.db")) as repository:
        await opened(repository)
        await repository.write(publish(10))
        small = Tile(level=0, index=0, width=10)
        before = await repository.read(lambda session: tlog.read_tile(session, small))
        await repository.write(publish(290, 10))
        after = await repository.read(lambda session: tlog.read_tile(session, small))
        beyond = await repository.read(
            lambda session: tlog.read_tile(session, Tile(level=0, index=1, width=45))
        )
    assert before == after is not None
    assert beyond is None


def test_a_private_name_is_not_in_the_log() -> None:
    entry = tlog.entry_of("publish", "@acme/secret", at="", actor="acme", salt=b"12345678")
    assert "acme" not in repr(entry)
    assert entry == tlog.entry_of("publish", "@acme/secret", at="", actor="acme", salt=b"12345678")
