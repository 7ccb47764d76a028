"""Logs told in tests: the whole stream, and what is easy to read of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from perstack.dialect import Voice, WireEvent, encode_wire, tell
from perstack.job import (
    Call,
    Event,
    Job,
    ModelChoice,
    Record,
    Resumed,
    Rewound,
    Stopped,
    Text,
    ToolReturned,
    UserSpoke,
    apply,
    fold,
    wanted,
)
from tests.job.driver import Log, World, begin, call, drive, opening

from .check import STREAMED, Wire, check_stream

WINDOW = 200_000


def window_of(model: ModelChoice) -> int | None:
    return WINDOW if model.model.startswith("claude") else None


def voice(*, full: bool = False) -> Voice:
    return Voice(full=full, window_of=window_of)


def lines(told: Iterable[WireEvent]) -> list[bytes]:
    return [encode_wire(event) for event in told]


def stream(events: Sequence[Event], *, full: bool = False, ended: bool = True) -> list[Wire]:
    """A whole log as told, checked."""
    return check_stream(lines(tell(events, voice(full=full))), full, ended=ended)


def states(told: Iterable[Wire]) -> list[Wire]:
    return [event for event in told if "expertKey" in event and event["type"] not in STREAMED]


def short(told: Iterable[Wire]) -> list[str]:
    """type/step of each state event, and whose it is if not the root's: `startRun/2:scout`."""
    return [
        f"{event['type']}/{event['stepNumber']}"
        + ("" if event["expertKey"] == "lead" else f":{event['expertKey'].rpartition('/')[2]}")
        for event in states(told)
    ]


def only(told: Iterable[Wire], kind: str) -> Wire:
    (event,) = all_of(told, kind)
    return event


def all_of(told: Iterable[Wire], kind: str) -> list[Wire]:
    return [event for event in told if event["type"] == kind]


def ask(id: str, tool: str = "askUser") -> Call:
    return call(id, tool, "ask", question="Blue?")


def answer(id: str, text: str = "blue") -> ToolReturned:
    return ToolReturned(run="root", call=id, parts=(Text(text=text),))


def go_on(log: Log, world: World, *facts: Event) -> Job:
    """Another process takes the job up: it writes `facts`, and drives."""
    return drive(begin(log, facts), log, world)


def until_stopped(world: World, length: int, *, stop: Stopped | None = None) -> Log:
    """A job whose process ends when its log has `length` events; with a last word of its own, if it has one."""
    log = Log()
    job = begin(log, opening())
    while len(log.events) < length and (wants := wanted(job)):
        want = next((want for want in wants if isinstance(want, Record)), wants[0])
        event = want.event if isinstance(want, Record) else world.answer(want)
        job = apply(job, log.append(event))
    if stop is not None:
        log.append(stop)
    return log


def rewind(log: Log, to: int, *then: Event) -> Job:
    """Writes a rewind and what follows it; the job then."""
    for event in (Rewound(to=to), *then):
        log.append(event)
    return fold(log.events)


def without_histories(told: Iterable[Wire]) -> list[Wire]:
    """A full stream as the compact one should be."""
    return [_bare(event) for event in told]


def _bare(event: dict[str, Any]) -> Wire:
    bare = {name: value for name, value in event.items() if name != "messages"}
    for name in ("initialCheckpoint", "checkpoint", "nextCheckpoint"):
        if name in bare:
            bare[name] = {
                member: bare[name][member] for member in bare[name] if member != "messages"
            }
    return bare


RESUMED = Resumed()
INTERRUPTED = Stopped(reason="interrupted", what="SIGINT")
WORDS = UserSpoke(text="And make it short.")
