"""What a telling is written on: the events told of one fact, and what they carry.

A page lives for one call of `speak`. How segments move is in `moves.py`.
"""

from __future__ import annotations

from msgspec.structs import replace

from perstack._ids import derived
from perstack.job import (
    Acting,
    Call,
    ExpertMessage,
    Job,
    ResultPart,
    Run,
    Text,
    ToolMessage,
    Usage,
)

from . import stream
from . import types as wire
from .heard import ms
from .voice import Segment, Voice
from .words import (
    PLACE,
    instruction_message,
    messages_of,
    numbered,
    ranked,
    result_parts,
    tool_calls,
    tool_result,
    usage_of,
)

_FOREIGN = ("cursor", "claude-code", "gemini")
"""Runtimes of other vendors: their checkpoints say so."""


class Page:
    """told: the events so far. job: as it stands after the fact. segments: by run, as far as they have moved."""

    def __init__(self, voice: Voice, job: Job) -> None:
        self.told: list[stream.WireEvent] = []
        self.job = job
        self.at = ms(job.at)
        self.full = voice.full
        self.runtime = voice.runtime
        self.segments = dict(voice.segments)
        self.hearing = voice.hearing
        self.early = voice.early
        self._voice = voice
        self._whole = dict(voice.whole)
        self._seat = ""
        self._ids = 0
        self._streamed = 0
        self._places: dict[tuple[str, int], str] = {}

    def voice(self) -> Voice:
        """Where the telling stands after this page."""
        whole = {id: known for id, known in self._whole.items() if id in self.segments}
        return replace(
            self._voice,
            segments=self.segments,
            hearing=self.hearing,
            early=self.early,
            whole=whole,
        )

    # --- ids and heads ----------------------------------------------------------------------------------------

    def id(self) -> str:
        """The next id. It says which fact of which job it comes from, and counts."""
        self._ids += 1
        return numbered(self._here(), self._ids)

    def head(self, run: Run) -> stream.RunHead:
        """What the next event of a run begins with."""
        return self._head(run, self.id())

    def stream_head(self, run: Run) -> stream.RunHead:
        # Counted apart: what was streamed live must not change the ids of what is told from the log
        self._streamed += 1
        return self._head(run, numbered(self._here(), 0, self._streamed))

    def place(self, run: Run, number: int) -> str:
        """Where the ids of message `number` of a run begin; -1 is the instruction."""
        key = (run.id, number)
        place = self._places.get(key)
        if place is None:
            rewinds = self.segments[run.id].rewinds
            rewind = next((seq for start, seq in reversed(rewinds) if number >= start), 0)
            place = derived(self.job.id, "message", run.id, rewind, number)[:PLACE]
            self._places[key] = place
        return place

    def _head(self, run: Run, id: str) -> stream.RunHead:
        segment = self.segments[run.id]
        return stream.RunHead(
            id=id,
            expert_key=segment.expert.key,
            timestamp=self.at,
            job_id=self.job.id,
            run_id=segment.id,
            step_number=segment.step,
        )

    def _here(self) -> str:
        self._seat = self._seat or derived(self.job.id, "wire", self.job.seq)[:PLACE]
        return self._seat

    # --- what events carry ------------------------------------------------------------------------------------

    def checkpoint(
        self,
        run: Run,
        *,
        pending: tuple[wire.ToolCall, ...] | None = None,
        partial: tuple[wire.ToolResult, ...] | None = None,
        targets: tuple[wire.DelegationTarget, ...] | None = None,
        error: wire.Error | None = None,
    ) -> wire.Checkpoint:
        """A run as it stands.

        pending, partial: the open calls of its reply and the results of the others. targets: the delegates it
        stops for. error: what stopped it. Each is None where there is no such thing to tell.
        """
        segment, window = self.segments[run.id], self._voice.window
        return wire.Checkpoint(
            id=segment.checkpoint,
            job_id=self.job.id,
            run_id=segment.id,
            expert=segment.expert,
            step_number=segment.step,
            status=segment.status,
            messages=self.history(run, segment.told),
            usage=usage_of(segment.usage),
            context_window=window,
            context_window_usage=segment.context / window if window else None,
            retry_count=segment.retries,
            delegate_to=targets,
            delegated_by=segment.by,
            pending_tool_calls=pending,
            partial_tool_results=partial,
            metadata={"runtime": self.runtime} if self.runtime in _FOREIGN else None,
            error=error,
        )

    def step(
        self,
        run: Run,
        *,
        inputs: bool = False,
        pending: tuple[wire.ToolCall, ...] | None = None,
        partial: tuple[wire.ToolResult, ...] | None = None,
    ) -> wire.Step:
        """The step a run is at, from its first message to what is told of it.

        inputs: with the messages that came from outside. pending, partial: as in `checkpoint`, of a step that
        stops.
        """
        segment = self.segments[run.id]
        asked = segment.reply >= segment.first
        answered = partial is None and segment.reply >= 0
        start = segment.first - segment.inputs
        return wire.Step(
            step_number=segment.step,
            input_messages=self.inputs(run, start, segment.first) if inputs else None,
            new_messages=self.messages(run, segment.first, segment.told),
            tool_calls=self.calls(reply_of(run, segment).calls) if asked else None,
            tool_results=self.results(run) if answered else None,
            pending_tool_calls=pending,
            partial_tool_results=partial,
            usage=usage_of(segment.spent),
            started_at=segment.started_at,
            finished_at=self.at,
        )

    def history(self, run: Run, stop: int) -> tuple[wire.Message, ...] | None:
        """All that was said up to `stop`; None in the compact telling."""
        if not self.full:
            return None
        known, whole = self._whole.get(run.id, (0, ()))
        if known < stop:
            whole += self.inputs(run, known, stop)
            self._whole[run.id] = (stop, whole)
        return whole

    def inputs(self, run: Run, start: int, stop: int) -> tuple[wire.Message, ...]:
        """Messages `start` to `stop`; the instruction goes before the first."""
        inputs = self.messages(run, start, stop)
        if start or not inputs:
            return inputs
        return (instruction_message(run.instruction, self.place(run, -1)), *inputs)

    def messages(self, run: Run, start: int, stop: int) -> tuple[wire.Message, ...]:
        """Messages `start` to `stop` of its history, counted from 0."""
        return messages_of(run.history, start, stop, lambda number: self.place(run, number))

    def calls(self, calls: tuple[Call, ...]) -> tuple[wire.ToolCall, ...]:
        return tool_calls(calls, self.job.lock)

    def results(self, run: Run, *, faults: bool = True) -> tuple[wire.ToolResult, ...]:
        """The results of the reply at work so far. faults: also those that calls with a fault will have."""
        segment, lock = self.segments[run.id], self.job.lock
        calls = reply_of(run, segment).calls
        place = self.place(run, segment.reply)
        parts: dict[str, tuple[wire.ContentPart, ...]] = {}
        for number, call in enumerate(calls):
            result = _result(run, segment.reply, number, call, faults)
            if result is not None:
                parts[call.id] = result_parts(place, number, result)
        return tuple(
            [tool_result(call, parts[call.id], lock) for call in ranked(calls) if call.id in parts]
        )

    # --- what is counted --------------------------------------------------------------------------------------

    def count(self, run: Run, usage: Usage) -> None:
        segment = self.segments[run.id]
        self.segments[run.id] = replace(
            segment, usage=segment.usage + usage, spent=segment.spent + usage
        )

    def gather(self, parent: str, child: Segment) -> None:
        """A delegate is back: its usage and its steps count on in its parent."""
        segment = self.segments[parent]
        self.segments[parent] = replace(
            segment,
            usage=child.usage if child.alone else segment.usage + child.usage,
            high=max(segment.high, child.step, child.high),
        )


def open_calls(run: Run) -> tuple[Call, ...]:
    """The calls that wait for an answer; not those that cannot be made."""
    if not isinstance(run.phase, Acting):
        return ()
    return tuple([flight.call for flight in run.phase.open if not flight.call.fault])


def reply_of(run: Run, segment: Segment) -> ExpertMessage:
    """The reply whose calls are being answered."""
    reply = run.history[segment.reply]
    assert isinstance(reply, ExpertMessage)  # `reply` is the place of one
    return reply


def _result(
    run: Run, reply: int, number: int, call: Call, faults: bool
) -> tuple[ResultPart, ...] | None:
    """The result of one call, None while there is none."""
    if isinstance(run.phase, Acting):
        result = run.phase.flights[call.id].result
        if result is not None:
            return result.parts
        return (Text(text=call.fault),) if call.fault and faults else None
    message = run.history[reply + 1 + number]
    assert isinstance(message, ToolMessage)  # results follow their reply, in the order of its calls
    return message.parts
