"""One fact, told as the reference's events: a pure fold beside the fold.

Theory of operation
-------------------
1. A run of ours is told as *segments*, each a run to the reference with an id of its own. A segment begins with
   `initializeRuntime` and `startRun`, and ends with one terminal event. It is left open only when its process was
   lost, or when a person speaks to a run at work: then the next segment takes its unfinished step up again.
2. The reference counts steps over the whole job and along the way of the work: a delegate begins one after its
   parent, the parent goes on one after its delegates, and a retry is a step. `Segment.step` counts so.
3. A call that cannot be made (`Call.fault`) has its result as soon as it is asked for. In the log that result may
   come later; it is told with the others.
4. After a step the job may stop at its limit, and then the reference tells no next step. So while the model is
   not to be asked yet, `continueToNextStep` and `startGeneration` are held, and told once it is.
5. `Resumed` and `Rewound` are told with what follows them: words from a person belong into the same `startRun`.
   `take_up` tells them when nothing is to follow and the work goes on.

What grows with the length of a history (`messages`) is told only by a voice that is `full`.
"""

from __future__ import annotations

from typing import assert_never

import msgspec
from msgspec.structs import replace

from perstack.job import (
    Acting,
    Answered,
    ApprovalAnswered,
    ApprovalAsked,
    AskAnswered,
    Asked,
    Call,
    CancelRequested,
    Concluding,
    Done,
    Event,
    Failure,
    Job,
    JobStarted,
    Record,
    Replied,
    ReplyFailed,
    Resumed,
    Rewound,
    Run,
    RunFinished,
    RunStarted,
    Stopped,
    Thinking,
    ToolCalled,
    ToolReturned,
    Usage,
    UserSpoke,
    joined,
    wanted,
)

from . import stream
from . import types as wire
from .moves import (
    end,
    generate,
    hand_over,
    hush,
    next_step,
    release,
    renew,
    renew_unasked,
    reopen,
    resume_calls,
    retry,
    start,
    take_up_run,
)
from .page import Page, open_calls
from .voice import Segment, Voice
from .words import error_of, expert_message, expert_ref, is_step_limit, rank, result_skill, usage_of

_CUT = "The reply was cut off at the output limit of the model."
_PAUSED = "The provider paused in its own work and goes on with it."
_STOPS = {"limit": "LimitReached", "interrupted": "Interrupted", "bug": "Bug"}
"""The names of errors that are no failures of a model. The reference knows one limit: that of steps."""

_ENCODER = msgspec.json.Encoder()

Told = tuple[Voice, list[stream.WireEvent]]


def speak(voice: Voice, before: Job, event: Event, after: Job) -> Told:
    """What is told of one fact, and where the telling stands then.

    before, after: the job without and with `event`. At a `Rewound`, voice and `before` are those of the place it
    goes back to.
    """
    voice, told = _owed(voice, before, event)
    match event:
        case JobStarted():
            return replace(voice, runtime=event.runtime, window=voice.window_of(after.model)), told
        case Resumed():
            return replace(voice, taken_up=event, window=voice.window_of(after.model)), told
        case Rewound():
            return _rewound(voice, event, after), told
        case ToolCalled() | CancelRequested():
            return voice, told
        case _:
            page = Page(voice, after)
            _tell(page, before, event)
            return page.voice(), told + page.told if told else page.told


def take_up(voice: Voice, job: Job) -> Told:
    """What is still to be told of a job that was taken up again, before anything happens in it.

    To be called when the first facts of a process are written and the work begins; otherwise it is told with the
    next fact.
    """
    if voice.taken_up is None:
        return voice, []
    page = Page(replace(voice, taken_up=None), job)
    for run in job.runs.values():
        take_up_run(page, run)
    return page.voice(), page.told


def encode_wire(event: stream.WireEvent) -> bytes:
    """The line of one event, newline included."""
    return _ENCODER.encode(event) + b"\n"


def checkpoint_of(voice: Voice, job: Job, run: str = "") -> wire.Checkpoint:
    """A run as it stands, as a checkpoint with all its messages. run: its id, "" for the root."""
    page = Page(replace(voice, full=True), job)
    asked = job.runs[run or job.root]
    if not isinstance(asked.phase, Acting):
        return page.checkpoint(asked)
    pending = page.calls(open_calls(asked)) or None
    return page.checkpoint(asked, pending=pending, partial=page.results(asked))


def _owed(voice: Voice, before: Job, event: Event) -> Told:
    """What is told of the last `Resumed` or `Rewound` before `event` is."""
    root = before.root_run
    match event:
        case Rewound():
            return voice, []
        case Resumed() if isinstance(voice.taken_up, Rewound):
            return voice, []
        case UserSpoke(run="") if root is not None and not isinstance(root.phase, Acting):
            return replace(voice, taken_up=None), []
        case _:
            return take_up(voice, before)


def _rewound(voice: Voice, event: Rewound, job: Job) -> Voice:
    """Messages that follow a rewind are others than those that stood in their places before."""
    segments = {
        id: replace(segment, rewinds=(*segment.rewinds, (len(job.runs[id].history), job.seq)))
        for id, segment in voice.segments.items()
    }
    return replace(voice, taken_up=event, segments=segments, hearing={})


