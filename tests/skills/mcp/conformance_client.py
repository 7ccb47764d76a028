"""A client for the MCP conformance suite: `python -m tests.skills.mcp.conformance_client URL`.

It does with our remote skill what each scenario, named in MCP_CONFORMANCE_SCENARIO, asks of a client.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio

from perstack.definition import RemoteSkill
from perstack.skills import open_remote_skill

ARGUMENTS: dict[str, dict[str, Any]] = {"add_numbers": {"a": 2, "b": 3}}


async def accept_defaults(message: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The answer of a person who leaves every field as it is."""
    fields: dict[str, dict[str, Any]] = schema.get("properties", {})
    return {name: field["default"] for name, field in fields.items() if "default" in field}


async def main(url: str) -> None:
    skill = RemoteSkill(endpoint=url)
    async with open_remote_skill(
        "conformance",
        skill,
        os.environ,
        hear=lambda notice: None,
        allow_loopback=True,
        ask=accept_defaults,
    ) as remote:
        for tool in remote.tools:
            outcome = await remote.use(tool.name, ARGUMENTS.get(tool.name, {}))
            print(tool.name, outcome.is_error, outcome.parts)  # noqa: T201  # for whoever debugs a scenario


anyio.run(main, sys.argv[1])
