"""Trees of a log: published cases, and what holds for every size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.registry import (
    BadProof,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    roots_upward,
    verify_consistency,
    verify_inclusion,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "merkle_vectors.json").read_text(encoding="utf-8")
)
HASHES = [bytes.fromhex(text) for text in VECTORS["hashes"]]
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Over the first 0 to 8 of ENTRIES."""

Levels = list[list[bytes]]


def tree(size: int, salt: bytes = b"") -> Levels:
    return roots_upward(leaf_hash(b"%d" % n + salt) for n in range(size))


def root(levels: Levels, size: int) -> bytes:
    return root_of(size, lambda node: levels[node[0]][node[1]])


def hash_of(place: int | None) -> bytes:
    return b"" if place is None else HASHES[place]


def holds(check: Any, *of: Any) -> bool:
    try:
        check(*of)
    except BadProof:
        return False
    return True


@pytest.mark.parametrize("size", range(9))
def test_the_roots_of_small_trees_are_the_published_ones(size: int) -> None:
    levels = roots_upward(leaf_hash(entry) for entry in ENTRIES)
    assert root(levels, size).hex() == ROOTS[size]


def test_every_published_inclusion_proof_is_judged_rightly() -> None:
    wrong = [
        case
        for case, valid, index, size, leaf, top, proof in VECTORS["inclusion"]
        if valid
        != holds(verify_inclusion, hash_of(leaf), index, size, [*map(hash_of, proof)], hash_of(top))
    ]
    assert wrong == []


def test_every_published_consistency_proof_is_judged_rightly() -> None:
    """But for the empty tree, with which every log begins: the cases call its proof useless, we accept it."""
    wrong = [
        case
        for case, valid, old, new, before, after, proof in VECTORS["consistency"]
        if old
        and valid
        != holds(
            verify_consistency, old, new, [*map(hash_of, proof)], hash_of(before), hash_of(after)
        )
    ]
    assert wrong == []


@given(st.integers(1, 70), st.data())
def test_every_entry_is_proved_to_be_where_it_is_and_nowhere_else(
    size: int, data: st.DataObject
) -> None:
    levels = tree(size)
    index = data.draw(st.integers(0, size - 1))
    elsewhere = data.draw(st.integers(0, size - 1).filter(lambda n: n != index or size == 1))
    proof = inclusion_proof(index, size, lambda node: levels[node[0]][node[1]])

    verify_inclusion(levels[0][index], index, size, proof, root(levels, size))

    if elsewhere != index:
        assert not holds(
            verify_inclusion, levels[0][index], elsewhere, size, proof, root(levels, size)
        )
        assert not holds(
            verify_inclusion, levels[0][elsewhere], index, size, proof, root(levels, size)
        )


@given(st.integers(0, 70), st.integers(0, 70), st.data())
def test_a_log_that_only_grew_is_proved_and_a_forked_one_never(
    old: int, more: int, data: st.DataObject
) -> None:
    new = old + more
    levels, forked = tree(new), tree(new, b"other")
    proof = consistency_proof(old, new, lambda node: levels[node[0]][node[1]])

    verify_consistency(old, new, proof, root(levels, old), root(levels, new))

    if old:
        other = consistency_proof(old, new, lambda node: forked[node[0]][node[1]])
        mixed = [data.draw(st.sampled_from(pair)) for pair in zip(proof, other, strict=True)]
        assert not holds(verify_consistency, old, new, mixed, root(levels, old), root(forked, new))
    if more and old:
        assert not holds(verify_consistency, new, old, proof, root(levels, new), root(levels, old))


@given(st.integers(1, 70), st.data())
def test_a_proof_with_one_bit_flipped_proves_nothing(size: int, data: st.DataObject) -> None:
    levels = tree(size)
    index = data.draw(st.integers(0, size - 1))
    good = b"".join(inclusion_proof(index, size, lambda node: levels[node[0]][node[1]]))
    if not good:
        return
    at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    flipped = bytearray(good)
    flipped[at] ^= 1 << bit
    proof = [bytes(flipped[n : n + 32]) for n in range(0, len(flipped), 32)]

    assert not holds(verify_inclusion, levels[0][index], index, size, proof, root(levels, size))
