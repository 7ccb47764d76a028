"""What happened: the durable facts of a job.

Each holds only what is new. None holds a checkpoint, a secret, or a value of the environment. A field once
written keeps its name and its meaning; new fields have defaults.
"""

from __future__ import annotations

from typing import Literal

from perstack._value import Value, camel_tag
from perstack.definition import Limits, ProviderName, Reasoning
from perstack.lock import Lock

from .messages import ExpertMessage, Json, ResultPart, Usage

FORMAT = 1
"""The version of the log, said by its first event. Readers refuse a higher one."""


class Fact(Value, frozen=True, kw_only=True, tag=camel_tag, tag_field="type"):
    """The base of every event. seq: place in the log, from 1; 0 while not yet written down.

    at: when it was written down, seconds since 1970 UTC to the millisecond.
    """

    seq: int = 0
    at: float = 0.0


class ModelChoice(Value, frozen=True, kw_only=True):
    """Which model is asked, and how much it may think.

    provider: "cassette" for a recording, "custom" for a model that an embedding program, or the program of another
    vendor, brought.
    """

    provider: ProviderName | Literal["cassette", "custom"]
    model: str
    reasoning: Reasoning = "low"


class CalledBy(Value, frozen=True, kw_only=True):
    """The call a child run answers: its run, and its id there."""

    run: str
    call: str


class Failure(Value, frozen=True, kw_only=True):
    """Why something did not work. retry_after_s: how long the provider asked us to wait."""

    name: str
    message: str
    status: int | None = None
    retryable: bool = False
    retry_after_s: float | None = None


class ForkedFrom(Value, frozen=True, kw_only=True):
    """Where a log comes from whose beginning it shares: the job, and the last place taken over."""

    job: str
    seq: int


class JobStarted(Fact, frozen=True, kw_only=True):
    """The first fact of every log: everything that was settled before anything ran.

    forked: the log whose beginning this one shares. approve, deny: texts of rules on the calls of all its runs.
    """

    format: int
    job: str
    expert: str
    lock: Lock
    model: ModelChoice
    limits: Limits
    workspace: str
    runtime: str
    version: str
    forked: ForkedFrom | None = None
    approve: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class Resumed(Fact, frozen=True, kw_only=True):
    """A process took the job up again; whatever was in flight before is in doubt.

    limits, model: the new ones, where they changed. approve, deny: more rules; none is ever taken back.
    """

    limits: Limits | None = None
    model: ModelChoice | None = None
    approve: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class Rewound(Fact, frozen=True, kw_only=True):
    """From here on only the log up to event `to` counts."""

    to: int


class RunStarted(Fact, frozen=True, kw_only=True):
    """One Expert went to work. instruction: the whole system text the model gets. by: None for the root."""

    run: str
    expert: str
    query: str
    instruction: str
    by: CalledBy | None = None


class Replied(Fact, frozen=True, kw_only=True):
    """The model gave one whole reply. cut: it ended before the model did, at its output limit or, if its message
    is paused, in the middle of the provider's own work.

    cost: its price in millionths of a US dollar, 0 where nobody asked for it.
    """

    run: str
    message: ExpertMessage
    usage: Usage
    cut: bool = False
    cost: int = 0


class ReplyFailed(Fact, frozen=True, kw_only=True):
    """The model gave no usable reply. usage, cost: what it took all the same."""

    run: str
    failure: Failure
    usage: Usage = Usage()
    cost: int = 0


class ToolCalled(Fact, frozen=True, kw_only=True):
    """A call is about to be made: the intent, before the deed."""

    run: str
    call: str


class ToolReturned(Fact, frozen=True, kw_only=True):
    """A call has its result. ends: the Expert has declared its work done, and nothing is left open."""

    run: str
    call: str
    parts: tuple[ResultPart, ...]
    is_error: bool = False
    ends: bool = False


class Asked(Fact, frozen=True, kw_only=True):
    """The server of a tool asked a person something during a call, which was then called off to wait for it.

    schema: JSON Schema of the answer.
    """

    run: str
    call: str
    message: str
    schema: dict[str, Json]


class AskAnswered(Fact, frozen=True, kw_only=True):
    """A person answered what was asked during a call, which can now be made again.

    content: the answer, None if they declined.
    """

    run: str
    call: str
    content: dict[str, Json] | None = None


class ApprovalAsked(Fact, frozen=True, kw_only=True):
    """A call may not be made unless a person allows it. rule: the text of the rule that says so."""

    run: str
    call: str
    rule: str


class ApprovalAnswered(Fact, frozen=True, kw_only=True):
    """A person allowed a call, or did not. text: what they said with it, for the model."""

    run: str
    call: str
    approved: bool
    text: str = ""


class UserSpoke(Fact, frozen=True, kw_only=True):
    """A person said something. run: to whom, "" for the root."""

    text: str
    run: str = ""


class CancelRequested(Fact, frozen=True, kw_only=True):
    """Somebody wants the job to end now, unfinished."""


class Stopped(Fact, frozen=True, kw_only=True):
    """The job was put down as it stands, and can be taken up again.

    reason: "interrupted" by a signal or a lost output, at a "limit", or by a "bug". what: which one.
    run: the run that could not go on, where there is one.
    """

    reason: Literal["interrupted", "limit", "bug"]
    what: str
    run: str = ""


class RunFinished(Fact, frozen=True, kw_only=True):
    """A run ended. text: its answer, or why it failed."""

    run: str
    outcome: Literal["completed", "failed", "cancelled"]
    text: str = ""
    failure: Failure | None = None


Event = (
    JobStarted
    | Resumed
    | Rewound
    | RunStarted
    | Replied
    | ReplyFailed
    | ToolCalled
    | ToolReturned
    | Asked
    | AskAnswered
    | ApprovalAsked
    | ApprovalAnswered
    | UserSpoke
    | CancelRequested
    | Stopped
    | RunFinished
)
