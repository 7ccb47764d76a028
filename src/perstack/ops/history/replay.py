"""Whether a log is whole, and whether it tells what was recorded.

Nothing is repaired here, and nothing passed over: the first event that is wrong is named.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import anyio
import msgspec

from perstack._value import Value
from perstack.dialect import encode_wire, tell
from perstack.errors import CorruptLog
from perstack.job import Json, Resumed, Rewound
from perstack.store import ObjectStore, Store

from .jobs import History, Place, moments, need_history, usual_voice


class Verified(Value, frozen=True):
    """A log that is whole. events: in it; sum: of the last. told: lines of its stream.

    grown: events that this version would write with members that its writer did not know yet. tail: bytes after
    the last line, of an event that is being written now or never was.
    """

    job: str
    events: int
    sum: str
    told: int
    grown: int = 0
    tail: int = 0


async def verify(store: Store, root: Place, job: str) -> Verified:
    """Reads a log as strictly as can be.

    The chain of sums and the order are checked by reading; then that every event may follow, that it is written
    again as the same bytes, and that telling it twice tells the same. Raises CorruptLog, naming the first event
    that is wrong; UserError if there is no such job.
    """
    history = await need_history(store, root, job)  # an event that may not follow ends it here
    events, path = history.events, history.path
    in_pieces = isinstance(store, ObjectStore)
    data = await store.lines(job) if in_pieces else await anyio.Path(path).read_bytes()
    lines = data.split(b"\n")
    grown = 0
    for event, line in zip(events, lines, strict=False):  # more may have been written meanwhile
        body = line.rpartition(_SUM)[0] + b"}"
        again = msgspec.json.encode(event)
        if again != body:
            if msgspec.json.encode(_shrunk(again, body)) != body:
                raise CorruptLog(path, event.seq, "written again it is not the same bytes")
            grown += 1
    first = [(m.after.seq, told) for m in moments(events, usual_voice(), path) for told in m.told]
    second = tell(events, usual_voice())
    for (seq, told), again in zip(first, second, strict=True):
        if encode_wire(told) != encode_wire(again):
            raise CorruptLog(path, seq, "told again it is another stream")
    return Verified(
        job=job,
        events=len(events),
        sum=lines[len(events) - 1].rpartition(_SUM)[2][:-2].decode(),
        told=len(first),
        grown=grown,
        tail=len(b"\n".join(lines[len(events) :])),
    )


_SUM = b',"sum":"'


def _shrunk(again: bytes, body: bytes) -> Json:
    """`again` without the members that `body` does not have."""

    def shrunk(new: Json, old: Json) -> Json:
        match new, old:
            case dict(), dict():
                members = cast("dict[str, Json]", new)
                return {name: shrunk(members[name], old[name]) for name in members if name in old}
            case list(), list():
                rows = zip(cast("list[Json]", new), cast("list[Json]", old), strict=False)
                return [shrunk(*row) for row in rows]
            case _:
                return new

    return shrunk(msgspec.json.decode(again), msgspec.json.decode(body))


# A recorded stream ----------------------------------------------------------------------------------------


class Parting(NamedTuple):
    """Where a recorded stream parts from what the log tells.

    line: of the recording, from 1; one more than it has if it ends too early. seq: the fact that tells what
    should stand there, 0 if nothing should. recorded, told: what stands there and what should, None for nothing.
    """

    line: int
    seq: int
    recorded: bytes | None
    told: bytes | None


_NOTICES = {
    "startStreamingReasoning",
    "streamReasoning",
    "completeStreamingReasoning",
    "startStreamingRunResult",
    "streamRunResult",
    "completeStreamingRunResult",
    "skillStarting",
    "skillConnected",
    "skillStderr",
    "skillDisconnected",
    "dockerBuildProgress",
    "dockerContainerStatus",
    "proxyAccess",
}
"""Told beside the log, so not told again from it."""


class _Typed(msgspec.Struct):
    type: str = ""


def parting_of(recorded: bytes, history: History, *, full: bool = False) -> Parting | None:
    """Where `recorded`, the stdout of `perstack run`, first differs from what the log tells; None if nowhere.

    Notices are passed over, everything else is compared byte for byte. The recording may be that of all processes
    that ran the job, one after the other, or of some that followed each other.
    """
    told: list[tuple[int, bytes]] = []
    begins = {0}
    for moment in moments(history.events, usual_voice(full=full), history.path):
        if isinstance(moment.event, Resumed | Rewound):
            begins.add(len(told))
        lines = [encode_wire(event)[:-1] for event in moment.told]
        told.extend([(moment.after.seq, line) for line in lines if not _is_notice(line)])
    ends = {*begins, len(told)} - {0}
    lines = [
        (number, line)
        for number, line in enumerate(recorded.split(b"\n"), 1)
        if line and not _is_notice(line)
    ]
    first = lines[0][1] if lines else b""
    place = next((at for at in sorted(begins) if at < len(told) and told[at][1] == first), 0)
    for number, line in lines:
        if place == len(told):
            return Parting(number, 0, line, None)
        seq, expected = told[place]
        if line != expected:
            return Parting(number, seq, line, expected)
        place += 1
    if place not in ends and told:
        seq, expected = told[place]
        return Parting(recorded.count(b"\n") + 1, seq, None, expected)
    return None


def _is_notice(line: bytes) -> bool:
    try:
        return msgspec.json.decode(line, type=_Typed).type in _NOTICES
    except msgspec.DecodeError:
        return False
