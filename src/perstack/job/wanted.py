"""What a job waits for. Effects are a function of state.

Within a step there are turns: tools and the todo list, then delegates, then people, and last the claim to be
done. Only the earliest turn still open is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain

import msgspec

from perstack._ids import derived
from perstack.definition import compose_instruction
from perstack.errors import UnknownExpert

from .events import (
    CalledBy,
    Event,
    Failure,
    RunFinished,
    RunStarted,
    Stopped,
    ToolCalled,
    ToolReturned,
)
from .messages import Call, History, Text
from .state import Acting, Answered, Concluding, Done, Flight, Job, Run, Thinking
from .todo import todo_answer, todo_fault, todos_after

TURNS = {"tool": 0, "todo": 0, "delegate": 1, "ask": 2, "complete": 3}

OUTCOME_UNKNOWN = (
    "This call was interrupted: it had begun, and whether it took effect is unknown. "
    "Look before you do it again."
)
"""The result of a call that was in flight when its process ended and that may not be repeated."""


class Generate(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the model for the next reply of `run`. attempt: failures before this one."""

    run: str
    expert: str
    path: str
    step: int
    attempt: int
    instruction: str
    history: History
    concluding: bool = False
    failure: Failure | None = None

    @property
    def key(self) -> tuple[object, ...]:
        return ("generate", self.run, self.step, self.attempt, self.concluding, len(self.history))


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Call a tool of `expert`'s skills for `run`."""

    run: str
    expert: str
    step: int
    call: Call

    @property
    def key(self) -> tuple[object, ...]:
        return ("use", self.run, self.step, self.call.id)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """No effect in the world: only write down what follows from the state. sync: before a deed follows."""

    event: Event
    about: str = ""
    sync: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        return ("record", type(self.event).__name__, getattr(self.event, "run", ""), self.about)


Command = Generate | Use | Record


def wanted(job: Job) -> tuple[Command, ...]:
    """What the state waits for, each command with a key of its own. () means: done, parked or stopped."""
    if job.stopped is not None:
        return ()
    if job.cancelled:
        # Children first: their ends are in the log before that of the run they worked for.
        return tuple(chain.from_iterable(_wanted(job, r) for r in reversed(job.runs.values())))
    held = _held(job)
    commands: list[Command] = []
    for run in job.runs.values():
        if run.id not in held:
            commands.extend(_wanted(job, run))
    if held and not commands:
        stop = Stopped(reason="limit", what=f"maxSteps {job.limits.max_steps}", run=held[0])
        return (Record(event=stop, sync=True),)
    return tuple(commands)


def _held(job: Job) -> list[str]:
    """The runs whose next reply would be a step too many.

    Who began to wait first goes first, whatever others do meanwhile: a request in flight is never taken back.
    """
    waiting = [
        (run.phase.since, run.id)
        for run in job.runs.values()
        if isinstance(run.phase, Thinking | Concluding) and run.phase.since
    ]
    allowed = max(job.limits.max_steps - job.steps, 0)
    return [] if len(waiting) <= allowed else [id for _, id in sorted(waiting)[allowed:]]


def _wanted(job: Job, run: Run) -> Iterator[Command]:
    match run.phase:
        case Done():
            return
        case _ if job.cancelled:
            yield Record(
                event=RunFinished(run=run.id, outcome="cancelled", text="cancelled"), sync=True
            )
        case Answered(text=text):
            yield Record(event=RunFinished(run=run.id, outcome="completed", text=text), sync=True)
        case (
            Thinking(failure=Failure() as why) | Concluding(failure=Failure() as why)
        ) as phase if gives_up(job, phase):
            yield Record(event=_failed(run, phase.attempt, why), sync=True)
        case (Thinking() | Concluding()) as phase:
            yield Generate(
                run=run.id,
                expert=run.expert,
                path=run.path,
                step=run.step,
                attempt=phase.attempt,
                instruction=run.instruction,
                history=run.history,
                concluding=isinstance(phase, Concluding),
                failure=phase.failure,
            )
        case Acting() as phase:
            for flight in on_turn(phase):
                yield from _wanted_call(job, run, flight)


