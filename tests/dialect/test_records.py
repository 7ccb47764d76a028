"""Checkpoints on demand, and the records of jobs and runs."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from perstack.definition import (
    Expert,
    InteractiveSkill,
    InteractiveTool,
    Limits,
    RemoteSkill,
    StdioSkill,
)
from perstack.dialect import (
    checkpoints,
    job_record_of,
    load_schema,
    place_of,
    run_setting_of,
)
from perstack.job import Event, Failure, Stopped, fold
from perstack.lock import resolve, resolved
from tests.job.driver import World, call, delegate, opening, run, says

from .teller import INTERRUPTED, WORDS, all_of, ask, go_on, rewind, stream, until_stopped


def valid(name: str, record: msgspec.Struct) -> dict[str, Any]:
    told = json.loads(msgspec.json.encode(record))
    schema = load_schema(full=True)
    validator: Any = Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]})
    validator.validate(told)
    return told


def test_there_is_a_checkpoint_for_each_finished_step_and_each_stop():
    _, log = run(World({("", 1): says("", call("a")), ("", 2): says("", delegate("d"))}))
    found = [
        (checkpoint.expert.key, checkpoint.step_number, checkpoint.status)
        for _, checkpoint in checkpoints(log.events)
    ]
    assert found == [
        ("lead", 1, "proceeding"),
        ("lead", 2, "stoppedByDelegate"),
        ("scout", 3, "completed"),
        ("lead", 4, "proceeding"),
        ("lead", 5, "completed"),
    ]


def test_checkpoints_have_all_messages():
    _, log = run(World({("", 1): says("", call("a"))}))
    for _, checkpoint in checkpoints(log.events):
        valid("Checkpoint", checkpoint)
    counts = [len(checkpoint.messages or ()) for _, checkpoint in checkpoints(log.events)]
    assert counts == [4, 5]


def test_a_checkpoint_from_the_stream_names_a_place_in_the_log():
    _, log = run(World({("", 1): says("", call("a"))}))
    step, end = (event["checkpoint"]["id"] for event in stream(log.events) if "checkpoint" in event)
    assert place_of(log.events, step) == 5
    assert place_of(log.events, end) == len(log.events)
    assert place_of(log.events, "nobody") is None


def test_a_checkpoint_that_a_rewind_left_behind_can_still_be_found():
    world = World({("", 1): says("", call("a")), ("", 2): says("one")})
    _, log = run(world)
    left = all_of(stream(log.events), "completeRun")[0]["checkpoint"]["id"]
    rewind(log, to=5)
    go_on(log, world)
    place = place_of(log.events, left)
    assert place == 7
    job = rewind(log, to=place)
    assert job.done is not None


@pytest.mark.parametrize("to_come", ["a step", "an answer"])
def test_going_on_from_a_checkpoint_starts_with_its_messages(to_come: str):
    world = World({("", 1): says("", call("a")), ("", 2): says("one")})
    _, log = run(world)
    found = dict(checkpoints(log.events))
    place = 5 if to_come == "a step" else 7
    rewind(log, place)
    go_on(log, world, WORDS)
    start = all_of(stream(log.events, full=True), "startRun")[-1]
    messages = json.loads(msgspec.json.encode(found[place].messages))
    assert start["initialCheckpoint"]["messages"] == messages
    assert start["stepNumber"] == found[place].step_number + 1


def status(events: list[Event]) -> str:
    return valid("Job", job_record_of(fold(events)))["status"]


def test_a_job_record_says_how_the_job_stands():
    _, finished = run(World())
    _, parked = run(World({("", 1): says("", ask("q"))}))
    _, failed = run(World({("", 1): Failure(name="Refused", message="no")}))
    busy = {("", step): says("", call("a")) for step in range(1, 5)}
    _, limited = run(World(busy), Limits(max_steps=2))
    interrupted = until_stopped(World(), 2, stop=INTERRUPTED)
    spent = until_stopped(World(), 2, stop=Stopped(reason="limit", what="maxCost 1", run="root"))
    assert status(finished.events) == "completed"
    assert status(finished.events[:2]) == "running"
    assert status(parked.events) == "stoppedByInteractiveTool"
    assert status(failed.events) == "stoppedByError"
    assert status(limited.events) == "stoppedByMaxSteps"
    assert status(interrupted.events) == "stoppedByError"
    assert status(spent.events) == "stoppedByError"


def test_a_job_record_has_the_numbers_of_the_job():
    job, log = run(World({("", 1): says("", call("a"))}), Limits(max_steps=9))
    told = valid("Job", job_record_of(job))
    assert told["coordinatorExpertKey"] == "lead"
    assert (told["totalSteps"], told["maxSteps"]) == (2, 9)
    assert told["startedAt"] == 1_001_000
    assert told["finishedAt"] == 1_000_000 + 1000 * len(log.events)
    assert told["usage"]["inputTokens"] == job.usage.input_tokens
    parked, _ = run(World({("", 1): says("", ask("q"))}))
    assert "finishedAt" not in valid("Job", job_record_of(parked))


def test_a_run_setting_says_what_was_asked_and_keeps_no_secret():
    expert = Expert(
        key="lead",
        name="lead",
        instruction="Lead.",
        description="Leads.",
        skills={
            "@perstack/base": StdioSkill(command="npx", args=("-y", "@perstack/base")),
            "maps": RemoteSkill(endpoint="https://maps.example/sse", pick=("find",)),
            "person": InteractiveSkill(tools={"ask": InteractiveTool(input_json_schema="{}")}),
        },
    )
    start, root = opening()
    events = [replace(start, lock=resolved(resolve(["lead"]), lambda _: expert), seq=1), root]
    told = valid("RunSetting", run_setting_of(fold(events)))
    assert told["input"] == {"text": "Go"}
    assert told["providerConfig"] == {"providerName": "anthropic", "apiKey": "REDACTED"}
    assert told["env"] == {}
    assert told["experts"]["lead"]["skills"]["maps"] == {
        "type": "mcpSseSkill",
        "name": "maps",
        "endpoint": "https://maps.example/sse",
        "pick": ["find"],
        "omit": [],
    }
