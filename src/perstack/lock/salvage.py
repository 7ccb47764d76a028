"""What still counts of a lock file that is not whole: changed by hand, or with both sides of a merge in it.

`perstack install` makes such a file anew and would not want to choose all versions anew for that. What is kept is
kept by its own digests: Definitions and tools that are as they say; published ones are held against their
documents later, as always. Of two sides of a merge, what only one has is kept, too; what they contradict each
other in is not.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

import msgspec

from perstack.errors import LockTampered

from .decode import CONFLICT, Resolution, check_key, check_resolution, pin_of
from .file import LOCK_FORMAT, LockFile
from .lock import Lock, Pin

T = TypeVar("T")

_BASE, _OTHER, _END = "||||||| ", "=======", ">>>>>>> "


def salvaged(text: str) -> LockFile | None:
    """What still counts of `text`; None if that is nothing. Of the digest over the whole nothing is asked.

    It names no project file, so it says the same as no lock that is to be written.
    """
    sides = [side for part in _sides(text) if (side := _sound(part)) is not None]
    if not sides:
        return None
    experts = _agreed(side.experts for side in sides)
    resolutions = _agreed(side.resolutions for side in sides)
    kept = {spec: key for spec, key in resolutions.items() if key in experts}
    return LockFile(lock=Lock(experts=experts, resolutions=kept), config="")


def _sides(text: str) -> Iterator[str]:
    """Both sides of a merge, each whole; else `text`."""
    lines = text.splitlines(keepends=True)
    if not any(line.startswith(CONFLICT) for line in lines) or _table(text) is not None:
        yield text  # an instruction may show what a conflict looks like
        return
    for wanted in ("ours", "theirs"):
        side: list[str] = []
        within = ""
        for line in lines:
            if line.startswith(CONFLICT):
                within = "ours"
            elif within and line.startswith(_BASE):
                within = "base"
            elif within and line.rstrip() == _OTHER:
                within = "theirs"
            elif within and line.startswith(_END):
                within = ""
            elif within in ("", wanted):
                side.append(line)
        yield "".join(side)


def _sound(text: str) -> Lock | None:
    """The tables of `text` that are as their digests say."""
    raw = _table(text)
    if raw is None or raw.get("version") != "1" or raw.get("lockFormat") != LOCK_FORMAT:
        return None
    pins: dict[str, Pin] = {}
    for key, table in _tables(raw.get("experts")):
        try:
            pin = pin_of(table, key, LOCK_FORMAT, "the lock")
            check_key(key, pin, "the lock")
        except (LockTampered, ValueError, RecursionError):
            continue
        pins[key] = pin
    resolutions: dict[str, str] = {}
    for spec, table in _tables(raw.get("resolutions")):
        try:
            found = msgspec.convert(table, Resolution)
            check_resolution(spec, found, pins, "the lock")
        except (LockTampered, ValueError):
            continue
        resolutions[spec] = found.key
    return Lock(experts=pins, resolutions=resolutions)


def _table(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _tables(members: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(members, dict):
        for name, table in cast("dict[str, Any]", members).items():
            if isinstance(table, dict):
                yield name, cast("dict[str, Any]", table)


def _agreed(sides: Iterable[Mapping[str, T]]) -> dict[str, T]:
    """What any of `sides` has, and none has otherwise."""
    found: dict[str, T] = {}
    torn: set[str] = set()
    for side in sides:
        torn |= {name for name, value in side.items() if found.setdefault(name, value) != value}
    return {name: value for name, value in found.items() if name not in torn}
