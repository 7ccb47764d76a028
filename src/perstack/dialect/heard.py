"""Notices in the reference's words: deltas as streaming events, skills as runtime events.

They are told beside the log: a replay tells none of them, and nothing told from the log depends on them.
"""

from __future__ import annotations

from msgspec.structs import replace

from perstack._ids import derived
from perstack.job import (
    Heard,
    Job,
    Notice,
    SkillConnected,
    SkillDisconnected,
    SkillStarting,
    SkillStderr,
    ToolsDiffer,
    Waiting,
)

from . import types as wire
from .voice import Hearing, Pieces, Voice


def tell_notice(voice: Voice, job: Job, notice: Notice) -> tuple[Voice, list[wire.WireEvent]]:
    """What is told of one notice. Skills that come before a segment has begun are told when it does."""
    if isinstance(notice, Heard):
        return _tell_heard(voice, job, notice)
    root = voice.segments.get(job.root)
    if root is None or voice.taken_up is not None:
        return replace(voice, early=(*voice.early, notice)), []
    id = derived(job.id, "notice", job.seq, voice.notices)
    told = skill_event(notice, id=id, job=job.id, run=root.id)
    return replace(voice, notices=voice.notices + 1), [told] if told is not None else []


def skill_event(notice: Notice, *, id: str, job: str, run: str) -> wire.RuntimeEvent | None:
    """The runtime event for a notice about a skill; None if the reference has none."""
    head = wire.RuntimeHead(id=id, timestamp=ms(notice.at), job_id=job, run_id=run)
    match notice:
        case SkillStarting(skill=skill):
            return wire.SkillStarting(
                **head, skill_name=skill, command=notice.command, args=notice.args
            )
        case SkillConnected():
            return _connected(notice, head)
        case SkillStderr(skill=skill, text=text):
            return wire.SkillStderr(**head, skill_name=skill, message=text.strip())
        case ToolsDiffer(skill=skill):  # the one event the reference has for words about a skill
            return wire.SkillStderr(**head, skill_name=skill, message=notice.text)
        case SkillDisconnected(skill=skill):
            return wire.SkillDisconnected(**head, skill_name=skill)
        case Heard() | Waiting():
            return None


def _connected(notice: SkillConnected, head: wire.RuntimeHead) -> wire.SkillConnected:
    spawn, handshake, discovery = notice.spawn_s, notice.handshake_s, notice.discovery_s
    connect = (spawn or 0.0) + handshake if handshake is not None else None
    total = None if connect is None and discovery is None else (connect or 0.0) + (discovery or 0.0)
    return wire.SkillConnected(
        **head,
        skill_name=notice.skill,
        server_info=wire.ServerInfo(name=notice.server[0], version=notice.server[1])
        if notice.server is not None
        else None,
        spawn_duration_ms=_duration(spawn),
        handshake_duration_ms=_duration(handshake),
        tool_discovery_duration_ms=_duration(discovery),
        connect_duration_ms=_duration(connect),
        total_duration_ms=_duration(total),
    )


def _tell_heard(voice: Voice, job: Job, notice: Heard) -> tuple[Voice, list[wire.WireEvent]]:
    segment = voice.segments.get(notice.run)
    if segment is None or not notice.text:
        return voice, []
    hearing = voice.hearing.get(notice.run) or Hearing()
    told: list[wire.WireEvent] = []

    def head() -> wire.RunHead:
        return wire.RunHead(
            id=derived(job.id, "notice", job.seq, voice.notices + len(told)),
            expert_key=segment.expert.key,
            timestamp=ms(notice.at),
            job_id=job.id,
            run_id=segment.id,
            step_number=segment.step,
        )

    if notice.kind == "thought":
        if hearing.reasoning is None:
            told.append(wire.StartStreamingReasoning(**head()))
        told.append(wire.StreamReasoning(**head(), delta=notice.text))
        pieces = Pieces(text=notice.text, before=hearing.reasoning)
        hearing = replace(hearing, reasoning=pieces)
    else:
        if hearing.reasoning is not None:
            text = hearing.reasoning.joined()
            told.append(wire.CompleteStreamingReasoning(**head(), text=text))
            hearing = replace(hearing, reasoning=None, reasoned=True)
        if notice.concluding:
            # Before the closing reply nobody knows yet whether words are the answer
            if hearing.result is None:
                told.append(wire.StartStreamingRunResult(**head()))
            told.append(wire.StreamRunResult(**head(), delta=notice.text))
            pieces = Pieces(text=notice.text, before=hearing.result)
            hearing = replace(hearing, result=pieces)
    heard = {**voice.hearing, notice.run: hearing}
    return replace(voice, hearing=heard, notices=voice.notices + len(told)), told


def ms(at: float) -> int:
    """Seconds since 1970 as whole milliseconds."""
    return round(at * 1000)


def _duration(seconds: float | None) -> int | None:
    return None if seconds is None else ms(seconds)
