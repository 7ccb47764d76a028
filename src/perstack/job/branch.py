"""The branch a log ends on.

Nothing is ever cut from a log. `Rewound(to)` says that from there on only the events up to `to` count; the
lineage is what counts at the end.
"""

from __future__ import annotations

from collections.abc import Iterable

from .events import Event, Rewound


def lineage(events: Iterable[Event]) -> list[Event]:
    """The events on the branch the log ends on, the rewinds themselves among them, in order."""
    branch: list[Event] = []
    for event in events:
        if isinstance(event, Rewound):
            while branch and branch[-1].seq > event.to:
                branch.pop()
        branch.append(event)
    return branch


def cut(events: Iterable[Event], seq: int) -> list[Event]:
    """The events up to and with `seq`, as they stood when it was the last."""
    return [event for event in events if event.seq <= seq]
