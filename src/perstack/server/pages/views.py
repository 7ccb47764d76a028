"""What the pages show, read from the database: plain values, no HTML."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from perstack.definition import (
    Expert,
    InteractiveSkill,
    RemoteSkill,
    StdioSkill,
    short_of,
    short_predicate_type,
)
from perstack.registry import Deprecation, Diff, Finding, expert_of

from ..extensions.insight import difference, document, findings_of
from ..extensions.resolving import Walk
from ..extensions.seeing import seen_expert, seen_version
from ..identity.issuers import site_of
from ..queries import attestations, experts, graph
from ..queries.attestations import AttestationRow
from ..queries.experts import Asked, asked
from ..queries.trusted import Provenance, provenance
from ..storage.repository import Session
from ..storage.rows import ExpertRow, Found, VersionRow
from .touching import Touch, touch_of

MAX_BELOW = 60
"""Experts below one that its page looks into."""

VERSIONS = 50
DEPENDENTS = 12
DAYS = 90


class SkillRow(NamedTuple):
    """A skill as its page shows it. runs: what is started or called; tools: what may be used of it."""

    name: str
    kind: str
    runs: str
    description: str
    rule: str
    tools: str


class Branch(NamedTuple):
    """One delegate in the tree. key: empty if its spec means nothing here; again: its own are shown elsewhere."""

    spec: str
    key: str
    status: str
    again: bool
    below: tuple[Branch, ...]


class About(NamedTuple):
    """What an author says of an Expert beside its document."""

    readme: str
    repository: str
    license: str
    keywords: tuple[str, ...]
    dependents: int


class Source(NamedTuple):
    """The job of CI that published a version. url: of its repository."""

    url: str
    job: Provenance


class Attested(NamedTuple):
    """An attestation as its page shows it. keys: whose signatures it has, the beginnings of their ids."""

    kind: str
    row: AttestationRow
    keys: tuple[tuple[str, bool], ...]
    """Each with whether it was revoked since."""


class ExpertPage(NamedTuple):
    """One version, whole. fetches: by day, oldest first, one for each of DAYS."""

    found: Found
    expert: Expert
    about: About
    deprecation: Deprecation | None
    touch: Touch
    skills: tuple[SkillRow, ...]
    delegates: tuple[Branch, ...]
    versions: tuple[VersionRow, ...]
    total: int
    before: VersionRow | None
    dependents: tuple[graph.Leading, ...]
    findings: tuple[Finding, ...]
    fetches: tuple[int, ...]
    provenance: Source | None
    attestations: tuple[Attested, ...]

    @property
    def is_latest(self) -> bool:
        return self.found.expert.latest == self.found.version.n

    @property
    def short(self) -> str:
        return short_of(self.found.expert.name)


def expert_page(session: Session, what: Asked, at: int) -> ExpertPage:
    """The page of a version, for everyone. at: ms. Raises Refused (404)."""
    found = seen_version(session, what, None)
    body = document(session, found)
    walk = Walk(session, None)
    walk.from_version(found, depth=8)
    below = [one for one, _ in walk.nodes.values() if one.version.n != found.version.n]
    documents = {found.key: body}
    for one in below[:MAX_BELOW]:
        documents[one.key] = document(session, one)
    row = session.one(
        "SELECT readme, repository, license, keywords, dependents FROM experts WHERE n = ?",
        found.expert.n,
    )
    assert row is not None  # `found` is a row of it
    expert = expert_of(body)
    return ExpertPage(
        found=found,
        expert=expert,
        about=About(row[0], _web(row[1]), row[2], _words(row[3]), row[4]),
        deprecation=_deprecation(found.version),
        touch=touch_of(documents, found.key, more=len(below) > MAX_BELOW),
        skills=tuple(_skills(expert)),
        delegates=_tree(walk, found),
        versions=tuple(experts.versions(session, found.expert, take=8)),
        total=experts.count_versions(session, found.expert),
        before=_before(session, found.version),
        dependents=tuple(
            graph.dependents(session, found.expert, None, None, below=None, take=DEPENDENTS)
        ),
        findings=findings_of(session, found),
        fetches=_by_day(session, found.expert, at),
        provenance=_source(session, found.version),
        attestations=tuple(_attested(session, found.version)),
    )


def _source(session: Session, version: VersionRow) -> Source | None:
    job = provenance(session, version.n)
    return Source(site_of(job.issuer, job.repository), job) if job else None


def _attested(session: Session, version: VersionRow) -> Iterable[Attested]:
    for row in attestations.attestations(session, version.n):
        revoked = {
            key.id: key.revoked_at is not None
            for key in attestations.keys(session, row.organization)
        }
        ids = [each.keyid for each in row.opened.signatures]
        yield Attested(
            short_predicate_type(row.predicate_type),
            row,
            tuple((id[:12], revoked.get(id, False)) for id in ids),
        )


def _web(url: str) -> str:
    """A link that may be followed, else nothing."""
    return url if url.startswith(("https://", "http://")) else ""


def _words(json: str) -> tuple[str, ...]:
    return msgspec.json.decode(json, type=tuple[str, ...])


def _deprecation(version: VersionRow) -> Deprecation | None:
    return (
        msgspec.json.decode(version.deprecation, type=Deprecation) if version.deprecation else None
    )


def _before(session: Session, version: VersionRow) -> VersionRow | None:
    """The next lower version that everyone can get."""
    row = session.one(
        "SELECT n FROM versions WHERE expert = ? AND precedence < ? AND unpublished_at IS NULL"
        " AND quarantined_at IS NULL ORDER BY precedence DESC LIMIT 1",
        version.expert,
        version.precedence,
    )
    return experts.by_n(session, row[0]).version if row else None


def _skills(expert: Expert) -> Iterable[SkillRow]:
    for name, skill in expert.skills.items():
        description, rule = skill.description or "", skill.rule or ""
        match skill:
            case StdioSkill():
                words = (
                    skill.command,
                    *((skill.package_name,) if skill.package_name else skill.args),
                )
                yield SkillRow(
                    name, "local server", " ".join(words), description, rule, _tools(skill)
                )
            case RemoteSkill():
                yield SkillRow(
                    name, "remote server", skill.endpoint, description, rule, _tools(skill)
                )
            case InteractiveSkill():
                asks = ", ".join(skill.tools)
                yield SkillRow(name, "questions to you", "", description, rule, asks)


def _tools(skill: StdioSkill | RemoteSkill) -> str:
    if skill.pick:
        return ", ".join(tool for tool in skill.pick if tool not in skill.omit)
    return f"all but {', '.join(skill.omit)}" if skill.omit else "all"


def _tree(walk: Walk, root: Found) -> tuple[Branch, ...]:
    """What a walk found, as a tree. An Expert's own delegates are shown once."""
    below: dict[str, list[str]] = {}
    for key, spec in walk.edges:
        below.setdefault(key, []).append(spec)
    shown = {root.key}

    def branches(key: str, depth: int) -> tuple[Branch, ...]:
        made: list[Branch] = []
        for spec in below.get(key, ()):
            found = walk.found.get(spec)
            if found is None:
                made.append(Branch(spec, "", "", False, ()))
                continue
            again = found.key in shown and bool(below.get(found.key))
            shown.add(found.key)
            deeper = () if again or depth > 8 else branches(found.key, depth + 1)
            made.append(Branch(spec, found.key, found.version.status, again, deeper))
        return tuple(made)

    return branches(root.key, 1)


