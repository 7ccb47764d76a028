"""An agent loop on the anthropic SDK. arguments: url jobs"""

from __future__ import annotations

import asyncio
import sys

import anthropic
from shared import (
    DELEGATE,
    DELEGATE_SCHEMA,
    DELEGATE_WORDS,
    FILE_TOOL,
    FILE_TOOL_SCHEMA,
    FILE_TOOL_WORDS,
    INSTRUCTION,
    QUERY,
    raise_file_limit,
    read_text_file,
)

TOOLS = [
    {"name": FILE_TOOL, "description": FILE_TOOL_WORDS, "input_schema": FILE_TOOL_SCHEMA},
    {"name": DELEGATE, "description": DELEGATE_WORDS, "input_schema": DELEGATE_SCHEMA},
]


async def converse(client: anthropic.AsyncAnthropic, query: str) -> str:
    messages: list[dict] = [{"role": "user", "content": query}]
    while True:
        async with client.messages.stream(
            model="claude", max_tokens=4096, system=INSTRUCTION, tools=TOOLS, messages=messages
        ) as stream:
            reply = await stream.get_final_message()
        messages.append({"role": "assistant", "content": reply.content})
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            return "".join(block.text for block in reply.content if block.type == "text")
        results = await asyncio.gather(*(use(client, call) for call in calls))
        messages.append({"role": "user", "content": results})


async def use(client: anthropic.AsyncAnthropic, call: anthropic.types.ToolUseBlock) -> dict:
    args = call.input
    if call.name == DELEGATE:
        text = await converse(client, args["query"])
    else:
        text = read_text_file(**args)
    return {"type": "tool_result", "tool_use_id": call.id, "content": text}


async def main(url: str, jobs: int) -> None:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="x", timeout=600) as client:
        for text in await asyncio.gather(*(converse(client, QUERY) for _ in range(jobs))):
            print(text)


raise_file_limit()
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
