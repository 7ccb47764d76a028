"""Where logs live."""

from __future__ import annotations

from .chain import End, event_of_tail, events_in
from .files import FileStore
from .following import Following
from .store import Log, Store, checked_id
from .summary import Status, Summary, summary_of

__all__ = [
    "End",
    "FileStore",
    "Following",
    "Log",
    "Status",
    "Store",
    "Summary",
    "checked_id",
    "event_of_tail",
    "events_in",
    "summary_of",
]
