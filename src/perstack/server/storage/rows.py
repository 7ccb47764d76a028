"""What the tables of Experts hold, as values. Times: ms since 1970; None for never."""

from __future__ import annotations

from typing import NamedTuple

from perstack.registry import Status, Visibility


class ExpertRow(NamedTuple):
    """An Expert and its owner. latest: the row of the version that `latest` points to."""

    n: int
    name: str
    organization: str
    organization_name: str | None
    organization_created_at: int
    visibility: Visibility
    vacated: int
    latest_policy: str
    latest: int | None
    revision: int
    owner_revision: int
    created_at: int
    salt: bytes

    @property
    def is_private(self) -> bool:
        return self.visibility == "private"


class VersionRow(NamedTuple):
    """A version. tags: with spaces between, without latest; deprecation: JSON or empty."""

    n: int
    id: str
    expert: int
    version: str
    precedence: bytes
    stable: int
    digest: str
    size: int
    description: str
    status: Status
    tags: str
    deprecation: str
    published_at: int
    updated_at: int
    revision: int
    quarantined_at: int | None
    quarantine_reason: str
    unpublished_at: int | None
    log_index: int
    publisher: str

    @property
    def is_there(self) -> bool:
        """Whether anyone but its owner can still get it."""
        return self.unpublished_at is None and self.quarantined_at is None

    @property
    def is_live(self) -> bool:
        """Whether it may be chosen first."""
        return self.is_there and self.status == "available"


EXPERT = (
    "e.n, e.name, e.organization, o.name, o.created_at, e.visibility, e.vacated, e.latest_policy,"
    " e.latest, e.revision, e.owner_revision, e.created_at, e.salt"
)
"""Columns of an ExpertRow: of `experts e JOIN organizations o`."""

VERSION = ", ".join(f"v.{name}" for name in VersionRow._fields)
"""Columns of a VersionRow: of `versions v`."""

_AT = len(ExpertRow._fields)


class Found(NamedTuple):
    """A version of an Expert."""

    expert: ExpertRow
    version: VersionRow

    @property
    def key(self) -> str:
        return f"{self.expert.name}@{self.version.version}"

    @property
    def revision(self) -> int:
        """Grows with every change that an answer about this version shows."""
        return self.version.revision + self.expert.owner_revision

    @property
    def tags(self) -> list[str]:
        """Sorted, `latest` first."""
        latest = ["latest"] if self.expert.latest == self.version.n else []
        return latest + self.version.tags.split()


def found(row: tuple[object, ...]) -> Found:
    """Of a row with the columns EXPERT and VERSION."""
    return Found(ExpertRow(*row[:_AT]), VersionRow(*row[_AT:]))  # pyright: ignore[reportArgumentType]  # by columns
