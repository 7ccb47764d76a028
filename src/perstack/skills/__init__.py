"""Sources of tools."""

from __future__ import annotations

from .arguments import faults_in
from .skill import Outcome, Skill, Tool
from .toolbox import Entry, Toolbox, toolbox_of

__all__ = [
    "Entry",
    "Outcome",
    "Skill",
    "Tool",
    "Toolbox",
    "faults_in",
    "toolbox_of",
]
