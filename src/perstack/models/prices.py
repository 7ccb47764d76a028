"""What a reply costs, by the kept price data of the `genai-prices` package.

Asked only where a job has a limit on its cost: loading the data takes longer than starting a job.
"""

from __future__ import annotations

from perstack.definition import ProviderName
from perstack.job import Usage

_PROVIDERS: dict[ProviderName, str] = {
    "anthropic": "anthropic",
    "google": "google",
    "openai": "openai",
    "deepseek": "deepseek",
    "azure-openai": "azure",
    "amazon-bedrock": "aws",
    "google-vertex": "google",
}
"""Our names → the package's. Ollama is not there: it has no price."""


def price_of(provider: ProviderName, model: str, usage: Usage) -> int | None:
    """Millionths of a US dollar, rounded up; None if nobody knows the price of this model."""
    if provider not in _PROVIDERS:
        return None
    from genai_prices import Usage as Priced
    from genai_prices import calc_price

    priced = Priced(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_input_tokens,
    )
    try:
        price = calc_price(priced, model_ref=model, provider_id=_PROVIDERS[provider])
    except LookupError:
        return None
    return -int(-price.total_price * 1_000_000 // 1)
