"""Notices in the reference's words: deltas as streaming events, skills as runtime events.

They are told beside the log: a replay tells none of them, and nothing told from the log depends on them.
"""

from __future__ import annotations

from msgspec.structs import replace

from perstack._ids import derived
from perstack.job import (
    ContainerStatus,
    Heard,
    ImageProgress,
    Job,
    Notice,
    ProxyAccess,
    SkillConnected,
    SkillDisconnected,
    SkillStarting,
    SkillStderr,
    SkillWalled,
    ToolsDiffer,
    Waiting,
)

from . import stream
from .voice import Hearing, Pieces, Voice


def tell_notice(voice: Voice, job: Job, notice: Notice) -> tuple[Voice, list[stream.WireEvent]]:
    """What is told of one notice. Skills that come before a segment has begun are told when it does."""
    if isinstance(notice, Heard):
        return _tell_heard(voice, job, notice)
    root = voice.segments.get(job.root)
    if root is None or voice.taken_up is not None:
        return replace(voice, early=(*voice.early, notice)), []
    id = derived(job.id, "notice", job.seq, voice.notices)
    told = runtime_event(notice, id=id, job=job.id, run=root.id)
    return replace(voice, notices=voice.notices + 1), [told] if told is not None else []


def runtime_event(notice: Notice, *, id: str, job: str, run: str) -> stream.RuntimeEvent | None:
    """The runtime event for a notice that is not about words; None if the reference has none."""
    head = stream.RuntimeHead(id=id, timestamp=ms(notice.at), job_id=job, run_id=run)
    match notice:
        case SkillStarting(skill=skill):
            return stream.SkillStarting(
                **head, skill_name=skill, command=notice.command, args=notice.args
            )
        case SkillConnected():
            return _connected(notice, head)
        case SkillStderr(skill=skill, text=text):
            return stream.SkillStderr(**head, skill_name=skill, message=text.strip())
        case ToolsDiffer(skill=skill):  # the one event the reference has for words about a skill
            return stream.SkillStderr(**head, skill_name=skill, message=notice.text)
        case SkillDisconnected(skill=skill):
            return stream.SkillDisconnected(**head, skill_name=skill)
        case ProxyAccess():
            return stream.ProxyAccess(
                **head,
                action=notice.action,
                domain=notice.domain,
                port=notice.port,
                reason=notice.reason or None,
            )
        case ImageProgress(stage=stage, service=service):
            return stream.DockerBuildProgress(
                **head,
                stage=stage,
                service=service,
                message=notice.text,
                progress=notice.progress,
            )
        case ContainerStatus(status=status, service=service):
            return stream.DockerContainerStatus(
                **head, status=status, service=service, message=notice.text or None
            )
        case Heard() | Waiting() | SkillWalled():
            return None


def _connected(notice: SkillConnected, head: stream.RuntimeHead) -> stream.SkillConnected:
    spawn, handshake, discovery = notice.spawn_s, notice.handshake_s, notice.discovery_s
    connect = (spawn or 0.0) + handshake if handshake is not None else None
    total = None if connect is None and discovery is None else (connect or 0.0) + (discovery or 0.0)
    return stream.SkillConnected(
        **head,
        skill_name=notice.skill,
        server_info=stream.ServerInfo(name=notice.server[0], version=notice.server[1])
        if notice.server is not None
        else None,
        spawn_duration_ms=_duration(spawn),
        handshake_duration_ms=_duration(handshake),
        tool_discovery_duration_ms=_duration(discovery),
        connect_duration_ms=_duration(connect),
        total_duration_ms=_duration(total),
    )


def _tell_heard(voice: Voice, job: Job, notice: Heard) -> tuple[Voice, list[stream.WireEvent]]:
    segment = voice.segments.get(notice.run)
    if segment is None or not notice.text:
        return voice, []
    hearing = voice.hearing.get(notice.run) or Hearing()
    told: list[stream.WireEvent] = []

    def head() -> stream.RunHead:
        return stream.RunHead(
            id=derived(job.id, "notice", job.seq, voice.notices + len(told)),
            expert_key=segment.expert.key,
            timestamp=ms(notice.at),
            job_id=job.id,
            run_id=segment.id,
            step_number=segment.step,
        )

    if notice.kind == "thought":
        if hearing.reasoning is None:
            told.append(stream.StartStreamingReasoning(**head()))
        told.append(stream.StreamReasoning(**head(), delta=notice.text))
        pieces = Pieces(text=notice.text, before=hearing.reasoning)
        hearing = replace(hearing, reasoning=pieces)
    else:
        if hearing.reasoning is not None:
            text = hearing.reasoning.joined()
            told.append(stream.CompleteStreamingReasoning(**head(), text=text))
            hearing = replace(hearing, reasoning=None, reasoned=True)
        if notice.concluding:
            # Before the closing reply nobody knows yet whether words are the answer
            if hearing.result is None:
                told.append(stream.StartStreamingRunResult(**head()))
            told.append(stream.StreamRunResult(**head(), delta=notice.text))
            pieces = Pieces(text=notice.text, before=hearing.result)
            hearing = replace(hearing, result=pieces)
    heard = {**voice.hearing, notice.run: hearing}
    return replace(voice, hearing=heard, notices=voice.notices + len(told)), told


def ms(at: float) -> int:
    """Seconds since 1970 as whole milliseconds."""
    return round(at * 1000)


def _duration(seconds: float | None) -> int | None:
    return None if seconds is None else ms(seconds)
