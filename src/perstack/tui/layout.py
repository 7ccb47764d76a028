"""A block as lines of a width: what stands where. Pure.

`height_of` says how many lines `lines_of` would give, without making them: a list of ten thousand blocks is laid
out by their heights, and only those on the screen are drawn.
"""

from __future__ import annotations

from .blocks import PREVIEW, Block
from .prose import hang_of
from .wrap import Spans, fit, fit_spans, width_of, wrapped, wrapped_spans

READABLE = 100
"""Cells of a line of prose, however wide the screen is."""

RAIL = "│ "
INSET = 2
"""Cells a body is set in, to stand below its title."""


def lines_of(block: Block, width: int, depth: int = 0, *, unfolded: bool = False) -> list[Spans]:
    """The lines of `block`. depth: how many delegations it is below the root."""
    rail: Spans = ((RAIL * depth, "rail"),) if depth else ()
    room = max(width - len(RAIL) * depth, 12)
    lines: list[Spans] = [()] if block.spaced else []
    lines += _thoughts(block, room, unfolded)
    body = _body(block, room - INSET, unfolded)
    if block.title:
        lines.append(_head(block, room))
    else:
        first = body.pop(0) if body else ()
        lines.append(((f"{block.glyph} ", block.tone), *first))
    lines += [((" " * INSET, ""), *line) for line in body]
    return [(*rail, *line) for line in lines] if rail else lines


def height_of(block: Block, width: int, depth: int = 0, *, unfolded: bool = False) -> int:
    """How many lines that is."""
    room = max(width - len(RAIL) * depth, 12)
    count = int(block.spaced) + int(bool(block.title))
    count += len(_thoughts(block, room, unfolded)) if block.thoughts else 0
    if block.whole or unfolded:
        body = len(_body(block, room - INSET, unfolded))
    else:
        body = len(block.body)
        body = body if body <= PREVIEW + 1 and not block.more else min(body, PREVIEW) + 1
    return count + (body if block.title else max(body, 1))


def _head(block: Block, room: int) -> Spans:
    meta = f" {fit(block.meta, room // 3)}" if block.meta else ""
    left = room - width_of(meta)
    title = fit(block.title, left - 2)
    subject = fit(block.subject, left - 3 - width_of(title))
    used = 2 + width_of(title) + (1 + width_of(subject) if subject else 0)
    spans: list[tuple[str, str]] = [(f"{block.glyph} ", block.tone), (title, f"title {block.tone}")]
    if subject:
        spans.append((f" {subject}", "subject"))
    if meta:
        spans.append((" " * max(min(left, READABLE) - used, 0) + meta, "meta"))
    return tuple(spans)


def _thoughts(block: Block, room: int, unfolded: bool) -> list[Spans]:
    if not block.thoughts:
        return []
    if not unfolded:
        return [(("✻ ", "thought"), (fit(" ".join(block.thoughts.split()), room - 2), "thought"))]
    lines: list[Spans] = []
    for paragraph in block.thoughts.split("\n"):
        for line in wrapped(paragraph, min(room - INSET, READABLE)):
            mark = "✻ " if not lines else "  "
            lines.append(((mark, "thought"), (line, "thought")))
    return lines


def _body(block: Block, room: int, unfolded: bool) -> list[Spans]:
    if block.whole or unfolded:
        width = min(room, READABLE) if block.whole else room
        lines = [part for line in block.body for part in wrapped_spans(line, width, hang_of(line))]
        return [*lines, _more(block.more)] if block.more else lines
    lines = [fit_spans(line, room) for line in block.body[: PREVIEW + 1]]
    if len(block.body) <= PREVIEW + 1 and not block.more:
        return lines
    hidden = len(block.body) - PREVIEW + block.more
    return [*lines[:PREVIEW], _more(hidden)]


def _more(count: int) -> Spans:
    return ((f"… {count} more line{'s' if count != 1 else ''}", "muted"),)