_Told = (
    RunStarted
    | Replied
    | ReplyFailed
    | ToolReturned
    | Asked
    | AskAnswered
    | ApprovalAsked
    | ApprovalAnswered
    | UserSpoke
    | Stopped
    | RunFinished
)


def _tell(page: Page, before: Job, event: _Told) -> None:
    match event:
        case RunStarted():
            _run_started(page, event)
        case Replied():
            _replied(page, event, before.runs[event.run])
        case ReplyFailed():
            _reply_failed(page, event)
        case ToolReturned():
            _tool_returned(page, event, before.runs[event.run])
        case Asked(run=run) | ApprovalAsked(run=run):
            hand_over(page, page.job.runs[run])
        case AskAnswered() | ApprovalAnswered():
            _ask_answered(page, event)
        case UserSpoke():
            _user_spoke(page, event)
        case Stopped():
            _stopped(page, event)
        case RunFinished():
            _run_finished(page, event, before)
        case _:
            assert_never(event)
    for id, segment in tuple(page.segments.items()):
        if segment.held:
            release(page, page.job.runs[id])


def _run_started(page: Page, event: RunStarted) -> None:
    run = page.job.runs[event.run]
    segment = Segment(
        id=run.id,
        expert=expert_ref(page.job.lock.expert(run.expert)),
        step=1,
        checkpoint=page.id(),
        started_at=page.at,
    )
    if event.by is not None:
        parent, phase = page.segments[event.by.run], page.job.runs[event.by.run].phase
        assert isinstance(phase, Acting)  # a delegate starts while its parent's call is open
        call = phase.flights[event.by.call].call
        alone = sum(rank(flight.call) == 1 for flight in phase.flights.values()) == 1
        by = wire.DelegatedBy(
            expert=parent.expert,
            tool_call_id=call.id,
            tool_name=call.tool,
            checkpoint_id=parent.checkpoint,
            run_id=parent.id,
        )
        usage = parent.usage if alone else Usage()
        segment = replace(segment, step=parent.step + 1, by=by, usage=usage, alone=alone)
    page.segments[run.id] = segment
    start(page, run, len(run.history), query=event.query)
    generate(page, run)


def _replied(page: Page, event: Replied, before: Run) -> None:
    run, message = page.job.runs[event.run], event.message
    hush(page, run, message)
    page.count(run, event.usage)
    context = event.usage.input_tokens + event.usage.output_tokens
    segment = replace(page.segments[run.id], context=context, retries=0)
    length = len(run.history)
    if event.cut:
        reply = len(before.history) if message.calls else segment.reply
        page.segments[run.id] = replace(segment, reply=reply)
        why = ("PausedTurn", _PAUSED) if message.paused else ("OutputLimit", _CUT)
        retry(page, run, *why, event.usage)
    elif isinstance(run.phase, Acting):
        page.segments[run.id] = replace(segment, reply=length - 1, told=length)
        page.told.append(
            stream.CallTools(
                **page.head(run),
                new_message=expert_message(message, page.place(run, length - 1)),
                tool_calls=page.calls(message.calls),
                usage=usage_of(event.usage),
            )
        )
        hand_over(page, run)
    else:
        page.segments[run.id] = replace(segment, told=length, answer=event.usage)


def _reply_failed(page: Page, event: ReplyFailed) -> None:
    run = page.job.runs[event.run]
    # A reply can only fail while one is awaited
    assert isinstance(run.phase, Thinking | Concluding)
    hush(page, run)
    page.count(run, event.usage)
    page.segments[run.id] = replace(page.segments[run.id], retries=run.phase.attempt)
    if not _gives_up(page, run):
        retry(page, run, event.failure.name, event.failure.message, event.usage)


def _gives_up(page: Page, run: Run) -> bool:
    """Whether the job has the end of `run` written down next."""
    ends = (want.event for want in wanted(page.job) if isinstance(want, Record))
    return any(isinstance(event, RunFinished) and event.run == run.id for event in ends)


def _tool_returned(page: Page, event: ToolReturned, before: Run) -> None:
    run = page.job.runs[event.run]
    assert isinstance(before.phase, Acting)  # only an open call returns
    flight = before.phase.flights[event.call]
    if flight.child:
        page.gather(run.id, page.segments.pop(flight.child))
    if page.segments[run.id].open:
        _tools_done(page, event, run, before)
    else:
        _come_back(page, event, run, before, flight.call)


def _tools_done(page: Page, event: ToolReturned, run: Run, before: Run) -> None:
    """A result came to a run that waits for it, not for another Expert or a person."""
    match run.phase:
        case Acting():
            hand_over(page, run)
        case Concluding():
            assert isinstance(before.phase, Acting)
            ended = (f.call.id for f in before.phase.flights.values() if f.ends)
            claim = event.call if event.ends else next(ended)
            result = next(result for result in page.results(run) if result.id == claim)
            page.told.append(stream.AttemptCompletion(**page.head(run), tool_result=result))
        case Thinking():
            results = page.results(run)
            page.told.append(stream.ResolveToolResults(**page.head(run), tool_results=results))
            message = _results_join(page, run, before)
            page.told.append(stream.FinishToolCall(**page.head(run), new_messages=message))
            next_step(page, run)
        case Answered() | Done():
            return  # told with RunFinished


