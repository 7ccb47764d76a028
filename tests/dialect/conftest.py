"""Hypothesis for this room: no test here depends on how long an example takes."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
