"""What an author says."""

from __future__ import annotations

from .expert import (
    BASE_SKILL,
    DEFAULT_BASE,
    Expert,
    InteractiveSkill,
    InteractiveTool,
    Limits,
    Project,
    ProviderName,
    ProviderTable,
    Reasoning,
    RemoteSkill,
    RuntimeName,
    Skill,
    StdioSkill,
)
from .instruction import compose_instruction
from .provider import ProviderAccess

__all__ = [
    "BASE_SKILL",
    "DEFAULT_BASE",
    "Expert",
    "InteractiveSkill",
    "InteractiveTool",
    "Limits",
    "Project",
    "ProviderAccess",
    "ProviderName",
    "ProviderTable",
    "Reasoning",
    "RemoteSkill",
    "RuntimeName",
    "Skill",
    "StdioSkill",
    "compose_instruction",
]
