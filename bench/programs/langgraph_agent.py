"""LangChain's agent on LangGraph, with the Anthropic model. arguments: url jobs"""

from __future__ import annotations

import asyncio
import sys

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from shared import (
    DELEGATE_WORDS,
    FILE_TOOL_WORDS,
    INSTRUCTION,
    QUERY,
    raise_file_limit,
    read_text_file,
)


async def converse(agent, query: str) -> str:
    state = await agent.ainvoke(
        {"messages": [{"role": "user", "content": query}]}, {"recursion_limit": 100_000}
    )
    return state["messages"][-1].text


async def main(url: str, jobs: int) -> None:
    @tool("readTextFile", description=FILE_TOOL_WORDS)
    async def read(path: str) -> str:
        return read_text_file(path)

    @tool("worker", description=DELEGATE_WORDS)
    async def worker(query: str) -> str:
        return await converse(agent, query)

    model = ChatAnthropic(
        model="claude", base_url=url, api_key="x", max_tokens=4096, streaming=True, timeout=600
    )
    agent = create_agent(model, [read, worker], system_prompt=INSTRUCTION)
    for text in await asyncio.gather(*(converse(agent, QUERY) for _ in range(jobs))):
        print(text)


raise_file_limit()
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
