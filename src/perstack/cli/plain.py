"""Texts of others, made safe to print."""

from __future__ import annotations

from perstack._controls import CONTROLS, DIRECTIONS

_SPELT = {code: f"\\x{code:02x}" for code in CONTROLS} | {
    code: f"\\u{code:04x}" for code in DIRECTIONS
}


def plain(text: str) -> str:
    """`text` with its control characters and marks of direction spelt out, tabs and line breaks excepted."""
    return text.translate(_SPELT)
