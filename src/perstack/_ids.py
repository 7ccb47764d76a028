"""Ids: drawn at random, or derived from a place in a log.

Both look alike: 24 characters, the first `[a-z]`, the rest `[a-z0-9]`. Readers treat them as opaque.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b32encode

LENGTH = 24
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BYTES = LENGTH * 5 // 8


def drawn() -> str:
    """A new id nobody else has (some 119 bits of randomness)."""
    return _spell(secrets.token_bytes(_BYTES))


def derived(*place: object) -> str:
    """The id that belongs to `place`; the same place has the same id on every machine."""
    name = "\x1f".join(map(str, place))
    return _spell(hashlib.sha256(name.encode()).digest()[:_BYTES])


def _spell(data: bytes) -> str:
    letters = b32encode(data).decode().lower()
    return _LETTERS[data[0] % 26] + letters[1:]
