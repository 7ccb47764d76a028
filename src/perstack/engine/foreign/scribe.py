"""What a vendor's program says → the facts of a run.

A reply of the model comes in pieces, over several lines, and there is no line that ends it. So what is said
gathers until something shows that the reply is over: a result for one of its calls, or the end. Calls that are
told while others are at work belong to the next reply; a result that comes before its reply is told is kept until
then. In the log every reply has all its results, as it has with a model of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from perstack.job import (
    Call,
    Event,
    ExpertMessage,
    Failure,
    Replied,
    ReplyFailed,
    RunFinished,
    Text,
    Thought,
    ToolCalled,
    ToolReturned,
    Usage,
)

from .said import Called, Ended, Opened, Returned, Said, Spoke, Used

NO_RESULT = "The program ended before this call had a result."


@dataclass
class _Words:
    """What is said in pieces. whole: what cannot change any more."""

    whole: list[str] = field(default_factory=list[str])
    pieces: str = ""

    def add(self, said: Spoke) -> None:
        if not said.whole:
            self.pieces += said.text
        elif self.pieces or said.text != "".join(self.whole):
            self.whole.append(said.text)
            self.pieces = ""

    @property
    def text(self) -> str:
        return "".join(self.whole) + self.pieces


@dataclass
class _Draft:
    """A reply that is still being said."""

    text: _Words = field(default_factory=_Words)
    thought: _Words = field(default_factory=_Words)
    calls: dict[str, Call] = field(default_factory=dict[str, Call])
    used: dict[str, Usage] = field(default_factory=dict[str, Usage])

    @property
    def usage(self) -> Usage:
        return sum(self.used.values(), Usage())


class Scribe:
    """Writes down one run. run: its id. skill: what the vendor's tools are said to be of."""

    def __init__(self, run: str, skill: str, model: str) -> None:
        self._run = run
        self._skill = skill
        self._model = model
        self._draft = _Draft()
        self._open: dict[str, None] = {}
        self._early: dict[str, Returned] = {}
        self._told = Usage()
        self._unnamed = 0
        self.ended: Ended | None = None

    def hear(self, said: Said) -> Iterator[Event]:
        """The facts that follow. Nothing follows the end."""
        if self.ended is not None:
            return
        match said:
            case Opened(model=model):
                self._model = model or self._model
            case Spoke(thought=thought):
                (self._draft.thought if thought else self._draft.text).add(said)
            case Called():
                self._called(said)
            case Used(reply=reply, usage=usage):
                self._draft.used[reply] = usage
            case Returned():
                self._early[said.id] = said
                yield from self._settle()
            case Ended():
                self.ended = said

    def finish(self) -> Iterator[Event]:
        """The end of a run that ended well."""
        assert self.ended is not None
        yield from self._drain()
        text = self.ended.text
        said = self._draft.text.text if text is None else text
        message = self._message((Text(text=said),) if said else ())
        yield Replied(run=self._run, message=message, usage=self._rest, cost=self.ended.cost)
        yield RunFinished(run=self._run, outcome="completed", text=said)

    def fail(self, failure: Failure) -> Iterator[Event]:
        """The end of a run that did not; what was said until then is kept."""
        yield from self._drain()
        if self._draft.text.text:
            yield from self._reply()
        else:
            cost = self.ended.cost if self.ended is not None else 0
            yield ReplyFailed(run=self._run, failure=failure, usage=self._rest, cost=cost)
        yield RunFinished(run=self._run, outcome="failed", text=failure.message, failure=failure)

    def leave(self) -> Iterator[Event]:
        """What was said and is not written down yet, for a run that is put down."""
        yield from self._drain()
        if self._draft.text.text:
            yield from self._reply()

    def _called(self, said: Called) -> None:
        self._unnamed += not said.id
        id = said.id or f"call-{self._unnamed}"
        if id not in self._open:
            self._draft.calls[id] = Call(id=id, tool=said.tool, args=said.args, skill=self._skill)

    def _settle(self) -> Iterator[Event]:
        """Results of calls that are known, and replies whose calls have results."""
        while True:
            for id in [id for id in self._open if id in self._early]:
                yield self._returned(self._early.pop(id))
            if self._open or not any(id in self._draft.calls for id in self._early):
                return
            yield from self._reply()

    def _drain(self) -> Iterator[Event]:
        """Every call that was told gets a result, if only that there is none."""
        while self._open or self._draft.calls:
            if not self._open:
                yield from self._reply()
            for id in self._open:
                missing = Returned(id, (Text(text=NO_RESULT),), is_error=True)
                self._early.setdefault(id, missing)
            yield from self._settle()

    @property
    def _rest(self) -> Usage:
        """The usage of the last reply: what is left of all, if the program said how much that is."""
        if self.ended is None or self.ended.usage is None:
            return self._draft.usage
        return _beyond(self.ended.usage, self._told)

    def _reply(self) -> Iterator[Event]:
        draft, self._draft = self._draft, _Draft()
        calls = tuple(draft.calls.values())
        text, thought = draft.text.text, draft.thought.text
        message = ExpertMessage(
            thoughts=(Thought(text=thought),) if thought else (),
            texts=(Text(text=text),) if text else (),
            calls=calls,
            model=self._named,
        )
        self._told += draft.usage
        yield Replied(run=self._run, message=message, usage=draft.usage)
        for call in calls:
            self._open[call.id] = None
            yield ToolCalled(run=self._run, call=call.id)

    def _message(self, texts: tuple[Text, ...]) -> ExpertMessage:
        thought = self._draft.thought.text
        thoughts = (Thought(text=thought),) if thought else ()
        return ExpertMessage(thoughts=thoughts, texts=texts, model=self._named)

    def _returned(self, said: Returned) -> ToolReturned:
        del self._open[said.id]
        return ToolReturned(run=self._run, call=said.id, parts=said.parts, is_error=said.is_error)

    @property
    def _named(self) -> str:
        return f"{self._skill}/{self._model}"


def _beyond(total: Usage, told: Usage) -> Usage:
    """What of `total` is not in `told`."""
    return Usage(
        input_tokens=max(total.input_tokens - told.input_tokens, 0),
        output_tokens=max(total.output_tokens - told.output_tokens, 0),
        reasoning_tokens=max(total.reasoning_tokens - told.reasoning_tokens, 0),
        cached_input_tokens=max(total.cached_input_tokens - told.cached_input_tokens, 0),
    )
