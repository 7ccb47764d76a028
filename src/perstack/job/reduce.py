"""The job as a pure function of its log.

Theory of operation
-------------------
1. `apply` is the only author of state. It is total over what can happen and refuses the rest: an event that
   cannot follow the state before it is an IllegalEvent at once, never a strange state later.
2. What an event says about one run alone is folded by `advance`, where the five phases of a run are drawn.
3. UserSpoke leads a run from Concluding, Answered and Done back to Thinking, at the next step. While Thinking
   it joins the history; while Acting it waits for the results.
4. `Stopped` and a crash differ only in what the log says; `Resumed` undoes both, putting calls that had begun
   in doubt and forgetting failed attempts. Nothing but `Resumed` or `Rewound` follows `Stopped`. Who takes a
   job up again wants it to go on, so a cancel that had not yet ended it is forgotten.
5. A run that ends takes the runs below it along: nobody waits for them any more.

Cost: one event costs the size of the runs at work now, never the length of a history (`History` shares it) nor
the number of runs that ended (a child leaves the state with its answer).
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from perstack.definition import Rules

from .advance import IllegalEvent, advance, next_step
from .branch import lineage
from .events import (
    FORMAT,
    ApprovalAnswered,
    ApprovalAsked,
    AskAnswered,
    Asked,
    CancelRequested,
    Event,
    JobStarted,
    Replied,
    ReplyFailed,
    Resumed,
    Rewound,
    RunFinished,
    RunStarted,
    Stopped,
    ToolCalled,
    ToolReturned,
    UserSpoke,
)
from .messages import History, Usage, said
from .state import Acting, Answered, Concluding, Done, Job, Run, Stop, Thinking


def fold(events: Iterable[Event], job: Job | None = None) -> Job:
    """The job after `events`. job: where they begin, nothing if None. Raises IllegalEvent."""
    state = job or Job()
    for event in lineage(events):
        state = apply(state, event)
    return state


def may_follow(job: Job, event: Event) -> bool:
    """Whether `event` could be written next. `apply` is pure, so it can simply be tried."""
    try:
        apply(job, event)
    except IllegalEvent:
        return False
    return True


def apply(job: Job, event: Event) -> Job:
    """The job after one more event. Raises IllegalEvent."""
    if event.seq and event.seq <= job.seq:
        raise IllegalEvent(f"event {event.seq} after event {job.seq}")
    if not job.id and not isinstance(event, JobStarted):
        raise IllegalEvent(f"{type(event).__name__} before JobStarted")
    if job.stopped is not None and not isinstance(event, Resumed | Rewound):
        raise IllegalEvent(f"{type(event).__name__} while the job is stopped")
    after = _apply(job, event)
    at = event.at or job.at
    worked_s = 0.0 if isinstance(event, JobStarted | Resumed | Rewound) else max(at - job.at, 0.0)
    return replace(
        after, seq=event.seq or job.seq + 1, at=at, active_s=round(job.active_s + worked_s, 3)
    )


def _apply(job: Job, event: Event) -> Job:
    match event:
        case JobStarted():
            return _started(job, event)
        case Resumed():
            return _resumed(job, event)
        case Rewound():
            if job.seq != event.to:
                raise IllegalEvent(
                    f"rewound to event {event.to}, but the state is that of {job.seq}"
                )
            return _resumed(job, Resumed())
        case Stopped():
            if job.done:
                raise IllegalEvent("Stopped after the job was done")
            return replace(job, stopped=Stop(reason=event.reason, what=event.what))
        case CancelRequested():
            if job.done:
                raise IllegalEvent("CancelRequested after the job was done")
            return replace(job, cancelled=True)
        case UserSpoke():
            return _heard(job, event)
        case RunStarted():
            return _run_started(job, event)
        case Replied() | ReplyFailed():
            return _replied(job, event)
        case ToolReturned():
            return _tool_returned(job, event)
        case ToolCalled() | Asked() | AskAnswered() | ApprovalAsked() | ApprovalAnswered():
            return _with(job, advance(_run(job, event.run), event, job.seq + 1))
        case RunFinished():
            run = _run(job, event.run)
            after = _with(job, advance(run, event, job.seq + 1))
            below = {id for id, other in job.runs.items() if other.path.startswith(f"{run.path}/")}
            return _without(after, below) if below else after


def _started(job: Job, event: JobStarted) -> Job:
    if job.id:
        raise IllegalEvent("JobStarted twice")
    if event.format > FORMAT:
        raise IllegalEvent(
            f"log format {event.format} is newer than {FORMAT}, which this version reads"
        )
    return Job(
        id=event.job,
        started_at=event.at,
        expert=event.expert,
        lock=event.lock,
        model=event.model,
        limits=event.limits,
        rules=Rules(approve=event.approve, deny=event.deny),
        workspace=event.workspace,
        runtime=event.runtime,
        version=event.version,
    )


def _resumed(job: Job, event: Resumed) -> Job:
    return replace(
        job,
        stopped=None,
        cancelled=False,
        limits=event.limits or job.limits,
        model=event.model or job.model,
        rules=job.rules | Rules(approve=event.approve, deny=event.deny),
        runs={id: _doubted(run) for id, run in job.runs.items()},
    )


def _doubted(run: Run) -> Run:
    match run.phase:
        case Acting(flights=flights) as phase:
            doubted = {
                id: replace(f, in_doubt=True) if f.started and f.result is None else f
                for id, f in flights.items()
            }
            return replace(run, phase=replace(phase, flights=doubted))
        case Thinking() | Concluding() as phase:
            return replace(run, phase=replace(phase, attempt=0, failure=None))
        case _:
            return run


def _run_started(job: Job, event: RunStarted) -> Job:
    if event.run in job.runs:
        raise IllegalEvent(f"run {event.run} started twice")
    new = Run(
        id=event.run,
        expert=event.expert,
        instruction=event.instruction,
        phase=Thinking(since=job.seq + 1),
        history=History([said(event.query)]),
        by=event.by,
    )
    if event.by is None:
        if job.root:
            raise IllegalEvent("a second root run")
        return replace(_with(job, new), root=new.id)
    parent = _run(job, event.by.run)
    match parent.phase:
        case Acting(flights=flights) as phase if event.by.call in flights:
            flight = flights[event.by.call]
            if flight.child or flight.result is not None or flight.call.kind != "delegate":
                raise IllegalEvent(f"call {event.by.call} does not wait for a delegate")
            place = list(flights).index(event.by.call) + 1
            new = replace(new, path=f"{parent.path}/{parent.step}.{place}", depth=parent.depth + 1)
            open_flights = {**flights, event.by.call: replace(flight, child=new.id)}
            parent = replace(parent, phase=replace(phase, flights=open_flights))
            return _with(_with(job, parent), new)
        case phase:
            raise IllegalEvent(f"a delegate started while its parent was {type(phase).__name__}")


def _heard(job: Job, event: UserSpoke) -> Job:
    run = _run(job, event.run or job.root)
    words = said(event.text)
    match run.phase:
        case Concluding() | Answered() | Done():
            run = next_step(replace(run, history=run.history.plus(words), cut=""), job.seq + 1)
        case Thinking() as phase:
            phase = replace(phase, attempt=0, failure=None)
            run = replace(run, history=run.history.plus(words), phase=phase)
        case Acting():
            run = replace(run, waiting=(*run.waiting, event.text))
    return replace(_with(job, run), cancelled=False)


def _replied(job: Job, event: Replied | ReplyFailed) -> Job:
    run = _run(job, event.run)
    steps = job.steps + (isinstance(event, Replied) and _is_step(run))
    run = replace(
        advance(run, event, job.seq + 1),
        usage=run.usage + event.usage,
        tokens=run.tokens + event.usage.total_tokens,
        cost=run.cost + event.cost,
    )
    spent = {**job.spent, run.expert: job.spent.get(run.expert, Usage()) + event.usage}
    return replace(
        _with(job, run),
        steps=steps,
        usage=job.usage + event.usage,
        spent=spent,
        cost=job.cost + event.cost,
    )


def _is_step(run: Run) -> bool:
    """Whether the reply it waits for counts as a step."""
    return isinstance(run.phase, Thinking | Concluding) and run.phase.since > 0


def _tool_returned(job: Job, event: ToolReturned) -> Job:
    run = _run(job, event.run)
    child = _child_of(job, run, event.call)
    if child is None:
        return _with(job, advance(run, event, job.seq + 1))
    if not isinstance(child.phase, Done):
        raise IllegalEvent(f"call {event.call} is answered by run {child.id}, which is at work")
    run = advance(_charged(run, event.call, child), event, job.seq + 1)
    return _without(_with(job, run), {child.id})


def _child_of(job: Job, run: Run, call: str) -> Run | None:
    """The run that answers `call`, if one does."""
    match run.phase:
        case Acting(flights=flights) if call in flights:
            return job.runs.get(flights[call].child)
        case _:
            return None


def _charged(run: Run, call: str, child: Run) -> Run:
    """`run` with what `child` took noted at the call it answers."""
    assert isinstance(run.phase, Acting)  # it has a child
    flight = replace(run.phase.flights[call], tokens=child.tokens, cost=child.cost)
    flights = {**run.phase.flights, call: flight}
    return replace(run, phase=replace(run.phase, flights=flights))


def _run(job: Job, id: str) -> Run:
    if id not in job.runs:
        raise IllegalEvent(f"no run {id}")
    return job.runs[id]


def _with(job: Job, run: Run) -> Job:
    return replace(job, runs={**job.runs, run.id: run})


def _without(job: Job, gone: set[str]) -> Job:
    return replace(job, runs={id: run for id, run in job.runs.items() if id not in gone})
