"""Streamed words and skills, beside what is told from the log."""

from __future__ import annotations

from collections.abc import Sequence

from perstack.dialect import WireEvent, speak, take_up, tell_notice
from perstack.job import (
    ContainerStatus,
    Event,
    Failure,
    Heard,
    ImageProgress,
    Job,
    Notice,
    ProxyAccess,
    Resumed,
    SkillConnected,
    SkillDisconnected,
    SkillStarting,
    SkillStderr,
    Waiting,
    apply,
)
from tests.job.driver import World, done, run, says

from .check import Wire, check_stream
from .teller import all_of, lines, only, stream, voice


def telling(happenings: Sequence[Event | Notice]) -> list[Wire]:
    """Facts and notices told in the order in which they came."""
    job, told_by = Job(), voice()
    told: list[WireEvent] = []
    for happening in happenings:
        if isinstance(happening, Notice):
            told_by, more = tell_notice(told_by, job, happening)
        else:
            before, job = job, apply(job, happening)
            told_by, more = speak(told_by, before, happening, job)
        told += more
    return check_stream(lines(told), full=False, ended=False)


def thought(text: str, *, concluding: bool = False) -> Heard:
    return Heard(run="root", step=1, kind="thought", text=text, concluding=concluding, at=5.0)


def words(text: str, *, concluding: bool = False) -> Heard:
    return Heard(run="root", step=1, kind="text", text=text, concluding=concluding, at=5.0)


def kinds(told: Sequence[Wire]) -> list[str]:
    return [event["type"] for event in told]


def test_reasoning_is_streamed_and_completed_by_the_first_word():
    _, log = run(World({("", 1): says("hi", thought="Hm. Yes.")}))
    told = telling(
        [*log.events[:2], thought("Hm. "), thought("Yes."), words("h"), words("i"), *log.events[2:]]
    )
    assert kinds(told)[3:] == [
        "startStreamingReasoning",
        "streamReasoning",
        "streamReasoning",
        "completeStreamingReasoning",
        "completeRun",
    ]
    assert only(told, "completeStreamingReasoning")["text"] == "Hm. Yes."
    assert only(told, "startStreamingReasoning")["timestamp"] == 5000


def test_reasoning_that_nobody_streamed_is_told_whole_before_what_came_of_it():
    _, log = run(World({("", 1): says("hi", thought="Hm.")}))
    told = stream(log.events)
    assert kinds(told)[-2:] == ["completeStreamingReasoning", "completeRun"]
    assert only(told, "completeStreamingReasoning")["text"] == "Hm."


def test_only_the_closing_reply_is_streamed_as_the_result():
    _, log = run(World({("", 1): says("", done())}))
    told = telling(
        [
            *log.events[:2],
            words("I am done."),
            *log.events[2:4],
            words("Here ", concluding=True),
            words("it is.", concluding=True),
            *log.events[4:],
        ]
    )
    assert kinds(told)[3:] == [
        "callTools",
        "attemptCompletion",
        "startStreamingRunResult",
        "streamRunResult",
        "streamRunResult",
        "completeStreamingRunResult",
        "completeRun",
    ]
    assert only(told, "completeStreamingRunResult")["text"] == "Here it is."


def test_what_was_streamed_does_not_change_the_ids_of_the_rest():
    _, log = run(World({("", 1): says("hi", thought="Hm.")}))
    told = telling([*log.events[:2], thought("Hm."), words("hi"), *log.events[2:]])
    plain = stream(log.events)
    streamed = {event["id"] for event in told} - {event["id"] for event in plain}
    assert [event for event in told if event["id"] not in streamed] == [
        event for event in plain if event["type"] != "completeStreamingReasoning"
    ]


