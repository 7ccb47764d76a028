"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint): what a log signs, and who may believe it.

A note is text, an empty line, and signatures, one a line. Ed25519 only. A *verifier key* is the text
`<name>+<id in hex>+<base64 of type and public key>`; a *signing key* the same with `PRIVATE+KEY+` in front and the
seed in place of the public key. Signatures by unknown keys are skipped; a wrong one by the known key is fatal.

`cryptography` is loaded when a signature is made or checked, not before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import lru_cache

from perstack._value import Value

from .merkle import HASH_BYTES, BadProof

_ED25519 = b"\x01"
_DASH = "\u2014 "
_PRIVATE = "PRIVATE+KEY+"
_SIGNATURES = 100  # more than anyone needs, and few enough to look through
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class VerifierKey(Value, frozen=True):
    """The public key of a log. id: 4 bytes over name and key; public: 32 bytes."""

    name: str
    id: bytes
    public: bytes


class Checkpoint(Value, frozen=True):
    """What a log says of itself at one moment. origin: which log; size: entries; note: the signed text."""

    origin: str
    size: int
    root: bytes
    note: str = ""


def parse_verifier_key(text: str) -> VerifierKey:
    """A verifier key out of its text. Raises ValueError."""
    name, key_id, material = _key_parts(text)
    if material[:1] != _ED25519 or len(material) != 33:
        raise ValueError("not an Ed25519 verifier key")
    if key_id != _key_id(name, material[1:]).hex():
        raise ValueError("the verifier key does not fit its own id")
    return VerifierKey(name=name, id=bytes.fromhex(key_id), public=material[1:])


def render_verifier_key(key: VerifierKey) -> str:
    """The text of a verifier key."""
    return f"{key.name}+{key.id.hex()}+{_base64(_ED25519 + key.public)}"


def signing_key_of(name: str, seed: bytes) -> str:
    """The text of a signing key. seed: 32 secret bytes, of which the key is made."""
    if not name or "+" in name or any(c.isspace() for c in name):
        raise ValueError("the name of a key is not empty, and has neither white space nor +")
    return f"{_PRIVATE}{name}+{_key_id(name, _public_of(seed)).hex()}+{_base64(_ED25519 + seed)}"


def verifier_key_of(signing_key: str) -> VerifierKey:
    """The public half of a signing key. Raises ValueError, without saying any of the key."""
    name, key_id, seed = _signing_parts(signing_key)
    return VerifierKey(name=name, id=key_id, public=_public_of(seed))


def sign_note(text: str, signing_key: str) -> str:
    """`text`, which ends with a line break, as a note signed by `signing_key`."""
    _check_text(text)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    name, key_id, seed = _signing_parts(signing_key)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode())
    return f"{text}\n{_DASH}{name} {_base64(key_id + signature)}\n"


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note that `key` has signed. Raises BadProof for every other note."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    lines = signatures.removesuffix("\n").split("\n")
    if not signatures.endswith("\n") or len(lines) > _SIGNATURES:
        raise BadProof("not a signed note")
    _check_text(text)
    known = [
        signature[4:] for line in lines if (signature := _signature(line, key.name))[:4] == key.id
    ]
    if not known:
        raise BadProof(f"the note is not signed by {key.name} ({key.id.hex()})")
    for signature in known:
        _check_signature(text.encode(), signature, key)
    return text


def render_checkpoint(origin: str, size: int, root: bytes, signing_key: str) -> str:
    """A signed checkpoint."""
    return sign_note(f"{origin}\n{size}\n{_base64(root)}\n", signing_key)


def parse_checkpoint(text: str, note: str = "") -> Checkpoint:
    """What the text of a checkpoint says. Its signature is not looked at. Raises BadProof."""
    lines = text.removesuffix("\n").split("\n")
    if not text.endswith("\n") or len(lines) < 3 or not all(lines):
        raise BadProof("not a checkpoint")
    origin, size, root = lines[:3]
    if not _SIZE.fullmatch(size):
        raise BadProof("the size in a checkpoint is no number")
    return Checkpoint(origin=origin, size=int(size), root=parse_hash(root), note=note)


def open_checkpoint(note: str, key: VerifierKey | str) -> Checkpoint:
    """The checkpoint in a note that `key` has signed, whose origin is the key's name.

    key: a verifier key, or its text. Raises BadProof; ValueError for a text that is no key.
    """
    known = parse_verifier_key(key) if isinstance(key, str) else key
    checkpoint = parse_checkpoint(open_note(note, known), note)
    if checkpoint.origin != known.name:
        raise BadProof(f"the checkpoint is of the log {checkpoint.origin!r}, not of {known.name!r}")
    return checkpoint


def parse_hash(text: str) -> bytes:
    """A hash out of its base64. Raises BadProof."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != HASH_BYTES or _base64(found) != text:
        raise BadProof("not a hash in base64")
    return found


def _check_signature(text: bytes, signature: bytes, key: VerifierKey) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text)
    except (InvalidSignature, ValueError):
        raise BadProof(f"a signature in the name of {key.name} is wrong") from None


def _signature(line: str, name: str) -> bytes:
    """Key id and signature in a line, if it is in `name`; nothing if it is in another's. Raises BadProof."""
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != 2 or not parts[0] or "+" in parts[0]:
        raise BadProof("a line among the signatures of a note is none")
    try:
        found = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        raise BadProof("a signature of a note is not base64") from None
    if len(found) < 5:
        raise BadProof("a signature of a note is too short")
    return found if parts[0] == name else b""


def _check_text(text: str) -> None:
    if not text.endswith("\n") or text == "\n":
        raise BadProof("the text of a note ends with a line break")
    if any(c < " " and c != "\n" for c in text):
        raise BadProof("the text of a note has control characters")


def _key_parts(text: str) -> tuple[str, str, bytes]:
    name, plus, rest = text.partition("+")
    key_id, more, material = rest.partition("+")
    try:
        found = base64.b64decode(material, validate=True)
        bytes.fromhex(key_id)
    except (binascii.Error, ValueError):
        found = b""
    if not (name and plus and more and found and len(key_id) == 8) or any(
        c.isspace() for c in name
    ):
        raise ValueError("not a key of a note: name+id+key")
    return name, key_id, found


def _signing_parts(text: str) -> tuple[str, bytes, bytes]:
    if not text.startswith(_PRIVATE):
        raise ValueError("not a signing key: it begins with PRIVATE+KEY+")
    name, key_id, material = _key_parts(text.removeprefix(_PRIVATE))
    if material[:1] != _ED25519 or len(material) != 33:
        raise ValueError("not an Ed25519 signing key")
    if bytes.fromhex(key_id) != _key_id(name, _public_of(material[1:])):
        raise ValueError("the signing key does not fit its own id")
    return name, bytes.fromhex(key_id), material[1:]


@lru_cache(maxsize=4)  # a server signs with one key, many times a second
def _public_of(seed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
