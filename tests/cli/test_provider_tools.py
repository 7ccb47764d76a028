"""Tools that run at the provider: used, told, taken up again after a kill, and refused where there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fakes.modelserver import Calls, Hangs, ModelServer, Says

from .conftest import Here
from .program import begun, expert, keys, perstack

PROJECT = expert(
    more="""providerTools = ["webSearch"]
[experts.worker.providerToolOptions.webSearch]
allowedDomains = ["a.com"]
"""
)
USED: dict[str, Any] = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "the news"},
}
FOUND: dict[str, Any] = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [
        {
            "type": "web_search_result",
            "title": "A",
            "url": "https://a.com",
            "encrypted_content": "xyz",
            "page_age": None,
        }
    ],
}
ENDS = Says("It is so.", provided=[FOUND])


def assistant(body: dict[str, Any]) -> list[Any]:
    return [m["content"] for m in body["messages"] if m["role"] == "assistant"]


def test_a_turn_that_the_provider_paused_goes_on_and_all_of_it_is_told(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(PROJECT)
    with ModelServer([Says("", provided=[USED], finish="pause"), ENDS]) as server:
        ran = here("run", "worker", "Go", "--output", "text", env=keys(server))
        assert (ran.code, server.refusals) == (0, [])
        first, second = server.bodies
    assert first["tools"][0]["allowed_domains"] == ["a.com"]
    assert assistant(second) == [[USED]]
    assert second["messages"][-1]["role"] == "assistant"
    assert "web_search [anthropic]" in ran.out
    assert "the news" in ran.out
    assert "It is so." in ran.out
    assert "OutputLimit" not in ran.out


def test_the_stream_says_what_was_done_and_stays_as_documented(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(PROJECT)
    reads = Calls([("readTextFile", {"path": "perstack.toml"})], provided=[USED, FOUND])
    paused = Says("", provided=[USED], finish="pause")
    for full in (False, True):
        with ModelServer([reads, paused, ENDS]) as server:
            ran = here(
                "run", "worker", "Go", *(["--full-events"] if full else []), env=keys(server)
            )
            assert (ran.code, server.refusals) == (0, [])
        events = ran.checked(full=full)
        (called,) = (event for event in events if event["type"] == "callTools")
        assert [call["toolName"] for call in called["toolCalls"]] == ["readTextFile"]
        assert called["newMessage"]["providerTools"] == [
            {"tool": "web_search", "asked": "the news", "gave": "A https://a.com"}
        ]
        (retried,) = (event for event in events if event["type"] == "retry")
        assert "PausedTurn" in retried["reason"]
        (ended,) = (event for event in events if event["type"] == "completeRun")
        assert ended["text"] == "It is so."


def test_a_killed_job_goes_on_with_what_the_provider_left_as_it_was(workspace: Path):
    (workspace / "perstack.toml").write_text(PROJECT)
    reads = Calls(
        [("readTextFile", {"path": "perstack.toml"})],
        thinking="Let me look.",
        text="I read.",
        provided=[USED, FOUND],
    )
    with ModelServer([reads, Hangs(), Says("Done.")]) as server:
        env = keys(server)
        process = begun("run", "worker", "Go", "--job-id", "job", cwd=workspace, env=env)
        server.wait_until(lambda at: len(at.requests) == 2, 30)
        process.kill()
        process.communicate()
        ran = perstack("run", "worker", "--continue-job", "job", cwd=workspace, env=env)
        assert (ran.code, server.refusals) == (0, [])
        _, before, after = server.bodies
    blocks = [block["type"] for block in assistant(before)[0]]
    assert blocks == [
        "thinking",
        "server_tool_use",
        "web_search_tool_result",
        "text",
        "tool_use",
    ]
    left_out = [block for block in assistant(before)[0] if block["type"] != "thinking"]
    assert assistant(after)[0] in (assistant(before)[0], left_out)  # by what the model binds


def test_a_recording_plays_what_the_provider_did(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(PROJECT)
    tape = workspace / "tape.jsonl"
    with ModelServer([Says("", provided=[USED], finish="pause"), ENDS]) as server:
        args = ("run", "worker", "Go", "--output", "text")
        assert here(*args, "--record", str(tape), env=keys(server)).code == 0
    ran = here("run", "worker", "Go", "--output", "text", "--cassette", str(tape))
    assert ran.code == 0
    assert "the news" in ran.out
    assert "It is so." in ran.out


def test_a_provider_without_the_tool_is_refused_before_anything_is_asked(
    here: Here, workspace: Path
):
    (workspace / "perstack.toml").write_text(PROJECT)
    with ModelServer([]) as server:
        ran = here("run", "worker", "Go", "--provider", "ollama", env=keys(server))
        assert ran.code == 1
        assert 'provider "ollama" has no tool "webSearch"; it has: none' in ran.err
        gateway = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{server.url}/v1"}
        ran = here("run", "worker", "Go", "--provider", "openai", "--dry-run", env=gateway)
        assert ran.code == 1
        assert "Chat Completions" in ran.err
        assert server.requests == []


def test_what_runs_outside_the_walls_is_said(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(PROJECT)
    sentence = "webSearch (allowedDomains a.com) of worker runs at anthropic, outside the walls."
    assert sentence in here("show", "worker").out
    assert sentence in here("run", "worker", "Go", "--dry-run", "--output", "text").out
    row = {
        "expert": "worker",
        "tools": ["webSearch"],
        "options": {"webSearch": {"allowedDomains": ["a.com"]}},
        "skills": [],
    }
    assert json.loads(here("show", "worker", "--json").out)["provided"] == [row]
    assert json.loads(here("run", "worker", "Go", "--dry-run").out)["provided"] == [row]
