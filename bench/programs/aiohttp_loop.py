"""An agent loop on aiohttp, written the plain way: no log, the whole history encoded anew each step.

arguments: url jobs
"""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
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

HEADERS = {"x-api-key": "x", "anthropic-version": "2023-06-01"}
TOOLS = [
    {"name": FILE_TOOL, "description": FILE_TOOL_WORDS, "input_schema": FILE_TOOL_SCHEMA},
    {"name": DELEGATE, "description": DELEGATE_WORDS, "input_schema": DELEGATE_SCHEMA},
]


async def reply(session: aiohttp.ClientSession, url: str, messages: list[dict]) -> list[dict]:
    body = {
        "model": "claude",
        "max_tokens": 4096,
        "stream": True,
        "system": INSTRUCTION,
        "tools": TOOLS,
        "messages": messages,
    }
    blocks: list[dict] = []
    args = ""
    async with session.post(f"{url}/v1/messages", json=body, headers=HEADERS) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            event = json.loads(line[6:])
            match event["type"]:
                case "content_block_start":
                    blocks.append(event["content_block"])
                    args = ""
                case "content_block_delta":
                    delta = event["delta"]
                    if delta["type"] == "text_delta":
                        blocks[-1]["text"] += delta["text"]
                    elif delta["type"] == "input_json_delta":
                        args += delta["partial_json"]
                case "content_block_stop" if blocks[-1]["type"] == "tool_use":
                    blocks[-1]["input"] = json.loads(args or "{}")
    return blocks


async def converse(session: aiohttp.ClientSession, url: str, query: str) -> str:
    messages: list[dict] = [{"role": "user", "content": query}]
    while True:
        blocks = await reply(session, url, messages)
        messages.append({"role": "assistant", "content": blocks})
        calls = [block for block in blocks if block["type"] == "tool_use"]
        if not calls:
            return "".join(block["text"] for block in blocks)
        results = await asyncio.gather(*(use(session, url, call) for call in calls))
        messages.append({"role": "user", "content": results})


async def use(session: aiohttp.ClientSession, url: str, call: dict) -> dict:
    args = call["input"]
    if call["name"] == DELEGATE:
        text = await converse(session, url, args["query"])
    else:
        text = read_text_file(**args)
    return {"type": "tool_result", "tool_use_id": call["id"], "content": text}


async def main(url: str, jobs: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for text in await asyncio.gather(*(converse(session, url, QUERY) for _ in range(jobs))):
            print(text)


raise_file_limit()
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
