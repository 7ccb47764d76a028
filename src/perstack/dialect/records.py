"""The reference's records, told from a whole log: streams, checkpoints, jobs and run settings.

The reference stores these; we derive them. What is told here for a log is what was told while it grew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from perstack.definition import (
    Expert,
    InteractiveSkill,
    Project,
    RemoteSkill,
    Skill,
    StdioSkill,
)
from perstack.job import Event, Job, Rewound, UserMessage, apply, lineage, wanted

from . import stream
from . import types as wire
from .heard import ms
from .speak import speak, take_up
from .voice import Voice
from .words import is_step_limit, usage_of

_REDACTED = "REDACTED"


def tell(events: Iterable[Event], voice: Voice | None = None) -> Iterator[stream.WireEvent]:
    """The stream of a log, in the order in which it was told. voice: a new one, if it is not to be the usual.

    A log with rewinds is told with what they left behind; of `lineage(log)` only what counts is told.
    """
    for _, told in _told(events, voice):
        yield from told


def voice_of(events: Iterable[Event], voice: Voice | None = None) -> Voice:
    """Where the telling of a log stands at its end, to go on from there. voice: a new one.

    Whoever wrote the log has told all of it. Only what a rewind at its end leads to is still to be told.
    """
    voice, job = voice or Voice(), Job()
    for event in lineage(events):
        before, job = job, apply(job, event)
        voice, _ = speak(voice, before, event, job)
    return _settled(voice, job)[0]


def checkpoints(
    events: Iterable[Event], voice: Voice | None = None
) -> Iterator[tuple[int, wire.Checkpoint]]:
    """Each checkpoint the reference would have stored, with the `seq` it stands for, in order.

    There is one for each finished step and one for each terminal event. voice: a new one; a full one by default,
    so that each checkpoint has all its messages.
    """
    for seq, told in _told(events, voice or Voice(full=True)):
        for event in told:
            match event:
                case (
                    stream.ContinueToNextStep()
                    | stream.CompleteRun()
                    | stream.StopRunByDelegate()
                    | stream.StopRunByInteractiveTool()
                    | stream.StopRunByExceededMaxSteps()
                    | stream.StopRunByError()
                ):
                    yield seq, event.checkpoint
                case _:
                    pass


def place_of(events: Iterable[Event], checkpoint: str) -> int | None:
    """The `seq` a checkpoint stands for; None if the log has no such checkpoint. checkpoint: its id."""
    for seq, found in checkpoints(events, Voice()):
        if found.id == checkpoint:
            return seq
    return None


def job_record_of(job: Job) -> wire.JobRecord:
    """The job as the reference lists it. totalSteps counts the replies of the model over all runs."""
    status = _status(job)
    ended = status not in ("running", "stoppedByInteractiveTool")
    return wire.JobRecord(
        id=job.id,
        status=status,
        coordinator_expert_key=job.lock.key_of(job.expert),
        total_steps=job.steps,
        max_steps=job.limits.max_steps,
        usage=usage_of(job.usage),
        started_at=ms(job.started_at),
        finished_at=ms(job.at) if ended else None,
    )


def run_setting_of(job: Job) -> wire.RunSetting:
    """What the root run of a job was asked to do, without secrets."""
    root = job.root_run
    asked = root.history[0] if root is not None else None
    return wire.RunSetting(
        model=job.model.model,
        provider_config={"providerName": job.model.provider, "apiKey": _REDACTED},
        job_id=job.id,
        run_id=job.root,
        expert_key=job.lock.key_of(job.expert),
        input=wire.RunInput(text=asked.text if isinstance(asked, UserMessage) else ""),
        experts={key: _expert(pin.expert) for key, pin in job.lock.experts.items()},
        reasoning_budget=job.model.reasoning,
        max_steps=job.limits.max_steps,
        max_retries=job.limits.max_retries,
        timeout=ms(job.limits.timeout_s),
        started_at=ms(job.started_at),
        updated_at=ms(job.at),
        perstack_api_base_url=Project().api_base_url,
        env={},
    )


def _told(
    events: Iterable[Event], voice: Voice | None
) -> Iterator[tuple[int, list[stream.WireEvent]]]:
    """What is told of each event, with its seq."""
    log = tuple(events)
    returns = {event.to for event in log if isinstance(event, Rewound)}
    places: dict[int, tuple[Voice, Job]] = {}
    voice, job = voice or Voice(), Job()
    for event in log:
        if isinstance(event, Rewound):
            yield job.seq, _settled(voice, job)[1]
            voice, job = places[event.to]
        before, job = job, apply(job, event)
        voice, told = speak(voice, before, event, job)
        yield job.seq, told
        if job.seq in returns:
            places[job.seq] = voice, job
    yield job.seq, take_up(voice, job)[1]


def _settled(voice: Voice, job: Job) -> tuple[Voice, list[stream.WireEvent]]:
    """What the process that wrote the log so far has told beyond its facts."""
    return (voice, []) if isinstance(voice.taken_up, Rewound) else take_up(voice, job)


def _status(job: Job) -> wire.JobStatus:
    if job.stopped is not None:
        stop = job.stopped
        return "stoppedByMaxSteps" if is_step_limit(stop.reason, stop.what) else "stoppedByError"
    if job.done is not None:
        return "completed" if job.done.outcome == "completed" else "stoppedByError"
    parked = bool(job.questions) and not wanted(job)
    return "stoppedByInteractiveTool" if parked else "running"


def _expert(expert: Expert) -> dict[str, Any]:
    return _present(
        {
            "key": expert.key,
            "name": expert.name,
            "version": expert.version,
            "description": expert.description,
            "instruction": expert.instruction,
            "skills": {name: _skill(name, skill) for name, skill in expert.skills.items()},
            "delegates": expert.delegates,
            "tags": expert.tags,
            "providerTools": expert.provider_tools or None,
            "providerSkills": expert.provider_skills or None,
            "providerToolOptions": expert.provider_tool_options or None,
        }
    )


def _skill(name: str, skill: Skill) -> dict[str, Any]:
    said: dict[str, Any] = {"name": name, "description": skill.description, "rule": skill.rule}
    match skill:
        case StdioSkill():
            said |= {
                "type": "mcpStdioSkill",
                "pick": skill.pick,
                "omit": skill.omit,
                "command": skill.command,
                "packageName": skill.package_name,
                "args": skill.args,
                "requiredEnv": skill.required_env,
                "lazyInit": skill.lazy_init,
            }
        case RemoteSkill():
            said |= {
                "type": "mcpSseSkill",
                "pick": skill.pick,
                "omit": skill.omit,
                "endpoint": skill.endpoint,
            }
        case InteractiveSkill():
            tools = {
                tool: _present(
                    {
                        "name": tool,
                        "description": asked.description,
                        "inputJsonSchema": asked.input_json_schema,
                    }
                )
                for tool, asked in skill.tools.items()
            }
            said |= {"type": "interactiveSkill", "tools": tools}
    return _present(said)


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
