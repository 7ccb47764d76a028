"""Base URLs as people write them, with or without the version segment."""

from __future__ import annotations

import re

_VERSION = re.compile(r"/v\d+[a-z0-9]*$")


def versioned(base: str, version: str) -> str:
    """`base` without a trailing slash, ending in a version segment: its own, else `version`."""
    base = base.rstrip("/")
    return base if _VERSION.search(base) else f"{base}/{version}"
