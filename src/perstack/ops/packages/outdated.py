"""Which locked Experts have newer versions: inside the ranges that want them, and at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from perstack._value import Value
from perstack.definition import parse_delegate, parse_version
from perstack.lock import Choosing, Listing, Lock, NoVersion, Pin, select

from .access import Access
from .listings import listings
from .locked import LockedProject, locked_project

DAY_S = 86_400


class Row(Value, frozen=True):
    """One delegate that could be newer. spec: as written; wanted: what it selects now; latest: the tag.

    wanted, latest: empty if there is none. age_days: since the locked version was published.
    """

    name: str
    spec: str
    locked: str
    status: str
    wanted: str = ""
    latest: str = ""
    age_days: int | None = None


async def outdated_of(access: Access, *, everything: bool = False) -> tuple[Row, ...]:
    """The delegates whose locked version is not what they select now, or not the latest.

    everything: also what published Experts delegate to. Raises UserError, LockError, RegistryError.
    """
    project = locked_project(str(access.project.path), access.env, access.cwd)
    edges = dict(_edges(project, everything=everything))
    found = await listings(access, {pin.expert.name for pin in edges.values()})
    rules = access.project.project.registry
    choosing = Choosing(
        now_s=time.time(), min_age_s=rules.min_release_age_s, exempt=rules.min_release_age_exclude
    )
    rows = [_row(spec, pin, found.get(pin.expert.name), choosing) for spec, pin in edges.items()]
    return tuple(
        sorted((row for row in rows if _could_be_newer(row)), key=lambda r: (r.name, r.spec))
    )


def _edges(project: LockedProject, *, everything: bool) -> Iterator[tuple[str, Pin]]:
    """The published Experts that are delegated to, by delegate as written."""
    lock: Lock = project.file.lock
    for key, pin in lock.experts.items():
        if everything or key in project.loaded.project.experts:
            for spec in pin.expert.delegates:
                target = lock.experts.get(lock.key_of(spec))
                if target is not None and target.origin is not None:
                    yield spec, target


def _row(spec: str, pin: Pin, listing: Listing | None, choosing: Choosing) -> Row:
    expert = pin.expert
    if listing is None:
        return Row(name=expert.name, spec=spec, locked=expert.version, status="unknown")
    locked = parse_version(expert.version)
    here = next((c for c in listing.versions if parse_version(c.version) == locked), None)
    try:
        wanted = select(parse_delegate(spec), listing, choosing).candidate.version
    except NoVersion:
        wanted = ""
    return Row(
        name=expert.name,
        spec=spec,
        locked=expert.version,
        status=here.status if here else "unpublished",
        wanted=wanted,
        latest=listing.tags.get("latest", ""),
        age_days=_age_days(pin, choosing.now_s),
    )


def _could_be_newer(row: Row) -> bool:
    locked = parse_version(row.locked)
    others = [parse_version(version) for version in (row.wanted, row.latest) if version]
    return any(other > locked for other in others) or row.status in (
        "disabled",
        "unpublished",
        "unknown",
    )


def _age_days(pin: Pin, now_s: float) -> int | None:
    try:
        at = datetime.fromisoformat(pin.origin.published_at if pin.origin else "")
    except ValueError:
        return None
    return max(0, int((now_s - at.timestamp()) // DAY_S))
