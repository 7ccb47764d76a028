"""The base skill: files of one workspace, programs, and a todo list."""

from __future__ import annotations

from .bundled import is_bundled
from .skill import open_base
from .tools import base_tools

__all__ = ["base_tools", "is_bundled", "open_base"]
