"""Makes it happen: the loop, what it performs, and the stage it stands on."""

from __future__ import annotations

from .drive import Inbox, drive
from .equipment import toolboxes_of
from .stage import NOBODY, Ears, Plan, run_job

__all__ = ["NOBODY", "Ears", "Inbox", "Plan", "drive", "run_job", "toolboxes_of"]
