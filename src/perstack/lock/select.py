"""Which of the published versions of an Expert a delegate string selects.

Every edge chooses for itself, so this is a choice among the versions of one name and nothing else:

1. the version that the lock has for this very string, if it is still there and still selected;
2. else the highest version that is available;
3. else the highest that is deprecated, with a warning.

A disabled version is never new: who names it exactly is refused, unless they insist. A version younger than
the *minimum release age* is passed over, which gives the world time to notice a bad one; who names it exactly, or
has it in the lock, gets it with a warning. The clock is an argument here, as everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

import msgspec

from perstack._value import Value
from perstack.definition import DelegateSpec, parse_range, parse_version
from perstack.errors import UserError

Status = Literal["available", "deprecated", "disabled"]

SHOWN = 8
"""Versions that are listed when none can be chosen."""


class Candidate(Value, frozen=True):
    """One published version. published_at: ISO 8601, empty if unknown; log: index in the registry's log."""

    version: str
    digest: str
    status: Status = "available"
    published_at: str = ""
    log: int | None = None


class Listing(Value, frozen=True):
    """All versions of one name, and its tags."""

    name: str
    versions: tuple[Candidate, ...]
    tags: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class Choice(Value, frozen=True):
    """What a delegate string selects. warnings: what the user should know of it, a sentence each."""

    candidate: Candidate
    warnings: tuple[str, ...] = ()


class Choosing(Value, frozen=True):
    """How versions are chosen.

    now_s: the time, seconds since 1970. min_age_s: the minimum release age; exempt: names it does not hold for,
    exact or with a `*` at the end. allow_disabled: take disabled versions, with a warning.
    """

    now_s: float = 0.0
    min_age_s: float = 0.0
    exempt: tuple[str, ...] = ()
    allow_disabled: bool = False


class NoVersion(UserError):
    """No version of an Expert can be chosen. refused: (version, why), the likeliest first."""

    def __init__(self, spec: str, why: str, refused: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(spec, why)
        self.spec = spec
        self.why = why
        self.refused = tuple(refused)

    def __str__(self) -> str:
        told = "".join(f"\n  - {version}: {why}" for version, why in self.refused[:SHOWN])
        more = len(self.refused) - SHOWN
        return f'"{self.spec}": {self.why}{told}' + (f"\n  - and {more} more" if more > 0 else "")


def select(
    spec: DelegateSpec, listing: Listing, choosing: Choosing, locked: str | None = None
) -> Choice:
    """The version that `spec` selects. locked: the version the lock has for it. Raises NoVersion."""
    exempt = any(_covers(name, listing.name) for name in choosing.exempt)
    oldest_s = None if exempt or not choosing.min_age_s else choosing.now_s - choosing.min_age_s
    kept = _at(listing, locked)
    if kept is not None and _can_mean(spec, kept, listing):
        return Choice(candidate=kept, warnings=tuple(_warnings(listing.name, kept, oldest_s)))
    exact = spec.kind in ("version", "digest")
    refused: list[tuple[str, str]] = []
    for candidate, chosen_by_us in _in_order(spec, listing):
        insisted = choosing.allow_disabled and not chosen_by_us
        if candidate.status == "disabled" and not insisted:
            advice = "" if chosen_by_us else "; --allow-disabled insists on it"
            refused.append((candidate.version, f"disabled by its owner{advice}"))
        elif not exact and _is_young(candidate, oldest_s):
            refused.append((candidate.version, "younger than the minimum release age"))
        else:
            told = _warnings(listing.name, candidate, oldest_s)
            return Choice(candidate=candidate, warnings=tuple(told))
    if refused:
        raise NoVersion(spec.text, "no version that it means may be chosen:", refused)
    others = [(c.version, c.status) for c in _newest_first(listing.versions)]
    raise NoVersion(spec.text, _nothing(spec, listing), others)


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _in_order(spec: DelegateSpec, listing: Listing) -> Iterator[tuple[Candidate, bool]]:
    """(version, whether it is our choice and not the author's), the best first."""
    match spec.kind:
        case "version" | "digest":
            yield from ((c, False) for c in listing.versions if _can_mean(spec, c, listing))
        case "tag" | "latest" | "number" if spec.kind != "number" or spec.selector in listing.tags:
            tagged = _at(listing, listing.tags.get(spec.selector or "latest"))
            if tagged is not None:
                yield tagged, False
            if spec.kind == "latest" and tagged is not None:
                others = (c for c in listing.versions if c is not tagged and _is_stable(c))
                yield from ((c, True) for c in _best_first(others))
        case _:
            found = (c for c in listing.versions if _can_mean(spec, c, listing))
            yield from ((c, True) for c in _best_first(found))


def may_mean(spec: DelegateSpec, version: str, digest: str) -> bool:
    """Whether a delegate string can stand for this version of its name. A tag can stand for any."""
    selector = spec.selector or ""
    match spec.kind:
        case "version":
            return parse_version(selector) == parse_version(version)
        case "digest":
            return selector == digest
        case "range":
            return parse_range(selector).selects(parse_version(version))
        case "tag" | "latest" | "number":  # a number may be a tag
            return True


def _can_mean(spec: DelegateSpec, candidate: Candidate, listing: Listing) -> bool:
    """Whether the string can mean this version of `listing`."""
    if spec.kind == "number" and spec.selector not in listing.tags:
        return parse_range(spec.selector or "").selects(parse_version(candidate.version))
    return may_mean(spec, candidate.version, candidate.digest)


def _at(listing: Listing, version: str | None) -> Candidate | None:
    """The version with these numbers; build metadata does not count."""
    if version is None:
        return None
    wanted = parse_version(version)
    return next((c for c in listing.versions if parse_version(c.version) == wanted), None)


def _best_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    ranks = {"available": 0, "deprecated": 1, "disabled": 2}
    return sorted(_newest_first(candidates), key=lambda c: ranks[c.status])


def _newest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: parse_version(c.version), reverse=True)


def _is_stable(candidate: Candidate) -> bool:
    return not parse_version(candidate.version).is_prerelease


def _is_young(candidate: Candidate, oldest_s: float | None) -> bool:
    if oldest_s is None:
        return False
    try:
        return datetime.fromisoformat(candidate.published_at).timestamp() > oldest_s
    except ValueError:
        return True  # nobody says how old it is


def _warnings(name: str, candidate: Candidate, oldest_s: float | None) -> Iterator[str]:
    yield from standing(name, candidate)
    if _is_young(candidate, oldest_s):
        yield f"{name}@{candidate.version} is younger than the minimum release age."


def standing(name: str, candidate: Candidate) -> Iterator[str]:
    """What its owner says against a version of `name`, a sentence each."""
    if candidate.status == "deprecated":
        yield f"{name}@{candidate.version} is deprecated by its owner."
    if candidate.status == "disabled":
        yield f"{name}@{candidate.version} was disabled by its owner, who takes no new users for it."


def _nothing(spec: DelegateSpec, listing: Listing) -> str:
    """Why there is nothing to choose from."""
    if not listing.versions:
        return f"{listing.name} has no versions."
    if spec.kind in ("tag", "latest"):
        tags = ", ".join(sorted(listing.tags)) or "none"
        return f'no version of {listing.name} has the tag "{spec.selector or "latest"}"; there are: {tags}.'
    return f"{listing.name} has no such version. It has:"
