"""The canonical bytes of a Definition, and their digest.

A document is the Definition as JSON with sorted keys, no white space and no member that has its default
value; two Definitions that mean the same have the same bytes on every machine.
"""

from __future__ import annotations

import hashlib

import msgspec

from perstack.definition import Expert

_ENCODER = msgspec.json.Encoder(order="sorted")


def document_of(expert: Expert) -> bytes:
    """The canonical document: JSON, UTF-8, keys sorted."""
    return _ENCODER.encode(expert)


def digest_of(document: bytes) -> str:
    """ "sha256:" and 64 hex digits."""
    return f"sha256:{hashlib.sha256(document).hexdigest()}"
