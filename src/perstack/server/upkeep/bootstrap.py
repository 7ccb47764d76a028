"""The first key of a new server: without it nobody could make another."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from ..queries.audit import Actor
from ..storage.repository import Session
from ..writes.holders import MAX_DAYS, create_organization, days_ms, issue_key

ADMIN = "admin"
"""The organization of who runs the server."""


def first_key(session: Session, at: int) -> str | None:
    """A new server's administration with a key that may do everything; None if there is one already."""
    if session.one("SELECT 1 FROM organizations LIMIT 1") is not None:
        return None
    actor = Actor("local", subject="server")
    organization = create_organization(session, actor, at, name=ADMIN, type="serviceAdmin")
    return issue_key(
        session, actor, organization, at, name="first key", lasts_ms=days_ms(MAX_DAYS)
    ).secret


def hand_over(key: str, file: Path, stream: TextIO | None = None) -> str:
    """Shows the key where a person is, else leaves it in a file that only its owner can read. Says which."""
    if (stream or sys.stderr).isatty():
        return f"Administrator's key, shown this once: {key}"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as kept:
        os.fchmod(kept.fileno(), 0o600)
        kept.write(f"{key}\n")
        kept.flush()
        os.fsync(kept.fileno())
    return f"Administrator's key: in {file}. Keep it elsewhere and delete the file."
