"""The tree as tiles: their paths, what lies in them, and proofs read out of them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perstack.registry import (
    BadProof,
    Tile,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    parse_bundle,
    parse_tile_path,
    reader,
    render_bundle,
    root_of,
    roots_upward,
    tile_in,
    tile_path,
    tiles_at_edge,
    tiles_for_consistency,
    tiles_for_inclusion,
    tiles_for_root,
    verify_consistency,
    verify_inclusion,
)

LEVELS = roots_upward(leaf_hash(b"%d" % n) for n in range(70_000))


def tile_bytes(tile: Tile) -> bytes:
    first = tile.index * 256
    return b"".join(LEVELS[tile.level * 8][first : first + tile.width])


def root(size: int) -> bytes:
    return root_of(size, lambda node: LEVELS[node[0]][node[1]])


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(level=0, index=0), "tile/0/000"),
        (Tile(level=1, index=1234067), "tile/1/x001/x234/067"),
        (Tile(level=63, index=1000, width=8), "tile/63/x001/000.p/8"),
        (Tile(level=-1, index=999, width=255), "tile/entries/999.p/255"),
    ],
)
def test_a_tile_has_one_path(tile: Tile, path: str) -> None:
    assert tile_path(tile) == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/64/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/0/\u0660\u0660\u0660",
        "tile/-1/000",
        "tile/entries",
    ],
)
def test_no_other_text_is_the_path_of_a_tile(path: str) -> None:
    with pytest.raises(ValueError, match="path of a tile"):
        parse_tile_path(path)


def test_a_tree_of_seventy_thousand_ends_in_three_partial_tiles() -> None:
    assert list(tiles_at_edge(70_000)) == [
        Tile(level=0, index=273, width=112),
        Tile(level=1, index=1, width=17),
        Tile(level=2, index=0, width=1),
    ]


def test_a_full_tile_makes_one_hash_above() -> None:
    assert list(tiles_at_edge(256)) == [Tile(level=1, index=0, width=1)]
    assert tile_in(0, 0, 256) == Tile(level=0, index=0)
    with pytest.raises(BadProof):
        tile_in(0, 1, 256)


@given(st.integers(1, 70_000), st.data())
@example(256, None)
@example(65_536, None)
def test_a_proof_takes_only_the_tiles_it_said_it_would(
    size: int, data: st.DataObject | None
) -> None:
    index = data.draw(st.integers(0, size - 1)) if data else size - 1
    old = data.draw(st.integers(0, size)) if data else size // 2

    one = {tile: tile_bytes(tile) for tile in tiles_for_inclusion(index, size)}
    verify_inclusion(
        LEVELS[0][index], index, size, inclusion_proof(index, size, reader(size, one)), root(size)
    )

    two = {tile: tile_bytes(tile) for tile in tiles_for_consistency(old, size)}
    proof = consistency_proof(old, size, reader(size, two))
    verify_consistency(old, size, proof, root(old), root(size))

    edge = {tile: tile_bytes(tile) for tile in tiles_for_root(size)}
    assert root_of(size, reader(size, edge)) == root(size)


def test_a_tile_that_is_cut_off_is_no_tile() -> None:
    tiles = {tile: tile_bytes(tile)[:-1] for tile in tiles_for_inclusion(5, 300)}
    with pytest.raises(BadProof, match="has 8191 bytes"):
        inclusion_proof(5, 300, reader(300, tiles))


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    bundle = render_bundle(entries)
    assert parse_bundle(bundle) == entries
    if entries:
        with pytest.raises(BadProof):
            parse_bundle(bundle[:-1])


def test_an_entry_that_does_not_fit_in_a_bundle_is_refused() -> None:
    assert parse_bundle(render_bundle([b"x" * 0xFFFF])) == [b"x" * 0xFFFF]
    with pytest.raises(ValueError, match="too long"):
        render_bundle([b"x" * 0x10000])


def test_hashes_within_a_tile_are_those_of_its_tree() -> None:
    assert LEVELS[1][0] == node_hash(LEVELS[0][0], LEVELS[0][1])