def gives_up(job: Job, phase: Thinking | Concluding) -> bool:
    """Whether the last failure is the end of the run."""
    why = phase.failure
    return why is not None and (not why.retryable or phase.attempt > job.limits.max_retries)


def on_turn(phase: Acting) -> tuple[Flight, ...]:
    """The open calls of the earliest turn that has any."""
    turn = min(TURNS[flight.call.kind] for flight in phase.open)
    return tuple(flight for flight in phase.open if TURNS[flight.call.kind] == turn)


def _wanted_call(job: Job, run: Run, flight: Flight) -> Iterator[Command]:
    call = flight.call
    match call.kind:
        case _ if call.fault:
            yield _result(run, call, call.fault, is_error=True)
        case "ask":
            return  # a person will answer
        case "delegate":
            yield from _wanted_delegate(job, run, flight)
        case "todo" if fault := todo_fault(call.args):
            yield _result(run, call, fault, is_error=True)
        case "todo":
            yield _result(
                run, call, todo_answer(todos_after(run.todos, call.tool, call.args), call.tool)
            )
        case "complete":
            yield _result(run, call, todo_answer(run.todos, call.tool), ends=not run.todos.open)
        case "tool" if flight.in_doubt and not call.repeatable:
            yield _result(run, call, OUTCOME_UNKNOWN, is_error=True)
        case "tool" if flight.in_doubt or not flight.started:
            # The intent is in the log before the deed; on stable storage, if the deed may not be repeated.
            event = ToolCalled(run=run.id, call=call.id)
            yield Record(event=event, about=call.id, sync=not call.repeatable)
        case "tool":
            yield Use(run=run.id, expert=run.expert, step=run.step, call=call)


def _wanted_delegate(job: Job, run: Run, flight: Flight) -> Iterator[Command]:
    call = flight.call
    if not flight.child:
        try:
            yield Record(event=_child(job, run, call), about=call.id)
        except _Refused as why:
            yield _result(run, call, f"Delegation failed: {why}", is_error=True)
        return
    match job.runs[flight.child].phase:
        case Done(outcome="completed", text=text):
            yield _result(run, call, text)
        case Done(text=text):
            yield _result(run, call, f"Delegation failed: {text}", is_error=True)
        case _:
            return


class _Refused(Exception):
    """Why a delegate cannot be set to work, for the model."""


def _child(job: Job, run: Run, call: Call) -> RunStarted:
    """The start of the run that answers `call`. Raises _Refused."""
    query = call.args.get("query")
    if not isinstance(query, str) or not query.strip():
        raise _Refused("`query` must be a text that says what to do.")
    if run.depth >= job.limits.max_depth:
        raise _Refused(f"the depth limit of {job.limits.max_depth} is reached.")
    try:
        expert, delegates = job.lock.expert(call.skill), job.lock.delegates_of(call.skill)
    except UnknownExpert as error:
        raise _Refused(str(error)) from error
    return RunStarted(
        # By its own place in the log, so that after a rewind it is another run than the one left behind.
        run=derived(job.id, job.seq + 1, run.id, call.id),
        expert=call.skill,
        query=query,
        instruction=compose_instruction(expert, delegates, at=utc(job.at), workspace=job.workspace),
        by=CalledBy(run=run.id, call=call.id),
    )


def _result(
    run: Run, call: Call, text: str, *, is_error: bool = False, ends: bool = False
) -> Record:
    event = ToolReturned(
        run=run.id, call=call.id, parts=(Text(text=text),), is_error=is_error, ends=ends
    )
    return Record(event=event, about=call.id)


def _failed(run: Run, attempts: int, why: Failure) -> RunFinished:
    text = why.message if attempts == 1 else f"{why.message} (tried {attempts} times)"
    return RunFinished(run=run.id, outcome="failed", text=text, failure=why)


def utc(at: float) -> str:
    """Seconds since 1970 as ISO 8601 UTC with milliseconds, e.g. "2026-01-02T03:04:05.678Z"."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
