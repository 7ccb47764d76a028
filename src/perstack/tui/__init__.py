"""The workbench: choose an Expert or a job, follow it, answer it, steer it, take it up again."""

from __future__ import annotations

from .app import Beginning, Workbench
from .desk import Desk, Entry
from .registries import search_of

__all__ = ["Beginning", "Desk", "Entry", "Workbench", "search_of"]
