"""The vendors' own SDKs take the fake server for theirs."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from .modelserver import Calls, Fails, Heard, ModelServer, Says, Tokens

pytestmark = pytest.mark.anyio

TOKENS = Tokens(input=90, output=30, cached=10, reasoning=7)
CALLS: list[tuple[str, dict[str, Any]]] = [("add", {"a": 1, "b": [2, "ü"]}), ("look", {})]
TURNS = [
    Calls(CALLS, text="Let me see.", thinking="I should add.", tokens=TOKENS),
    Says("All  is\nwell. ", thinking="Both agree.", tokens=TOKENS),
]
HEARD = (
    Heard(role="user", text="What is 1 + 2?"),
    Heard(
        role="expert",
        text="Let me see.",
        thinking="I should add.",
        calls=(("add", {"a": 1, "b": [2, "ü"]}), ("look", {})),
    ),
    Heard(role="user", results=("3", "nothing")),
)
RESULTS = ("3", "nothing")
ANY_OBJECT: Any = {"type": "object"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # what the vendors test


@pytest.fixture(params=["streamed", "whole"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return request.param == "streamed"


@pytest.fixture(params=[None, 7], ids=["by event", "in shreds"])
def shred(request: pytest.FixtureRequest) -> int | None:
    return request.param


async def test_anthropic_holds_a_conversation(streamed: bool, shred: int | None):
    async with (
        ModelServer(TURNS, shred=shred) as server,
        anthropic.AsyncAnthropic(base_url=server.url, api_key="x", max_retries=0) as client,
    ):
        messages: Any = [{"role": "user", "content": "What is 1 + 2?"}]

        async def ask() -> anthropic.types.Message:
            asked: Any = {
                "model": "claude",
                "max_tokens": 4_000,
                "system": "Be brief.",
                "messages": messages,
                "tools": [{"name": name, "input_schema": ANY_OBJECT} for name in ("add", "look")],
            }
            if not streamed:
                create: Any = client.messages.create
                return await create(**asked)
            async with client.messages.stream(**asked) as stream:
                return await stream.get_final_message()

        first = await ask()
        calls = [block for block in first.content if block.type == "tool_use"]
        assert [(call.name, call.input) for call in calls] == CALLS
        assert first.stop_reason == "tool_use"
        assert (first.usage.input_tokens, first.usage.cache_read_input_tokens) == (80, 10)
        assert first.usage.output_tokens == 30

        messages.append({"role": "assistant", "content": first.content})
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text}
            for call, text in zip(calls, RESULTS, strict=True)
        ]
        messages.append({"role": "user", "content": results})
        second = await ask()
        assert [block.text for block in second.content if block.type == "text"] == [
            "All  is\nwell. "
        ]
        assert second.stop_reason == "end_turn"

        assert server.requests[-1].messages == HEARD
        assert server.requests[-1].system == "Be brief."
        assert server.requests[-1].tools == ("add", "look")
        assert [request.replies for request in server.requests] == [0, 1]


async def test_openai_chat_holds_a_conversation(streamed: bool, shred: int | None):
    async with (
        ModelServer(TURNS, shred=shred) as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client,
    ):
        messages: Any = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is 1 + 2?"},
        ]

        async def ask() -> Any:
            asked: Any = {
                "model": "gpt",
                "messages": messages,
                "tools": [
                    {"type": "function", "function": {"name": name, "parameters": ANY_OBJECT}}
                    for name in ("add", "look")
                ],
            }
            if not streamed:
                create: Any = client.chat.completions.create
                return await create(**asked)
            options: Any = {"include_usage": True}
            async with client.chat.completions.stream(**asked, stream_options=options) as stream:
                return await stream.get_final_completion()

        first = await ask()
        message = first.choices[0].message
        assert message.content == "Let me see."
        assert first.choices[0].finish_reason == "tool_calls"
        assert (first.usage.prompt_tokens, first.usage.completion_tokens) == (90, 30)
        assert first.usage.prompt_tokens_details.cached_tokens == 10
        assert first.usage.completion_tokens_details.reasoning_tokens == 7

        messages.append(message.model_dump(exclude_none=True))
        messages.extend(
            {"role": "tool", "tool_call_id": call.id, "content": text}
            for call, text in zip(message.tool_calls, RESULTS, strict=True)
        )
        second = await ask()
        assert second.choices[0].message.content == "All  is\nwell. "
        assert second.choices[0].finish_reason == "stop"

        assert server.requests[-1].messages == HEARD
        assert server.requests[-1].system == "Be brief."
        assert server.requests[-1].tools == ("add", "look")
        assert [request.replies for request in server.requests] == [0, 1]


async def test_openai_responses_holds_a_conversation(streamed: bool, shred: int | None):
    async with (
        ModelServer(TURNS, shred=shred) as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client,
    ):
        items: Any = [{"role": "user", "content": "What is 1 + 2?"}]

        async def ask() -> Any:
            asked: Any = {
                "model": "gpt",
                "instructions": "Be brief.",
                "input": items,
                "store": False,
                "tools": [
                    {"type": "function", "name": name, "parameters": ANY_OBJECT, "strict": False}
                    for name in ("add", "look")
                ],
            }
            if not streamed:
                create: Any = client.responses.create
                return await create(**asked)
            async with client.responses.stream(**asked) as stream:
                return await stream.get_final_response()

        first = await ask()
        calls = [item for item in first.output if item.type == "function_call"]
        assert first.output_text == "Let me see."
        assert (first.usage.input_tokens, first.usage.output_tokens) == (90, 30)
        assert first.usage.input_tokens_details.cached_tokens == 10
        assert first.usage.output_tokens_details.reasoning_tokens == 7

        items.extend(
            item.model_dump(exclude_none=True, exclude={"parsed_arguments"})
            for item in first.output
        )
        items.extend(
            {"type": "function_call_output", "call_id": call.call_id, "output": text}
            for call, text in zip(calls, RESULTS, strict=True)
        )
        second = await ask()
        assert second.output_text == "All  is\nwell. "
        assert second.status == "completed"

        assert server.requests[-1].messages == HEARD
        assert server.requests[-1].system == "Be brief."
        assert server.requests[-1].tools == ("add", "look")
        assert [request.replies for request in server.requests] == [0, 1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's own, on import
async def test_google_genai_holds_a_conversation(streamed: bool, shred: int | None):
    from google import genai
    from google.genai import types

    async with ModelServer(TURNS, shred=shred) as server:
        client = genai.Client(api_key="x", http_options=types.HttpOptions(base_url=server.url))
        models = client.aio.models
        contents: Any = [types.Content(role="user", parts=[types.Part(text="What is 1 + 2?")])]
        config = types.GenerateContentConfig(
            system_instruction="Be brief.",
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            tools=[
                types.Tool(
                    function_declarations=[
                        types.FunctionDeclaration(name=name, parameters_json_schema=ANY_OBJECT)
                        for name in ("add", "look")
                    ]
                )
            ],
        )

        async def ask() -> tuple[list[types.Part], Any]:
            asked: Any = {"model": "gemini", "contents": contents, "config": config}
            if not streamed:
                answer: Any = await models.generate_content(**asked)
                return answer.candidates[0].content.parts, answer
            parts: list[types.Part] = []
            chunk: Any = None
            async for chunk in await models.generate_content_stream(**asked):
                parts += chunk.candidates[0].content.parts
            return parts, chunk

        parts, last = await ask()
        calls = [part.function_call for part in parts if part.function_call]
        assert [(call.name, call.args) for call in calls] == CALLS
        assert any(part.thought_signature for part in parts)
        assert last.usage_metadata.prompt_token_count == 90
        assert last.usage_metadata.cached_content_token_count == 10
        assert last.usage_metadata.candidates_token_count == 23
        assert last.usage_metadata.thoughts_token_count == 7

        contents.append(types.Content(role="model", parts=parts))
        answers = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id, name=call.name, response={"result": text}
                )
            )
            for call, text in zip(calls, RESULTS, strict=True)
        ]
        contents.append(types.Content(role="user", parts=answers))
        parts, last = await ask()
        assert "".join(part.text or "" for part in parts if not part.thought) == "All  is\nwell. "
        assert last.candidates[0].finish_reason == "STOP"

        assert server.requests[-1].messages == HEARD
        assert server.requests[-1].system == "Be brief."
        assert server.requests[-1].tools == ("add", "look")
        assert [request.replies for request in server.requests] == [0, 1]
        await client.aio.aclose()


async def test_anthropic_reads_redacted_thinking_and_a_refusal():
    turn = Says("No.", thinking="secret", redacted=True, finish="refusal")
    async with (
        ModelServer([turn]) as server,
        anthropic.AsyncAnthropic(base_url=server.url, api_key="x", max_retries=0) as client,
        client.messages.stream(
            model="claude", max_tokens=100, messages=[{"role": "user", "content": "Go."}]
        ) as stream,
    ):
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["redacted_thinking", "text"]
    assert message.stop_reason == "refusal"


async def test_the_sdks_know_the_errors_for_what_they_are():
    async with (
        ModelServer([Fails(529, "Overloaded"), Fails(429, headers={"retry-after": "7"})]) as server,
        anthropic.AsyncAnthropic(base_url=server.url, api_key="x", max_retries=0) as claude,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as gpt,
    ):
        with pytest.raises(anthropic.APIStatusError, match="Overloaded") as overloaded:
            await claude.messages.create(
                model="claude", max_tokens=9, messages=[{"role": "user", "content": "Go."}]
            )
        assert overloaded.value.status_code == 529
        with pytest.raises(openai.RateLimitError) as limited:
            await gpt.responses.create(model="gpt", input="Go.")
        assert limited.value.response.headers["retry-after"] == "7"


async def test_an_error_in_mid_stream_is_an_error_to_the_sdks():
    turn = Fails(500, "Something broke", after_events=3)
    async with (
        ModelServer([turn, turn, turn]) as server,
        anthropic.AsyncAnthropic(base_url=server.url, api_key="x", max_retries=0) as claude,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as gpt,
    ):
        with pytest.raises(anthropic.APIError, match="Something broke"):
            async with claude.messages.stream(
                model="claude", max_tokens=9, messages=[{"role": "user", "content": "Go."}]
            ) as stream:
                await stream.get_final_message()
        with pytest.raises(openai.APIError, match="Something broke"):
            async for _ in await gpt.chat.completions.create(
                model="gpt", messages=[{"role": "user", "content": "Go."}], stream=True
            ):
                pass
        kinds = [
            event.type
            async for event in await gpt.responses.create(model="g", input="Go.", stream=True)
        ]
        assert kinds[-1] == "error"
