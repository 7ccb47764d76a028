"""The version of this distribution, read once from its metadata."""

from __future__ import annotations

from functools import cache


@cache
def version() -> str:
    """For example "0.1.0"."""
    from importlib.metadata import version as of

    return of("perstack")
