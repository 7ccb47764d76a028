"""Characters that people do not see and models read.

Much that is invisible is also honest: joiners inside emoji and within Persian or Hindi words, direction marks in
Arabic and Hebrew, variation selectors after symbols, the tags in the flag of Scotland. What surrounds a character
decides whether it is hidden.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

_SUSPECT = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\ue000-\uf8ff\U0001d173-\U0001d17a\U000e0000-\U0010ffff"
    "]"
)
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069\u206a-\u206f]")
_MARK = re.compile("[\u200e\u200f\u061c]")
_JOINER = re.compile("[\u200c\u200d]")
_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_TAG = re.compile("[\U000e0000-\U000e007f]")
_ZERO_WIDTH = re.compile("[\u200b\u2060-\u2064\ufeff\u180e\u034f\u00ad]")
_BLANK = re.compile("[\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800\U0001d173-\U0001d17a]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ufff9-\ufffb]")
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
_JOINED_SCRIPTS = re.compile(
    "[\u0600-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u18af\ua840-\ua8ff\ufb50-\ufdcf\ufdf0-\ufdff]"
)
_SYMBOL = re.compile(
    "[0-9#*\u00a9\u00ae\u2000-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)

ENOUGH = 512
"""Hidden characters of one text; what comes after them is not looked at."""

Sort = str
"""bidi, tags, selectors, zero-width, blank, control or private-use."""


class Hidden(NamedTuple):
    """Characters of one sort in a text. spelled: the text they make, if they do."""

    sort: Sort
    letters: tuple[str, ...]
    spelled: str


def hidden_in(text: str) -> list[Hidden]:
    """The hidden characters of a text, by sort, in the order in which they first come."""
    text = _FLAG.sub("", text)
    sorts: dict[Sort, list[str]] = {}
    hidden = 0
    for found in _SUSPECT.finditer(text):
        if sort := _sort(text, found.start()):
            sorts.setdefault(sort, []).append(found[0])
            hidden += 1
        if hidden == ENOUGH:
            break
    return [Hidden(sort, tuple(letters), _spelled(letters)) for sort, letters in sorts.items()]


def _sort(text: str, at: int) -> Sort:
    """What sort of hidden character stands at this place; empty if it is honest there."""
    letter, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if _DIRECTION.match(letter):
        return "bidi"
    if _MARK.match(letter):
        return "" if _near(text, at, _right_to_left) else "bidi"
    if _TAG.match(letter):
        return "tags"
    if _SELECTOR.match(letter):
        return "" if before and _selectable(before, letter) else "selectors"
    if _JOINER.match(letter):
        return "" if before and after and _joined(before, after) else "zero-width"
    if _ZERO_WIDTH.match(letter):
        return "" if letter == "\ufeff" and at == 0 else "zero-width"
    if _BLANK.match(letter):
        return "blank"
    if _CONTROL.match(letter):
        return "control"
    return "private-use" if unicodedata.category(letter) in ("Co", "Cn") else ""


def _joined(before: str, after: str) -> bool:
    """Whether a joiner between these two is spelling: of one emoji, or of a word."""
    emoji = (
        _SYMBOL.match(before) or before in "\ufe0f\u20e3" or "\U0001f3fb" <= before <= "\U0001f3ff"
    )
    if emoji and _SYMBOL.match(after):
        return True
    return bool(_JOINED_SCRIPTS.match(before) and (_JOINED_SCRIPTS.match(after) or after.isspace()))


def _selectable(before: str, selector: str) -> bool:
    if selector >= "\U000e0100":
        return "CJK" in unicodedata.name(before, "")
    return bool(_SYMBOL.match(before)) or unicodedata.category(before) in ("Lo", "Po", "Sm", "So")


def _right_to_left(letter: str) -> bool:
    return unicodedata.bidirectional(letter) in ("R", "AL") and letter.isalpha()


def _near(text: str, at: int, test: Callable[[str], bool]) -> bool:
    return any(map(test, text[max(0, at - 16) : at + 17]))


def _spelled(letters: list[str]) -> str:
    """The text that tags, or selectors taken for bytes, spell."""
    points = [ord(letter) for letter in letters]
    if tags := "".join(chr(point - 0xE0000) for point in points if 0xE0020 <= point <= 0xE007E):
        return tags
    selectors = [letter for letter in letters if _SELECTOR.match(letter)]
    data = bytes(
        ord(letter) - (0xFE00 if letter <= "\ufe0f" else 0xE0100 - 16) for letter in selectors
    )
    text = data.decode("utf-8", "replace")
    return text if len(text) > 3 and text.isprintable() and "\ufffd" not in text else ""
