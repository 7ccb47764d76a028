"""Versions as bytes that sort as versions do, so that a database can keep them in order and tell equal ones.

Two versions have the same bytes if they have the same precedence: `1.0.0+a` and `1.0.0`, `1.0.0-01` and `1.0.0-1`.

    1.4.0-rc.2     number number number  ·  pre-release  ·  (another identifier)*  ·  end

A number is its length and its digits, without leading zeros: the longer is the greater. A pre-release sorts before
its release, a shorter list of identifiers before a longer one; an empty identifier before numbers, those before
words.
"""

from __future__ import annotations

from perstack.definition import Version

_PRE = b"\x01"
_RELEASE = b"\x02"
_END = b"\x00"
_ANOTHER = b"\x01"
_EMPTY = b"\x01"
_NUMBER = b"\x02"
_WORD = b"\x03"


def precedence(version: Version) -> bytes:
    """The bytes of `version`."""
    numbers = b"".join(map(_number, (str(version.major), str(version.minor), str(version.patch))))
    bare = version.text.partition("+")[0]
    _, dash, pre = bare.partition("-")
    if not dash:
        return numbers + _RELEASE
    identifiers = (_ANOTHER + _identifier(part) for part in pre.split("."))
    return numbers + _PRE + b"".join(identifiers) + _END


def _number(digits: str) -> bytes:
    digits = digits.lstrip("0")
    return bytes((len(digits),)) + digits.encode()


def _identifier(text: str) -> bytes:
    if not text:
        return _EMPTY
    if text.isdigit():
        return _NUMBER + _number(text)
    return _WORD + text.encode() + b"\x00"