def _come_back(page: Page, event: ToolReturned, run: Run, before: Run, call: Call) -> None:
    """A delegate or a person answered a run that had stopped for it."""
    left = open_calls(run)
    asked = isinstance(run.phase, Acting) and run.phase.asked
    if any(other.kind == "delegate" for other in left) and not asked:
        return  # others are still at work
    if isinstance(run.phase, Acting) and (call.fault or not left):
        return  # only calls that cannot be made are left, or this is one: the run stopped knowing its result
    _renew_answered(page, run, call, joined(event.parts))
    if isinstance(run.phase, Acting):
        resume_calls(page, run, page.calls(left), page.results(run))
        return
    message = _results_join(page, run, before)
    page.told.append(stream.FinishAllToolCalls(**page.head(run), new_messages=message))
    next_step(page, run)


def _ask_answered(page: Page, event: AskAnswered | ApprovalAnswered) -> None:
    """A person said whether a call may be made, or answered its server, so that it goes on."""
    run = page.job.runs[event.run]
    assert isinstance(run.phase, Acting)  # only a call in flight has a question
    if page.segments[run.id].open:
        return  # other calls are at work, and nobody was told of the question yet
    match event:
        case AskAnswered():
            text = msgspec.json.encode(event.content).decode()
        case ApprovalAnswered():
            said: dict[str, object] = {"approve": event.approved}
            if event.text:
                said["text"] = event.text
            text = msgspec.json.encode(said).decode()
    _renew_answered(page, run, run.phase.flights[event.call].call, text)
    resume_calls(page, run, page.calls(open_calls(run)), page.results(run))


def _renew_answered(page: Page, run: Run, call: Call, text: str) -> None:
    """Another segment of a run that had stopped for a delegate or a person, which begins with the answer."""
    segment = page.segments[run.id]
    renew(page, run, max(segment.step, segment.high) + 1)
    answer = stream.InteractiveToolCall(
        tool_call_id=call.id,
        tool_name=call.tool,
        skill_name=result_skill(call, page.job.lock),
        text=text,
    )
    pending, results = page.calls(open_calls(run)), page.results(run)
    start(page, run, segment.told, answer=answer, pending=pending or None, partial=results)


def _results_join(page: Page, run: Run, before: Run) -> tuple[wire.Message, ...]:
    """The one message of all results. Words of a person may stand behind it; they begin a segment."""
    segment = page.segments[run.id]
    stop = len(run.history) - len(before.waiting)
    page.segments[run.id] = replace(segment, told=stop)
    return page.messages(run, segment.told, stop)


def _user_spoke(page: Page, event: UserSpoke) -> None:
    run = page.job.runs[event.run or page.job.root]
    if isinstance(run.phase, Acting):
        return  # told when the run goes on
    hush(page, run)
    renew_unasked(page, run)
    start(page, run, len(run.history), query=event.text)
    generate(page, run)


def _stopped(page: Page, event: Stopped) -> None:
    job = page.job
    runs = [run for id, run in job.runs.items() if page.segments[id].open]
    root = job.root_run
    if not runs and root is not None and page.segments[root.id].status == "stoppedByDelegate":
        runs = [root]  # between delegates: somebody must say it
    for run in reversed(runs):  # the root has the last word
        hush(page, run)
        reopen(page, run)
        if is_step_limit(event.reason, event.what):
            end(page, run, "stoppedByExceededMaxSteps")
        else:
            error = wire.Error(name=_STOPS[event.reason], message=event.what, is_retryable=True)
            end(page, run, "stoppedByError", error=error)


def _run_finished(page: Page, event: RunFinished, before: Job) -> None:
    run = page.job.runs[event.run]
    _take_along(page, event, before)
    hush(page, run)
    reopen(page, run)
    match event.outcome:
        case "completed":
            end(page, run, "completed", text=event.text)
        case "failed":
            failure = event.failure or Failure(name="Error", message=event.text)
            end(page, run, "stoppedByError", error=error_of(failure, event.text))
        case "cancelled":
            end(page, run, "stoppedByError", error=_cancelled(event))


def _take_along(page: Page, event: RunFinished, before: Job) -> None:
    """Runs below a run that ends are over with it."""
    for id in reversed([id for id in page.segments if id not in page.job.runs]):
        run = before.runs[id]
        if page.segments[id].open:
            hush(page, run)
            end(page, run, "stoppedByError", error=_cancelled(event))
        assert run.by is not None  # only a delegate is below another run
        page.gather(run.by.run, page.segments.pop(id))


def _cancelled(event: RunFinished) -> wire.Error:
    return wire.Error(name="Cancelled", message=event.text, is_retryable=False)
