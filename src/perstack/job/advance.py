"""One run after one of its own events.

Theory of operation
-------------------
1. A run moves through five phases:

       Thinking ── Replied with calls ──▶ Acting ── last result ──▶ Thinking (next step)
          │                                 │
          │ Replied without calls           ├── last result, work declared done ──▶ Concluding ── Replied ─┐
          ▼                                 └── the same, and the reply had words ─┐                       │
       Answered ◀──────────────────────────────────────────────────────────────────┴───────────────────────┘
          │ RunFinished
          ▼
        Done

   What moves it from outside (a person who speaks, a job taken up again) is in `reduce`.

   A reply that was cut off by the model's output limit is kept, and asked to be continued: it is never taken
   for an answer, and calls in it are not made, since the last may be half a call. One in which the provider
   paused in work of its own is kept too, and nothing is said to it: the provider goes on from where it stands.
2. The results of one reply join the history together, in the order of the calls, when the last is there. So
   the history never holds a call without its result, and the same log gives the same requests.
3. A call whose server asks a person something (`Asked`) was called off, so it is neither at work nor in doubt.
   `AskAnswered` lets it be made again from the start, with all answers so far.
4. A call that a person must allow (`ApprovalAsked`) has not begun; while nobody did, or after they said no, it
   cannot begin.
"""

from __future__ import annotations

from msgspec.structs import replace

from .events import (
    ApprovalAnswered,
    ApprovalAsked,
    AskAnswered,
    Asked,
    Event,
    Replied,
    ReplyFailed,
    RunFinished,
    ToolCalled,
    ToolReturned,
)
from .messages import (
    Answer,
    Approval,
    ExpertMessage,
    History,
    Question,
    Text,
    ToolMessage,
    said,
)
from .state import Acting, Answered, Concluding, Done, Flight, Run, Thinking
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


def advance(run: Run, event: Event, seq: int) -> Run:
    """`run` after one of its own events. seq: the place of the event. Raises IllegalEvent."""
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
        case Acting(flights=flights) as phase, ToolReturned(call=id) if _is_open(flights.get(id)):
            return _returned(run, phase, flights[id], event, seq)
        case (
            Acting(flights=flights) as phase,
            ToolCalled() | Asked() | AskAnswered() | ApprovalAsked() | ApprovalAnswered(),
        ) if event.call in flights:
            moved = _moved(flights[event.call], event)
            return replace(run, phase=replace(phase, flights={**flights, event.call: moved}))
        case ((Thinking() | Acting() | Concluding() | Answered()), RunFinished()):
            done = Done(outcome=event.outcome, text=event.text, failure=event.failure)
            return replace(run, history=_closed(run), phase=done, waiting=())
        case phase, _:
            raise IllegalEvent(f"{type(event).__name__} while {type(phase).__name__}")


def next_step(run: Run, seq: int) -> Run:
    """`run` waiting for another reply, which is a step. seq: the place of the event that made it wait."""
    return replace(run, phase=Thinking(since=seq), step=run.step + 1)


_CallEvent = ToolCalled | Asked | AskAnswered | ApprovalAsked | ApprovalAnswered


def _moved(flight: Flight, event: _CallEvent) -> Flight:
    """A call after an event that is not its result. Raises IllegalEvent."""
    match event:
        case ToolCalled() if _may_begin(flight):
            return replace(flight, started=True, in_doubt=False)
        case Asked() if _is_at_work(flight):
            question = Question(message=event.message, schema=event.schema)
            return replace(flight, started=False, question=question)
        case AskAnswered() if (question := flight.question) is not None:
            answer = Answer(message=question.message, content=event.content)
            return replace(flight, question=None, answers=(*flight.answers, answer))
        case ApprovalAsked() if flight.approval is None and _may_begin(flight):
            return replace(flight, approval=Approval(rule=event.rule))
        case ApprovalAnswered() if (approval := flight.approval) is not None and flight.held:
            ruled = replace(approval, given=event.approved, text=event.text)
            return replace(flight, approval=ruled)
        case _:
            raise IllegalEvent(f"{type(event).__name__} while Acting")


def _is_open(flight: Flight | None) -> bool:
    """Whether it can have its result next: no person is asked about it."""
    return (
        flight is not None and flight.result is None and flight.question is None and not flight.held
    )


def _may_begin(flight: Flight) -> bool:
    """Whether the deed may come next: it has not begun, or was interrupted and may be repeated."""
    return (
        flight.result is None
        and flight.question is None
        and not flight.held
        and not flight.refused
        and flight.call.kind == "tool"
        and (not flight.started or (flight.in_doubt and flight.call.repeatable))
    )


def _is_at_work(flight: Flight) -> bool:
    """Whether its tool is being used, by this process."""
    return (
        flight.result is None
        and flight.call.kind == "tool"
        and flight.started
        and not flight.in_doubt
    )


def _cut(run: Run, message: ExpertMessage, seq: int) -> Run:
    """A reply that reached the output limit, or in which the provider paused: kept, and continued by the next."""
    history = run.history
    if message.calls:
        results = (_note(call.id, call.tool, CUT_CALL) for call in message.calls)
        return next_step(replace(run, history=history.plus(message, *results), cut=""), seq)
    if message.paused:
        history = history.plus(message)
    elif message.text or message.thoughts or message.provided:
        history = history.plus(message, said(GO_ON))
    else:
        history = history.plus(said(GO_ON))
    run = replace(run, history=history, cut=run.cut + message.text)
    if isinstance(run.phase, Concluding):
        return replace(run, phase=Concluding(since=seq))
    return next_step(run, seq)


def _returned(run: Run, phase: Acting, flight: Flight, event: ToolReturned, seq: int) -> Run:
    """`run` after the result of one of its calls; with the last of a reply, the results join the history."""
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
    return next_step(run, seq)


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
