"""`perstack show`: exactly what the model will be sent, and nothing of it hidden."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.register import proves
from tests.fakes.modelserver import ModelServer, Says

from .conftest import Here
from .program import Provider, asking, expert, keys

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?")

PROJECTS = {
    "plain": expert(),
    "asking": asking(),
    "delegating": expert(more='delegates = ["helper", "other"]')
    + expert("helper", more='description = "Helps: with a \\"quote\\" and ünïcode ☃"')
    + expert("other"),
    "picky": expert(
        skills="""
[experts.worker.skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
rule = "Write nothing that was not asked for."
pick = ["readTextFile", "exec", "attemptCompletion"]
omit = ["exec"]
"""
    ),
}


def sent(body: dict[str, Any], wire: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Name, description and schema of each tool in a request."""
    match wire:
        case "anthropic":
            return [(t["name"], t["description"], t["input_schema"]) for t in body["tools"]]
        case "chat":
            functions = [t["function"] for t in body["tools"]]
            return [(f["name"], f["description"], f["parameters"]) for f in functions]
        case _:
            raise AssertionError(wire)


def given(schema: dict[str, Any], wire: str) -> dict[str, Any]:
    """A schema as this provider takes it: OpenAI insists on `properties`."""
    return {"properties": {}, **schema} if wire == "chat" else schema


@proves("show.exactly-what-is-sent")
@pytest.mark.parametrize("provider", ["anthropic", "openai"])
@pytest.mark.parametrize("project", PROJECTS)
def test_what_is_shown_is_what_is_sent(
    project: str, provider: Provider, here: Here, workspace: Path
):
    (workspace / "perstack.toml").write_text(PROJECTS[project])
    flags = ("--provider", provider, "--max-steps", "7", "--reasoning-budget", "none")
    with ModelServer([Says("done")]) as server:
        assert here("run", "worker", "Go", *flags, env=keys(server, provider)).code == 0
        (request,) = server.requests
    ran = here("show", "worker", *flags, "--json")
    assert (ran.code, ran.err) == (0, "")
    shown = json.loads(ran.out)
    assert TIME.sub("<time>", shown["instruction"]) == TIME.sub("<time>", request.system)
    assert [
        (tool["name"], tool["description"], given(tool["inputSchema"], request.wire))
        for tool in shown["tools"]
    ] == sent(request.body, request.wire)
    assert shown["model"] == request.model
    assert shown["limits"]["maxSteps"] == 7

    text = here("show", "worker", *flags).out
    assert text.endswith(f"System text\n\n{shown['instruction']}\n") or (
        TIME.sub("<time>", shown["instruction"]) in TIME.sub("<time>", text)
    )
    for tool in shown["tools"]:
        assert f"  {tool['name']}  [{tool['answeredBy']}]\n    {tool['description']}\n" in text


@proves("show.no-model")
def test_it_needs_no_key_and_starts_nothing(here: Here, workspace: Path):
    ran = here("show", "worker")
    assert (ran.code, ran.err) == (0, "")
    assert not (workspace / "perstack").exists()
    assert here("show", "nobody").code == 1
