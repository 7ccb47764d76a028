"""Text in lines of a width. Pure, and quick for what most text is: ASCII."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells

from perstack._controls import UNSHOWN

Span = tuple[str, str]
"""Words and their tone: the name of a style, "" for the usual one."""

Spans = tuple[Span, ...]
"""One line."""

_HIDDEN = dict.fromkeys(UNSHOWN, "\ufffd")


def clean(text: str) -> str:
    """`text` of others, as it may be shown: no control characters or marks of direction, tabs as spaces."""
    return text.translate(_HIDDEN).expandtabs(4)


def one_line(text: str) -> str:
    return " ".join(clean(text).split())


def width_of(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int) -> str:
    """`text`, cut to `width` cells, with "…" at its end if there was more."""
    if width <= 0:
        return ""
    text = text[: 4 * width]  # it may be megabytes
    if width_of(text) <= width:
        return text
    if text.isascii():
        return f"{text[: width - 1]}…"
    return f"{chop_cells(text, width - 1)[0]}…" if width > 1 else "…"


def wrapped(text: str, width: int, hang: int = 0) -> Iterator[str]:
    """The lines of one paragraph, broken between words where it can be. hang: cells the others are shorter by."""
    room = width = max(width, 8)
    while len(text) > room or width_of(text) > room:
        head = text[: room + 1]
        head = head[:room] if head.isascii() else chop_cells(head, room)[0]
        space = len(head) if text[len(head) : len(head) + 1] == " " else head.rfind(" ")
        place = space if space > len(head) // 3 else len(head)
        yield text[:place].rstrip()
        text = text[place:].lstrip(" ")
        room = max(width - hang, 8)
    yield text


def wrapped_spans(spans: Spans, width: int, hang: int = 0) -> Iterator[Spans]:
    """The same for a line of several tones."""
    text = "".join(words for words, _ in spans)
    place = 0
    for line in wrapped(text, width, hang):
        start = text.index(line, place)
        indent = ((" " * hang, ""),) if place and hang else ()
        place = start + len(line)
        yield (*indent, *_part(spans, start, place))


def _part(spans: Spans, start: int, end: int) -> Spans:
    parts: list[Span] = []
    at = 0
    for words, tone in spans:
        first, last = max(start - at, 0), min(end - at, len(words))
        if first < last:
            parts.append((words[first:last], tone))
        at += len(words)
    return tuple(parts)


def fit_spans(spans: Spans, width: int) -> Spans:
    """One line of several tones, cut as `fit` does."""
    if sum(width_of(words) for words, _ in spans) <= width:
        return spans
    parts: list[Span] = []
    for words, tone in spans:
        room = width - sum(width_of(part) for part, _ in parts)
        if room <= 0:
            break
        parts.append((fit(words, room), tone))
        if width_of(words) > room:
            break
    else:
        return tuple(parts)
    if parts and not parts[-1][0].endswith("…"):
        words, tone = parts[-1]
        parts[-1] = (fit(words, width_of(words) - 1).removesuffix("…") + "…", tone)
    return tuple(parts)
