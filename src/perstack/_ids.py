"""Ids: drawn at random, or derived from a place in a log.

Both look alike: 24 characters, the first `[a-z]`, the rest `[a-z0-9]`. Readers treat them as opaque.
"""

from __future__ import annotations

import hashlib
import secrets

LENGTH = 24
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = _LETTERS + "0123456789"


def drawn() -> str:
    """A new id nobody else has (124 bits of randomness)."""
    return _spell(secrets.randbits(128))


def derived(*place: object) -> str:
    """The id that belongs to `place`; the same place has the same id on every machine."""
    name = "\x1f".join(str(part) for part in place)
    return _spell(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big"))


def _spell(number: int) -> str:
    number, first = divmod(number, len(_LETTERS))
    letters = [_LETTERS[first]]
    for _ in range(LENGTH - 1):
        number, digit = divmod(number, len(_DIGITS))
        letters.append(_DIGITS[digit])
    return "".join(letters)
