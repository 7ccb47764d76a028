"""Where a telling stands: what the reference counts and names, and we do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from perstack._value import Value
from perstack.job import ModelChoice, Notice, Resumed, Rewound, Usage

from . import types as wire


class Segment(Value, frozen=True):
    """How far one run has been told.

    To the reference a run that stops for a delegate or a person comes back as another run. A segment is one of
    these; our run is told as one or more.

    id: its `runId`. step: `stepNumber`, counted over the whole job. checkpoint: id of the checkpoint this step
    will end with. status: what was last said of it; open is what no terminal event has closed.
    first: the message of the history with which this step began. inputs: how many before it came from outside.
    told: messages that were told, or will be by the event that ends the step. reply: place of the reply whose
    calls are being answered, -1 for none.
    usage: told as cumulative. spent: of this step. answer: of the reply that ended the run.
    context: tokens of the last request and its reply. retries: None until there was a request.
    held: what may be told only if the job does not stop here.
    alone: the only delegate of its reply, so its usage counts on from its parent's. high: the highest step of
    the delegates that came back. rewinds: (length of history, seq) of each rewind.
    """

    id: str
    expert: wire.ExpertRef
    step: int
    checkpoint: str
    status: wire.Status = "init"
    by: wire.DelegatedBy | None = None
    first: int = 0
    inputs: int = 0
    told: int = 0
    reply: int = -1
    usage: Usage = Usage()
    spent: Usage = Usage()
    answer: Usage = Usage()
    context: int = 0
    retries: int | None = None
    started_at: int = 0
    held: Literal["", "step", "generation"] = ""
    alone: bool = False
    high: int = 0
    rewinds: tuple[tuple[int, int], ...] = ()

    @property
    def open(self) -> bool:
        return self.status in ("init", "proceeding")


class Pieces(Value, frozen=True):
    """Words heard so far, newest first: a row that grows without being copied."""

    text: str
    before: Pieces | None = None

    def joined(self) -> str:
        pieces: list[str] = []
        piece: Pieces | None = self
        while piece is not None:
            pieces.append(piece.text)
            piece = piece.before
        return "".join(reversed(pieces))


class Hearing(Value, frozen=True):
    """What was streamed of the reply a run waits for. reasoned: a whole block of reasoning was told."""

    reasoning: Pieces | None = None
    reasoned: bool = False
    result: Pieces | None = None


def _no_window(model: ModelChoice) -> int | None:
    return None


class Voice(Value, frozen=True):
    """Where the telling of one log stands.

    full: whole histories are told. window_of: the tokens a model can take in, None if unknown; window: those of
    the model in use. runtime: what the job was started with.
    segments: of the runs at work, and the root, by run.
    taken_up: the job was taken up again, and nothing has been told of that yet.
    hearing: what was streamed, by run. notices: how many were told. early: those about skills that came before
    the segment they belong to. whole: of a full voice, by run: how much of its history was told, and as what.
    """

    full: bool = False
    window_of: Callable[[ModelChoice], int | None] = _no_window
    window: int | None = None
    runtime: str = ""
    segments: dict[str, Segment] = msgspec.field(default_factory=dict[str, Segment])
    taken_up: Resumed | Rewound | None = None
    hearing: dict[str, Hearing] = msgspec.field(default_factory=dict[str, Hearing])
    notices: int = 0
    early: tuple[Notice, ...] = ()
    whole: dict[str, tuple[int, tuple[wire.Message, ...]]] = msgspec.field(
        default_factory=dict[str, tuple[int, tuple[wire.Message, ...]]]
    )
