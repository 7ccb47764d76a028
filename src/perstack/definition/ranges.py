"""Ranges: which versions a text such as `^1.2`, `~1.2.3`, `1.x`, `>=1.2 <2` or `1 - 2 || 4` selects.

The meaning is node-semver's, without its loose mode and without a `v` before a version. A range is a union of
sets; a set is a list of bounds that all hold. Every form is turned into bounds once, when it is read:

    ^1.2.3   >=1.2.3 and below 2.0.0            1.2.x       >=1.2.0 and below 1.3.0
    ^0.2.3   >=0.2.3 and below 0.3.0            >1          >=2.0.0
    ~1.2     >=1.2.0 and below 1.3.0            1.2 - 2.3   >=1.2.0 and below 2.4.0

Here *below* a version means: below its pre-releases too. A pre-release is selected only by a set with a bound that
has a pre-release of the same three numbers: who asks for `>=2.0.0-beta` wants betas of 2.0.0, not of 2.1.0. Build
metadata never counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from perstack.errors import UserError

from .key import Version, parse_version

MAX_RANGE = 128
MAX_SETS = 8
MAX_COMPARATORS = 16

_NUMBER = r"(?:0|[1-9]\d*)"
_IDENTIFIER = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_PARTIAL = (
    rf"([xX*]|{_NUMBER})(?:\.([xX*]|{_NUMBER})(?:\.([xX*]|{_NUMBER})"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+[0-9A-Za-z.-]+)?)?)?"
)
_HYPHEN = re.compile(rf"{_PARTIAL}\s+-\s+{_PARTIAL}", re.ASCII)
_COMPARATOR = re.compile(rf"(~>|[<>]=|[<>=^~])?\s*{_PARTIAL}(?=\s|$)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Bound:
    op: Literal["<", "<=", ">", ">=", "="]
    version: Version

    def holds(self, version: Version) -> bool:
        match self.op:
            case "<":
                return version < self.version
            case "<=":
                return version <= self.version
            case ">":
                return version > self.version
            case ">=":
                return version >= self.version
            case "=":
                return version == self.version


_ANY = _Bound(">=", parse_version("0.0.0"))


@dataclass(frozen=True, slots=True)
class Range:
    """What a range selects. text: as it was written."""

    text: str
    _sets: tuple[tuple[_Bound, ...], ...]

    def selects(self, version: Version) -> bool:
        return any(
            all(bound.holds(version) for bound in bounds)
            and (not version.is_prerelease or any(_same(b.version, version) for b in bounds))
            for bounds in self._sets
        )

    def __str__(self) -> str:
        return self.text


def _same(bound: Version, version: Version) -> bool:
    """Whether a bound asks for pre-releases of this version's three numbers."""
    numbers = (version.major, version.minor, version.patch)
    return bound.is_prerelease and (bound.major, bound.minor, bound.patch) == numbers


@lru_cache(maxsize=1024)
def parse_range(text: str) -> Range:
    """The range written as `text`. Raises UserError if it is none, or larger than ranges may be."""
    if len(text) > MAX_RANGE:
        raise UserError(
            f"The range {text[:40]!r}... has {len(text)} characters; {MAX_RANGE} are allowed."
        )
    parts = text.split("||")
    if len(parts) > MAX_SETS:
        raise UserError(
            f'The range "{text}" has {len(parts)} parts between ||; {MAX_SETS} are allowed.'
        )
    count = 0
    sets: list[tuple[_Bound, ...]] = []
    for part in parts:
        bounds = list(_comparators(part.strip(), text))
        count += len(bounds)
        sets.append(tuple(bound for found in bounds for bound in found if bound != _ANY))
    if count > MAX_COMPARATORS:
        raise UserError(
            f'The range "{text}" has {count} comparators; {MAX_COMPARATORS} are allowed.'
        )
    if () in sets:  # as there: beside "any stable version" the other parts do not count
        return Range(text, ((),))
    return Range(text, tuple(sets))


def selects(text: str, version: Version) -> bool:
    """Whether the range written as `text` selects `version`. Raises UserError if it is none."""
    return parse_range(text).selects(version)


def best(text: str, versions: Iterable[Version]) -> Version | None:
    """The highest of `versions` that the range selects; None if it selects none of them."""
    found = parse_range(text)
    return max((version for version in versions if found.selects(version)), default=None)


