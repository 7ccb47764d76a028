"""Whether a stream is one: each line by the schema, and what must hold from line to line.

    check_stream(stdout.splitlines(), full=False)

A segment is what the stream calls a run: the events with one `runId`, from `startRun` to a terminal event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators

from perstack.dialect import load_schema

Line = bytes | str | Mapping[str, Any]
Wire = dict[str, Any]

TERMINAL = {
    "completeRun",
    "stopRunByInteractiveTool",
    "stopRunByDelegate",
    "stopRunByExceededMaxSteps",
    "stopRunByError",
}
STREAMED = {
    "startStreamingReasoning",
    "streamReasoning",
    "completeStreamingReasoning",
    "startStreamingRunResult",
    "streamRunResult",
    "completeStreamingRunResult",
}
STOPS = {"stopRunByExceededMaxSteps", "stopRunByError"}
"""May follow anything: the job is put down where it stands."""

FOLLOWS = {
    "startRun": {"startGeneration", "resumeToolCalls", "finishAllToolCalls"},
    "startGeneration": {"callTools", "retry", "completeRun"},
    "resumeToolCalls": {
        "resolveToolResults",
        "attemptCompletion",
        "callDelegate",
        "callInteractiveTool",
        "completeRun",
    },
    "finishAllToolCalls": {"continueToNextStep"},
    "callTools": {
        "resolveToolResults",
        "attemptCompletion",
        "callDelegate",
        "callInteractiveTool",
        "completeRun",
    },
    "retry": {"continueToNextStep"},
    "resolveToolResults": {"finishToolCall"},
    "finishToolCall": {"continueToNextStep"},
    "continueToNextStep": {"startGeneration"},
    "attemptCompletion": {"completeRun", "retry"},
    "callDelegate": {"stopRunByDelegate"},
    "callInteractiveTool": {"stopRunByInteractiveTool"},
}
"""The transitions of the reference's machine."""

MOST_ACCEPTED = 20_000
"""How many values are remembered to be right: those of a long stream, some 10 MB."""

_HISTORIES = {"messages", "initialCheckpoint", "checkpoint", "nextCheckpoint"}


def check_stream(lines: Iterable[Line], full: bool, *, ended: bool = True) -> list[Wire]:
    """The events of a stream, all of them checked.

    full: with whole histories. ended: the stream is not cut off, so each segment has a terminal event, or a later
    segment that took its work up.
    """
    events = [_parsed(line) for line in lines]
    seen = set[str]()
    for event in events:
        check_event(_with_new_messages(event, seen), full)
    _check_ids(events)
    segments: dict[str, list[Wire]] = {}
    for event in events:
        if "expertKey" in event:
            segments.setdefault(event["runId"], []).append(event)
    for segment in segments.values():
        _check_streamed([event for event in segment if event["type"] in STREAMED])
    states = {
        id: [event for event in segment if event["type"] not in STREAMED]
        for id, segment in segments.items()
    }
    for segment in states.values():
        _check_segment(segment)
        _check_histories(segment, full)
    _check_family(list(states.values()), ended)
    return events


def check_event(event: Wire, full: bool) -> None:
    """One event by its own schema, so that a complaint says what is wrong and not that nothing fits."""
    validator = _validators(full).get(event.get("type", ""))
    assert validator is not None, f"no such event: {event}"
    faults = [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(event)]
    assert not faults, f"{event['type']}: {faults}"


def _with_new_messages(event: Wire, seen: set[str]) -> Wire:
    """The event with only those messages of its histories that were in none before: others are checked already."""
    whole = dict(event)
    for name in _HISTORIES & event.keys():
        if name == "messages":
            whole[name] = _new(event[name], seen)
        elif "messages" in event[name]:
            whole[name] = event[name] | {"messages": _new(event[name]["messages"], seen)}
    return whole


def _new(messages: list[Wire], seen: set[str]) -> list[Wire]:
    new = {json.dumps(message): message for message in messages}
    new = {text: message for text, message in new.items() if text not in seen}
    seen.update(new)
    return list(new.values())


@cache
def _validators(full: bool) -> dict[str, Any]:
    schema = load_schema(full=full)
    Draft202012Validator.check_schema(schema)
    names = [
        ref["$ref"].rpartition("/")[2]
        for group in ("ExpertStateEvent", "StreamingEvent", "RuntimeEvent")
        for ref in schema["$defs"][group]["oneOf"]
    ]
    quick = quick_validator(schema["$defs"])
    return {name: quick({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]}) for name in names}


