"""Whom a job asks: the model it is to use, and how to open it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date
from pathlib import Path

from perstack.definition import (
    SERVED,
    ProviderAccess,
    ProviderName,
    ProviderTable,
    access_of,
    not_served,
)
from perstack.errors import MissingEnv, UserError
from perstack.job import Job, ModelChoice, Usage
from perstack.lock import Lock
from perstack.models import (
    Model,
    default_model,
    ending,
    load_cassette,
    open_model,
    open_recorder,
    price_of,
)

from ..project import Settings
from .order import Opener, Order
from .provided import check_provided, outside_walls


def stands_in(order: Order) -> bool:
    """Whether something else replies in the place of a provider's model."""
    return order.model is not None or order.cassette is not None


def choice_of(order: Order, settings: Settings) -> ModelChoice:
    """The model that a new job asks."""
    if order.model is not None:
        return ModelChoice(
            provider="custom", model=settings.model or "custom", reasoning=settings.reasoning
        )
    if order.cassette is not None:
        return ModelChoice(
            provider="cassette", model=order.cassette.name, reasoning=settings.reasoning
        )
    return ModelChoice(
        provider=settings.provider,
        model=settings.model or default_model(settings.provider),
        reasoning=settings.reasoning,
    )


def _check_price(provider: ProviderName, model: str) -> None:
    if price_of(provider, model, Usage()) is None:
        raise UserError(
            f"The price of {provider}/{model} is not known, so its cost cannot be limited. "
            "Leave out maxCost, or limit maxTokens instead."
        )


def model_opener(
    order: Order, settings: Settings, choice: ModelChoice, env: Mapping[str, str]
) -> tuple[Opener, tuple[str, ...]]:
    """How to open the model the job asks, and what the user should know of it."""
    scrub = {str(order.workspace): "<workspace>"}
    if order.model is not None:
        opener, warnings = _given(order.model), ()
    elif order.cassette is not None:
        opener, warnings = _given(load_cassette(order.cassette, scrub=scrub)), ()
    elif choice.provider in ("cassette", "custom"):
        raise UserError(
            "This job was run without a provider (its replies came from a recording or from a program). "
            "Choose one with --provider to go on."
        )
    else:
        if choice.provider not in SERVED:
            raise UserError(not_served(choice.provider))
        access = access_of(choice.provider, _table(settings, choice), env)
        if settings.limits.max_cost is not None:
            _check_price(choice.provider, choice.model)
        ends = ending(choice.provider, choice.model, date.today())
        opener, warnings = _asking(access, order.proxy), (ends,) if ends else ()
    return (_recording(opener, order.record, scrub) if order.record else opener), warnings


def _table(settings: Settings, choice: ModelChoice) -> ProviderTable | None:
    return settings.provider_table if choice.provider == settings.provider else None


def check_use(
    order: Order, settings: Settings, choice: ModelChoice, lock: Lock, env: Mapping[str, str]
) -> tuple[str, ...]:
    """What the Experts use at the provider that the job asks, one sentence for each.

    Raises UserError if the provider lacks any of it. A recording, or a program's own model, is not asked.
    """
    provider = choice.provider
    if stands_in(order) or provider in ("cassette", "custom") or provider not in SERVED:
        return ()
    try:
        access = access_of(provider, _table(settings, choice), env)
    except MissingEnv:  # said by whoever needs the key
        access = ProviderAccess(provider=provider)
    check_provided(lock, order.expert, access, choice.model)
    return outside_walls(lock, order.expert, provider)


def no_model(job: Job) -> AbstractAsyncContextManager[Model]:
    """For a runtime that asks a model of its own. Raises UserError."""
    raise UserError(f"Job {job.id} asks no model here.")


def _given(model: Model) -> Opener:
    @asynccontextmanager
    async def opened(job: Job) -> AsyncGenerator[Model]:
        yield model

    return opened


def _asking(access: ProviderAccess, proxy: str | None) -> Opener:
    return lambda job: open_model(access, proxy=proxy)


def _recording(opener: Opener, path: Path, scrub: Mapping[str, str]) -> Opener:
    @asynccontextmanager
    async def opened(job: Job) -> AsyncGenerator[Model]:
        async with opener(job) as model, open_recorder(model, path, scrub=scrub) as recorder:
            yield recorder

    return opened
