"""The tree of a log cut into tiles that can be served as plain files (C2SP tlog-tiles), and read back from them.

A tile of level `l` is 256 hashes, each over 256**l entries; the tile at the right border of its level may be
*partial*, with fewer. Level 0 holds the hashes of the entries; the entries themselves are in *bundles*, which are
addressed as tiles of the level ENTRIES. As a log only grows, a partial tile is a prefix of every later one.

Which tiles a proof takes is known before any is read, so a client asks for all of them at once:

    needed = tiles_for_consistency(old_size, new_size)
    proof = consistency_proof(old_size, new_size, reader(new_size, {tile: bytes...}))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from perstack._value import Value

from .merkle import (
    HASH_BYTES,
    BadProof,
    Node,
    Read,
    consistency_proof,
    inclusion_proof,
    node_hash,
    root_of,
)

WIDTH = 256
ENTRIES = -1
ENTRY_LIMIT = 0xFFFF
"""The most bytes one entry may have."""

_PATH = re.compile(
    r"tile/(entries|0|[1-5]?[0-9]|6[0-3])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?",
    re.ASCII,
)


class Tile(Value, frozen=True):
    """Where a tile is. level: ENTRIES for a bundle of entries; index: from the left, from 0; width: 1 to 256."""

    level: int
    index: int
    width: int = WIDTH


def tile_path(tile: Tile) -> str:
    """Its path below the log's prefix, for example `tile/1/x001/x234/067.p/8`."""
    level = "entries" if tile.level == ENTRIES else str(tile.level)
    groups = [f"{tile.index % 1000:03}"]
    rest = tile.index // 1000
    while rest:
        groups.append(f"x{rest % 1000:03}")
        rest //= 1000
    partial = "" if tile.width == WIDTH else f".p/{tile.width}"
    return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"


def parse_tile_path(path: str) -> Tile:
    """The tile that has this path. Raises ValueError for any other text than `tile_path` gives."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise ValueError(f"not the path of a tile: {path!r}")
    level, index, width = found.groups()
    tile = Tile(
        level=ENTRIES if level == "entries" else int(level),
        index=int(index.replace("x", "").replace("/", "")),
        width=int(width or WIDTH),
    )
    if tile_path(tile) != path or tile.width > WIDTH:
        raise ValueError(f"not the path of a tile: {path!r}")
    return tile


def tiles_at_edge(size: int) -> Iterator[Tile]:
    """The partial tiles of a tree of `size` entries: what must be known of it to let it grow."""
    level = 0
    while size:
        if width := size % WIDTH:
            yield Tile(level=level, index=size // WIDTH, width=width)
        size //= WIDTH
        level += 1


def tile_in(level: int, index: int, size: int) -> Tile:
    """The tile `index` of `level` as it is in a tree of `size` entries. Raises BadProof if it has none there."""
    hashes = size // WIDTH ** max(level, 0)
    width = min(WIDTH, hashes - index * WIDTH)
    if width <= 0:
        raise BadProof(f"a log of {size} entries has no tile {index} at level {level}")
    return Tile(level=level, index=index, width=width)


def tiles_for_root(size: int) -> tuple[Tile, ...]:
    """The tiles that must be read to work out the root over `size` entries."""
    return _needed(size, lambda read: root_of(size, read))


def tiles_for_inclusion(index: int, size: int) -> tuple[Tile, ...]:
    """The tiles that must be read to prove entry `index` in the tree of `size` entries."""
    return _needed(size, lambda read: inclusion_proof(index, size, read))


def tiles_for_consistency(old: int, new: int) -> tuple[Tile, ...]:
    """The tiles that must be read to prove that the tree of `new` entries begins with that of `old`."""
    return _needed(new, lambda read: consistency_proof(old, new, read))


def reader(size: int, tiles: Mapping[Tile, bytes]) -> Read:
    """Complete subtrees, read out of `tiles` of the tree of `size` entries. Raises BadProof if one is missing.

    What is read is not checked here: it is believed only if a proof made of it leads to a signed root.
    """

    def read(node: Node) -> bytes:
        tile, first, count = _place(node, size)
        hashes = tiles.get(tile, b"")
        if len(hashes) != tile.width * HASH_BYTES:
            raise BadProof(
                f"{tile_path(tile)} has {len(hashes)} bytes, not {tile.width * HASH_BYTES}"
            )
        found = split_tile(hashes[first * HASH_BYTES : (first + count) * HASH_BYTES])
        while len(found) > 1:
            found = [node_hash(*found[at : at + 2]) for at in range(0, len(found), 2)]
        return found[0]

    return read


def split_tile(hashes: bytes) -> list[bytes]:
    """The hashes in a tile."""
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def render_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as a bundle: each after its length in two bytes, the greater first."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > ENTRY_LIMIT:
            raise ValueError(f"an entry of {len(entry)} bytes is too long for a log")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def parse_bundle(bundle: bytes) -> list[bytes]:
    """The entries in a bundle. Raises BadProof if it is cut off."""
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if end > len(bundle) or at + 2 > len(bundle):
            raise BadProof("a bundle of entries is cut off")
        entries.append(bundle[at + 2 : end])
        at = end
    return entries


def _place(node: Node, size: int) -> tuple[Tile, int, int]:
    """(tile, first hash in it, how many) of a complete subtree."""
    level, index = node
    tile_level, inner = divmod(level, 8)
    first = index << inner
    return tile_in(tile_level, first // WIDTH, size), first % WIDTH, 1 << inner


def _needed(size: int, proof: Callable[[Read], object]) -> tuple[Tile, ...]:
    needed: dict[Tile, None] = {}

    def note(node: Node) -> bytes:
        needed[_place(node, size)[0]] = None
        return b""

    proof(note)
    return tuple(needed)
