"""An agent of the OpenAI Agents SDK, on chat completions. arguments: url jobs"""

from __future__ import annotations

import asyncio
import sys

import openai
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from shared import (
    DELEGATE_WORDS,
    FILE_TOOL_WORDS,
    INSTRUCTION,
    QUERY,
    raise_file_limit,
    read_text_file,
)


async def converse(agent: Agent, query: str) -> str:
    result = Runner.run_streamed(agent, query, max_turns=10_000)
    async for _ in result.stream_events():
        pass
    return result.final_output


async def main(url: str, jobs: int) -> None:
    set_tracing_disabled(True)

    @function_tool(name_override="readTextFile", description_override=FILE_TOOL_WORDS)
    async def read(path: str) -> str:
        return read_text_file(path)

    @function_tool(name_override="worker", description_override=DELEGATE_WORDS)
    async def worker(query: str) -> str:
        return await converse(agent, query)

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", timeout=600) as client:
        agent = Agent(
            name="worker",
            instructions=INSTRUCTION,
            tools=[read, worker],
            model=OpenAIChatCompletionsModel(model="gpt", openai_client=client),
            model_settings=ModelSettings(include_usage=True),
        )
        for text in await asyncio.gather(*(converse(agent, QUERY) for _ in range(jobs))):
            print(text)


raise_file_limit()
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
