"""A reasoning budget as the word a model wants to hear."""

from __future__ import annotations

from collections.abc import Collection

from perstack.definition import Reasoning

from .wire import ReasoningStyle, Traits

SCALE = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every effort word any provider has, least first."""

_USUAL = ("low", "medium", "high")


def level_of(reasoning: Reasoning) -> str:
    """The named level nearest to `reasoning`; a number of tokens has one too."""
    if isinstance(reasoning, str):
        return reasoning
    if reasoning <= 0:
        return "none"
    return "low" if reasoning <= 2048 else "medium" if reasoning <= 5000 else "high"


def style_of(reasoning: Reasoning, traits: Traits, newest: ReasoningStyle) -> ReasoningStyle:
    """How a model is told of `reasoning`. One that is not listed gets a wish as the newest models want it."""
    unlisted = traits.reasoning == "none" and traits.context_window is None
    return newest if unlisted and level_of(reasoning) != "none" else traits.reasoning


def effort_for(reasoning: Reasoning, accepted: Collection[str]) -> str | None:
    """The word to send to a model that accepts these; None to send nothing.

    The lowest accepted word at or above the wish, else the highest. A model that knows no "none" cannot stop
    thinking; it gets the lowest word it knows.
    """
    level = level_of(reasoning)
    if level == "none":
        return next((word for word in SCALE if word in accepted), None)
    active = [word for word in SCALE[1:] if word in (accepted or _USUAL)]
    wish = SCALE.index(level)
    return next(
        (word for word in active if SCALE.index(word) >= wish), active[-1] if active else None
    )