# From text to bounds --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Partial:
    """A version of which a tail may be left open; `None` is open.

    gap: a number follows an open part. It does not count, and not every form may have it.
    """

    major: int | None
    minor: int | None
    patch: int | None
    pre: str
    gap: bool

    @property
    def is_full(self) -> bool:
        return self.patch is not None

    @property
    def low(self) -> Version:
        """The lowest version it can be."""
        return _version(self.major or 0, self.minor or 0, self.patch or 0, self.pre)

    @property
    def next(self) -> Version:
        """What is below this, is not beyond the partial: the floor of the next version it cannot be."""
        major, minor = self.major or 0, self.minor
        return _floor(major + 1, 0, 0) if minor is None else _floor(major, minor + 1, 0)


def _comparators(text: str, whole: str) -> Iterator[tuple[_Bound, ...]]:
    """The bounds of each comparator of one set. None at all: any stable version."""
    if span := _HYPHEN.fullmatch(text):
        groups = span.groups()
        yield (*_at_least(_partial(groups[:4])), *_at_most(_partial(groups[4:])))
        return
    at = 0
    while at < len(text):
        found = _COMPARATOR.match(text, at)
        if found is None:
            raise UserError(
                f'"{whole}" is no range of versions; write e.g. ^1.2, ~1.2.3, 1.x, ">=1.2 <2" or "1 - 2"'
            )
        op, *groups = found.groups()
        what = _partial(groups)
        if what.gap and op not in ("^", "~", "~>"):
            raise UserError(
                f'"{whole}" is no range of versions: a number follows what is left open'
            )
        yield tuple(_bounds(op or "", what))
        at = found.end()


def _partial(groups: Iterable[str | None]) -> _Partial:
    *written, pre = groups
    numbers = [None if number is None or number in "xX*" else int(number) for number in written]
    whole = numbers.index(None) if None in numbers else len(numbers)
    major, minor, patch = (number if at < whole else None for at, number in enumerate(numbers))
    gap = any(number is not None for number in numbers[whole:])
    return _Partial(major, minor, patch, "" if patch is None or pre is None else pre, gap)


def _bounds(op: str, what: _Partial) -> Iterator[_Bound]:
    if what.major is None:
        if op in ("<", ">"):
            yield _Bound("<", _floor(0, 0, 0))  # nothing is beyond anything
        return
    match op:
        case "^":
            yield _Bound(">=", what.low)
            yield _Bound("<", _caret(what))
        case "~" | "~>":
            yield _Bound(">=", what.low)
            yield _Bound("<", what.next)
        case "" | "=" if not what.is_full:
            yield _Bound(">=", what.low)
            yield _Bound("<", what.next)
        case "" | "=":
            yield _Bound("=", what.low)
        case ">" if not what.is_full:
            yield _Bound(">=", _next_release(what))
        case "<=":
            yield from _at_most(what)
        case "<" if not what.is_full:
            yield _Bound("<", _floor(what.major, what.minor or 0, 0))
        case "<" | ">" | ">=":
            yield _Bound(op, what.low)
        case _:
            raise AssertionError(op)


def _at_least(what: _Partial) -> Iterator[_Bound]:
    if what.major is not None:
        yield _Bound(">=", what.low)


def _at_most(what: _Partial) -> Iterator[_Bound]:
    if what.is_full:
        yield _Bound("<=", what.low)
    elif what.major is not None:
        yield _Bound("<", what.next)


def _caret(what: _Partial) -> Version:
    """Where `^` ends: at the next change of the leftmost number that is not zero."""
    major, minor, patch = what.major or 0, what.minor, what.patch
    if major or minor is None:
        return _floor(major + 1, 0, 0)
    if minor or patch is None:
        return _floor(0, minor + 1, 0)
    return _floor(0, 0, patch + 1)


def _next_release(what: _Partial) -> Version:
    beyond = what.next
    return _version(beyond.major, beyond.minor, beyond.patch)


def _version(major: int, minor: int, patch: int, pre: str = "") -> Version:
    return parse_version(f"{major}.{minor}.{patch}{f'-{pre}' if pre else ''}")


def _floor(major: int, minor: int, patch: int) -> Version:
    """What comes before every pre-release of a version."""
    return Version(major, minor, patch, False, (), f"{major}.{minor}.{patch}-")
