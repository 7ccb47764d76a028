"""Sources of tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .arguments import faults_in
from .base import base_tools, is_bundled, open_base
from .remote import loopback_allowed
from .skill import STARTUP_S, TOOL_S, NeedsAnswer, Outcome, Skill, Tool
from .toolbox import Entry, Toolbox, toolbox_of

if TYPE_CHECKING:
    from .mcp import open_remote_skill, open_stdio_skill
    from .oauth import FileTokens, SignIn

__all__ = [
    "STARTUP_S",
    "TOOL_S",
    "Entry",
    "FileTokens",
    "NeedsAnswer",
    "Outcome",
    "SignIn",
    "Skill",
    "Tool",
    "Toolbox",
    "base_tools",
    "faults_in",
    "is_bundled",
    "loopback_allowed",
    "open_base",
    "open_remote_skill",
    "open_stdio_skill",
    "toolbox_of",
]


def __getattr__(name: str) -> Any:
    # MCP's library takes a second to import: it is loaded when a server is first needed.
    if name in ("open_remote_skill", "open_stdio_skill"):
        from . import mcp

        return getattr(mcp, name)
    if name in ("FileTokens", "SignIn"):
        from . import oauth

        return getattr(oauth, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
