"""Experts that come with the package: read-only, found by key without a `perstack.toml` and without a network.

Each may have a demo: a recording of a model's replies, played instead of asking one.
"""

from __future__ import annotations
