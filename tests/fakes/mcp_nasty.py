"""An MCP server that does what servers should not do. Run it: `python mcp_nasty.py HABIT...`.

It speaks JSON-RPC by hand, so that it can also speak it wrongly. Habits hold for the whole server:

| Habit | What it does |
| --- | --- |
| garbage | prints lines that are no messages between those that are |
| chatty | writes to standard error without end |
| deaf | ignores SIGTERM, and that its input has ended |
| mute | never answers `initialize` |
| crash | says why on standard error, and exits, before it answers anything |
| modern | knows only the 2026-07-28 revision |
| newest | like modern, and does not even know what `initialize` is |
| pages | lists its tools on three pages |
| endless | lists its tools on pages without end |
| offspec | lists a tool without a schema |
| daemon | starts a child in a session of its own, which ignores SIGTERM and keeps the pipes open |
| stuffed | stops reading its input once its tools were listed |
| silent | closes its output once its tools were listed, and lives on |
| once | dies at the second start (a file named by PERSTACK_TEST_MARK says it was the second) |

and these are its tools: see `TOOLS`.
"""

# ruff: noqa: T201  # a program, not a part of the package

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

HABITS = {*sys.argv[1:], *(["modern"] if "newest" in sys.argv else [])}
OBJECT = {"type": "object"}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()

TOOLS: dict[str, dict[str, Any]] = {
    "echo": {"description": "Says\x00 it\u202e again.", "annotations": {"readOnlyHint": True}},
    "repeat": {"description": "Again.", "annotations": {"idempotentHint": True, "title": "Again"}},
    "hang": {"description": "Never answers."},
    "hung": {"description": "Which calls were cancelled, by their request ids."},
    "die": {"description": "Ends the server in the middle of the call."},
    "big": {"description": "A text of `size` characters."},
    "huge": {"description": "One line of `size` bytes."},
    "refuse": {"description": "A JSON-RPC error."},
    "fail": {"description": "A result that is an error."},
    "nothing": {"description": "No content."},
    "odd": {"description": "All kinds of content."},
    "structured": {"description": "Structured content without text."},
    "broken": {"description": "A result that is not MCP."},
    "slow": {"description": "Reports progress `times` times, then answers."},
    "forever": {"description": "Reports progress for ever."},
    "grow": {"description": "Has one tool more from now on."},
    "pid": {"description": "The ids of the server's processes."},
    "env": {"description": "Its environment."},
    "ask": {"description": "Asks the user for a name."},
    "listeners": {"description": "How many listen for changes."},
    "bad name!": {"description": "A name that is none."},
}
LOCK = threading.Lock()
CANCELLED: list[Any] = []
ANSWERS: dict[Any, dict[str, Any]] = {}
ANSWERED = threading.Condition()
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
LISTENERS: list[Any] = []


def say(message: dict[str, Any]) -> None:
    line = json.dumps({"jsonrpc": "2.0", **message})
    with LOCK:
        if "garbage" in HABITS:
            print("Listening, hurrah! {not json}", flush=True)
        print(line, flush=True)


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}], **more}


def listed(cursor: str | None) -> dict[str, Any]:
    tools = [{"name": name, "inputSchema": OBJECT, **tool} for name, tool in TOOLS.items()]
    if "offspec" in HABITS:
        return {"tools": [{"name": "echo"}]}
    if "endless" in HABITS:
        page = int(cursor or 0)
        return {
            "tools": [{"name": f"t{page}", "inputSchema": OBJECT}],
            "nextCursor": str(page + 1),
        }
    if "pages" in HABITS:
        page = int(cursor or 0)
        more = {"nextCursor": str(page + 1)} if page < 2 else {}
        return {"tools": tools[page * 7 : page * 7 + 7] if page < 2 else tools[14:], **more}
    return {"tools": tools}


def odd() -> dict[str, Any]:
    blob = base64.b64encode(b"%PDF-1.4").decode()
    return {
        "content": [
            {"type": "text", "text": ""},
            {"type": "image", "data": PIXEL, "mimeType": "image/PNG"},
            {"type": "image", "data": "not base64!", "mimeType": "image/png"},
            {"type": "image", "data": PIXEL, "mimeType": "image/tiff"},
            {"type": "audio", "data": PIXEL, "mimeType": "audio/wav"},
            {
                "type": "resource_link",
                "uri": "file:///a.txt",
                "name": "a",
                "mimeType": "text/plain",
            },
            {"type": "resource", "resource": {"uri": "x://t", "text": "told"}},
            {
                "type": "resource",
                "resource": {"uri": "x://b", "blob": blob, "mimeType": "application/pdf"},
            },
        ]
    }


