"""Sources of tools."""

from __future__ import annotations

from .arguments import faults_in
from .base import base_tools, open_base
from .skill import Outcome, Skill, Tool
from .toolbox import Entry, Toolbox, toolbox_of

__all__ = [
    "Entry",
    "Outcome",
    "Skill",
    "Tool",
    "Toolbox",
    "base_tools",
    "faults_in",
    "open_base",
    "toolbox_of",
]