def test_skills_that_are_there_before_the_run_are_told_after_the_runtime():
    _, log = run(World())
    connected = SkillConnected(
        skill="geo",
        server=("geo-mcp", "2.1.0"),
        spawn_s=0.003,
        handshake_s=0.41,
        discovery_s=0.012,
        at=1.0,
    )
    told = telling(
        [
            log.events[0],
            SkillStarting(skill="geo", command="npx", args=("-y", "geo-mcp"), at=1.0),
            connected,
            *log.events[1:],
            SkillStderr(skill="geo", text=" bye \n", at=9.0),
            SkillDisconnected(skill="geo", at=9.0),
        ]
    )
    assert kinds(told)[:4] == ["initializeRuntime", "skillStarting", "skillConnected", "startRun"]
    assert kinds(told)[-2:] == ["skillStderr", "skillDisconnected"]
    assert only(told, "skillStderr")["message"] == "bye"
    event = only(told, "skillConnected")
    assert event["serverInfo"] == {"name": "geo-mcp", "version": "2.1.0"}
    assert {name: event[name] for name in event if name.endswith("Ms")} == {
        "spawnDurationMs": 3,
        "handshakeDurationMs": 410,
        "toolDiscoveryDurationMs": 12,
        "connectDurationMs": 413,
        "totalDurationMs": 425,
    }


def test_skills_of_a_job_that_goes_on_are_told_after_the_runtime_too():
    _, log = run(World())
    opening = log.events[:2]
    resumed = Resumed(seq=3, at=1003.0)
    connected = SkillConnected(skill="geo", spawn_s=0.0, at=1003.0)
    job, told_by = Job(), voice()
    for event in (*opening, resumed):
        before, job = job, apply(job, event)
        told_by, _ = speak(told_by, before, event, job)
    told_by, none = tell_notice(told_by, job, connected)
    assert none == []
    _, told = take_up(told_by, job)
    assert [type(event).__name__ for event in told] == [
        "InitializeRuntime",
        "SkillConnected",
        "StartRun",
        "StartGeneration",
    ]


def test_walls_and_containers_have_events_of_their_own():
    _, log = run(World())
    told = telling(
        [
            *log.events[:2],
            ImageProgress(stage="building", service="runtime", text="step 1", progress=0.5, at=2.0),
            ContainerStatus(status="running", service="runtime", at=2.0),
            ProxyAccess(skill="geo", action="allowed", domain="a.example", port=443, at=2.0),
            ProxyAccess(
                skill="geo", action="blocked", domain="b.example", port=22, reason="no", at=2.0
            ),
            *log.events[2:],
        ]
    )
    common = {"id", "type", "timestamp", "jobId", "runId"}
    assert [
        {name: value for name, value in event.items() if name not in common}
        for event in told
        if event["type"] in ("dockerBuildProgress", "dockerContainerStatus", "proxyAccess")
    ] == [
        {"stage": "building", "service": "runtime", "message": "step 1", "progress": 0.5},
        {"status": "running", "service": "runtime"},
        {"action": "allowed", "domain": "a.example", "port": 443},
        {"action": "blocked", "domain": "b.example", "port": 22, "reason": "no"},
    ]


def test_a_wait_before_a_retry_has_no_event():
    _, log = run(World())
    waiting = Waiting(run="root", seconds=2.0, attempt=1, reason="429", at=3.0)
    assert telling([*log.events[:2], waiting, *log.events[2:]]) == stream(log.events)


def test_words_of_a_run_that_is_gone_are_not_told():
    _, log = run(World())
    stray = Heard(run="nobody", step=1, kind="text", text="boo", concluding=True, at=3.0)
    assert telling([*log.events, stray]) == stream(log.events)


def test_reasoning_of_a_reply_that_failed_is_completed_before_the_retry():
    later = Failure(name="Overloaded", message="later", retryable=True)
    _, log = run(World({("", 1): (later, says("hi"))}))
    told = telling([*log.events[:2], thought("Hm"), *log.events[2:]])
    assert kinds(told)[3:7] == [
        "startStreamingReasoning",
        "streamReasoning",
        "completeStreamingReasoning",
        "retry",
    ]
    assert len(all_of(told, "completeStreamingReasoning")) == 1
