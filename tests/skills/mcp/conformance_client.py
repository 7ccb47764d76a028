"""A client for the MCP conformance suite: `python -m tests.skills.mcp.conformance_client URL`.

It does with our remote skill what each scenario, named in MCP_CONFORMANCE_SCENARIO, asks of a client.
"""

from __future__ import annotations

import os
import sys
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import httpx2

from perstack.definition import RemoteSkill
from perstack.skills import SignIn, open_remote_skill

ARGUMENTS: dict[str, dict[str, Any]] = {"add_numbers": {"a": 2, "b": 3}}


async def accept_defaults(message: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The answer of a person who leaves every field as it is."""
    fields: dict[str, dict[str, Any]] = schema.get("properties", {})
    return {name: field["default"] for name, field in fields.items() if "default" in field}


class Browser:
    """Goes to a URL, and notes where it is sent from there."""

    async def show(self, url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            self.sent_to = (await http.get(url)).headers["location"]

    async def wait(self) -> dict[str, str]:
        return dict(httpx2.URL(self.sent_to).params)


async def main(url: str, home: str) -> None:
    skill = RemoteSkill(endpoint=url)
    browser = Browser()
    async with open_remote_skill(
        "conformance",
        skill,
        {**os.environ, "XDG_CONFIG_HOME": home},
        hear=lambda notice: None,
        allow_loopback=True,
        ask=accept_defaults,
        sign_in=SignIn("http://127.0.0.1:8/callback", browser.show, browser.wait),
    ) as remote:
        for tool in remote.tools:
            outcome = await remote.use(tool.name, ARGUMENTS.get(tool.name, {}))
            print(tool.name, outcome.is_error, outcome.parts)  # noqa: T201  # for whoever debugs a scenario


with TemporaryDirectory() as home:
    anyio.run(main, sys.argv[1], home)
