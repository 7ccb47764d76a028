"""What the programs of other vendors print: one story each, in the form the real ones have.

Each reads a file, looks something up beside it, and answers "It says hello."
"""

from __future__ import annotations

from typing import Any

Line = dict[str, Any]

ANSWER = "It says hello."


def claude() -> list[Line]:
    """Claude Code: a line for each block of a message, all with the id and the usage of the message."""
    ids = {"session_id": "5f0c", "parent_tool_use_id": None}

    def assistant(id: str, block: Line, tokens: int, **more: Any) -> Line:
        usage = {
            "input_tokens": 4,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 1000,
        }
        message: Line = {
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
        }
        message |= {"content": [block], "usage": {**usage, "output_tokens": tokens}}
        return {"type": "assistant", "message": message, **ids, **more}

    def result(id: str, content: Any, **more: Any) -> Line:
        block = {"type": "tool_result", "tool_use_id": id, "content": content, **more}
        return {"type": "user", "message": {"role": "user", "content": [block]}, **ids}

    read = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "a.txt"}}
    task = {"type": "tool_use", "id": "toolu_2", "name": "Task", "input": {"prompt": "Look."}}
    return [
        {
            "type": "system",
            "subtype": "init",
            "model": "claude-sonnet-4-5",
            "tools": ["Read", "Task"],
            "permissionMode": "default",
            **ids,
        },
        {"type": "system", "subtype": "status", "status": None, **ids},
        assistant("msg_1", {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, 3),
        assistant("msg_1", {"type": "text", "text": "Let me look."}, 5),
        assistant("msg_1", read, 9),
        assistant("msg_1", task, 20),
        assistant("msg_x", {"type": "text", "text": "inner"}, 1, parent_tool_use_id="toolu_2"),
        result("toolu_1", "     1\thello\n"),
        {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed"}, **ids},
        result("toolu_2", [{"type": "text", "text": "Nothing here."}], is_error=True),
        assistant("msg_2", {"type": "text", "text": ANSWER}, 7),
        {
            "type": "result",
            "subtype": "success",
            "is_error": False,
            "duration_ms": 4210,
            "num_turns": 3,
            "result": ANSWER,
            "total_cost_usd": 0.0123,
            "usage": {
                "input_tokens": 8,
                "cache_creation_input_tokens": 200,
                "cache_read_input_tokens": 2000,
                "output_tokens": 30,
            },
            "permission_denials": [],
            **ids,
        },
    ]


def gemini() -> list[Line]:
    """Gemini CLI: text in deltas, usage only at the end."""
    at = {"timestamp": "2026-01-02T03:04:05.678Z"}
    return [
        {"type": "init", **at, "session_id": "s", "model": "gemini-2.5-pro"},
        {"type": "message", **at, "role": "user", "content": "## Instructions"},
        {"type": "message", **at, "role": "assistant", "content": "Let me", "delta": True},
        {"type": "message", **at, "role": "assistant", "content": " look.", "delta": True},
        {
            "type": "tool_use",
            **at,
            "tool_name": "read_file",
            "tool_id": "read-1",
            "parameters": {"path": "a.txt"},
        },
        {
            "type": "tool_use",
            **at,
            "tool_name": "glob",
            "tool_id": "glob-2",
            "parameters": {"pattern": "*"},
        },
        {"type": "tool_result", **at, "tool_id": "read-1", "status": "success", "output": "hello"},
        {
            "type": "tool_result",
            **at,
            "tool_id": "glob-2",
            "status": "error",
            "error": {"type": "GLOB", "message": "Nothing here."},
        },
        {"type": "error", **at, "severity": "warning", "message": "Loop detection is off"},
        {"type": "message", **at, "role": "assistant", "content": "It says ", "delta": True},
        {"type": "message", **at, "role": "assistant", "content": "hello.", "delta": True},
        {
            "type": "result",
            **at,
            "status": "success",
            "stats": {
                "total_tokens": 2338,
                "input_tokens": 2308,
                "output_tokens": 30,
                "cached": 2000,
                "duration_ms": 4210,
                "tool_calls": 2,
            },
        },
    ]


def cursor() -> list[Line]:
    """Cursor's agent: text in pieces and then whole, a tool under a key of its own."""
    ids = {"session_id": "c6b6"}

    def text(words: str, **more: Any) -> Line:
        message = {"role": "assistant", "content": [{"type": "text", "text": words}]}
        return {"type": "assistant", "message": message, **ids, **more}

    def call(id: str, subtype: str, key: str, body: Line) -> Line:
        called = {"type": "tool_call", "subtype": subtype, "call_id": id, "tool_call": {key: body}}
        return {**called, "model_call_id": "m1", "timestamp_ms": 1700000000000, **ids}

    read, shell = {"args": {"path": "a.txt"}}, {"args": {"command": "ls x"}}
    found = {"success": {"content": "hello", "isEmpty": False, "totalLines": 1}}
    return [
        {
            "type": "system",
            "subtype": "init",
            "apiKeySource": "login",
            "cwd": "/w",
            "model": "Auto",
            **ids,
        },
        {"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": "?"}]}},
        {"type": "thinking", "subtype": "delta", "text": "Hm.", "timestamp_ms": 1},
        {"type": "thinking", "subtype": "completed", "timestamp_ms": 2},
        text("Let me", timestamp_ms=3),
        text(" look.", timestamp_ms=4),
        text("Let me look.", timestamp_ms=5, model_call_id="m1"),
        call("tool_1", "started", "readToolCall", read),
        call("tool_2", "started", "shellToolCall", shell),
        call("tool_1", "completed", "readToolCall", {**read, "result": found}),
        call(
            "tool_2",
            "completed",
            "shellToolCall",
            {**shell, "result": {"error": {"errorMessage": "Nothing here."}}},
        ),
        text("It says ", timestamp_ms=6),
        text("hello.", timestamp_ms=7),
        text(ANSWER),
        {
            "type": "result",
            "subtype": "success",
            "is_error": False,
            "duration_ms": 4210,
            "result": f"Let me look.{ANSWER}",
            "usage": {
                "inputTokens": 108,
                "outputTokens": 30,
                "cacheReadTokens": 2000,
                "cacheWriteTokens": 200,
            },
            **ids,
        },
    ]
