"""What is there to run Experts with: providers whose keys are set, a local Ollama, programs of other vendors.

Names only: no key is read further than to see that it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import anyio
import msgspec

from perstack.definition import PROVIDERS, ProviderName, RuntimeName, access_of
from perstack.engine import VENDORS, Vendor
from perstack.errors import MissingEnv, RuntimeNotReady, UserError
from perstack.models import default_model

from ..running.foreign import probe

OLLAMA = "http://127.0.0.1:11434"
ANSWER_S = 1.0


class Detected(msgspec.Struct, frozen=True, kw_only=True):
    """providers: those that could be asked now, a running Ollama among them. runtimes: name and version."""

    providers: tuple[ProviderName, ...]
    runtimes: tuple[tuple[RuntimeName, str], ...] = ()


def served() -> tuple[ProviderName, ...]:
    """The providers this version can ask."""
    return tuple(name for name in PROVIDERS if _is_served(name))


def missing_of(provider: ProviderName, env: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that `provider` needs and `env` does not set."""
    try:
        access_of(provider, None, env)
    except MissingEnv as error:
        return error.names
    return ()


async def detect(env: Mapping[str, str]) -> Detected:
    """What is there. env: process and dotenv files together."""
    found: dict[RuntimeName, str] = {}
    ollama = False

    async def look_for(vendor: Vendor) -> None:
        try:
            found[vendor.name] = await probe(vendor, dict(env))
        except RuntimeNotReady:
            return

    async def look_for_ollama() -> None:
        nonlocal ollama
        ollama = await _listens(env.get("OLLAMA_BASE_URL") or OLLAMA)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look_for_ollama)
        for vendor in VENDORS.values():
            tasks.start_soon(look_for, vendor)
    providers: list[ProviderName] = [
        name for name in served() if name != "ollama" and not missing_of(name, env)
    ]
    if ollama:
        providers.append("ollama")
    runtimes: tuple[tuple[RuntimeName, str], ...] = tuple(
        (name, found[name]) for name in VENDORS if name in found
    )
    return Detected(providers=tuple(providers), runtimes=runtimes)


async def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with anyio.fail_after(ANSWER_S):
            async with await anyio.connect_tcp(parts.hostname or "", port):
                return True
    except (OSError, TimeoutError, ValueError):
        return False


def _is_served(provider: ProviderName) -> bool:
    try:
        default_model(provider)
    except UserError:
        return False
    return True
