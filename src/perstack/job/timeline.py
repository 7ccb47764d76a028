"""The one view made for people: events → activities.

A second fold beside the first: `tell` takes one event and gives the rows that are new. It is told from the
job's own state, so a call shows up when its result is there whatever else the reply asked for, a question when
it is its turn, and the return of delegates when the last of them is back; reasoning is kept for each run apart.

Ids are those of the documented view, with `seq` for the id of an event. A run that is spoken to after its end
has a second query and perhaps a second answer; their ids end with `seq`. So does that of a question whether
a call may be made, or that a tool's server has during one, since the call has a row of its own later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from perstack._value import Value

from .activity import (
    Activity,
    Complete,
    Delegate,
    DelegatedBy,
    DelegationComplete,
    Error,
    GeneralTool,
    InteractiveTool,
    Query,
    Retry,
    activity_of,
)
from .branch import lineage
from .events import (
    ApprovalAsked,
    Asked,
    Event,
    Replied,
    ReplyFailed,
    RunFinished,
    RunStarted,
    Stopped,
    ToolReturned,
    UserSpoke,
)
from .messages import Approval, Call, ExpertMessage, Question, Text, joined
from .reduce import apply
from .state import Acting, Concluding, Flight, Job, Run, Thinking, approval_of, asked_of
from .wanted import gives_up, on_turn

OUTPUT_LIMIT = "The reply was cut off at the output limit."


class Thread(Value, frozen=True, kw_only=True):
    """One run's part of the timeline.

    last: id of its newest activity. thoughts: not yet shown. answered: it has had a `Complete`.
    """

    last: str | None = None
    thoughts: str = ""
    answered: bool = False


class Timeline(Value, frozen=True, kw_only=True):
    """Where the telling stands. job: the state there. threads: by run id, of the runs in `job.runs`."""

    job: Job = Job()
    threads: dict[str, Thread] = msgspec.field(default_factory=dict[str, Thread])


def timeline(events: Iterable[Event]) -> list[Activity]:
    """What to show of a log: the activities of the branch it ends on, in order. Raises IllegalEvent."""
    return retell(events)[1]


def retell(events: Iterable[Event]) -> tuple[Timeline, list[Activity]]:
    """The same, and where the telling stands then, to go on with `tell`."""
    told = Timeline()
    activities: list[Activity] = []
    for event in lineage(events):
        told, new = tell(told, event)
        activities.extend(new)
    return told, activities


def tell(told: Timeline, event: Event) -> tuple[Timeline, tuple[Activity, ...]]:
    """One more event, and the activities it adds.

    Raises IllegalEvent; so does a rewind, since what it leaves behind was shown already: then `retell` the log.
    """
    after = apply(told.job, event)
    runs = {**told.job.runs, **after.runs}
    threads = dict(told.threads)
    new: list[Activity] = []
    if isinstance(event, Replied):
        threads[event.run] = _mused(threads[event.run], event)
    for run_id, draft in _drafts(told, event, after):
        run, thread = runs[run_id], threads.get(run_id, Thread())
        activity = _placed(draft, run, thread, after)
        new.append(activity)
        threads[run_id] = Thread(
            last=activity.id,
            thoughts="" if activity.reasoning else thread.thoughts,
            answered=thread.answered or isinstance(activity, Complete),
        )
    threads = {id: thread for id, thread in threads.items() if id in after.runs}
    return Timeline(job=after, threads=threads), tuple(new)


def _mused(thread: Thread, event: Replied) -> Thread:
    thoughts = [thread.thoughts, *(thought.text for thought in event.message.thoughts)]
    return replace(thread, thoughts="\n\n".join(filter(None, thoughts)))


def _placed(draft: Activity, run: Run, thread: Thread, job: Job) -> Activity:
    """`draft` with all that follows from its run and its place in the log."""
    by = run.by
    silent = isinstance(draft, Query | Retry)
    return replace(
        draft,
        expert_key=run.expert,
        run_id=run.id,
        previous_activity_id=thread.last,
        delegated_by=None
        if by is None
        else DelegatedBy(expert_key=job.runs[by.run].expert, run_id=by.run),
        reasoning=None if silent else thread.thoughts or None,
        seq=job.seq,
        at=job.at,
    )


def _drafts(told: Timeline, event: Event, after: Job) -> Iterator[tuple[str, Activity]]:
    """The new activities, each with the run it belongs to."""
    before, seq = told.job, after.seq
    match event:
        case RunStarted(run=run, query=query, by=by):
            if by is not None:
                expert = after.lock.key_of(event.expert)
                yield (
                    by.run,
                    Delegate(id=f"delegate-{by.call}", delegate_expert_key=expert, query=query),
                )
            yield run, Query(id=f"query-{run}", text=query)
        case UserSpoke(text=text):
            run = event.run or after.root
            yield run, Query(id=f"query-{run}-{seq}", text=text)
        case Replied(run=run, message=message):
            for row in _provided(message, seq):
                yield run, row
            if event.cut and not message.paused:
                yield run, Retry(id=f"retry-{seq}", error="OutputLimit", message=OUTPUT_LIMIT)
            elif not event.cut:
                yield from _questions_due((), after.runs[run])
        case ReplyFailed(run=run, failure=why):
            phase = after.runs[run].phase
            if isinstance(phase, Thinking | Concluding) and not gives_up(after, phase):
                yield run, Retry(id=f"retry-{seq}", error=why.name, message=why.message)
        case ToolReturned(run=run):
            yield from _returned(before.runs[run], event, after.runs[run], seq)
        case Asked(run=run, call=id):
            question = Question(message=event.message, schema=event.schema)
            row = _question(asked_of(_call(before.runs[run], id), question))
            yield run, replace(row, id=f"{row.id}-{seq}")
        case ApprovalAsked(run=run, call=id, rule=rule):
            row = _question(approval_of(_call(before.runs[run], id), Approval(rule=rule)))
            yield run, replace(row, id=f"{row.id}-{seq}")
        case RunFinished(run=run, outcome="completed", text=text):
            suffix = f"-{seq}" if told.threads[run].answered else ""
            yield run, Complete(id=f"completion-{run}{suffix}", text=text)
        case RunFinished(run=run, outcome=outcome, text=text, failure=why):
            name = why.name if why is not None else outcome.capitalize()
            retryable = why.retryable if why is not None else False
            yield (
                run,
                Error(id=f"error-{seq}", error=text, error_name=name, is_retryable=retryable),
            )
        case Stopped(run=run, reason=reason, what=what) if after.root:
            row = Error(
                id=f"error-{seq}", error=what, error_name=reason.capitalize(), is_retryable=True
            )
            yield run if run in after.runs else after.root, row
        case _:
            return


def _provided(message: ExpertMessage, seq: int) -> Iterator[Activity]:
    """What the provider's own tools did in a reply, as calls of a skill that is named as the provider."""
    provider = message.model.partition("/")[0]
    for place, part in enumerate(message.provided, 1):
        if part.tool:
            yield GeneralTool(
                id=f"provided-{seq}-{place}",
                skill_name=provider,
                tool_name=part.tool,
                args={"asked": part.asked} if part.asked else {},
                result=None if part.failed else (Text(text=part.gave),),
                error=(part.gave or "It failed.") if part.failed else None,
            )


