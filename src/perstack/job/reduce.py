"""The job as a pure function of its log.

Theory of operation
-------------------
1. `apply` is the only author of state. It is total over what can happen and refuses the rest: an event that
   cannot follow the state before it is an IllegalEvent at once, never a strange state later.
2. A run moves through five phases:

       Thinking ── Replied with calls ──▶ Acting ── last result ──▶ Thinking (next step)
          │                                 │
          │ Replied without calls           ├── last result, work declared done ──▶ Concluding ── Replied ─┐
          ▼                                 └── the same, and the reply had words ─┐                       │
       Answered ◀──────────────────────────────────────────────────────────────────┴───────────────────────┘
          │ RunFinished
          ▼
        Done

   UserSpoke leads from Concluding, Answered and Done back to Thinking, at the next step. While
   Thinking it joins the history; while Acting it waits for the results.

   A reply that was cut off by the model's output limit is kept, and asked to be continued: it is never taken
   for an answer, and calls in it are not made, since the last may be half a call.
3. The results of one reply join the history together, in the order of the calls, when the last is there. So
   the history never holds a call without its result, and the same log gives the same requests.
4. `Stopped` and a crash differ only in what the log says; `Resumed` undoes both, putting calls that had begun
   in doubt and forgetting failed attempts. Nothing but `Resumed` or `Rewound` follows `Stopped`. Who takes a
   job up again wants it to go on, so a cancel that had not yet ended it is forgotten.
5. A call whose server asks a person something (`Asked`) was called off, so it is neither at work nor in doubt.
   `AskAnswered` lets it be made again from the start, with all answers so far.
6. A run that ends takes the runs below it along: nobody waits for them any more.

Cost: one event costs the size of the runs at work now, never the length of a history (`History` shares it) nor
the number of runs that ended (a child leaves the state with its answer).
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from .branch import lineage
from .events import (
    FORMAT,
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
from .messages import Answer, ExpertMessage, History, Question, Text, ToolMessage, Usage, said
from .state import (
    Acting,
    Answered,
    Concluding,
    Done,
    Flight,
    Job,
    Run,
    Stop,
    Thinking,
)
from .todo import todos_after

GO_ON = (
    "Your reply was cut off because it reached the output limit. "
    "Go on exactly where it stopped, without repeating anything."
)
"""What the model is told after a reply without calls was cut off."""

CUT_CALL = (
    "This call was not made: your reply was cut off at the output limit before it was complete. "
    "Make the call again, with smaller arguments if you can."
)
"""The result of every call in a reply that was cut off."""

CANCELLED_CALL = "This call has no result: the job was cancelled."
"""The result of a call that was open when its run was cancelled."""


class IllegalEvent(Exception):
    """The log says something that cannot have happened in this state."""


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
        case Replied(usage=usage, cost=cost) | ReplyFailed(usage=usage, cost=cost):
            run = _run(job, event.run)
            steps = job.steps + (isinstance(event, Replied) and _is_step(run))
            run = replace(
                _advance(run, event, job.seq + 1),
                usage=run.usage + usage,
                tokens=run.tokens + usage.total_tokens,
                cost=run.cost + cost,
            )
            spent = {**job.spent, run.expert: job.spent.get(run.expert, Usage()) + usage}
            return replace(
                _with(job, run),
                steps=steps,
                usage=job.usage + usage,
                spent=spent,
                cost=job.cost + cost,
            )
        case ToolReturned():
            run = _run(job, event.run)
            child = _child_of(job, run, event.call)
            if child is None:
                return _with(job, _advance(run, event, job.seq + 1))
            if not isinstance(child.phase, Done):
                raise IllegalEvent(
                    f"call {event.call} is answered by run {child.id}, which is at work"
                )
            run = _advance(_charged(run, event.call, child), event, job.seq + 1)
            return _without(_with(job, run), {child.id})
        case ToolCalled() | Asked() | AskAnswered():
            return _with(job, _advance(_run(job, event.run), event, job.seq + 1))
        case RunFinished():
            run = _run(job, event.run)
            after = _with(job, _advance(run, event, job.seq + 1))
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
        workspace=event.workspace,
        version=event.version,
    )


def _resumed(job: Job, event: Resumed) -> Job:
    return replace(
        job,
        stopped=None,
        cancelled=False,
        limits=event.limits or job.limits,
        model=event.model or job.model,
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
            run = _next_step(replace(run, history=run.history.plus(words), cut=""), job.seq + 1)
        case Thinking() as phase:
            phase = replace(phase, attempt=0, failure=None)
            run = replace(run, history=run.history.plus(words), phase=phase)
        case Acting():
            run = replace(run, waiting=(*run.waiting, event.text))
    return replace(_with(job, run), cancelled=False)


def _advance(run: Run, event: Event, seq: int) -> Run:
    """One run after one of its own events. seq: the place of the event."""
    match run.phase, event:
        case _, Replied(message=message) if len({c.id for c in message.calls}) < len(message.calls):
            raise IllegalEvent("two calls of one reply have the same id")
        case Concluding(), Replied(message=message) if message.calls:
            raise IllegalEvent("a closing reply with calls")
        case ((Thinking() | Concluding()), Replied(message=message, cut=True)):
            return _cut(run, message, seq)
        case Thinking(), Replied(message=message) if message.calls:
            flights = {call.id: Flight(call=call) for call in message.calls}
            return replace(run, history=run.history.plus(message), phase=Acting(flights=flights))
        case ((Thinking() | Concluding()), Replied(message=message)):
            text = run.cut + message.text
            return replace(
                run, history=run.history.plus(message), phase=Answered(text=text), cut=""
            )
        case (Thinking() | Concluding()) as phase, ReplyFailed(failure=failure):
            return replace(run, phase=replace(phase, attempt=phase.attempt + 1, failure=failure))
        case Acting(flights=flights) as phase, ToolCalled(call=id) if _may_begin(flights.get(id)):
            called = replace(flights[id], started=True, in_doubt=False)
            return replace(run, phase=replace(phase, flights={**flights, id: called}))
        case Acting(flights=flights) as phase, Asked(call=id) if _is_at_work(flights.get(id)):
            question = Question(message=event.message, schema=event.schema)
            asked = replace(flights[id], started=False, question=question)
            return replace(run, phase=replace(phase, flights={**flights, id: asked}))
        case Acting(flights=flights) as phase, AskAnswered(call=id) if _is_asked(flights.get(id)):
            answered = _answered(flights[id], event)
            return replace(run, phase=replace(phase, flights={**flights, id: answered}))
        case Acting(flights=flights) as phase, ToolReturned(call=id) if _is_open(flights, id):
            return _returned(run, phase, flights[id], event, seq)
        case ((Thinking() | Acting() | Concluding() | Answered()), RunFinished()):
            done = Done(outcome=event.outcome, text=event.text, failure=event.failure)
            return replace(run, history=_closed(run), phase=done, waiting=())
        case phase, _:
            raise IllegalEvent(f"{type(event).__name__} while {type(phase).__name__}")


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


def _is_open(flights: dict[str, Flight], id: str) -> bool:
    return id in flights and flights[id].result is None and flights[id].question is None


def _is_at_work(flight: Flight | None) -> bool:
    """Whether its tool is being used, by this process."""
    return (
        flight is not None
        and flight.result is None
        and flight.call.kind == "tool"
        and flight.started
        and not flight.in_doubt
    )


def _is_asked(flight: Flight | None) -> bool:
    return flight is not None and flight.question is not None


def _answered(flight: Flight, event: AskAnswered) -> Flight:
    """A flight that can be made again, now that its question has its answer."""
    assert flight.question is not None  # `_is_asked`
    answer = Answer(message=flight.question.message, content=event.content)
    return replace(flight, question=None, answers=(*flight.answers, answer))


def _may_begin(flight: Flight | None) -> bool:
    """Whether the deed may come next: it has not begun, or was interrupted and may be repeated."""
    return (
        flight is not None
        and flight.result is None
        and flight.question is None
        and flight.call.kind == "tool"
        and (not flight.started or (flight.in_doubt and flight.call.repeatable))
    )


def _is_step(run: Run) -> bool:
    """Whether the reply it waits for counts as a step."""
    return isinstance(run.phase, Thinking | Concluding) and run.phase.since > 0


def _cut(run: Run, message: ExpertMessage, seq: int) -> Run:
    """A reply that reached the output limit: kept, and continued by the next."""
    history = run.history
    if message.calls:
        results = (_note(call.id, call.tool, CUT_CALL) for call in message.calls)
        return _next_step(replace(run, history=history.plus(message, *results), cut=""), seq)
    if message.text or message.thoughts:
        history = history.plus(message)
    run = replace(run, history=history.plus(said(GO_ON)), cut=run.cut + message.text)
    if isinstance(run.phase, Concluding):
        return replace(run, phase=Concluding(since=seq))
    return _next_step(run, seq)


def _returned(run: Run, phase: Acting, flight: Flight, event: ToolReturned, seq: int) -> Run:
    call = flight.call
    result = ToolMessage(call=call.id, tool=call.tool, parts=event.parts, is_error=event.is_error)
    landed = replace(flight, result=result, ends=event.ends, in_doubt=False)
    flights = {**phase.flights, call.id: landed}
    if call.kind == "todo" and not event.is_error:
        run = replace(run, todos=todos_after(run.todos, call.tool, call.args))
    if any(f.result is None for f in flights.values()):
        return replace(run, phase=replace(phase, flights=flights))
    reply = run.history[-1]
    results = [f.result for f in flights.values() if f.result is not None]
    heard = [said(text) for text in run.waiting]
    text = run.cut + reply.text.strip()
    run = replace(
        run,
        history=run.history.plus(*results, *heard),
        waiting=(),
        cut="",
        tokens=run.tokens + sum(f.tokens for f in flights.values()),
        cost=run.cost + sum(f.cost for f in flights.values()),
    )
    if any(f.ends for f in flights.values()) and not heard:
        return replace(run, phase=Answered(text=text) if text else Concluding())
    return _next_step(run, seq)


def _closed(run: Run) -> History:
    """The history of a run that ends now: every call has a result, and what was said is not lost."""
    match run.phase:
        case Acting(flights=flights):
            results = (
                f.result or _note(f.call.id, f.call.tool, CANCELLED_CALL) for f in flights.values()
            )
            return run.history.plus(*results, *(said(text) for text in run.waiting))
        case _:
            return run.history


def _note(call: str, tool: str, text: str) -> ToolMessage:
    return ToolMessage(call=call, tool=tool, parts=(Text(text=text),), is_error=True)


def _next_step(run: Run, seq: int) -> Run:
    return replace(run, phase=Thinking(since=seq), step=run.step + 1)


def _run(job: Job, id: str) -> Run:
    if id not in job.runs:
        raise IllegalEvent(f"no run {id}")
    return job.runs[id]


def _with(job: Job, run: Run) -> Job:
    return replace(job, runs={**job.runs, run.id: run})


def _without(job: Job, gone: set[str]) -> Job:
    return replace(job, runs={id: run for id, run in job.runs.items() if id not in gone})
