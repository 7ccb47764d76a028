"""Makes it happen: the loop, what it performs, and the stage it stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .drive import Inbox, drive
from .equipment import Equipment, open_equipment, toolboxes_of
from .pins import drift, is_served, pinned_tools, tools_in, unpinned
from .stage import NOBODY, Ears, Plan, run_job
from .walls import NO_WALLS, Walls, no_walls

if TYPE_CHECKING:
    from .foreign import VENDORS, Vendor, run_foreign

__all__ = [
    "NOBODY",
    "NO_WALLS",
    "VENDORS",
    "Ears",
    "Equipment",
    "Inbox",
    "Plan",
    "Vendor",
    "Walls",
    "drift",
    "drive",
    "is_served",
    "no_walls",
    "open_equipment",
    "pinned_tools",
    "run_foreign",
    "run_job",
    "toolboxes_of",
    "tools_in",
    "unpinned",
]


def __getattr__(name: str) -> Any:
    if name in ("VENDORS", "Vendor", "run_foreign"):  # for those who run an Expert elsewhere
        from . import foreign

        return getattr(foreign, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
