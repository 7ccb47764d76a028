"""A directory whose lock is looked at."""

from __future__ import annotations

from pathlib import Path

from perstack.lock import LockFile, decode_lock


class Locked:
    """place: where the perstack.toml and the lock lie."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.place.mkdir(parents=True, exist_ok=True)

    @property
    def path(self) -> Path:
        return self.place / "perstack.lock"

    @property
    def lock(self) -> LockFile:
        return decode_lock(self.path.read_text(), "perstack.lock")