def quick_validator(definitions: dict[str, Any]) -> Any:
    """The library's validator, which accepts the same and complains of the same, but does no work twice.

    What a definition has accepted once, it accepts again unread; and of alternatives, each is left at its first
    fault. Streams say much again and again: the library alone takes four fifths of the time of a test.
    """
    # Any: the library's own types are only half there
    library: Any = validators
    plain_one_of: Any = Draft202012Validator.VALIDATORS["oneOf"]
    targets = {f"#/$defs/{name}": definition for name, definition in definitions.items()}
    accepted = set[tuple[str, str]]()

    def ref(validator: Any, to: str, value: Any, schema: Any) -> Iterator[ValidationError]:
        said = (to, json.dumps(value))
        if said in accepted:
            return
        faults = list(validator.descend(value, targets[to]))
        if not faults:
            if len(accepted) == MOST_ACCEPTED:
                accepted.clear()
            accepted.add(said)
        yield from faults

    def one_of(validator: Any, kinds: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        if sum(validator.evolve(schema=kind).is_valid(value) for kind in kinds) != 1:
            yield from plain_one_of(validator, kinds, value, schema)

    return library.extend(Draft202012Validator, {"$ref": ref, "oneOf": one_of})


def _parsed(line: Line) -> Wire:
    return json.loads(line) if isinstance(line, bytes | str) else dict(line)


def _check_ids(events: list[Wire]) -> None:
    ids = [event["id"] for event in events]
    assert len(ids) == len(set(ids)), "two events have one id"
    assert len({event["jobId"] for event in events}) <= 1
    stored = [event["checkpoint"]["id"] for event in events if "checkpoint" in event]
    assert len(stored) == len(set(stored)), "one checkpoint is stored twice"


def _check_segment(segment: list[Wire]) -> None:
    """One segment moves as the reference's machine does, and counts its steps."""
    first = segment[0]
    assert first["type"] == "startRun"
    step, checkpoint = first["stepNumber"], first["initialCheckpoint"]["id"]
    previous = None
    for event in segment:
        kind = event["type"]
        if previous is not None:
            allowed = FOLLOWS.get(previous, set[str]()) | STOPS
            assert previous not in TERMINAL, f"{kind} after {previous}"
            assert kind in allowed, f"{kind} after {previous}"
        assert event["stepNumber"] == step, f"{kind} at {event['stepNumber']}, expected {step}"
        assert event["expertKey"] == first["expertKey"]
        for name in ("initialCheckpoint", "checkpoint", "nextCheckpoint"):
            if name in event:
                _check_checkpoint(event[name], event, step + (name == "nextCheckpoint"))
        if "checkpoint" in event:
            assert event["checkpoint"]["id"] == checkpoint
            assert event["step"]["stepNumber"] == step
        if kind == "continueToNextStep":
            step, checkpoint = step + 1, event["nextCheckpoint"]["id"]
        if kind == "stopRunByError":
            assert event["checkpoint"]["error"] == event["error"]
        previous = kind


def _check_checkpoint(checkpoint: Wire, event: Wire, step: int) -> None:
    assert checkpoint["jobId"] == event["jobId"]
    assert checkpoint["runId"] == event["runId"]
    assert checkpoint["expert"]["key"] == event["expertKey"]
    assert checkpoint["stepNumber"] == step
    assert ("delegateTo" in checkpoint) == (event["type"] == "stopRunByDelegate")


def _check_histories(segment: list[Wire], full: bool) -> None:
    """Histories are whole or absent; whole ones only grow, by what the events between them say is new."""
    if not full:
        assert not any("messages" in event for event in segment)
        for name in ("initialCheckpoint", "checkpoint", "nextCheckpoint"):
            assert not any("messages" in event[name] for event in segment if name in event)
        return
    history = segment[0]["initialCheckpoint"]["messages"]
    for event in segment:
        match event["type"]:
            case "startRun":
                history = [*history, *event["inputMessages"]]
            case "callTools":
                history = [*history, event["newMessage"]]
            case "finishToolCall" | "finishAllToolCalls" | "retry":
                history = [*history, *event["newMessages"]]
            case "startGeneration":
                assert event["messages"] == history
            case "continueToNextStep":
                assert event["checkpoint"]["messages"] == history
                assert event["nextCheckpoint"]["messages"] == history
            case "stopRunByDelegate" | "stopRunByInteractiveTool":
                assert event["checkpoint"]["messages"] == history
            case "completeRun" | "stopRunByError" | "stopRunByExceededMaxSteps":
                assert event["checkpoint"]["messages"][: len(history)] == history
            case _:
                pass
    ids = [message["id"] for message in history]
    assert len(ids) == len(set(ids)), "two messages of one history have one id"


def _check_family(segments: list[list[Wire]], ended: bool) -> None:
    """Delegates begin one step after their parent stopped; a segment nobody ended was taken up by another."""
    stops = {
        event["checkpoint"]["id"]: event
        for segment in segments
        for event in segment
        if event["type"] == "stopRunByDelegate"
    }
    for place, segment in enumerate(segments):
        first = segment[0]
        by = first["initialCheckpoint"].get("delegatedBy")
        if by is not None:
            stop = stops[by["checkpointId"]]
            assert stop["runId"] == by["runId"]
            assert stop["checkpoint"]["expert"] == by["expert"]
            targets = {target["toolCallId"]: target for target in stop["checkpoint"]["delegateTo"]}
            assert targets[by["toolCallId"]]["expert"]["key"] == first["expertKey"]
            if first["initialCheckpoint"]["status"] == "init":
                assert first["stepNumber"] == stop["stepNumber"] + 1
        if ended and segment[-1]["type"] not in TERMINAL:
            later = [_who(other[0]) for other in segments[place + 1 :]]
            assert _who(first) in later, f"{segment[-1]['type']} was the last of {first['runId']}"


def _who(start: Wire) -> tuple[str, str | None]:
    by = start["initialCheckpoint"].get("delegatedBy")
    return start["expertKey"], by and f"{by['checkpointId']} {by['toolCallId']}"


def _check_streamed(streamed: list[Wire]) -> None:
    """start, deltas, complete; what is completed is what was streamed, if it was."""
    for name in ("Reasoning", "RunResult"):
        open_text: str | None = None
        for event in streamed:
            match event["type"].replace(name, ""):
                case "startStreaming":
                    assert open_text is None
                    open_text = ""
                case "stream":
                    assert open_text is not None
                    open_text += event["delta"]
                case "completeStreaming":
                    assert open_text is None or event["text"] == open_text
                    open_text = None
                case _:
                    pass
