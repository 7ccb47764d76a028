"""Lines with tones as content of a widget: the theme says what colour a tone is."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from .wrap import Spans

STYLES = {
    "user": "$primary",
    "good": "$success",
    "bad": "$error",
    "warn": "$warning",
    "live": "$accent",
    "delegate": "$secondary",
    "muted": "$muted",
    "code": "$accent",
    "bold": "bold",
    "heading": "bold",
    "title": "bold",
    "key": "bold $primary",
    "brand": "bold $primary",
    "done": "$muted strike",
    "section": "bold $muted",
}


def content_of(lines: Iterable[Spans]) -> Content:
    parts: list[str | tuple[str, str]] = []
    for place, line in enumerate(lines):
        if place:
            parts.append("\n")
        for words, tones in line:
            style = " ".join(STYLES[tone] for tone in tones.split() if tone in STYLES)
            parts.append((words, style) if style else words)
    return Content.assemble(*parts)
