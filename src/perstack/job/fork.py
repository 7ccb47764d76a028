"""A new log that shares the beginning of another.

What counts up to some event is taken over as it happened, times included, under a new job and with places counted
anew; from there the new job goes its own way. Runs at any depth are taken over as they stand, so a delegate's
history can be forked too, and its parent goes on from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from perstack.definition import compose_instruction
from perstack.lock import Lock, pinned

from .advance import IllegalEvent
from .branch import cut, lineage
from .events import Event, ForkedFrom, JobStarted, Rewound, RunStarted, Stopped, ToolReturned
from .messages import Text
from .reduce import fold
from .state import Acting
from .wanted import utc


def forked(events: Sequence[Event], to: int, job: str) -> list[Event]:
    """The events of `events` that count at event `to`, as the beginning of the log of `job`.

    to: a place in `events`, from 1. Raises IllegalEvent if there is no such place, or nothing had begun there.
    """
    branch = lineage(cut(events, to))
    if not branch or branch[-1].seq != to:
        raise IllegalEvent(f"there is no event {to}")
    if isinstance(branch[-1], Stopped):
        branch.pop()  # the new job was not put down
    taken: list[Event] = []
    for seq, event in enumerate(branch, 1):
        match event:
            case JobStarted():
                event = replace(event, job=job, forked=ForkedFrom(job=event.job, seq=to))
            case Rewound():
                event = replace(event, to=seq - 1)  # what it left behind is not taken over
            case _:
                pass
        taken.append(replace(event, seq=seq))
    return taken


def run_at(events: Sequence[Event]) -> str:
    """The run the last of `events` is about, the root if it is about the whole job."""
    return getattr(events[-1], "run", "") or fold(events).root


def with_instruction(events: Sequence[Event], run: str, instruction: str) -> list[Event]:
    """`events` with another instruction for the Expert of `run`: in its own system text, and for later runs."""
    started = next(e for e in events if isinstance(e, RunStarted) and e.run == run)
    changed: list[Event] = []
    lock = Lock()
    for event in events:
        match event:
            case JobStarted():
                lock = _instructed(event.lock, started.expert, instruction)
                event = replace(event, lock=lock)
            case RunStarted() if event.run == run:
                text = compose_instruction(
                    lock.expert(event.expert),
                    lock.delegates_of(event.expert),
                    at=utc(event.at),
                    workspace=fold(events[:1]).workspace,
                )
                event = replace(event, instruction=text)
            case _:
                pass
        changed.append(event)
    return changed


def _instructed(lock: Lock, expert: str, instruction: str) -> Lock:
    key = lock.key_of(expert)
    pin = pinned(replace(lock.expert(key), instruction=instruction))
    kept = replace(lock.experts[key], expert=pin.expert, integrity=pin.integrity)
    return replace(lock, experts={**lock.experts, key: kept})


def place_of_result(events: Sequence[Event], call: str, before: int | None = None) -> int | None:
    """The `seq` of the last result of `call` on the branch the log ends on. before: look no further than there."""
    for event in reversed(lineage(events)):
        if before is not None and event.seq > before:
            continue
        if isinstance(event, ToolReturned) and event.call == call:
            return event.seq
    return None


def with_result(events: Sequence[Event], place: int, text: str) -> tuple[list[Event], int]:
    """The log with another text for the result at `place`, and where the step it belongs to ends."""
    returned = next(e for e in events if e.seq == place)
    assert isinstance(returned, ToolReturned)
    other = replace(returned, parts=(Text(text=text),), is_error=False, ends=False)
    changed = [other if event.seq == place else event for event in events]
    job = fold(cut(changed, place))
    for event in lineage(events):
        if event.seq <= place:
            continue
        run = job.runs.get(returned.run)
        if run is None or not isinstance(run.phase, Acting):
            break
        place = event.seq
        job = fold([event], job)
    return changed, place
