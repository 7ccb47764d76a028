"""The proof that a registry's log holds an entry, as one text that can be kept and checked offline.

The text is C2SP tlog-proof v1: the index of the entry, its inclusion proof, and the signed checkpoint. Its `extra`
line holds the entry itself, and for an entry of a private Expert the salt, without which its name is a riddle.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Literal

import msgspec

from perstack._value import Value
from perstack.lock import canonical_json

from .merkle import BadProof, leaf_hash, verify_consistency, verify_inclusion
from .note import Checkpoint, VerifierKey, open_checkpoint, parse_hash

_HEAD = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)

Operation = Literal["publish", "status", "unpublish", "owner", "quarantine", "latest"]


class LogEntry(Value, frozen=True):
    """One fact in the transparency log. at: ISO 8601, UTC.

    name, actor: for private Experts `sha256:` and the hash over salt and text, see `salted`. status: also
    `quarantined` and `released` for the operation quarantine.
    """

    v: int
    op: Operation
    name: str
    at: str
    actor: str
    version: str = ""
    digest: str = ""
    status: str = ""


class Proof(Value, frozen=True):
    """A proof as it is read, not yet checked. salt: for the name of a private Expert, else empty."""

    entry: LogEntry
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    salt: bytes = b""


class _Extra(msgspec.Struct, frozen=True):
    entry: LogEntry
    salt: str = ""


def render_entry(entry: LogEntry) -> bytes:
    """The canonical bytes of an entry, over which its leaf is hashed."""
    return canonical_json(msgspec.to_builtins(entry))


def parse_entry(data: bytes) -> LogEntry:
    """An entry out of its bytes. Raises BadProof for what is not an entry in its canonical form."""
    try:
        entry = msgspec.json.decode(data, type=LogEntry)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadProof(f"an entry of the log cannot be read: {error}") from error
    if entry.v != 1 or render_entry(entry) != data:
        raise BadProof("an entry of the log is not in the form this version knows")
    return entry


def salted(salt: bytes, text: str) -> str:
    """What stands in the log for a text that only members may know."""
    return f"sha256:{hashlib.sha256(salt + text.encode()).hexdigest()}"


def render_proof(proof: Proof) -> str:
    """The text of a proof."""
    extra = {"entry": msgspec.to_builtins(proof.entry)}
    if proof.salt:
        extra["salt"] = proof.salt.hex()
    lines = [
        _HEAD,
        f"extra {base64.b64encode(canonical_json(extra)).decode()}",
        f"index {proof.index}",
        *(base64.b64encode(found).decode() for found in proof.hashes),
    ]
    return "\n".join(lines) + "\n\n" + proof.checkpoint


def parse_proof(text: str) -> Proof:
    """A proof out of its text; nothing of it is checked yet. Raises BadProof."""
    head, gap, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not gap or len(lines) < 3 or lines[0] != _HEAD or not lines[1].startswith("extra "):
        raise BadProof("not a proof of a registry's log")
    index = _INDEX.fullmatch(lines[2])
    if index is None:
        raise BadProof("the proof does not say which entry it is about")
    try:
        extra = msgspec.json.decode(base64.b64decode(lines[1][6:], validate=True), type=_Extra)
        salt = bytes.fromhex(extra.salt)
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise BadProof(f"the entry in the proof cannot be read: {error}") from error
    return Proof(
        entry=extra.entry,
        index=int(index[1]),
        hashes=tuple(parse_hash(line) for line in lines[3:]),
        checkpoint=checkpoint,
        salt=salt,
    )


def verify_proof(proof: Proof, key: VerifierKey | str) -> Checkpoint:
    """The checkpoint under which the log that signs with `key` holds the entry of `proof`. Raises BadProof."""
    checkpoint = open_checkpoint(proof.checkpoint, key)
    leaf = leaf_hash(render_entry(proof.entry))
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return checkpoint


def verify_published(
    proof: Proof, name: str, version: str, digest: str, key: VerifierKey | str
) -> Checkpoint:
    """As `verify_proof`, and what is proved is that `name` at `version` was published with `digest`.

    Raises BadProof: what we got is not what everybody else was shown.
    """
    entry = proof.entry
    told = salted(proof.salt, name) if proof.salt else name
    if (entry.op, entry.name, entry.version, entry.digest) != ("publish", told, version, digest):
        raise BadProof(
            f"the log's entry {proof.index} says {entry.op} {entry.name}@{entry.version} {entry.digest}, "
            f"not that {name}@{version} was published with {digest}"
        )
    return verify_proof(proof, key)


def verify_follows(old: Checkpoint, new: Checkpoint, proof: tuple[bytes, ...]) -> None:
    """Pass if the log at `new` is the log at `old`, grown. Raises BadProof and shows both."""
    try:
        if old.origin != new.origin:
            raise BadProof(f"{new.origin!r} is another log than {old.origin!r}")
        verify_consistency(old.size, new.size, proof, old.root, new.root)
    except BadProof as error:
        raise BadProof(f"{error}\n\n{old.note}\n{new.note}".rstrip()) from error
