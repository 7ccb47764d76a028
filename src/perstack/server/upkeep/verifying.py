"""Whether a registry's database is what was written: every digest, the log's tree, the audit chain.

Everything is worked out anew from the entries, documents and rows, and held against what is stored. Who can change
the database can also change what it says of itself; but not the checkpoints that clients have seen, and those must
still be found among its checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import msgspec

from perstack.errors import RegistryError, UserError
from perstack.lock import digest_of
from perstack.registry import (
    BadAttestation,
    BadProof,
    expert_of,
    key_id,
    leaf_hash,
    open_attestation,
    open_checkpoint,
    parse_checkpoint,
    parse_entry,
    salted,
    tiles_at_edge,
)

from ..queries import attestations, audit, mirror
from ..storage import tlog
from ..storage.repository import Session

PAGE = 1000


def differences(session: Session, log_key: str) -> Iterator[str]:
    """What is not as it was written, each in a sentence. log_key: the log's verifier key, or empty."""
    yield from wrong_documents(session)
    yield from wrong_log(session, log_key)
    yield from wrong_versions(session)
    yield from wrong_attestations(session)
    yield from audit.breaks(session)
    yield from wrong_mirror(session)


def wrong_documents(session: Session) -> Iterator[str]:
    after = ""
    while rows := session.all(
        "SELECT digest, body FROM documents WHERE digest > ? ORDER BY digest LIMIT ?", after, PAGE
    ):
        for digest, body in rows:
            if (real := digest_of(bytes(body))) != digest:
                yield f"the document {digest} has the digest {real}"
        after = rows[-1][0]
    for name, version, digest in session.all(
        "SELECT e.name, v.version, v.digest FROM versions v JOIN experts e ON e.n = v.expert"
        " LEFT JOIN documents d ON d.digest = v.digest"
        " WHERE d.digest IS NULL AND v.unpublished_at IS NULL ORDER BY v.n"
    ):
        yield f"the document {digest} of {name}@{version} is missing"


def wrong_log(session: Session, log_key: str) -> Iterator[str]:
    """Grows the tree again from its entries, and compares all that was ever signed on the way."""
    signed = {
        row[0]: bytes(row[1]) for row in session.all("SELECT size, root FROM log_checkpoints")
    }
    size, tiles = 0, dict[tlog.Place, bytes]()
    if signed.get(0, tlog.root_at(session, 0)) != tlog.root_at(session, 0):
        yield "the checkpoint of 0 entries has another root than there are entries for"
    while rows := session.all(
        "SELECT idx, body, hash FROM log_entries WHERE idx >= ? ORDER BY idx LIMIT ?", size, PAGE
    ):
        for index, body, kept in rows:
            if index != size:
                yield f"the log's entry {size} is missing"
                return
            leaf = leaf_hash(bytes(body))
            if leaf != bytes(kept):
                yield f"the log's entry {index} was changed"
            grown = tlog.grow(size, _edge(size, tiles), [leaf])
            tiles |= grown.tiles
            size = grown.size
            if signed.get(size, grown.root) != grown.root:
                yield f"the checkpoint of {size} entries has another root than its entries"
    for (level, tile), hashes in sorted(tiles.items()):
        row = session.one(
            "SELECT width, body FROM log_tiles WHERE level = ? AND tile = ?", level, tile
        )
        if row is None or row[0] * tlog.HASH_BYTES != len(hashes) or bytes(row[1]) != hashes:
            yield f"the log's tile {tile} at level {level} is not what its entries make"
    yield from _wrong_newest(session, log_key, size)


def _edge(size: int, tiles: dict[tlog.Place, bytes]) -> dict[tlog.Place, bytes]:
    return {(tile.level, tile.index): tiles[tile.level, tile.index] for tile in tiles_at_edge(size)}


def _wrong_newest(session: Session, log_key: str, size: int) -> Iterator[str]:
    latest = tlog.latest_checkpoint(session)
    if latest is None:
        if size:
            yield "the log was never signed"
        return
    if latest.size != size:
        yield f"the log has {size} entries, but its newest checkpoint {latest.size}"
    try:
        open_checkpoint(latest.note, log_key)
    except (BadProof, ValueError) as error:
        yield f"the newest checkpoint is not signed by the log: {error}"
    for kept, root, note in session.all(
        "SELECT size, root, note FROM log_checkpoints ORDER BY size DESC LIMIT ?", PAGE
    ):
        said = parse_checkpoint(bytes(note).decode().partition("\n\n")[0] + "\n")
        if (said.size, said.root) != (kept, bytes(root)):
            yield f"the note of the checkpoint of {kept} entries says something else"


