"""What exactly will run."""

from __future__ import annotations

from .codec import LOCK_FORMAT, LockFile, decode_lock, encode_lock, manifest_of
from .document import canonical_json, digest_of, document_of
from .drift import differences
from .lock import Lock, Pin, PinnedTool, tool_definitions, tools_digest, with_tools
from .resolve import Walk, pinned, resolve, resolved

__all__ = [
    "LOCK_FORMAT",
    "Lock",
    "LockFile",
    "Pin",
    "PinnedTool",
    "Walk",
    "canonical_json",
    "decode_lock",
    "differences",
    "digest_of",
    "document_of",
    "encode_lock",
    "manifest_of",
    "pinned",
    "resolve",
    "resolved",
    "tool_definitions",
    "tools_digest",
    "with_tools",
]
