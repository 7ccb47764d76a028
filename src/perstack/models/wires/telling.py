"""What a provider's own tools did, in a few words for people."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from perstack.job import Json, ProviderPart

from .loose import text

LONGEST = 1000
"""Letters that are told of what was asked, and of what came of it."""

_TELLING = ("query", "url", "code", "command", "pattern")
"""The members of a request that say what it is about."""


def told(asked: dict[str, Json]) -> str:
    """What a tool was asked: the one member that says it, else all of them."""
    for name in _TELLING:
        if said := text(asked.get(name)):
            return in_short(said)
    return in_short(msgspec.json.encode(asked).decode()) if asked else ""


def in_short(said: str) -> str:
    """The beginning of `said`, and that there was more."""
    said = said.strip()
    return said if len(said) <= LONGEST else said[:LONGEST] + "…"


def put(
    provided: list[ProviderPart],
    part: ProviderPart,
    answers: Callable[[ProviderPart, ProviderPart], bool],
) -> None:
    """Add `part`. What came of an earlier part is told there, so that each deed is told once.

    answers: whether the first is what came of the second.
    """
    for place, earlier in enumerate(provided):
        if earlier.tool and not earlier.gave and answers(part, earlier):
            provided[place] = msgspec.structs.replace(earlier, gave=part.gave, failed=part.failed)
            part = ProviderPart(data=part.data)
            break
    provided.append(part)