def _by_day(session: Session, expert: ExpertRow, at: int) -> tuple[int, ...]:
    from datetime import UTC, datetime, timedelta

    counts = dict(graph.fetches(session, expert.n, at, DAYS))
    today = datetime.fromtimestamp(at / 1000, UTC).date()
    days = ((today - timedelta(days=back)).isoformat() for back in range(DAYS - 1, -1, -1))
    return tuple(counts.get(day, 0) for day in days)


class VersionsPage(NamedTuple):
    """One page of all versions, the highest first."""

    expert: ExpertRow
    latest: str
    versions: tuple[VersionRow, ...]
    total: int


def versions_page(session: Session, name: str, skip: int) -> VersionsPage:
    """Raises Refused (404)."""
    expert = seen_expert(session, name, None)
    latest = seen_version(session, asked(name), None)
    return VersionsPage(
        expert,
        latest.version.version,
        tuple(experts.versions(session, expert, take=VERSIONS, skip=skip)),
        experts.count_versions(session, expert),
    )


class DiffPage(NamedTuple):
    """Two versions. lines: of the diff of their instructions, each with its kind: add, remove, at, same."""

    expert: ExpertRow
    before: Found
    after: Found
    diff: Diff
    lines: tuple[tuple[str, str], ...]
    versions: tuple[str, ...]


def diff_page(session: Session, name: str, before: Asked, after: Asked) -> DiffPage:
    """Raises Refused (404)."""
    expert = seen_expert(session, name, None)
    old, new = (seen_version(session, what, None) for what in (before, after))
    told = difference((old, document(session, old)), (new, document(session, new)))
    return DiffPage(
        expert,
        old,
        new,
        told,
        tuple((_kind(line), line) for line in told.instruction.splitlines()[2:]),
        tuple(v.version for v in experts.versions(session, expert, take=200)),
    )


def _kind(line: str) -> str:
    return {"+": "add", "-": "remove", "@": "at"}.get(line[:1], "same")
