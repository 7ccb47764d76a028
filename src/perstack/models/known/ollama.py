"""Some of the models people run with Ollama. What it serves is what was pulled, so nothing here ends.

A window is the model's; Ollama allots less unless it is told otherwise (`OLLAMA_CONTEXT_LENGTH`).
"""

from __future__ import annotations

from ..wires.wire import Traits

DEFAULT = "gpt-oss:20b"

_OSS = ("low", "medium", "high")
_SWITCHED = ("none", *_OSS)


def _thinker(model: str, window: int, efforts: tuple[str, ...]) -> Traits:
    return Traits(
        model=model,
        context_window=window,
        max_output=window,
        reasoning="effort",
        always_thinks="none" not in efforts,
        efforts=efforts,
    )


def _plain(model: str, window: int) -> Traits:
    return Traits(model=model, context_window=window, max_output=window)


MODELS: tuple[Traits, ...] = (
    _thinker("gpt-oss:20b", 131_072, _OSS),
    _thinker("gpt-oss:120b", 131_072, _OSS),
    _thinker("qwen3", 40_960, _SWITCHED),
    _thinker("deepseek-r1", 131_072, _SWITCHED),
    _plain("gemma3:1b", 32_000),
    _plain("gemma3:4b", 128_000),
    _plain("gemma3:12b", 128_000),
    _plain("gemma3:27b", 128_000),
)
