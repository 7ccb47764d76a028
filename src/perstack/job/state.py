"""What a job is at one place in its log."""

from __future__ import annotations

from typing import Literal

import msgspec

from perstack._value import Value
from perstack.definition import Limits, Rules
from perstack.lock import Lock

from .events import CalledBy, Failure, ModelChoice
from .messages import Answer, Approval, Call, History, Json, Question, ToolMessage, Usage
from .todo import TodoList


class Flight(Value, frozen=True, kw_only=True):
    """One call on its way: asked for, perhaps started, perhaps back.

    in_doubt: it had started when the process that made it ended. child: the run that answers it, or did. tokens,
    cost: what that run took, once it has. question: what its server waits to know; it is off until then. answers:
    to earlier questions of it, in order. approval: what a person is to say of it, or said.
    """

    call: Call
    started: bool = False
    in_doubt: bool = False
    child: str = ""
    result: ToolMessage | None = None
    question: Question | None = None
    answers: tuple[Answer, ...] = ()
    approval: Approval | None = None
    ends: bool = False
    tokens: int = 0
    cost: int = 0

    @property
    def held(self) -> bool:
        """Whether a person has yet to allow it."""
        return self.approval is not None and self.approval.given is None

    @property
    def refused(self) -> bool:
        return self.approval is not None and self.approval.given is False


def asked_of(call: Call, question: Question) -> Call:
    """A question of a server, as a call that a person answers."""
    args = {"message": question.message, "requestedSchema": question.schema}
    return Call(id=call.id, tool=call.tool, kind="ask", skill=call.skill, args=args)


APPROVAL_SCHEMA: dict[str, Json] = {
    "type": "object",
    "properties": {
        "approve": {"type": "boolean", "description": "Whether the call may be made"},
        "text": {"type": "string", "description": "What the model is told with it"},
    },
    "required": ["approve"],
}
"""JSON Schema of what a person says of a call that they are to allow."""


def approval_of(call: Call, approval: Approval) -> Call:
    """The question whether `call` may be made, as a call that a person answers."""
    args = {
        "message": f"May {call.tool} of {call.skill} be called?",
        "requestedSchema": APPROVAL_SCHEMA,
        "rule": approval.rule,
        "arguments": call.args,
    }
    return Call(id=call.id, tool=call.tool, kind="ask", skill=call.skill, args=args)


class Thinking(Value, frozen=True, kw_only=True, tag=True):
    """The model is asked for its next reply, which is a step.

    attempt: failures so far. failure: the last one. since: `seq` of the event that made the run wait for it.
    """

    attempt: int = 0
    failure: Failure | None = None
    since: int = 0


class Acting(Value, frozen=True, kw_only=True, tag=True):
    """The calls of one reply, by id, in the order they were asked for."""

    flights: dict[str, Flight]

    @property
    def open(self) -> tuple[Flight, ...]:
        return tuple(flight for flight in self.flights.values() if flight.result is None)

    @property
    def asked(self) -> tuple[Call, ...]:
        """What holds up calls of tools: whether they may be made, and questions of servers; as calls of these."""
        questions: list[Call] = []
        for flight in self.open:
            if flight.question is not None:
                questions.append(asked_of(flight.call, flight.question))
            elif flight.approval is not None and flight.held:
                questions.append(approval_of(flight.call, flight.approval))
        return tuple(questions)

    @property
    def asking(self) -> tuple[Call, ...]:
        """The open calls a person answers."""
        return tuple(
            flight.call
            for flight in self.open
            if flight.call.kind == "ask" and not flight.call.fault
        )


class Concluding(Value, frozen=True, kw_only=True, tag=True):
    """The work is done; one more reply, without tools, says so.

    since: 0 while that reply still belongs to the step before; once one was cut off, as in `Thinking`.
    """

    attempt: int = 0
    failure: Failure | None = None
    since: int = 0


class Answered(Value, frozen=True, kw_only=True, tag=True):
    """The model gave its last word; only RunFinished is missing."""

    text: str


class Done(Value, frozen=True, kw_only=True, tag=True):
    """The run is over. text: its answer, or why it failed."""

    outcome: Literal["completed", "failed", "cancelled"]
    text: str
    failure: Failure | None = None


Phase = Thinking | Acting | Concluding | Answered | Done


class Run(Value, frozen=True, kw_only=True):
    """One Expert at work.

    path: its place in the tree of runs, "" for the root, "/2.1" for the delegate called first in the root's
    step 2. step: number of the reply it waits for or acts on, from 1. cut: the words of replies that were cut
    off, to be continued by the next. waiting: what a person said while calls were open. usage: its own alone.
    tokens, cost: its own, and those of the delegates whose answers are in the history.
    """

    id: str
    expert: str
    instruction: str
    phase: Phase
    history: History
    by: CalledBy | None = None
    path: str = ""
    depth: int = 0
    step: int = 1
    todos: TodoList = TodoList()
    cut: str = ""
    waiting: tuple[str, ...] = ()
    usage: Usage = Usage()
    tokens: int = 0
    cost: int = 0


class Stop(Value, frozen=True, kw_only=True):
    """Why the job was put down."""

    reason: Literal["interrupted", "limit", "bug"]
    what: str


class Job(Value, frozen=True, kw_only=True):
    """All that follows from one request.

    seq, at: of the last event. runs: those at work, and the root; a child is gone once its parent has its
    answer, or has ended. steps: replies of the model over all runs. usage: of all runs; spent: the same by
    Expert key. cost: of all runs, millionths of a US dollar, as far as it was asked for. active_s: seconds at
    work: from one event to the next, but not up to one that takes the job up again. rules: on all calls, beside
    those of the Experts.
    """

    id: str = ""
    seq: int = 0
    started_at: float = 0.0
    at: float = 0.0
    expert: str = ""
    lock: Lock = Lock()
    model: ModelChoice = ModelChoice(provider="anthropic", model="")
    limits: Limits = Limits()
    rules: Rules = Rules()
    workspace: str = ""
    runtime: str = ""
    version: str = ""
    root: str = ""
    runs: dict[str, Run] = msgspec.field(default_factory=dict[str, Run])
    steps: int = 0
    usage: Usage = Usage()
    spent: dict[str, Usage] = msgspec.field(default_factory=dict[str, Usage])
    cost: int = 0
    active_s: float = 0.0
    cancelled: bool = False
    stopped: Stop | None = None

    @property
    def root_run(self) -> Run | None:
        return self.runs.get(self.root)

    @property
    def done(self) -> Done | None:
        """How the job ended, None while it has not."""
        root = self.root_run
        return root.phase if root is not None and isinstance(root.phase, Done) else None

    def parent_of(self, run: Run) -> Run | None:
        """The run that `run` works for, None for the root."""
        return self.runs.get(run.by.run) if run.by is not None else None

    @property
    def questions(self) -> tuple[tuple[Run, Call], ...]:
        """What only a person can answer, with the run that asks: by run, what holds up the others of it first.

        Whether a call may be made, and what a tool's server asks, is a call with the id of the call it is about.
        """
        return tuple(
            (run, call)
            for run in self.runs.values()
            if isinstance(run.phase, Acting)
            for call in (*run.phase.asked, *run.phase.asking)
        )
