"""What a job waits for. Effects are a function of state.

Within a step there are turns: tools and the todo list, then delegates, then people, and last the claim to be
done. Only the earliest turn still open is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, takewhile

import msgspec

from perstack._ids import derived
from perstack.definition import Deed, Rules, Ruling, compose_instruction, ruling_of
from perstack.errors import UnknownExpert

from .budget import left_for
from .events import (
    ApprovalAsked,
    CalledBy,
    Event,
    Failure,
    RunFinished,
    RunStarted,
    Stopped,
    ToolCalled,
    ToolReturned,
)
from .messages import Answer, Call, History, Text, UserMessage
from .state import Acting, Answered, Concluding, Done, Flight, Job, Run, Thinking
from .todo import todo_answer, todo_fault, todos_after

TURNS = {"tool": 0, "todo": 0, "delegate": 1, "ask": 2, "complete": 3}

OUTCOME_UNKNOWN = (
    "This call was interrupted: it had begun, and whether it took effect is unknown. "
    "Look before you do it again."
)
"""The result of a call that was in flight when its process ended and that may not be repeated."""

NOT_ALLOWED = "This call was not made: the user did not allow it."
"""The result of a call that a person was asked about; their words follow."""

DENIED = "This call was not made: it is not allowed here, by the rule {rule}."
"""The result of a call that a rule denies."""


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
    """Call a tool of `expert`'s skills for `run`. answers: to what its server asked in earlier tries."""

    run: str
    expert: str
    step: int
    call: Call
    answers: tuple[Answer, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        return ("use", self.run, self.step, self.call.id, len(self.answers))


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
    at_limit = _at_limit(job)
    commands: list[Command] = []
    for run in job.runs.values():
        if run.id not in at_limit:
            commands.extend(_wanted(job, run))
    if at_limit and not commands:
        run, limit = next(iter(at_limit.items()))
        return (Record(event=Stopped(reason="limit", what=limit, run=run), sync=True),)
    return tuple(commands)


def _at_limit(job: Job) -> dict[str, str]:
    """The runs that may not ask the model again by id, each with the limit that says so.

    Of steps, who began to wait first goes first, whatever others do meanwhile: a request in flight is never taken
    back. Tokens and cost are divided down the tree (`budget`).
    """
    waiting = [
        (run.phase.since, run.id)
        for run in job.runs.values()
        if isinstance(run.phase, Thinking | Concluding) and run.phase.since
    ]
    allowed = max(job.limits.max_steps - job.steps, 0)
    over = [] if len(waiting) <= allowed else [id for _, id in sorted(waiting)[allowed:]]
    at_limit = dict.fromkeys(over, f"maxSteps {job.limits.max_steps}")
    for run in job.runs.values():
        if isinstance(run.phase, Thinking | Concluding) and (limit := left_for(job, run).spent_up):
            most = job.limits.max_tokens if limit == "maxTokens" else job.limits.max_cost
            at_limit[run.id] = f"{limit} {most}"
    return at_limit


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
        case _ if flight.question is not None or flight.held:
            return  # likewise
        case "tool" if flight.approval is not None and flight.refused:
            said = f" They said: {text}" if (text := flight.approval.text) else ""
            yield _result(run, call, f"{NOT_ALLOWED}{said}", is_error=True)
        case "tool" if (ruling := _ruling(job, run, flight)) is not None:
            yield _ruled(run, call, ruling)
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
            yield Use(
                run=run.id, expert=run.expert, step=run.step, call=call, answers=flight.answers
            )


def _ruling(job: Job, run: Run, flight: Flight) -> Ruling | None:
    """What the rules say of a call that has not begun and of which nobody has said anything yet.

    They are those of the job, of the run's Expert, and of all for whom it works: a delegate never has more rights
    than who called it.
    """
    if flight.started or flight.approval is not None:
        return None
    layers = [job.rules]
    for each in _upward(job, run):
        expert = job.lock.expert(each.expert)
        layers.append(Rules(approve=expert.approve, deny=expert.deny))
    if not any(layers):
        return None
    call = flight.call
    names = (call.tool, call.own_name) if call.own_name else (call.tool,)
    deed = Deed(tools=names, skill=call.skill, args=call.args, workspace=job.workspace)
    return ruling_of(layers, deed)


def _ruled(run: Run, call: Call, ruling: Ruling) -> Record:
    match ruling.kind:
        case "deny":
            return _result(run, call, DENIED.format(rule=ruling.rule), is_error=True)
        case "approve":
            event = ApprovalAsked(run=run.id, call=call.id, rule=ruling.rule)
            return Record(event=event, about=call.id)


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
    if _delegates_before(run, call) >= job.limits.max_fan_out:
        raise _Refused(
            f"at most {job.limits.max_fan_out} delegates may be called in one reply. "
            "Call the others when these have answered."
        )
    if _goes_round(job, run, call.skill, query):
        raise _Refused(f"{call.skill} is already at work on this very query, further up.")
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


def _delegates_before(run: Run, call: Call) -> int:
    """How many calls of delegates stand before `call` in its reply."""
    assert isinstance(run.phase, Acting)
    earlier = takewhile(lambda flight: flight.call.id != call.id, run.phase.flights.values())
    return sum(1 for flight in earlier if flight.call.kind == "delegate")


def _goes_round(job: Job, run: Run, expert: str, query: str) -> bool:
    """Whether `expert` was asked the same by one of the runs that led here."""
    for each in _upward(job, run):
        asked = each.history[0]
        if each.expert == expert and isinstance(asked, UserMessage) and asked.text == query:
            return True
    return False


def _upward(job: Job, run: Run) -> Iterator[Run]:
    """`run` and the runs it works for, the nearest first."""
    above: Run | None = run
    while above is not None:
        yield above
        above = job.parent_of(above)


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
