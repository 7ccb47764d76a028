"""DeepSeek's models, as of November 2026."""

from __future__ import annotations

from datetime import date

from ..wires.wire import Traits

DEFAULT = "deepseek-flash"


def _switched(model: str) -> Traits:
    return Traits(
        model=model,
        context_window=1_000_000,
        max_output=384_000,
        reasoning="switch",
        efforts=("low", "high", "max"),
    )


_JUL_24 = date(2026, 7, 24)

MODELS: tuple[Traits, ...] = (
    _switched("deepseek-flash"),
    _switched("deepseek-v4-pro"),
    _switched("deepseek-v4-flash"),  # an old name of deepseek-flash, still served
    Traits(model="deepseek-chat", context_window=128_000, max_output=8_192, ends=_JUL_24),
    Traits(
        model="deepseek-reasoner",
        context_window=128_000,
        max_output=64_000,
        reasoning="switch",
        always_thinks=True,
        ends=_JUL_24,
    ),
)
