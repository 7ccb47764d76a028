"""The floor: an agent loop with nothing in it but what the work itself needs.

Hand-written HTTP, server-sent events, and a log on disk, on one asyncio protocol. Each message is encoded
once, and a request is joined from the encoded pieces. arguments: url jobs
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from urllib.parse import urlsplit

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
PREFIX = (
    json.dumps(
        {
            "model": "claude",
            "max_tokens": 4096,
            "stream": True,
            "system": INSTRUCTION,
            "tools": TOOLS,
        }
    )[:-1].encode()
    + b', "messages": ['
)


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer.endswith(b"\r\n0\r\n\r\n"):
            answer, self.buffer = bytes(self.buffer), bytearray()
            self.answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(ConnectionError("the server is gone"))

    def ask(self, head: bytes, messages: list[bytes]) -> asyncio.Future[bytes]:
        body = PREFIX + b",".join(messages) + b"]}"
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        return self.answer


def events_in(answer: bytes):
    """The data of each server-sent event in a chunked answer."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(rest.decode())
    place = 0
    stream = bytearray()
    while True:
        end = rest.index(b"\r\n", place)
        size = int(rest[place:end], 16)
        if not size:
            break
        stream += rest[end + 2 : end + 2 + size]
        place = end + 4 + size
    for line in stream.split(b"\n"):
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def blocks_in(answer: bytes) -> list[dict]:
    blocks: list[dict] = []
    for event in events_in(answer):
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


async def converse(host: str, port: int, query: str, log: int) -> str:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: {host}:{port}\r\nx-api-key: x\r\n"
        "anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n"
    ).encode()
    messages = [json.dumps({"role": "user", "content": query}).encode()]
    while True:
        blocks = blocks_in(await connection.ask(head, messages))
        messages.append(json.dumps({"role": "assistant", "content": blocks}).encode())
        calls = [block for block in blocks if block["type"] == "tool_use"]
        results = await asyncio.gather(*(use(host, port, call, log) for call in calls))
        if calls:
            messages.append(json.dumps({"role": "user", "content": results}).encode())
        os.write(log, b"\n".join((*messages[-2 if calls else -1 :], b"")))
        if not calls:
            connection.transport.close()
            return "".join(block["text"] for block in blocks)


async def use(host: str, port: int, call: dict, log: int) -> dict:
    args = call["input"]
    if call["name"] == DELEGATE:
        text = await converse(host, port, args["query"], log)
    else:
        text = read_text_file(**args)
    return {"type": "tool_result", "tool_use_id": call["id"], "content": text}


async def job(host: str, port: int, number: int) -> None:
    log = os.open(f"log-{number}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    print(await converse(host, port, QUERY, log))
    os.fdatasync(log)
    os.close(log)


async def main(url: str, jobs: int) -> None:
    address = urlsplit(url)
    await asyncio.gather(*(job(address.hostname, address.port, number) for number in range(jobs)))


raise_file_limit()
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
