"""What exactly will run."""

from __future__ import annotations

from .document import digest_of, document_of
from .lock import Lock, Pin
from .resolve import Walk, pinned, resolve, resolved

__all__ = ["Lock", "Pin", "Walk", "digest_of", "document_of", "pinned", "resolve", "resolved"]
