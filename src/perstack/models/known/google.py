"""Google's models, as of November 2026.

The Pro models of Gemini 2.5 and all from Gemini 3 on cannot stop thinking; "minimal" comes next to it.
"""

from __future__ import annotations

from datetime import date

from ..wires.wire import Traits

DEFAULT = "gemini-3.8-flash"

_WINDOW = 1_048_576
_OUTPUT = 65_536
_FROM_LOW = ("low", "medium", "high")
_FROM_MINIMAL = ("minimal", *_FROM_LOW)


def _level(model: str, efforts: tuple[str, ...], ends: date | None = None) -> Traits:
    return Traits(
        model=model,
        context_window=_WINDOW,
        max_output=_OUTPUT,
        reasoning="level",
        always_thinks=True,
        efforts=efforts,
        ends=ends,
    )


def _budget(model: str, *, always_thinks: bool = False, ends: date | None = None) -> Traits:
    return Traits(
        model=model,
        context_window=_WINDOW,
        max_output=_OUTPUT,
        reasoning="budget",
        always_thinks=always_thinks,
        ends=ends,
    )


_DEC_1 = date(2026, 12, 1)

MODELS: tuple[Traits, ...] = (
    _level("gemini-4-carbon", _FROM_LOW),
    _level("gemini-4-argon", _FROM_LOW),
    _level("gemini-3.8-flash", _FROM_LOW),
    _level("gemini-3.7-flash", _FROM_LOW),
    _level("gemini-3.6-flash", _FROM_MINIMAL),
    _level("gemini-3.5-flash", _FROM_MINIMAL),
    _level("gemini-3.5-flash-lite", _FROM_MINIMAL),
    _level("gemini-3.1-pro-preview", _FROM_LOW),
    _level("gemini-3.1-flash-lite", _FROM_MINIMAL, date(2027, 5, 7)),
    _level("gemini-3-flash-preview", _FROM_MINIMAL),
    _level("gemini-3-pro-preview", ("low", "high"), date(2026, 3, 9)),
    _budget("gemini-2.5-pro", always_thinks=True, ends=_DEC_1),
    _budget("gemini-2.5-flash", ends=_DEC_1),
    _budget("gemini-2.5-flash-lite"),
)
