"""An agent of pydantic-ai. arguments: url jobs [anthropic|openai]"""

from __future__ import annotations

import asyncio
import sys

from pydantic_ai import Agent, UsageLimits
from shared import (
    DELEGATE_WORDS,
    FILE_TOOL_WORDS,
    INSTRUCTION,
    QUERY,
    raise_file_limit,
    read_text_file,
)


def model_at(url: str, wire: str):
    if wire == "anthropic":
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        return AnthropicModel("claude", provider=AnthropicProvider(api_key="x", base_url=url))
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel("gpt", provider=OpenAIProvider(api_key="x", base_url=f"{url}/v1"))


async def converse(agent: Agent, query: str) -> str:
    async with agent.run_stream_events(
        query, usage_limits=UsageLimits(request_limit=None)
    ) as events:
        result = None
        async for event in events:
            result = getattr(event, "result", result)
    return result.output


async def main(url: str, jobs: int, wire: str = "anthropic") -> None:
    agent = Agent(model_at(url, wire), instructions=INSTRUCTION)

    @agent.tool_plain(name="readTextFile", description=FILE_TOOL_WORDS)
    async def read(path: str) -> str:
        return read_text_file(path)

    @agent.tool_plain(name="worker", description=DELEGATE_WORDS)
    async def worker(query: str) -> str:
        return await converse(agent, query)

    for text in await asyncio.gather(*(converse(agent, QUERY) for _ in range(jobs))):
        print(text)


raise_file_limit()
asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
