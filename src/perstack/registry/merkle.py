"""Merkle trees over a growing list of entries (RFC 6962): hashes, proofs, and the checks of proofs.

A tree is never held whole. Whoever makes a proof hands in `read`, which knows the hash of any *complete subtree*:
`(level, index)` is the one over the leaves from `index * 2**level` up to, not including, `(index + 1) *
2**level`. Where those hashes come from (tiles, a list in a test) is not decided here.

Checks raise BadProof rather than answer False, so that a check whose answer nobody looks at cannot pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Node = tuple[int, int]
Read = Callable[[Node], bytes]


class BadProof(ValueError):
    """Something that was to be proved is not: a hash, a signature, or the form of a proof is wrong."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry, as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(size: int, read: Read) -> bytes:
    """The root of the tree that has `size` leaves."""
    return _hash_of(0, size, read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: Read) -> tuple[bytes, ...]:
    """What shows that leaf `index` (from 0) is in the tree of `size` leaves: from its sibling up to the root."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    return tuple(_hash_of(*span, read) for span in _beside(index, size))


def consistency_proof(old: int, new: int, read: Read) -> tuple[bytes, ...]:
    """What shows that the tree of `new` leaves begins with the tree of `old` leaves."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves does not follow one of {old}")
    if old in (0, new):
        return ()
    return tuple(_hash_of(*span, read) for span in _between(old, new))


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Pass if the leaf hash `leaf` is at `index` in the tree of `size` leaves under `root`. Raises BadProof."""
    if not 0 <= index < size:
        raise BadProof(f"there is no entry {index} in a log of {size}")
    hashes = iter(_checked(proof, leaf, root))
    inner = (index ^ (size - 1)).bit_length()
    found = leaf
    for level in range(inner):
        beside = _next(hashes)
        right_child = index >> level & 1
        found = node_hash(beside, found) if right_child else node_hash(found, beside)
    for beside in hashes:  # the right border: from here on all siblings are to the left
        found = node_hash(beside, found)
    if len(proof) != inner + (index >> inner).bit_count():
        raise BadProof(
            f"the proof of entry {index} has {len(proof)} hashes, which is not as many as it takes"
        )
    if found != root:
        raise BadProof(f"entry {index} is not in the log of {size} entries whose root was signed")


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Pass if the tree of `new` leaves under `new_root` begins with that of `old` leaves under `old_root`.

    Raises BadProof: the log was forked, or was rolled back.
    """
    if new < old:
        raise BadProof(f"the log had {old} entries before and has {new} now")
    if old == new or old == 0:
        if proof:
            raise BadProof("a proof that must be empty is not")
        if old_root != (new_root if old else EMPTY_ROOT):
            raise BadProof(f"two different logs of {old} entries were signed")
        return
    hashes = iter(_checked(proof, old_root, new_root))
    shift = (old & -old).bit_length() - 1  # of the last complete subtree of the old tree
    seed = old_root if old == 1 << shift else _next(hashes)
    last = (old - 1) >> shift
    inner = ((old - 1) ^ (new - 1)).bit_length() - shift
    before, after = seed, seed
    for level in range(inner):
        beside = _next(hashes)
        if last >> level & 1:
            before, after = node_hash(beside, before), node_hash(beside, after)
        else:
            after = node_hash(after, beside)
    for beside in hashes:
        before, after = node_hash(beside, before), node_hash(beside, after)
    if len(proof) != (old != 1 << shift) + inner + (last >> inner).bit_count():
        raise BadProof(
            f"the proof from {old} to {new} entries does not have as many hashes as it takes"
        )
    if before != old_root:
        raise BadProof(
            f"the log of {new} entries does not begin with the {old} that were there before"
        )
    if after != new_root:
        raise BadProof(f"the proof does not lead to the root of the log of {new} entries")


def roots_upward(leaves: Iterable[bytes]) -> list[list[bytes]]:
    """All complete subtrees over leaf hashes: `[level][index]`. For trees small enough to hold."""
    levels = [list(leaves)]
    while len(below := levels[-1]) > 1:
        levels.append([node_hash(*below[at : at + 2]) for at in range(0, len(below) - 1, 2)])
    return levels


def _beside(index: int, size: int) -> Iterator[tuple[int, int]]:
    """The spans whose hashes are an inclusion proof, from the leaf up."""
    low, high = 0, size
    spans: list[tuple[int, int]] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    return reversed(spans)


def _between(old: int, new: int) -> Iterator[tuple[int, int]]:
    """The spans whose hashes are a consistency proof, from below up."""
    low, high = 0, new
    spans: list[tuple[int, int]] = []
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    if low:  # else the old tree is complete, and its root is known to who asks
        spans.append((low, high))
    return reversed(spans)


def _hash_of(low: int, high: int, read: Read) -> bytes:
    """The hash over the leaves from `low` up to `high`, where `low` is where a subtree of that size begins."""
    width = high - low
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return read((level, low >> level))
    middle = low + _split(width)
    return node_hash(_hash_of(low, middle, read), _hash_of(middle, high, read))


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << (width - 1).bit_length() - 1


def _checked(proof: Sequence[bytes], *others: bytes) -> Sequence[bytes]:
    if any(len(found) != HASH_BYTES for found in (*proof, *others)):
        raise BadProof("a hash is not 32 bytes long")
    return proof


def _next(hashes: Iterator[bytes]) -> bytes:
    try:
        return next(hashes)
    except StopIteration:
        raise BadProof("the proof has too few hashes") from None
