"""An MCP server whose tools stand in a file: `python mcp_listed.py DIRECTORY`.

In the directory, `tools.json` holds the tools as `tools/list` gives them. A line is added to `starts` whenever the
server starts, and one to `calls` for each call. A tool answers with its name and arguments.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    place = Path(sys.argv[1])
    tools = json.loads((place / "tools.json").read_text())
    with (place / "starts").open("a") as starts:
        starts.write("started\n")
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            answer = {"jsonrpc": "2.0", "id": message["id"], **answered(message, tools, place)}
            sys.stdout.write(f"{json.dumps(answer)}\n")
            sys.stdout.flush()


def answered(message: dict[str, Any], tools: list[Any], place: Path) -> dict[str, Any]:
    params: dict[str, Any] = message.get("params") or {}
    match message["method"]:
        case "initialize":
            info = {"name": "listed", "version": "1"}
            can: dict[str, Any] = {"tools": {}}
            spoken = params["protocolVersion"]
            return {"result": {"protocolVersion": spoken, "capabilities": can, "serverInfo": info}}
        case "tools/list":
            return {"result": {"tools": tools}}
        case "tools/call":
            with (place / "calls").open("a") as calls:
                calls.write(f"{params['name']}\n")
            text = f"{params['name']} {json.dumps(params.get('arguments'))}"
            return {"result": {"content": [{"type": "text", "text": text}]}}
        case _:
            return {"error": {"code": -32601, "message": "Method not found"}}


if __name__ == "__main__":
    main()
