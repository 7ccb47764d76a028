"""Providers and models as data: which wire speaks to whom, and what is known of a model.

| provider | wire |
| --- | --- |
| anthropic | Anthropic Messages |
| google | Gemini |
| openai | Responses at OpenAI itself; Chat Completions at any other `baseUrl`, which seldom has more |
| deepseek, ollama | Chat Completions |

An `openai` provider table with its own `baseUrl` gets Responses by naming it: `name = "responses"` (any name
that ends so), for gateways that speak it.

Any model name is accepted. A name that is not listed has the traits of the longest listed name it continues.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from functools import cache, lru_cache, partial
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from perstack.definition import SERVED, ProviderAccess, ProviderName, not_served
from perstack.errors import UserError

from .wires.wire import Traits, Wire

if TYPE_CHECKING:
    from .connections import Connections
    from .http import HttpModel

_SNAPSHOT = re.compile(r"[-@]?(\d{8}|\d{4}-\d{2}-\d{2}|latest)$")
_OFFICIAL_OPENAI = "api.openai.com"


@asynccontextmanager
async def open_model(
    access: ProviderAccess,
    *,
    proxy: str | None = None,
    connections: Connections | None = None,
) -> AsyncGenerator[HttpModel]:
    """The models of this provider, ready to reply; each request names the one it is for.

    proxy: URL of an HTTP proxy for all of it. connections: a pool to share, left open; else one of its own,
    which is closed with the block. Raises UserError for a provider that is not served.
    """
    from .connections import Connections
    from .http import HttpModel

    wire = wire_of(access)
    async with AsyncExitStack() as stack:
        pool = connections or await stack.enter_async_context(Connections())
        yield HttpModel(wire, access, pool, partial(traits_of, access.provider), proxy=proxy)


def wire_of(access: ProviderAccess) -> Wire:
    """The format this provider is spoken to in. Raises UserError if there is none yet."""
    match access.provider:
        case "anthropic":
            from .wires.anthropic import ANTHROPIC

            return ANTHROPIC
        case "google":
            from .wires.google import GEMINI

            return GEMINI
        case "openai" if _has_responses(access):
            from .wires.openai_responses import RESPONSES

            return RESPONSES
        case "openai" | "deepseek" | "ollama":
            from .wires.openai_chat import CHAT

            return CHAT
        case "azure-openai" | "amazon-bedrock" | "google-vertex":
            raise UserError(not_served(access.provider))


def provider_tools_refusal(access: ProviderAccess, model: str) -> str:
    """Why tools of the provider cannot be used with `model` there; empty if they can."""
    match access.provider:
        case "openai" if not _has_responses(access):
            return (
                f"{access.base_url} is spoken to in Chat Completions, which knows none. If it knows Responses, "
                'set name = "x.responses" in [provider.setting].'
            )
        case "google":
            from .wires.google_tools import takes_own_tools

            if not takes_own_tools(model):
                return (
                    f'"{model}" does not take them beside functions, which every Expert has. '
                    "Models from Gemini 3 on do: choose one with --model."
                )
            return ""
        case _:
            return ""


def _has_responses(access: ProviderAccess) -> bool:
    if access.base_url is None or urlsplit(access.base_url).hostname == _OFFICIAL_OPENAI:
        return True
    return str(access.settings.get("name", "")).endswith("responses")


@lru_cache(maxsize=1024)
def traits_of(provider: ProviderName, model: str) -> Traits:
    """What is known of a model; with nothing but its name if nothing is."""
    rows = _rows(provider)
    if model in rows:
        return rows[model]
    known = max((name for name in rows if _continues(model, name)), key=len, default=None)
    if known is None:
        return Traits(model=model)
    row = rows[known]
    same = _SNAPSHOT.fullmatch(model, len(known)) is not None
    return msgspec.structs.replace(row, model=model, ends=row.ends if same else None)


def default_model(provider: ProviderName) -> str:
    """The model an Expert gets that asks for none. Raises UserError for a provider that is not served."""
    if provider not in SERVED:
        raise UserError(not_served(provider))
    return _known(provider)[1]


def ending(provider: ProviderName, model: str, today: date) -> str | None:
    """What to warn of if `model` is to end, or has ended; None if no end is known."""
    ends = traits_of(provider, model).ends
    if ends is None:
        return None
    day = f"{ends.day} {ends:%B %Y}"
    instead = f"Use another, such as {default_model(provider)}."
    if today >= ends:
        return f'The model "{model}" ended on {day}; requests to it are likely to fail. {instead}'
    return f'The model "{model}" ends on {day}. {instead}'


def _continues(model: str, name: str) -> bool:
    """Whether `model` is `name` with something after it that is not part of the same word."""
    return model.startswith(name) and not model[len(name)].isalnum()


@cache
def _rows(provider: ProviderName) -> dict[str, Traits]:
    return {row.model: row for row in _known(provider)[0]}


def _known(provider: ProviderName) -> tuple[tuple[Traits, ...], str]:
    if provider not in SERVED:
        return (), ""
    # By name, so that asking for one provider does not load the others.
    module = import_module(f".known.{provider}", __package__)
    return module.MODELS, module.DEFAULT
