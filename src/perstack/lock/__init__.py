"""What exactly will run."""

from __future__ import annotations

from .closure import (
    Change,
    Effect,
    Grant,
    Reach,
    changes,
    closure_of,
    reach_of,
    widened,
    widens,
)
from .closure import Kind as GrantKind
from .decode import decode_lock
from .document import canonical_json, digest_of, document_of
from .drift import differences
from .encode import encode_lock
from .file import LOCK_FORMAT, LockFile, manifest_of
from .lock import Lock, Origin, Pin, PinnedTool, tool_definitions, tools_digest, with_tools
from .published import check_published, check_rules, published
from .resolve import Walk, pinned, resolve, resolved
from .salvage import salvaged
from .select import Candidate, Choice, Choosing, Listing, NoVersion, may_mean, select, standing

__all__ = [
    "LOCK_FORMAT",
    "Candidate",
    "Change",
    "Choice",
    "Choosing",
    "Effect",
    "Grant",
    "GrantKind",
    "Listing",
    "Lock",
    "LockFile",
    "NoVersion",
    "Origin",
    "Pin",
    "PinnedTool",
    "Reach",
    "Walk",
    "canonical_json",
    "changes",
    "check_published",
    "check_rules",
    "closure_of",
    "decode_lock",
    "differences",
    "digest_of",
    "document_of",
    "encode_lock",
    "manifest_of",
    "may_mean",
    "pinned",
    "published",
    "reach_of",
    "resolve",
    "resolved",
    "salvaged",
    "select",
    "standing",
    "tool_definitions",
    "tools_digest",
    "widened",
    "widens",
    "with_tools",
]
