"""Keys: how an Expert is named, and what a delegate entry asks for.

    @acme/reader            name (scope "@acme", short "reader")
    @acme/reader@2.0.1      ... at an exact version
    @acme/reader@beta       ... at a tag
    @acme/reader@^2.0       ... in a range          only in `delegates`
    @acme/reader@sha256:…   ... with this digest    only in `delegates`

All patterns are ASCII and match whole texts. The key pattern is wider than the name and tag patterns: dots
are legal in a key's name and tag, never in a name or tag that can be published, so `x@1.2` is a legal key
(with the tag `1.2`) that no registry can hold. A delegate entry reads the same text as a range.

Which version a range selects is not decided here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from perstack._value import Value
from perstack.errors import UserError

_VERSION = r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[\w.-]+)?(?:\+[\w.-]+)?"
_KEY_NAME = r"(?:@[a-z0-9][a-z0-9_.-]*\/)?[a-z0-9][a-z0-9_.-]*"
_LOOSE_TAG = r"[a-z0-9][a-z0-9_.-]*"

EXPERT_KEY = re.compile(rf"({_KEY_NAME})(?:@({_VERSION})|@({_LOOSE_TAG}))?", re.ASCII)
EXPERT_NAME = re.compile(r"(@[a-z0-9][a-z0-9_-]*\/)?[a-z0-9][a-z0-9_-]*", re.ASCII)
EXPERT_VERSION = re.compile(_VERSION, re.ASCII)
TAG = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
PACKAGE = re.compile(rf"{_KEY_NAME}(?:@{_VERSION}|@{_LOOSE_TAG})?", re.ASCII)
ORGANIZATION = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)

MAX_KEY = 511
MAX_NAME = 255
MAX_SELECTOR = 255
MAX_ORGANIZATION = 128

# node-semver's ranges, without its loose mode and without a "v" before a version
_PART = r"(?:[xX*]|0|[1-9]\d*)"
_EXTRA = r"(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
_PARTIAL = rf"{_PART}(?:\.{_PART}(?:\.{_PART}{_EXTRA})?)?"
_COMPARATOR = rf"(?:(?:[<>]=?|=|\^|~>?) *)?{_PARTIAL}"
_SET = rf"(?:{_PARTIAL} +- +{_PARTIAL}|{_COMPARATOR}(?: +{_COMPARATOR})*)"
RANGE = re.compile(rf" *{_SET}(?: *\|\| *{_SET})* *", re.ASCII)


@dataclass(frozen=True, order=True, slots=True)
class Version:
    """A version in semantic order. Equal means: the same place in that order.

    Build metadata never counts, and `1.0.0-01` equals `1.0.0-1`. The text as written is `str(version)`.
    """

    major: int
    minor: int
    patch: int
    # A stable version comes after all its pre-releases, so "stable" is part of the order
    _stable: bool
    _pre: tuple[tuple[int, int, str], ...]
    text: str = field(compare=False)

    @property
    def is_prerelease(self) -> bool:
        return not self._stable

    def __str__(self) -> str:
        return self.text


def parse_version(text: str) -> Version:
    """The version written as `text`, such as `1.2.0` or `2.0.0-beta.1`. Raises UserError if it is none."""
    if not EXPERT_VERSION.fullmatch(text) or len(text) > MAX_SELECTOR:
        raise UserError(
            f'Invalid version "{text}": write three numbers like 1.2.0, optionally followed by -beta.1'
        )
    bare = text.partition("+")[0]
    release, dash, pre = bare.partition("-")
    major, minor, patch = (int(number) for number in release.split("."))
    ranks = tuple(_rank(part) for part in pre.split(".")) if dash else ()
    return Version(major, minor, patch, not dash, ranks, text)


def _rank(identifier: str) -> tuple[int, int, str]:
    # empty before numbers, numbers before words: versions here are looser than semver's grammar
    if not identifier:
        return (0, 0, "")
    if identifier.isdigit():
        return (1, int(identifier), "")
    return (2, 0, identifier)


class ExpertKey(Value, frozen=True):
    """A name, with at most one of version and tag."""

    name: str
    version: str | None = None
    tag: str | None = None

    @property
    def scope(self) -> str | None:
        """`@acme` of `@acme/reader`; None without a scope."""
        return scope_of(self.name)

    @property
    def short(self) -> str:
        """What follows the scope. A delegate is offered to the model as a tool of this name."""
        return short_of(self.name)

    def __str__(self) -> str:
        selector = self.version or self.tag
        return f"{self.name}@{selector}" if selector else self.name


SpecKind = Literal["latest", "version", "digest", "tag", "number", "range"]
"""What the part after the name asks for. number: digits only, a tag of that name or else a major version."""


class DelegateSpec(Value, frozen=True):
    """One entry of `delegates`. text: as written; selector: what follows the name, None if nothing does."""

    text: str
    name: str
    kind: SpecKind
    selector: str | None = None

    def __str__(self) -> str:
        return self.text


def scope_of(name: str) -> str | None:
    """`@acme` of `@acme/reader`; None without a scope."""
    scope, slash, _ = name.rpartition("/")
    return scope if slash else None


def short_of(name: str) -> str:
    """`reader` of `@acme/reader`."""
    return name.rpartition("/")[2]


def parse_key(text: str) -> ExpertKey:
    """The key written as `text`. Raises UserError, with what is wrong and what to write instead."""
    match = EXPERT_KEY.fullmatch(text)
    problem = _size_problem(text)
    if match is None or problem:
        raise UserError(f'Invalid expert key format: "{text}": {problem or _key_problem(text)}')
    name, version, tag = match.groups()
    return ExpertKey(name=name, version=version, tag=tag)


def parse_delegate(text: str) -> DelegateSpec:
    """What one entry of `delegates` asks for: a key, a range or a digest. Raises UserError."""
    name, selector = _split(text)
    if problem := _size_problem(text):
        raise UserError(f'Invalid delegate "{text}": {problem}')
    if not EXPERT_KEY.fullmatch(name) or "@" in name[1:]:
        raise UserError(f'Invalid delegate "{text}": {_key_problem(name)}')
    if selector is None:
        return DelegateSpec(text=text, name=name, kind="latest")
    kind = _kind(selector)
    if kind is None:
        raise UserError(
            f'Invalid delegate "{text}": "{selector}" is no version, tag, range or digest; '
            "write e.g. 1.2.0, beta, ^1.2 or sha256:<64 hex digits>"
        )
    return DelegateSpec(text=text, name=name, kind=kind, selector=selector)


def _kind(selector: str) -> SpecKind | None:
    # in this order: the first that fits is what is meant
    if EXPERT_VERSION.fullmatch(selector):
        return "version"
    if DIGEST.fullmatch(selector):
        return "digest"
    if TAG.fullmatch(selector):
        return "number" if selector.isdigit() else "tag"
    return "range" if RANGE.fullmatch(selector) else None


def _split(text: str) -> tuple[str, str | None]:
    at = text.find("@", 1)
    return (text, None) if at < 0 else (text[:at], text[at + 1 :])


def _size_problem(text: str) -> str | None:
    name, selector = _split(text)
    if len(name) > MAX_NAME:
        return f"its name has {len(name)} characters; {MAX_NAME} are allowed"
    if selector is not None and len(selector) > MAX_SELECTOR:
        return f"what follows the name has {len(selector)} characters; {MAX_SELECTOR} are allowed"
    return f"it has {len(text)} characters; {MAX_KEY} are allowed" if len(text) > MAX_KEY else None


def _key_problem(text: str) -> str:
    """Why `text` is no key, and what to write. The commonest mistakes have their own sentence."""
    name, selector = _split(text)
    if not text:
        return "it is empty; write a name such as my-expert or @scope/my-expert"
    if name.startswith("@") and "/" not in name:
        return f"a scope needs a name after it, such as {name}/my-expert"
    if name.count("/") > (1 if name.startswith("@") else 0):
        return "only a scope is followed by a slash; write my-expert or @scope/my-expert"
    if any(letter.isupper() for letter in text) and EXPERT_KEY.fullmatch(text.lower()):
        return f"keys are lower case; write {text.lower()}"
    if selector is not None and EXPERT_KEY.fullmatch(name):
        if not selector:
            return "nothing follows the last @; add a version or a tag, or leave the @ out"
        return f'"{selector}" is neither a version such as 1.2.0 nor a tag such as beta'
    return (
        "names hold lower-case letters, digits, dots, dashes and underscores, and begin with a letter "
        "or a digit; write my-expert or @scope/my-expert"
    )
