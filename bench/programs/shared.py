"""What all programs tell the model and do for it: one instruction, one query, two tools."""

from __future__ import annotations

INSTRUCTION = "You are a careful worker. Use the tools you are given, then say that you are done."
QUERY = "Read the note as often as you need to."
FILE_TOOL = "readTextFile"
FILE_TOOL_WORDS = "Read a text file"
FILE_TOOL_SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
}
DELEGATE = "worker"
DELEGATE_WORDS = "Does a part of the work"
DELEGATE_SCHEMA = {
    "type": "object",
    "properties": {"query": {"type": "string"}},
    "required": ["query"],
}


def read_text_file(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def raise_file_limit() -> None:
    """A thousand conversations are a thousand sockets."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
