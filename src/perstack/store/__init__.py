"""Where logs live."""

from __future__ import annotations

from .chain import End, event_of_tail, events_in
from .files import FileStore
from .following import Following
from .objects import ObjectStore
from .opening import store_at
from .store import Log, Store, checked_id
from .summary import Status, Summary, summary_of

__all__ = [
    "End",
    "FileStore",
    "Following",
    "Log",
    "ObjectStore",
    "Status",
    "Store",
    "Summary",
    "checked_id",
    "event_of_tail",
    "events_in",
    "store_at",
    "summary_of",
]
