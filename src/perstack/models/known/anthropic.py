"""Anthropic's models. Days of retirement are Anthropic's own; newer models have none yet."""

from __future__ import annotations

from datetime import date

from ..wires.wire import Traits

DEFAULT = "claude-sonnet-5-5"

_THREE = ("low", "medium", "high")
_ALL = ("low", "medium", "high", "xhigh", "max")


def _modern(
    model: str, *, off: str = "disabled", binds: bool = False, always: bool = False
) -> Traits:
    """The 5 series: thinks adaptively unless told not to, and some of it always."""
    return Traits(
        model=model,
        context_window=1_000_000,
        max_output=128_000,
        reasoning="adaptive",
        efforts=_ALL,
        always_thinks=always,
        off="" if always else off,
        binds_thoughts=binds,
    )


def _adaptive(model: str, efforts: tuple[str, ...] = _ALL) -> Traits:
    """4.6 to 4.8: thinks only if asked to, adaptively."""
    return Traits(
        model=model,
        context_window=1_000_000,
        max_output=128_000,
        reasoning="adaptive",
        efforts=efforts,
    )


def _budgeted(
    model: str,
    *,
    output: int = 64_000,
    efforts: tuple[str, ...] = (),
    ends: date | None = None,
    counts: bool = False,
    thinks: bool = True,
) -> Traits:
    """4.5 and before: thinks within a budget of tokens."""
    return Traits(
        model=model,
        context_window=200_000,
        max_output=output,
        reasoning="budget" if thinks else "none",
        efforts=efforts,
        ends=ends,
        counts_output=counts,
    )


MODELS: tuple[Traits, ...] = (
    _modern("claude-fable-5", always=True),
    _modern("claude-fable-5-1", always=True, binds=True),
    _modern("claude-fable-5-2", always=True, binds=True),
    _modern("claude-mythos-5", always=True),
    _modern("claude-mythos-5-1", always=True),
    _modern("claude-mythos-5-2", always=True, binds=True),
    _modern("claude-opus-5"),
    _modern("claude-opus-5-5", always=True, binds=True),
    _modern("claude-sonnet-5"),
    _modern("claude-sonnet-5-5", off="between_tools", binds=True),
    _modern("claude-haiku-5-5", binds=True),
    _adaptive("claude-opus-4-8"),
    _adaptive("claude-opus-4-7"),
    _adaptive("claude-opus-4-6", efforts=(*_THREE, "max")),
    _adaptive("claude-sonnet-4-6", efforts=(*_THREE, "max")),
    _budgeted("claude-opus-4-5", efforts=_THREE),
    _budgeted("claude-haiku-4-5"),
    _budgeted("claude-sonnet-4-5", ends=date(2026, 11, 30)),
    _budgeted("claude-opus-4-1", output=32_000, ends=date(2026, 8, 5), counts=True),
    _budgeted("claude-opus-4-0", output=32_000, ends=date(2026, 6, 15), counts=True),
    _budgeted("claude-opus-4-20250514", output=32_000, ends=date(2026, 6, 15), counts=True),
    _budgeted("claude-sonnet-4-0", ends=date(2026, 6, 15), counts=True),
    _budgeted("claude-sonnet-4-20250514", ends=date(2026, 6, 15), counts=True),
    _budgeted("claude-3-7-sonnet", ends=date(2026, 2, 19), counts=True),
    _budgeted("claude-3-5-haiku", output=8_192, ends=date(2026, 2, 19), counts=True, thinks=False),
    # Families: what comes after this list. Nothing is assumed that an older relative would refuse.
    Traits(model="claude-3", context_window=200_000, max_output=4_096, counts_output=True),
    Traits(model="claude", max_output=64_000, reasoning="adaptive", efforts=_THREE),
)
