"""What a fake model says, as data.

A script is a row of turns, given out in the order in which requests arrive, or a function from what the model
was sent (`Seen`) to one turn. A function that looks only at `Seen` needs no memory in the server, so it serves
any number of conversations at once. Ready ones are found by name with `script_named`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .seen import Seen

WireName = Literal["anthropic", "chat", "responses", "gemini"]
Finish = Literal["stop", "length", "refusal", "pause"]


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Usage of one reply. cached is a part of input, reasoning a part of output, as Perstack counts them."""

    input: int = 100
    output: int = 20
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, kw_only=True)
class _Timed:
    """after_s: pause before the first byte, None for the server's own. between_s: pause after each event."""

    after_s: float | None = None
    between_s: float = 0.0


@dataclass(frozen=True)
class Says(_Timed):
    """Words. thinking: shown (and signed) before them; redacted: signed, but withheld.

    provided: blocks of the provider's own tools before them, as they are (Anthropic alone; so is finish "pause").
    """

    text: str
    thinking: str | None = field(default=None, kw_only=True)
    redacted: bool = field(default=False, kw_only=True)
    finish: Finish = field(default="stop", kw_only=True)
    provided: Sequence[Mapping[str, Any]] = field(default=(), kw_only=True)
    tokens: Tokens = field(default=Tokens(), kw_only=True)


@dataclass(frozen=True)
class Calls(_Timed):
    """Tool calls, all in one reply. Arguments given as a string are sent as they are, broken JSON included.

    provided: as for `Says`.
    """

    calls: Sequence[tuple[str, Mapping[str, Any] | str]]
    text: str = field(default="", kw_only=True)
    thinking: str | None = field(default=None, kw_only=True)
    redacted: bool = field(default=False, kw_only=True)
    provided: Sequence[Mapping[str, Any]] = field(default=(), kw_only=True)
    tokens: Tokens = field(default=Tokens(), kw_only=True)


Reply = Says | Calls
_BABBLE = Says("This reply will not be heard to its end.")


@dataclass(frozen=True)
class Fails(_Timed):
    """An error answer. body: instead of the provider's own form of `message`.

    after_events: the answer begins well, as `of`, and the error comes in the stream after so many events.
    """

    status: int = 500
    message: str = "Something went wrong"
    body: Mapping[str, Any] | str | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)
    after_events: int | None = field(default=None, kw_only=True)
    of: Reply = field(default=_BABBLE, kw_only=True)


@dataclass(frozen=True)
class Breaks(_Timed):
    """The connection closes after so many events of `of`; 0 is before any byte.

    politely: the HTTP answer is complete, though the reply in it is not.
    """

    after_events: int = 0
    of: Reply = field(default=_BABBLE, kw_only=True)
    politely: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Hangs(_Timed):
    """Nothing more comes after so many events of `of`; 0 is before any byte."""

    after_events: int = 0
    of: Reply = field(default=_BABBLE, kw_only=True)


Turn = Says | Calls | Fails | Breaks | Hangs


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One message of the conversation, in no provider's words.

    calls: (tool, arguments) asked for. results: the texts of tool results. thinking: what came back of it.
    """

    role: Literal["user", "expert"]
    text: str = ""
    thinking: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    results: tuple[str, ...] = ()


Script = Callable[["Seen"], Turn]


def in_order(turns: Sequence[Turn]) -> Script:
    """The turns one after another, whoever asks; then an error that says so."""
    rest = iter(turns)

    def script(seen: Seen) -> Turn:
        return next(rest, Fails(400, f"The script has ended after {len(turns)} turns"))

    return script


def steps(
    count: int,
    tool: str = "readTextFile",
    args: Mapping[str, Any] | None = None,
    text: str = "done",
) -> Script:
    """`count` replies that call `tool`, then `text`: as words, or through `final_answer` if that is offered."""
    call = Calls([(tool, {"path": "note.txt"} if args is None else args)])
    end = Says(text)
    ending_call = Calls([("final_answer", {"answer": text})])

    def script(seen: Seen) -> Turn:
        if seen.replies < count:
            return call
        return ending_call if b'"final_answer"' in seen.raw else end

    return script


def delegates(
    count: int, steps_each: int, delegate: str = "worker", tool: str = "readTextFile"
) -> Script:
    """A lead that calls `delegate` `count` times in one reply; each of these takes `steps_each` tool steps.

    The lead is known by its first message: whatever does not begin with "Part ".
    """
    fan_out = Calls([(delegate, {"query": f"Part {number}"}) for number in range(1, count + 1)])
    call = Calls([(tool, {"path": "note.txt"})])

    def script(seen: Seen) -> Turn:
        if seen.query.startswith("Part "):
            return call if seen.replies < steps_each else Says(f"{seen.query} is done")
        return fan_out if seen.replies == 0 else Says(f"All {count} parts are done")

    return script


TRAINING_REQUEST = "Plan today's training: 20 minutes, no equipment. Yesterday: a run of 5 km."
TRAINING_PLAN = "1. Squats, 3 x 15\n2. Push-ups, 3 x 10\n3. Plank, 3 x 45 s\n"
FITNESS_LOG = f"# Fitness log\n\n## Day 2\n\n{TRAINING_PLAN}"
FITNESS_ANSWER = "Your plan for today is in fitness-log.md: squats, push-ups and a plank."


def fitness(seen: Seen) -> Turn:
    """A fitness assistant that looks around, asks its delegate `pro-trainer`, and writes `fitness-log.md`."""
    if seen.query == TRAINING_REQUEST:
        trainer: tuple[Turn, ...] = (
            Calls([("listDirectory", {"path": "."})], thinking="What equipment do they have?"),
            Says(TRAINING_PLAN),
        )
        return trainer[min(seen.replies, 1)]
    assistant: tuple[Turn, ...] = (
        Calls(
            [
                ("listDirectory", {"path": "."}),
                ("todo", {"newTodos": ["Ask the trainer", "Write the log"]}),
            ],
            text="Let me look at your log.",
            thinking="There may be a log from yesterday.",
        ),
        Calls([("pro-trainer", {"query": TRAINING_REQUEST})], thinking="The trainer knows best."),
        Calls([("writeTextFile", {"path": "fitness-log.md", "text": FITNESS_LOG})]),
        Calls([("todo", {"completedTodos": [0, 1]})]),
        Calls([("attemptCompletion", {})]),
        Says(FITNESS_ANSWER, tokens=Tokens(input=1_500, output=40, cached=1_200)),
    )
    return assistant[min(seen.replies, len(assistant) - 1)]


def deltas(count: int) -> Script:
    """One reply of `count` words, each in an event of its own."""
    words = Says(" ".join(f"w{number}" for number in range(count)))
    return lambda seen: words


def script_named(name: str) -> Script:
    """A ready script.

    steps:N[:tool[:arguments as JSON]] · delegates:K:N[:delegate[:tool]] · deltas:N · fitness · says:text
    """
    kind, _, rest = name.partition(":")
    match kind:
        case "steps":
            count, tool, args = (*rest.split(":", 2), "", "")[:3]
            return steps(int(count), tool or "readTextFile", json.loads(args) if args else None)
        case "delegates":
            count, each, *more = rest.split(":")
            return delegates(int(count), int(each), *more)
        case "deltas":
            return deltas(int(rest))
        case "fitness" if not rest:
            return fitness
        case "says":
            return lambda seen: Says(rest)
        case _:
            raise ValueError(f"no script is called {name!r}; see script_named")
