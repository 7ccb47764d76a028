"""A job with everything in it: a file, a call that fails, a retry, a delegate, a question and its answer.

The other tests of this kind tell it again. It is run for real, with a scripted model, and its log written down
with the clock of a `MemoryStore`, so that it is the same each time but for the workspace's path. No two tools are
at work at once in it, so the order of their results does not change either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import anyio

import perstack
from perstack.job import Event, encode_event
from perstack.ops.embed import Options
from perstack.store import Store
from perstack.testing import MemoryStore, Script, ScriptedModel, Turn, calls, fails, says

PROJECT = """
[experts.lead]
version = "1.0.0"
description = "Leads."
instruction = "Lead."
delegates = ["@acme/helper"]

[experts.lead.skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"

[experts.lead.skills.people]
type = "interactiveSkill"

[experts.lead.skills.people.tools.askUser]
description = "Asks."
inputJsonSchema = '{"type": "object"}'

[experts."@acme/helper"]
version = "2.0.0"
description = "Helps."
instruction = "Help."

[experts.small]
description = "Small."
instruction = "Be brief."
"""

STORY: dict[tuple[str, int], Turn | tuple[Turn, ...]] = {
    ("", 1): calls(
        ("writeTextFile", {"path": "plan.txt", "text": "one\n"}),
        ("readTextFile", {"start": 1}),
        thought="I should write a plan.",
    ),
    ("", 2): (fails(status=529), calls(("helper", {"query": "Add two\nto the plan"}))),
    ("/2.1", 1): calls(("appendTextFile", {"path": "plan.txt", "text": "two\n"})),
    ("/2.1", 2): says("It is added."),
    ("", 3): calls(("askUser", {"question": "Is it \x1b[31mred\x1b[0m?"})),
    ("", 4): says("All is done."),
}


def workspace_in(path: Path, project: str = PROJECT) -> Path:
    """A workspace below `path`."""
    workspace = path / "project"
    workspace.mkdir()
    (workspace / "perstack.toml").write_text(project)
    return workspace


def run(
    place: Path, *turns: Turn | Script, query: str = "Make a plan", **options: Unpack[Options]
) -> perstack.Job:
    """Runs, or goes on with, a job of `lead` in the workspace `place`, whose model says `turns`."""
    usual: Options = {"workspace": place, "env": {}, "model": ScriptedModel(*turns)}
    return perstack.run_sync("lead", query, **{**usual, **options})


def events_of(store: Store, job: str) -> tuple[Event, ...]:
    return anyio.run(store.read, job)


def write_log(workspace: Path, job: str, events: tuple[Event, ...]) -> Path:
    """The log a FileStore would have written of these events."""
    path = log_of(workspace, job)
    path.parent.mkdir(parents=True)
    total = ""
    with path.open("wb") as file:
        for event in events:
            line, total = encode_event(event, total)
            file.write(line)
    return path


def log_of(workspace: Path, job: str) -> Path:
    return workspace / "perstack" / "jobs" / job / "log.jsonl"


def tell_story(workspace: Path, job: str = "story", script: Script = STORY) -> tuple[Event, ...]:
    """Writes the log of the story, and gives its events."""
    store, model = MemoryStore(), ScriptedModel(script)
    run(workspace, store=store, model=model, job_id=job)
    run(workspace, query="blue", store=store, model=model, continue_job=job, answer=True)
    events = events_of(store, job)
    write_log(workspace, job, events)
    return events


def test_the_story_is_the_same_each_time(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    assert tell_story(workspace, "a")[1:] != tell_story(workspace, "b")[1:]  # ids follow the job's
    first = log_of(workspace, "a").read_bytes()
    log_of(workspace, "a").unlink()
    log_of(workspace, "a").parent.rmdir()
    tell_story(workspace, "a")
    assert log_of(workspace, "a").read_bytes() == first