def wrong_versions(session: Session) -> Iterator[str]:
    """Whether each version is what the log says was published, and the log tells of no other."""
    after, count = 0, 0
    while rows := session.all(
        "SELECT v.n, e.name, e.salt, v.version, v.digest, l.body FROM versions v"
        " JOIN experts e ON e.n = v.expert LEFT JOIN log_entries l ON l.idx = v.log_index"
        " WHERE v.n > ? ORDER BY v.n LIMIT ?",
        after,
        PAGE,
    ):
        after = rows[-1][0]
        for _, name, salt, version, digest, body in rows:
            count += 1
            try:
                entry = parse_entry(bytes(body or b""))
            except BadProof:
                yield f"{name}@{version} has no entry in the log"
                continue
            names = (name, salted(bytes(salt), name))
            if entry.op != "publish" or entry.name not in names or entry.version != version:
                yield f"the log's entry for {name}@{version} tells of {entry.name}@{entry.version}"
            elif entry.digest != digest:
                yield f"{name}@{version} was published with {entry.digest}, and is {digest} now"
    told = sum(
        bytes(row[0]).find(b'"op":"publish"') >= 0
        for row in session.all("SELECT body FROM log_entries")
    )
    if told != count:
        yield f"the log tells of {told} versions, and there are {count}"


def wrong_attestations(session: Session) -> Iterator[str]:
    """Whether each is signed with a key of those it is of, and all that were ever taken are there."""
    told = {
        (key, msgspec.json.decode(after, type=_Attested).id)
        for key, after in session.all("SELECT target, after FROM audit WHERE action = 'attest'")
    }
    keys: dict[str, dict[str, bytes]] = {}
    for organization, id, public in session.all(
        "SELECT organization, id, public_key FROM attestation_keys"
    ):
        keys.setdefault(organization, {})[id] = bytes(public)
        if key_id(bytes(public)) != id:
            yield f"the attestation key {id} was changed"
    for n, key, digest in session.all(
        "SELECT DISTINCT v.n, e.name || '@' || v.version, v.digest FROM attestations a"
        " JOIN versions v ON v.n = a.version JOIN experts e ON e.n = v.expert ORDER BY v.n"
    ):
        for row in attestations.attestations(session, n):
            if (key, row.id) not in told:
                yield f"nobody has posted the attestation {row.id} of {key}"
            told.discard((key, row.id))
            try:
                whose = keys.get(row.organization, {})
                statement, signatures = open_attestation(row.opened, key, digest, whose)
            except (BadAttestation, msgspec.MsgspecError) as error:
                yield f"the attestation {row.id} of {key} does not hold: {error}"
                continue
            now = sha256(bytes(row.envelope)).hexdigest(), statement.predicate_type, len(signatures)
            if now != (row.id, row.predicate_type, len(row.opened.signatures)):
                yield f"the attestation {row.id} of {key} was changed"
    for key, id in sorted(told):
        yield f"the attestation {id} of {key} is missing"


class _Attested(msgspec.Struct, frozen=True):
    """What the audit log says of an attestation."""

    id: str


def wrong_mirror(session: Session) -> Iterator[str]:
    """Whether what is kept of other registries is what they said, each document being the one they list."""
    after = ""
    while rows := session.all(
        "SELECT digest, body FROM mirror_documents WHERE digest > ? ORDER BY digest LIMIT ?",
        after,
        PAGE,
    ):
        for digest, body in rows:
            if (real := digest_of(bytes(body))) != digest:
                yield f"the mirrored document {digest} has the digest {real}"
        after = rows[-1][0]
    for upstream, path, digest, body in session.all(
        "SELECT upstream, path, digest, body FROM mirror_answers ORDER BY upstream, path"
    ):
        if digest_of(bytes(body)) != digest:
            yield f"what {upstream} answered to {path} was changed"
    for upstream, name, version, digest in session.all(
        "SELECT v.upstream, v.name, v.version, v.digest FROM mirror_versions v"
        " LEFT JOIN mirror_documents d ON d.digest = v.digest WHERE d.digest IS NOT NULL"
        " ORDER BY v.upstream, v.name, v.version"
    ):
        body = mirror.document(session, digest)
        if body is not None and f"{name}@{version}" != _key_of(body):
            yield f"the mirrored document {digest} is not {name}@{version} of {upstream}"


def _key_of(document: bytes) -> str:
    try:
        return expert_of(document).key
    except RegistryError:
        return ""


def unlike_seen(session: Session, log_key: str, note: str) -> Iterator[str]:
    """Whether the log still begins with the one that somebody saw, under this checkpoint. Raises UserError."""
    try:
        seen = open_checkpoint(note, log_key)
    except BadProof as error:
        raise UserError(f"What was seen is no checkpoint of this log: {error}.") from error
    size = tlog.entries_in(session)
    if seen.size > size:
        yield f"a checkpoint of {seen.size} entries was seen, and there are {size}"
    elif tlog.root_at(session, seen.size) != seen.root:
        yield f"the first {seen.size} entries are others than those that were seen"