def _returned(
    before: Run, event: ToolReturned, after: Run, seq: int
) -> Iterator[tuple[str, Activity]]:
    """The row of a call that came back, and what its coming back lets show."""
    phase = before.phase
    assert isinstance(phase, Acting)  # else the event is illegal
    flight, turn = phase.flights[event.call], on_turn(phase)
    call = flight.call
    id = f"action-{call.id}"
    match call.kind:
        case "delegate" if flight.child:
            pass  # it was shown when it was set to work; the child's own rows say the rest
        case "delegate":
            text = joined(event.parts)
            row = GeneralTool(
                skill_name=call.skill, tool_name=call.tool, args=call.args, error=text
            )
            yield before.id, replace(row, id=id)
        case "ask" if not call.fault:
            if flight not in turn:
                yield before.id, _question(call)
        case _:
            row = activity_of(call, event.parts, event.is_error, after.todos)
            yield before.id, replace(row, id=id)
    delegates = [f for f in phase.flights.values() if f.call.kind == "delegate"]
    if flight in delegates and all(f is flight or f.result is not None for f in delegates):
        if count := sum(bool(f.child) for f in delegates):
            yield before.id, DelegationComplete(id=f"delegation-complete-{seq}", count=count)
    yield from _questions_due(turn, after)


def _questions_due(turn: tuple[Flight, ...], after: Run) -> Iterator[tuple[str, Activity]]:
    """The questions whose turn has come. turn: the calls whose turn it was before."""
    if isinstance(after.phase, Acting):
        before = {flight.call.id for flight in turn}
        for flight in on_turn(after.phase):
            call = flight.call
            if call.kind == "ask" and not call.fault and call.id not in before:
                yield after.id, _question(call)


def _call(run: Run, id: str) -> Call:
    assert isinstance(run.phase, Acting)  # else the event is illegal
    return run.phase.flights[id].call


def _question(call: Call) -> Activity:
    return InteractiveTool(
        id=f"action-{call.id}", skill_name=call.skill, tool_name=call.tool, args=call.args
    )
