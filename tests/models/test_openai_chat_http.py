"""Whole conversations over HTTP, with a server as strict as the providers."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from perstack.definition import ProviderAccess
from perstack.errors import ModelError
from perstack.job import ExpertMessage, History, Image, Text, ToolMessage, said
from perstack.models import Delta, Request, ToolSpec, open_model
from perstack.models.catalog import default_model
from tests.fakes.modelserver import Calls, Fails, ModelServer, Says, Tokens

pytestmark = pytest.mark.anyio

PROVIDERS = ("openai", "google", "deepseek", "ollama")
TOOLS = tuple(
    ToolSpec(name=name, description="", schema={"type": "object"}) for name in ("add", "look.up")
)
TOKENS = Tokens(input=90, output=30, cached=10, reasoning=7)


def access(provider: Any, server: ModelServer) -> ProviderAccess:
    settings = {"name": "responses"} if provider == "openai" else {}
    return ProviderAccess(provider=provider, api_key="k", base_url=server.url, settings=settings)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_conversation_with_parallel_calls_and_a_picture(provider: Any):
    turns = [
        Calls(
            [("add", {"a": 1, "b": [2, "ü"]}), ("add", {})],
            text="Let me see.",
            thinking="I should add.",
            tokens=TOKENS,
        ),
        Says("All is well.", tokens=TOKENS),
    ]
    heard: list[Delta] = []
    model = default_model(provider)
    async with (
        ModelServer(turns) as server,
        open_model(access(provider, server)) as asked,
    ):
        history = History([said("What is 1 + 2?")])
        for concluding in (False, True):
            request = Request(
                model=model,
                instruction="Be brief.",
                history=history,
                tools=TOOLS,
                reasoning="high",
                concluding=concluding,
            )
            with anyio.fail_after(10):
                reply = await asked.reply(request, heard.append)
            history = history.plus(reply.message)
            for call in reply.message.calls:
                parts = (Text(text="3"), Image(data="AAAA", mime_type="image/png"))
                history = history.plus(ToolMessage(call=call.id, tool=call.tool, parts=parts))
        assert server.refusals == []
    first, last = history[1], history[-1]
    assert isinstance(first, ExpertMessage)
    assert isinstance(last, ExpertMessage)
    assert [call.args for call in first.calls] == [{"a": 1, "b": [2, "ü"]}, {}]
    assert len({call.id for call in first.calls}) == 2
    assert (first.text, last.text) == ("Let me see.", "All is well.")
    assert first.model == f"{provider}/{model}"
    assert "".join(d.text for d in heard if d.kind == "text") == "Let me see.All is well."


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_refusal_arrives_with_its_name(provider: Any):
    model = default_model(provider)
    async with (
        ModelServer([Fails(429)]) as server,
        open_model(access(provider, server)) as asked,
    ):
        request = Request(model=model, instruction="", history=History([said("hi")]))
        with anyio.fail_after(10), pytest.raises(ModelError) as caught:
            await asked.reply(request, lambda _: None)
    assert (caught.value.name, caught.value.retryable) == ("RateLimited", True)
