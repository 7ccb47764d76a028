"""The transparency log: one list of all that was published, that can only grow, and can be checked by anyone.

Theory of operation
-------------------
1. A write *appends* its entries: rows in `log_entries`, with the next indices. Nothing else happens then, so a
   write that is undone leaves nothing behind.
2. At the end of the transaction *seal* takes the entries since the last checkpoint, writes the tiles they
   change, and signs a checkpoint over all. Entries, tiles and checkpoint are in one transaction with what they
   tell of: an answer is given only when a signed checkpoint covers it, and no crash can part them.
3. To let a tree grow one needs only the partial tiles at its right border (`grow`), a few kilobytes for any size.
   A tile is one row that is written again while it fills; a partial tile of an earlier checkpoint is its prefix.
4. What names a private Expert, or who acts on one, is salted: `sha256(salt + text)`. Members get the salt.
5. Nothing in the log is ever changed or removed; there is no function here that could.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from perstack.registry import (
    ENTRIES,
    WIDTH,
    Checkpoint,
    LogEntry,
    Operation,
    Proof,
    Tile,
    inclusion_proof,
    leaf_hash,
    node_hash,
    parse_checkpoint,
    parse_entry,
    reader,
    render_bundle,
    render_checkpoint,
    render_entry,
    root_of,
    salted,
    split_tile,
    tile_in,
    tiles_at_edge,
    tiles_for_inclusion,
    tiles_for_root,
    verifier_key_of,
)

from .repository import Session

HASH_BYTES = 32

Place = tuple[int, int]
"""Level and index of a tile."""


class Grown(NamedTuple):
    """A tree after it grew. tiles: all that are new or longer than before, whole."""

    size: int
    root: bytes
    tiles: dict[Place, bytes]


def grow(size: int, edge: Mapping[Place, bytes], leaves: Iterable[bytes]) -> Grown:
    """The tree of `size` entries after `leaves` (their hashes) were appended to it.

    edge: the tiles of `tiles_at_edge(size)`.
    """
    changed: dict[Place, bytearray] = {}
    known = {place: bytearray(hashes) for place, hashes in edge.items()}

    def push(level: int, index: int, found: bytes) -> None:
        place = (level, index // WIDTH)
        tile = changed.setdefault(place, known.setdefault(place, bytearray()))
        tile += found
        if len(tile) == WIDTH * HASH_BYTES:
            push(level + 1, index // WIDTH, _root_of_tile(bytes(tile)))

    for leaf in leaves:
        push(0, size, leaf)
        size += 1
    tiles = {tile_in(level, index, size): bytes(hashes) for (level, index), hashes in known.items()}
    root = root_of(size, reader(size, tiles))
    return Grown(size, root, {place: bytes(tile) for place, tile in changed.items()})


def _root_of_tile(hashes: bytes) -> bytes:
    found = split_tile(hashes)
    while len(found) > 1:
        found = [node_hash(*found[at : at + 2]) for at in range(0, len(found), 2)]
    return found[0]


def entry_of(
    op: Operation,
    name: str,
    *,
    at: str,
    actor: str,
    salt: bytes = b"",
    version: str = "",
    digest: str = "",
    status: str = "",
) -> LogEntry:
    """An entry. at: ISO 8601. actor: name of the organization. salt: of a private Expert, else empty."""
    if salt:
        name, actor = salted(salt, name), salted(salt, actor)
    return LogEntry(
        v=1, op=op, name=name, at=at, actor=actor, version=version, digest=digest, status=status
    )


def append(session: Session, entry: LogEntry) -> int:
    """The index that `entry` has in the log from now on. Within a write."""
    body = render_entry(entry)
    size = entries_in(session)
    session.run(
        "INSERT INTO log_entries (idx, body, hash) VALUES (?, ?, ?)", size, body, leaf_hash(body)
    )
    return size


def entries_in(session: Session) -> int:
    """How many entries there are, those of the transaction at work included."""
    row = session.one("SELECT idx FROM log_entries ORDER BY idx DESC LIMIT 1")
    return row[0] + 1 if row else 0


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs the log. clock: milliseconds since 1970."""

    signing_key: str
    clock: Callable[[], int]

    @property
    def origin(self) -> str:
        return verifier_key_of(self.signing_key).name

    def seal(self, session: Session) -> None:
        """Covers all entries with a checkpoint; the repository calls it at the end of each transaction."""
        last = latest_checkpoint(session)
        size = last.size if last else 0
        leaves = [
            bytes(row[0])
            for row in session.all("SELECT hash FROM log_entries WHERE idx >= ? ORDER BY idx", size)
        ]
        if last and not leaves:
            return
        edge = {
            (tile.level, tile.index): read_tile(session, tile) or b""
            for tile in tiles_at_edge(size)
        }
        grown = grow(size, edge, leaves)
        session.run_many(
            "INSERT INTO log_tiles (level, tile, width, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (level, tile) DO UPDATE SET width = excluded.width, body = excluded.body",
            [
                (level, index, len(hashes) // HASH_BYTES, hashes)
                for (level, index), hashes in grown.tiles.items()
            ],
        )
        note = render_checkpoint(self.origin, grown.size, grown.root, self.signing_key)
        session.run(
            "INSERT INTO log_checkpoints (size, root, note, at) VALUES (?, ?, ?, ?)",
            grown.size,
            grown.root,
            note.encode(),
            self.clock(),
        )


def latest_checkpoint(session: Session) -> Checkpoint | None:
    """The newest signed checkpoint; None before the first."""
    row = session.one("SELECT note FROM log_checkpoints ORDER BY size DESC LIMIT 1")
    if row is None:
        return None
    note = bytes(row[0]).decode()
    return parse_checkpoint(note.partition("\n\n")[0] + "\n", note)


def read_tile(session: Session, tile: Tile) -> bytes | None:
    """The bytes of a tile, or of a bundle of entries; None where the log does not reach so far."""
    if tile.level == ENTRIES:
        first = tile.index * WIDTH
        rows = session.all(
            "SELECT body FROM log_entries WHERE idx >= ? AND idx < ? ORDER BY idx",
            first,
            first + tile.width,
        )
        return render_bundle(bytes(row[0]) for row in rows) if len(rows) == tile.width else None
    row = session.one(
        "SELECT body FROM log_tiles WHERE level = ? AND tile = ? AND width >= ?",
        tile.level,
        tile.index,
        tile.width,
    )
    return bytes(row[0])[: tile.width * HASH_BYTES] if row else None


def proof_of_entry(session: Session, index: int) -> Proof | None:
    """The proof that entry `index` is in the log, under its newest checkpoint; None if it is not."""
    checkpoint = latest_checkpoint(session)
    row = session.one("SELECT body FROM log_entries WHERE idx = ?", index)
    if checkpoint is None or row is None or index >= checkpoint.size:
        return None
    read = reader(checkpoint.size, _tiles(session, tiles_for_inclusion(index, checkpoint.size)))
    return Proof(
        entry=parse_entry(bytes(row[0])),
        index=index,
        hashes=inclusion_proof(index, checkpoint.size, read),
        checkpoint=checkpoint.note,
    )


def root_at(session: Session, size: int) -> bytes:
    """The root over the first `size` entries, as the tiles have it."""
    return root_of(size, reader(size, _tiles(session, tiles_for_root(size))))


def _tiles(session: Session, needed: Iterable[Tile]) -> dict[Tile, bytes]:
    return {tile: read_tile(session, tile) or b"" for tile in needed}
