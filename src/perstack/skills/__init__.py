"""Sources of tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .arguments import faults_in
from .base import base_tools, is_bundled, open_base
from .remote import loopback_allowed
from .skill import STARTUP_S, TOOL_S, NeedsAnswer, Outcome, Skill, Tool
from .toolbox import Entry, Toolbox, toolbox_of
from .wrapping import Launch, Wrap, unwrapped

if TYPE_CHECKING:
    from .environment import clean_env
    from .launch import Murmur, open_process
    from .launch import Process as OutsideProcess
    from .oauth import FileTokens, SignIn
    from .servers import open_remote_skill, open_stdio_skill

__all__ = [
    "STARTUP_S",
    "TOOL_S",
    "Entry",
    "FileTokens",
    "Launch",
    "Murmur",
    "NeedsAnswer",
    "Outcome",
    "OutsideProcess",
    "SignIn",
    "Skill",
    "Tool",
    "Toolbox",
    "Wrap",
    "base_tools",
    "clean_env",
    "faults_in",
    "is_bundled",
    "loopback_allowed",
    "open_base",
    "open_process",
    "open_remote_skill",
    "open_stdio_skill",
    "toolbox_of",
    "unwrapped",
]


def __getattr__(name: str) -> Any:
    # MCP's library takes a second to import: it is loaded when a server is first needed.
    if name in ("open_remote_skill", "open_stdio_skill"):
        from . import servers

        return getattr(servers, name)
    if name in ("Murmur", "OutsideProcess", "open_process"):
        from . import launch

        return getattr(launch, "Process" if name == "OutsideProcess" else name)
    if name == "clean_env":
        from . import environment

        return environment.clean_env
    if name in ("FileTokens", "SignIn"):
        from . import oauth

        return getattr(oauth, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
