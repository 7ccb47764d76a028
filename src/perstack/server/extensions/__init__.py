"""What the server does beside R1 to R6, keys and organizations: one module each, named here."""

from __future__ import annotations

from ..app import Extension
from . import attestations, index, insight, log, operations, policing, resolving, search, trusted

EXTENSIONS: tuple[Extension, ...] = (
    policing.EXTENSION,
    log.EXTENSION,
    index.EXTENSION,
    resolving.EXTENSION,
    search.EXTENSION,
    insight.EXTENSION,
    operations.EXTENSION,
    trusted.EXTENSION,
    attestations.EXTENSION,
)
"""In the order in which they are asked."""
