"""What is known of providers and models."""

from __future__ import annotations

import re
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import anthropic.resources.messages.messages as sdk
import pytest
from pydantic_ai.profiles.anthropic import anthropic_model_profile

from perstack.definition import SERVED, ProviderAccess, ProviderName
from perstack.errors import UserError
from perstack.models import default_model, ending, open_model, traits_of
from perstack.models.catalog import wire_of
from perstack.models.known import anthropic
from perstack.models.wires.wire import Traits

TODAY = date(2026, 11, 20)


def test_a_listed_model_is_known_and_a_snapshot_of_it_too():
    listed = traits_of("anthropic", "claude-sonnet-4-5")
    snapshot = traits_of("anthropic", "claude-sonnet-4-5-20250929")
    assert (snapshot.max_output, snapshot.reasoning, snapshot.ends) == (
        64_000,
        "budget",
        listed.ends,
    )
    assert snapshot.model == "claude-sonnet-4-5-20250929"


def test_a_name_is_continued_at_the_end_of_a_word_only():
    assert traits_of("anthropic", "claude-opus-55").max_output == 64_000
    assert traits_of("anthropic", "claude-opus-5-9").max_output == 128_000


def test_a_relative_does_not_end_with_its_family():
    assert traits_of("anthropic", "claude-sonnet-4-5-preview").ends is None


def test_a_model_nobody_knows_has_nothing_but_its_name():
    assert traits_of("anthropic", "my-own") == Traits(model="my-own")
    assert traits_of("amazon-bedrock", "x") == Traits(model="x")


@pytest.mark.parametrize("provider", SERVED)
def test_the_reference_names_every_known_model(provider: ProviderName):
    page = Path(__file__).parents[2] / "docs" / "reference" / "models.md"
    _, _, rest = page.read_text(encoding="utf-8").partition(f"### {provider}\n")
    listed = re.findall(r"^\| `(.*?)` \|", rest.partition("### ")[0], re.MULTILINE)
    rows: tuple[Traits, ...] = import_module(f"perstack.models.known.{provider}").MODELS
    assert listed == [row.model for row in rows]
    assert f"Default: `{default_model(provider)}`." in rest.partition("### ")[0]


@pytest.mark.parametrize("provider", SERVED)
def test_the_default_model_lives_and_is_listed(provider: ProviderName):
    model = default_model(provider)
    assert ending(provider, model, TODAY) is None
    assert traits_of(provider, model).context_window is not None


def test_a_model_that_ends_is_warned_of_before_and_after():
    before = ending("anthropic", "claude-sonnet-4-5", TODAY)
    after = ending("anthropic", "claude-sonnet-4-5", date(2026, 12, 1))
    assert before is not None
    assert "ends on 30 November 2026" in before
    assert after is not None
    assert "ended on 30 November 2026" in after
    assert "claude-sonnet-5-5" in before
    assert ending("anthropic", "claude-opus-5-5", TODAY) is None


@pytest.mark.parametrize("model", sorted(sdk.DEPRECATED_MODELS))
def test_our_ends_are_those_of_anthropics_own_library(model: str):
    ends = traits_of("anthropic", model).ends
    if not model.startswith(("claude-3-5-haiku", "claude-3-7", "claude-opus-4", "claude-sonnet-4")):
        return  # older than anything the reference lists
    assert ends is not None
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(ends.day % 10 if ends.day not in (11, 12, 13) else 0)
    assert sdk.DEPRECATED_MODELS[model] == f"{ends:%B} {ends.day}{suffix or 'th'}, {ends.year}"


@pytest.mark.parametrize(
    "traits",
    [row for row in anthropic.MODELS if row.model.count("-") > 1 and row.context_window],
    ids=lambda row: row.model,
)
def test_our_rows_say_what_pydantic_ai_knows(traits: Traits):
    profile: Any = anthropic_model_profile(traits.model)
    theirs = profile.get("anthropic_max_output_tokens")
    assert theirs is None or theirs == traits.max_output
    assert (traits.reasoning == "adaptive") == profile["anthropic_supports_adaptive_thinking"]
    assert bool(traits.efforts) == profile["anthropic_supports_effort"]
    assert ("xhigh" in traits.efforts) == profile["anthropic_supports_xhigh_effort"]
    assert traits.always_thinks == profile["thinking_always_enabled"]
    assert traits.binds_thoughts == profile["anthropic_binds_thinking_blocks"]
    assert traits.counts_output == profile["anthropic_rejects_max_tokens_beyond_context_window"]
    off = (
        "between_tools"
        if profile["anthropic_disables_thinking_with_between_tools"]
        else "disabled"
        if profile["thinking_enabled_by_default"] and not traits.always_thinks
        else ""
    )
    assert traits.off == off


@pytest.mark.parametrize("provider", sorted(set(get_args(ProviderName)) - set(SERVED)))
def test_a_provider_not_served_yet_says_which_are(provider: ProviderName):
    with pytest.raises(UserError) as raised:
        wire_of(ProviderAccess(provider=provider))
    assert all(name in str(raised.value) for name in SERVED)
    with pytest.raises(UserError):
        default_model(provider)


@pytest.mark.parametrize(
    ("access", "wire"),
    [
        (ProviderAccess(provider="anthropic"), "anthropic"),
        (ProviderAccess(provider="google"), "google"),
        (ProviderAccess(provider="openai"), "openai_responses"),
        (ProviderAccess(provider="openai", base_url="https://api.openai.com/v1"), "openai_responses"),
        (ProviderAccess(provider="openai", base_url="http://localhost:8000/v1"), "openai_chat"),
        (
            ProviderAccess(
                provider="openai",
                base_url="https://gateway.example",
                settings={"name": "acme.responses"},
            ),
            "openai_responses",
        ),
        (ProviderAccess(provider="deepseek"), "openai_chat"),
        (ProviderAccess(provider="ollama"), "openai_chat"),
    ],
)  # fmt: skip
def test_each_provider_is_spoken_to_in_its_format(access: ProviderAccess, wire: str):
    assert type(wire_of(access)).__module__ == f"perstack.models.wires.{wire}"


@pytest.mark.anyio
async def test_opening_a_provider_not_served_is_refused():
    with pytest.raises(UserError):
        async with open_model(ProviderAccess(provider="amazon-bedrock")):
            pass
