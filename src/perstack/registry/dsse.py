"""DSSE envelopes (Dead Simple Signing Envelope, v1): bytes of a kind, and who signed the two together. Pure.

What is signed is not the payload but its *pre-authentication encoding*, which has the kind in it, and the length
of each: so what was signed as one kind cannot be shown as another. A signature's `keyid` is a hint that nobody
signed; it says which key to try, never whom to believe. Ed25519 only.

A key is kept in a PEM file (PKCS #8), as `openssl genpkey -algorithm ed25519` makes it. Its id is the SHA-256 of
the public half. `cryptography` is loaded when a signature is made or checked, not before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping

from perstack._value import Value

MAX_SIGNATURES = 8
KEY_BYTES = 32

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}", re.ASCII)


class BadAttestation(ValueError):
    """An envelope, or what is in it, is not what it has to be; the text says what, without a full stop."""


class Signature(Value, frozen=True):
    """sig: base64. keyid: any text."""

    sig: str
    keyid: str = ""


class Envelope(Value, frozen=True):
    """payload: base64."""

    payload_type: str
    payload: str
    signatures: tuple[Signature, ...]


def encoding_of(kind: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: what is signed."""
    named = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(named), named, len(payload), payload)


def payload_of(envelope: Envelope, kind: str, most: int) -> bytes:
    """What is in an envelope, if it is of this kind. most: bytes it may have. Raises BadAttestation."""
    if envelope.payload_type != kind:
        raise BadAttestation(f"the envelope's payloadType is not {kind}")
    if len(envelope.payload) > (most + 2) // 3 * 4:
        raise BadAttestation(f"the payload has more than {most} bytes")
    return _decoded(envelope.payload, "payload")


def signers_of(
    envelope: Envelope, kind: str, payload: bytes, keys: Mapping[str, bytes]
) -> tuple[Signature, ...]:
    """The signatures that keys of `keys` have made, each once, with the key's id. keys: public ones, by id.

    Signatures of others are left out. Raises BadAttestation for a wrong one in the name of one of `keys`.
    """
    if not 0 < len(envelope.signatures) <= MAX_SIGNATURES:
        raise BadAttestation(f"an envelope has 1 to {MAX_SIGNATURES} signatures")
    signed = encoding_of(kind, payload)
    found: dict[str, Signature] = {}
    for each in envelope.signatures:
        signature = _decoded(each.sig, "signature")
        if each.keyid in keys and not _is_signed(signed, signature, keys[each.keyid]):
            raise BadAttestation(f"the signature of the key {each.keyid[:12]} is wrong")
        likely = [each.keyid] if each.keyid in keys else keys
        for id in likely:
            if id not in found and _is_signed(signed, signature, keys[id]):
                found[id] = Signature(sig=base64.b64encode(signature).decode(), keyid=id)
                break
    return tuple(found[id] for id in sorted(found))


def sign(kind: str, payload: bytes, seed: bytes) -> Envelope:
    """`payload` in an envelope. seed: the 32 secret bytes of a key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = Ed25519PrivateKey.from_private_bytes(seed).sign(encoding_of(kind, payload))
    return Envelope(
        payload_type=kind,
        payload=base64.b64encode(payload).decode(),
        signatures=(
            Signature(sig=base64.b64encode(made).decode(), keyid=key_id(public_key_of(seed))),
        ),
    )


def key_id(public: bytes) -> str:
    """The id of a public key: 64 hexadecimal digits."""
    return hashlib.sha256(public).hexdigest()


def public_key_in(text: str) -> bytes:
    """The 32 bytes of a public key out of their base64. Raises BadAttestation."""
    public = _decoded(text, "public key")
    if len(public) != KEY_BYTES:
        raise BadAttestation(f"an Ed25519 public key has {KEY_BYTES} bytes")
    return public


def public_key_of(seed: bytes) -> bytes:
    """The public half of a key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def new_key_pem() -> bytes:
    """A key that nobody has, as the content of its file."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def seed_in(pem: bytes) -> bytes:
    """The secret bytes of a key out of its file. Raises ValueError, without saying any of it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 private key in PEM, without a password")
    return key.private_bytes_raw()


def _is_signed(signed: bytes, signature: bytes, public: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _decoded(text: str, what: str) -> bytes:
    """Standard base64 or its form for URLs, as DSSE allows. Raises BadAttestation."""
    try:
        if not _BASE64.fullmatch(text):
            raise ValueError
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise BadAttestation(f"a {what} is not base64") from None
