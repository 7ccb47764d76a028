"""An agent loop on the openai SDK, chat completions. arguments: url jobs"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai
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
    {"type": "function", "function": {"name": name, "description": words, "parameters": schema}}
    for name, words, schema in (
        (FILE_TOOL, FILE_TOOL_WORDS, FILE_TOOL_SCHEMA),
        (DELEGATE, DELEGATE_WORDS, DELEGATE_SCHEMA),
    )
]


async def converse(client: openai.AsyncOpenAI, query: str) -> str:
    messages: list[Any] = [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": query},
    ]
    while True:
        async with client.chat.completions.stream(
            model="gpt", tools=TOOLS, messages=messages
        ) as stream:
            reply = (await stream.get_final_completion()).choices[0].message
        messages.append(reply)
        if not reply.tool_calls:
            return reply.content or ""
        messages += await asyncio.gather(*(use(client, call) for call in reply.tool_calls))


async def use(client: openai.AsyncOpenAI, call: Any) -> dict:
    args = json.loads(call.function.arguments)
    if call.function.name == DELEGATE:
        text = await converse(client, args["query"])
    else:
        text = read_text_file(**args)
    return {"role": "tool", "tool_call_id": call.id, "content": text}


async def main(url: str, jobs: int) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", timeout=600) as client:
        for text in await asyncio.gather(*(converse(client, QUERY) for _ in range(jobs))):
            print(text)


raise_file_limit()
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
