"""The branch a log ends on.

Nothing is ever cut from a log. `Rewound(to)` says that from there on only the events up to `to` count; the
lineage is what counts at the end.
"""

from __future__ import annotations

from collections.abc import Iterable

from .events import Event, Rewound


def lineage(events: Iterable[Event]) -> list[Event]:
    """The events on the branch the log ends on, the rewinds themselves among them, in order."""
    log = list(events)
    places = {event.seq: place for place, event in enumerate(log)}
    branch: list[Event] = []
    place = len(log) - 1
    while place >= 0:
        event = log[place]
        branch.append(event)
        before = place - 1
        if isinstance(event, Rewound):  # perhaps to an event that an earlier rewind had left behind
            before = places.get(event.to, -1)
        place = before if before < place else -1
    branch.reverse()
    return branch


def cut(events: Iterable[Event], seq: int) -> list[Event]:
    """The events up to and with `seq`, as they stood when it was the last."""
    return [event for event in events if event.seq <= seq]
