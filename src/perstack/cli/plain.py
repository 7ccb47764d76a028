"""Texts of others, made safe to print."""

from __future__ import annotations

_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"
}


def plain(text: str) -> str:
    """`text` with its control characters spelt out, tabs and line breaks excepted.

    What a model or a tool says is not to move the cursor, clear the screen, or set the title of a terminal.
    """
    return text.translate(_CONTROLS)
