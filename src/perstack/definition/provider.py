"""Providers: their tables in the file, and the one list of credentials and variable names."""

from __future__ import annotations

from typing import Any

import msgspec

from .expert import ProviderName


class ProviderAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one provider: what `[provider]` and the environment say together.

    api_key: empty where the provider wants none. base_url: as given, None for the provider's own.
    settings: the remaining settings by their camelCase names (region, resourceName, organization, ...).
    Holds secrets: it is never written down, and its repr hides them.
    """

    provider: ProviderName
    api_key: str = ""
    base_url: str | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    settings: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def __repr__(self) -> str:
        return f"ProviderAccess(provider={self.provider!r}, base_url={self.base_url!r}, ...)"
