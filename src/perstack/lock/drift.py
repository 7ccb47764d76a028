"""How the tools a skill has now differ from those that were pinned, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec

from .document import canonical_json
from .lock import PinnedTool

_ENCODER = msgspec.json.Encoder()

SHOWN = 160
"""Characters of a value that are shown of each side."""

MOST = 40
"""Differences that are listed."""


def differences(
    pinned: Iterable[PinnedTool], now: Iterable[PinnedTool], *, hints: bool = True
) -> tuple[str, ...]:
    """One line for each difference; none if the tools are the same. Their order does not count.

    hints: whether titles and hints were pinned too.
    """
    before = {tool.name: tool for tool in pinned}
    after = {tool.name: tool for tool in now}
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            lines.append(f"{name}: removed")
        elif name not in before:
            lines.append(f"{name}: added: {_shown(after[name].description)}")
        elif _ENCODER.encode(before[name]) != _ENCODER.encode(after[name]):
            lines += (f"{name}: {line}" for line in _changes(before[name], after[name], hints))
    if len(lines) > MOST:
        lines[MOST:] = [f"... and {len(lines) - MOST} more"]
    return tuple(lines)


def _changes(before: PinnedTool, after: PinnedTool, hints: bool) -> Iterator[str]:
    if before.description != after.description:
        yield f"description: {_both(before.description, after.description)}"
    if hints:
        for name in ("title", "reads_only", "may_repeat"):
            old, new = getattr(before, name), getattr(after, name)
            if old != new:
                yield f"{name.replace('_', ' ')}: {_both(old, new)}"
    yield from _inside("inputSchema", before.schema, after.schema)


def _inside(place: str, before: Any, after: Any) -> Iterator[str]:
    if canonical_json(before) == canonical_json(after):
        return
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield f"{place}: {_both(before, after)}"
        return
    old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
    for key in (*old, *(key for key in new if key not in old)):
        if key not in new:
            yield f"{place}.{key}: removed, was {_shown(old[key])}"
        elif key not in old:
            yield f"{place}.{key}: added: {_shown(new[key])}"
        else:
            yield from _inside(f"{place}.{key}", old[key], new[key])


def _both(before: Any, after: Any) -> str:
    """Old and new, each from a little before the place where they part."""
    old, new = (canonical_json(value).decode() for value in (before, after))
    same = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
    start = max(same - SHOWN // 4, 0) if max(len(old), len(new)) > SHOWN else 0
    return f"{_clipped(old, start)} -> {_clipped(new, start)}"


def _shown(value: Any) -> str:
    return _clipped(canonical_json(value).decode(), 0)


def _clipped(text: str, start: int) -> str:
    end = start + SHOWN
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"
