"""What a registry answers beside R1 to R6: search, graph, differences, numbers, findings, the log as a feed.

Each struct is the `data` of one answer. As everywhere on the wire, members that have their default are left out.
"""

from __future__ import annotations

from typing import Literal

from perstack._value import Value
from perstack.lock import Change

from .proof import LogEntry
from .wire import Owner, Status, Unresolved, Visibility

Severity = Literal["critical", "warning", "note"]


class SearchHit(Value, frozen=True):
    """An Expert, in its latest version. weight: how much it is used; published_at: ISO 8601."""

    name: str
    key: str
    version: str
    description: str
    owner: Owner
    status: Status
    digest: str
    published_at: str
    updated_at: str
    tags: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    visibility: Visibility = "public"
    weight: int = 0


class Facet(Value, frozen=True):
    """How many of what was found have this."""

    name: str
    count: int


class Facets(Value, frozen=True):
    """packages: that skills run."""

    scopes: tuple[Facet, ...] = ()
    packages: tuple[Facet, ...] = ()


class SearchFound(Value, frozen=True):
    """`GET /search`, one page. cursor: ask with it for the next; empty on the last."""

    experts: tuple[SearchHit, ...]
    facets: Facets = Facets()
    cursor: str = ""


class Dependent(Value, frozen=True):
    """A version that delegates to the one asked about. spec: as its author wrote it."""

    key: str
    spec: str
    status: Status


class Dependents(Value, frozen=True):
    """`GET /experts/{key}/dependents`, one page. cursor: as for a search."""

    dependents: tuple[Dependent, ...]
    cursor: str = ""


class Dependency(Value, frozen=True):
    """A version that is reached. depth: from what was asked about, which has 0."""

    key: str
    digest: str
    status: Status
    depth: int


class DependencyEdge(Value, frozen=True):
    """The version `key` delegates to `spec`, which means the version `to` now; empty if it means none."""

    key: str
    spec: str
    to: str = ""


class Dependencies(Value, frozen=True):
    """`GET /experts/{key}/dependencies`. The first is what was asked about."""

    experts: tuple[Dependency, ...]
    edges: tuple[DependencyEdge, ...] = ()
    errors: tuple[Unresolved, ...] = ()


class Diff(Value, frozen=True):
    """`GET /experts/{name}/diff`. before, after: keys; instruction: as a unified diff, empty if it is the same."""

    before: str
    after: str
    widens: bool
    changes: tuple[Change, ...] = ()
    instruction: str = ""


class Day(Value, frozen=True):
    """day: YYYY-MM-DD, UTC."""

    day: str
    fetches: int


class Stats(Value, frozen=True):
    """`GET /experts/{name}/stats`: fetches of documents in the last 90 days, days without any left out."""

    days: tuple[Day, ...]
    fetches: int
    dependents: int


class Finding(Value, frozen=True):
    """path: members that lead to the place, e.g. `skills.search.rule`; what: a sentence about it."""

    code: str
    severity: Severity
    path: str
    what: str


class Findings(Value, frozen=True):
    """`GET /experts/{key}/scan`, the gravest first."""

    key: str
    findings: tuple[Finding, ...] = ()


class LogChange(Value, frozen=True):
    """One entry of the transparency log. index: from 0."""

    index: int
    entry: LogEntry


class Changes(Value, frozen=True):
    """`GET /changes`. next: what to give as `since` the next time. size: entries in the log now."""

    changes: tuple[LogChange, ...]
    next: int
    size: int