def call(request: Any, params: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a call; None if it is never answered."""
    args: dict[str, Any] = params.get("arguments") or {}
    token = params.get("_meta", {}).get("progressToken")
    match params["name"]:
        case "hang":
            return None
        case "hung":
            return text(json.dumps(CANCELLED))
        case "die":
            print("Oh no, I die", file=sys.stderr, flush=True)
            os._exit(3)
        case "big":
            return text("x" * args["size"])
        case "huge":
            return text("x" * args["size"], structuredContent={"id": 5})
        case "fail":
            return text("it did not work", isError=True)
        case "nothing":
            return {"content": []}
        case "odd":
            return odd()
        case "structured":
            return {"content": [], "structuredContent": {"answer": 42}}
        case "broken":
            return {"content": [{"type": "text"}]}
        case "slow" | "forever" as name:
            for step in range(args.get("times", 10**9)):
                time.sleep(args["pause"])
                told = {"progressToken": token, "progress": step}
                say({"method": "notifications/progress", "params": told})
                if name == "forever" and request in CANCELLED:
                    return None
            return text("done at last")
        case "grow":
            TOOLS["grown"] = {"description": "New."}
            changed: dict[str, Any] = {"method": "notifications/tools/list_changed"}
            listener = {"_meta": {SUBSCRIPTION: LISTENERS[-1]}} if LISTENERS else None
            say({**changed, "params": listener} if listener else changed)
            return text("grown")
        case "pid":
            return text(str(os.getpid()))
        case "listeners":
            return text(str(len(LISTENERS)))
        case "env":
            return text(json.dumps(dict(os.environ)))
        case "ask" if "modern" in HABITS:
            return ask_in_return(params)
        case "ask":
            return ask(request)
        case _:
            return text(json.dumps(args))


def ask(request: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    params = {"mode": "form", "message": "What is your name?", "requestedSchema": schema}
    mine = f"ask-{request}"
    say({"id": mine, "method": "elicitation/create", "params": params})
    with ANSWERED:
        ANSWERED.wait_for(lambda: mine in ANSWERS)
        return text(json.dumps(ANSWERS.pop(mine)))


def ask_in_return(params: dict[str, Any]) -> dict[str, Any]:
    """In the newer era a question is a result, and the call comes again with the answer."""
    answers = params.get("inputResponses")
    if answers:
        return text(json.dumps({**answers["who"], "state": params["requestState"]}))
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    question = {"mode": "form", "message": "What is your name?", "requestedSchema": schema}
    wanted = {"who": {"method": "elicitation/create", "params": question}}
    return {"resultType": "input_required", "inputRequests": wanted, "requestState": "s-1"}


def answer(request: Any, method: str, params: dict[str, Any]) -> None:
    if method == "tools/call" and params["name"] == "refuse":
        say({"id": request, "error": {"code": -32602, "message": "No, thanks"}})
        return
    result: dict[str, Any] | None
    match method:
        case "initialize" if "mute" in HABITS:
            return
        case "initialize" if "newest" in HABITS:
            say({"id": request, "error": {"code": -32601, "message": "Method not found"}})
            return
        case "initialize" if "modern" in HABITS:
            fault = {"supported": ["2026-07-28"], "requested": params["protocolVersion"]}
            error = {"code": -32022, "message": "Unsupported protocol version", "data": fault}
            say({"id": request, "error": error})
            return
        case "initialize":
            result = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "nasty", "version": "0.1"},
            }
        case "server/discover" if "modern" in HABITS:
            result = {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {"listChanged": True}},
                "resultType": "complete",
                "ttlMs": 0,
                "cacheScope": "public",
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "modern", "version": "1"}},
            }
        case "subscriptions/listen" if "modern" in HABITS:
            LISTENERS.append(request)
            meta = {SUBSCRIPTION: request}
            told = {"_meta": meta, "notifications": params["notifications"]}
            say({"method": "notifications/subscriptions/acknowledged", "params": told})
            return
        case "tools/list":
            result = listed(params.get("cursor"))
        case "tools/call":
            result = call(request, params)
        case _:
            say({"id": request, "error": {"code": -32601, "message": "Method not found"}})
            return
    if result is None:
        return
    if "modern" in HABITS:
        result = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public", **result}
    say({"id": request, "result": result})


def heard(message: dict[str, Any]) -> None:
    match message:
        case {"method": "notifications/cancelled", "params": {"requestId": request}}:
            CANCELLED.append(request)
        case {"method": method, "id": request}:
            params: dict[str, Any] = message.get("params") or {}
            threading.Thread(target=answer, args=(request, method, params), daemon=True).start()
        case {"id": request}:
            with ANSWERED:
                ANSWERS[request] = message.get("result") or message.get("error", {})
                ANSWERED.notify_all()
        case _:
            pass


def shout() -> None:
    while True:
        print("noise " * 1000, file=sys.stderr, flush=True)


DAEMON = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def main() -> None:
    if "deaf" in HABITS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "daemon" in HABITS:
        subprocess.Popen([sys.executable, "-c", DAEMON], start_new_session=True)
    if "chatty" in HABITS:
        threading.Thread(target=shout, daemon=True).start()
    if "once" in HABITS:
        mark = Path(os.environ["PERSTACK_TEST_MARK"])
        if mark.exists():
            print("Not a second time", file=sys.stderr, flush=True)
            sys.exit(4)
        mark.touch()
    if "crash" in HABITS:
        print("I cannot start: no licence", file=sys.stderr, flush=True)
        sys.exit(1)
    for line in sys.stdin:
        message = json.loads(line)
        heard(message)
        if message.get("method") == "tools/list" and HABITS & {"stuffed", "silent"}:
            break
    while "stuffed" in HABITS:
        time.sleep(1)
    if "silent" in HABITS:
        time.sleep(0.2)  # the answer is written by another thread
        os.close(1)
        sys.stdin.read()
    while "deaf" in HABITS:
        time.sleep(1)


if __name__ == "__main__":
    main()
