"""A registry of one's own: the server."""

from __future__ import annotations

from .app import App, Context, Extension, Publication, make_app
from .settings import Settings, settings_of

__all__ = ["App", "Context", "Extension", "Publication", "Settings", "make_app", "settings_of"]
