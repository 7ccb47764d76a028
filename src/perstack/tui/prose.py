"""What a model writes, as lines with tones: as much of Markdown as reads better in a terminal. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .wrap import Span, Spans, clean

_INLINE = re.compile(r"\*\*(?P<bold>[^*\n]+)\*\*|`(?P<code>[^`\n]+)`")
_HEADING = re.compile(r"(#{1,6}) +(.+?) *#*$")
_BULLET = re.compile(r"( *)[-*+] +(\[[ xX]\] )?")
_HANG = re.compile(r" *(?:[•☐☑] |\d+[.)] )| +")


def prose(text: str, tone: str = "") -> Iterator[Spans]:
    """One line for each of `text`. tone: that of plain words."""
    fenced = False
    for line in clean(text).split("\n"):
        line = line.rstrip()
        if line.lstrip().startswith("```"):
            fenced = not fenced
            if language := line.strip("` "):
                yield ((f"  {language}", "muted"),)
        elif fenced:
            yield ((f"  {line}", "code"),)
        elif heading := _HEADING.match(line):
            yield ((heading[2].replace("**", "").replace("`", ""), "heading"),)
        elif line.strip(" -*_") == "" and len(line.replace(" ", "")) >= 3:
            yield (("─" * 12, "muted"),)
        else:
            yield tuple(_inline(_bulleted(line), tone))


def hang_of(spans: Spans) -> int:
    """How far the lines below are to be set in when this one is broken: as far as its text."""
    found = _HANG.match(spans[0][0]) if spans else None
    return min(found.end(), 12) if found else 0


def _bulleted(line: str) -> str:
    found = _BULLET.match(line)
    if found is None:
        return line
    box = {"[ ] ": "☐", "[x] ": "☑", "[X] ": "☑"}.get(found[2] or "", "•")
    return f"{found[1]}{box} {line[found.end() :]}"


def _inline(line: str, tone: str) -> Iterator[Span]:
    at = 0
    for found in _INLINE.finditer(line):
        if found.start() > at:
            yield line[at : found.start()], tone
        yield (found["bold"], "bold") if found["bold"] else (found["code"], "code")
        at = found.end()
    if at < len(line) or not line:
        yield line[at:], tone
