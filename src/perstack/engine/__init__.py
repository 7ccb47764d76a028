"""Makes it happen: the loop, what it performs, and the stage it stands on."""

from __future__ import annotations

from .drive import Inbox, drive
from .equipment import Equipment, open_equipment, toolboxes_of
from .pins import drift, is_served, pinned_tools, tools_in, unpinned
from .stage import NOBODY, Ears, Plan, run_job

__all__ = [
    "NOBODY",
    "Ears",
    "Equipment",
    "Inbox",
    "Plan",
    "drift",
    "drive",
    "is_served",
    "open_equipment",
    "pinned_tools",
    "run_job",
    "toolboxes_of",
    "tools_in",
    "unpinned",
]
