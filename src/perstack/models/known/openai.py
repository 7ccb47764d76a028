"""OpenAI's models, as of November 2026."""

from __future__ import annotations

from datetime import date

from ..wires.wire import Traits

DEFAULT = "gpt-6.1-terra"

_ALL = ("none", "low", "medium", "high", "xhigh", "max")
_XHIGH = ("none", "low", "medium", "high", "xhigh")
_PRO = ("medium", "high", "xhigh")
_GPT_5 = ("minimal", "low", "medium", "high")
_O = ("low", "medium", "high")


def _thinker(
    model: str, window: int, efforts: tuple[str, ...], ends: date | None = None, out: int = 128_000
) -> Traits:
    return Traits(
        model=model,
        context_window=window,
        max_output=out,
        reasoning="effort",
        always_thinks="none" not in efforts,
        efforts=efforts,
        ends=ends,
    )


def _plain(model: str, window: int, out: int, ends: date | None = None) -> Traits:
    return Traits(model=model, context_window=window, max_output=out, ends=ends)


_OCT_23 = date(2026, 10, 23)
_DEC_11 = date(2026, 12, 11)
_JAN_14 = date(2027, 1, 14)
_APR_1 = date(2027, 4, 1)

MODELS: tuple[Traits, ...] = (
    _thinker("gpt-6-astra", 1_050_000, _ALL[1:]),
    _thinker("gpt-6.1-sol", 1_050_000, _ALL[1:]),
    _thinker("gpt-6.1-terra", 1_050_000, _ALL),
    _thinker("gpt-6-sol", 1_050_000, _ALL),
    _thinker("gpt-6-luna", 1_050_000, _ALL),
    _thinker("gpt-5.6-sol", 1_050_000, _ALL),
    _thinker("gpt-5.6-terra", 1_050_000, _ALL),
    _thinker("gpt-5.6-luna", 1_050_000, _ALL),
    _thinker("gpt-5.5", 1_050_000, _XHIGH),
    _thinker("gpt-5.5-pro", 1_050_000, _PRO),
    _thinker("gpt-5.4", 1_050_000, _XHIGH),
    _thinker("gpt-5.4-pro", 1_050_000, _PRO),
    _thinker("gpt-5.4-mini", 400_000, _XHIGH),
    _thinker("gpt-5.4-nano", 400_000, _XHIGH, _APR_1),
    _thinker("gpt-5.3-codex", 400_000, _XHIGH, _APR_1),
    _thinker("gpt-5.2", 400_000, _XHIGH),
    _thinker("gpt-5.2-pro", 400_000, _PRO),
    _thinker("gpt-5.1", 400_000, ("none", "low", "medium", "high"), _APR_1),
    _thinker("gpt-5", 400_000, _GPT_5, _DEC_11),
    _thinker("gpt-5-mini", 400_000, _GPT_5, _DEC_11),
    _thinker("gpt-5-nano", 400_000, _GPT_5, _DEC_11),
    _thinker("gpt-5-pro", 400_000, ("high",), _DEC_11, out=272_000),
    _plain("gpt-5-chat-latest", 128_000, 16_384, date(2026, 7, 23)),
    _thinker("o4-mini", 200_000, _O, _OCT_23, out=100_000),
    _thinker("o3", 200_000, _O, _DEC_11, out=100_000),
    _thinker("o3-pro", 200_000, _O, _DEC_11, out=100_000),
    _thinker("o3-mini", 200_000, _O, _OCT_23, out=100_000),
    _plain("gpt-4.1", 1_047_576, 32_768, _JAN_14),
    _plain("gpt-4.1-mini", 1_047_576, 32_768, _JAN_14),
    _plain("gpt-4.1-nano", 1_047_576, 32_768, _OCT_23),
    _plain("gpt-4o", 128_000, 16_384, _JAN_14),
    _plain("gpt-4o-mini", 128_000, 16_384, _JAN_14),
)
