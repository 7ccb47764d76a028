"""The routes of the registry's core."""

from __future__ import annotations

from ..wire.routing import Route
from . import documents, experts, keys, organizations, tags, writing

ROUTES: tuple[Route, ...] = (
    *experts.ROUTES,
    *writing.ROUTES,
    *documents.ROUTES,
    *tags.ROUTES,
    *keys.ROUTES,
    *organizations.ROUTES,
)
