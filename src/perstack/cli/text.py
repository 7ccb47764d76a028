"""Plain text and JSON on stdout, warnings on stderr: one line for each thing, without control characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click
import msgspec

from perstack.job import Json

from .plain import plain


def say(text: str) -> None:
    """Writes to stdout, in UTF-8 wherever we are."""
    click.echo(text.encode("utf-8", "backslashreplace"), nl=False)


def warn(warnings: Iterable[str]) -> None:
    """What there is to know, on stderr, whatever is printed besides."""
    for warning in warnings:
        click.echo(f"warning: {plain(warning)}", err=True)


def as_json_text(value: Json, *, pretty: bool) -> str:
    """One JSON text, in one line or indented by two."""
    line = msgspec.json.encode(value)
    return (msgspec.json.format(line, indent=2) if pretty else line).decode() + "\n"


def one_line(text: str) -> str:
    """`text` in one line, without characters that would move a terminal's cursor or colour it."""
    return plain(" ".join(text.split()))


def cut(text: str, length: int) -> str:
    """`text` in one line, no longer than so many characters, and "..." if there is more."""
    # Only the beginning is looked at: a result may be megabytes
    line = one_line(text[: 4 * length])
    return line if len(line) <= length and len(text) <= 4 * length else f"{line[:length]}..."


def moment(at: float) -> str:
    """Seconds since 1970 as YYYY-MM-DD HH:MM:SS, UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """How long something took: "0.4s", "3m 04s", "2h 05m"."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    return f"{minutes // 60}h {minutes % 60:02d}m"


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """The rows as lines whose columns stand below each other. right: the columns that end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def blocks(*blocks: Sequence[str]) -> str:
    """Blocks of lines, an empty line after each."""
    return "".join("".join(f"{line}\n" for line in block) + "\n" for block in blocks if block)
