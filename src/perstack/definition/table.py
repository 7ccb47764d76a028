"""Reading one table of a file, key by key: every fault is noted with its place, none hides another."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import msgspec

from perstack.errors import Fault

from . import rules
from .levels import advice

T = TypeVar("T")
RawTable = dict[str, Any]

_LARGEST = 2**53 - 1  # beyond it, a reader that knows only doubles sees another number


@dataclass(slots=True)
class Notes:
    """What was found so far, in the order of reading. allow_loopback: remote skills may be on this machine."""

    faults: list[Fault] = field(default_factory=list[Fault])
    warnings: list[Fault] = field(default_factory=list[Fault])
    allow_loopback: bool = False


class Table:
    """One table. Each method reads one key; absent or wrong, it gives None, and what is wrong is noted."""

    def __init__(
        self, raw: RawTable, path: tuple[str, ...], notes: Notes, known: Iterable[str] | None = None
    ) -> None:
        """known: its keys, None if any may stand there. Warns about the others."""
        self.raw, self.path, self.notes = raw, path, notes
        known = tuple(raw if known is None else known)
        for key in raw:
            if key not in known:
                self.warn((key,), "unknown key, ignored", advice(key, path, known))

    def fault(self, at: tuple[str, ...], what: str, hint: str = "") -> None:
        """Note a fault. at: place below this table, empty for the table itself."""
        self.notes.faults.append(Fault(dotted((*self.path, *at)), what, hint))

    def warn(self, at: tuple[str, ...], what: str, hint: str = "") -> None:
        self.notes.warnings.append(Fault(dotted((*self.path, *at)), what, hint))

    def take(self, key: str, kind: type[T], *checks: Callable[[T], str | None]) -> T | None:
        """The value of `key` as `kind`. checks: each gives a fault in words, or None."""
        return self._value((key,), self.raw[key], kind, checks) if key in self.raw else None

    def need(self, key: str, kind: type[T], *checks: Callable[[T], str | None]) -> T | None:
        """As `take`; absent is a fault."""
        if key not in self.raw:
            meant = difflib.get_close_matches(key, self.raw, n=1)
            self.fault((key,), "is required", f'you wrote "{meant[0]}"' if meant else "")
        return self.take(key, kind, *checks)

    def texts(
        self, key: str, *checks: rules.Check, most: int | None = None
    ) -> tuple[str, ...] | None:
        """An array of strings. checks: for each of them. most: how many there may be."""
        items = self.take(key, list[Any])
        if items is None:
            return None
        if most is not None and len(items) > most:
            self.fault((key,), f"has {len(items)} entries; at most {most} are allowed")
        read = (self._value((key, str(n)), item, str, checks) for n, item in enumerate(items))
        return tuple(item for item in read if item is not None)

    def choice(self, key: str, names: tuple[str, ...], *, needed: bool = False) -> str | None:
        """One of `names`."""
        value = self.need(key, str) if needed else self.take(key, str)
        if value is None or value in names:
            return value
        meant = difflib.get_close_matches(value, names, n=1)
        listed = ", ".join(f'"{name}"' for name in names)
        hint = f'did you mean "{meant[0]}"?' if meant else ""
        self.fault((key,), f'"{value}" is not one of {listed}', hint)
        return None

    def number(self, key: str, *, least: int) -> float | None:
        """A finite number of at least `least`."""

        def check(value: float) -> str | None:
            if not math.isfinite(value) or value > _LARGEST:
                return "must be a number that can be counted to"
            return f"must be at least {least}" if value < least else None

        return self.take(key, float, check)

    def count(self, key: str, *, least: int) -> int | None:
        """A whole number of at least `least`; a fraction is rounded down, with a warning."""
        value = self.number(key, least=least)
        if value is None:
            return None
        if value != int(value):
            self.warn((key,), f"counts whole things; {int(value)} is used")
        return int(value)

    def table(self, key: str, known: Iterable[str] | None = None) -> Table | None:
        """The table under `key`."""
        raw = self.take(key, dict[str, Any])
        return None if raw is None else Table(raw, (*self.path, key), self.notes, known)

    def named(self, key: str, *, most: int, longest: int) -> Iterator[tuple[str, RawTable]]:
        """The tables under `key`, whose names are the author's. most: how many; longest: name in characters."""
        outer = self.table(key)
        if outer is None:
            return
        if len(outer.raw) > most:
            self.fault((key,), f"has {len(outer.raw)} entries; at most {most} are allowed")
        for name in outer.raw:
            if problem := rules.sized(longest, least=1)(name):
                outer.fault((name[:40],), f"the name {problem}")
            inner = outer.table(name)
            if inner is not None:
                yield name, inner.raw

    def _value(
        self,
        at: tuple[str, ...],
        value: object,
        kind: type[T],
        checks: Iterable[Callable[[T], str | None]],
    ) -> T | None:
        try:
            read = msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            self.fault(at, _in_words(str(error)))
            return None
        for check in checks:
            if problem := check(read):
                self.fault(at, problem)
                return None
        return read


def dotted(path: Iterable[str]) -> str:
    """`experts.@acme/reader.skills.bar`; a name with a dot or a blank in it stands in quotes."""
    return ".".join(part if re.fullmatch(r"[\w@/-]+", part) else f'"{part}"' for part in path)


def as_table(value: object) -> RawTable | None:
    """`value` if it is a table."""
    return cast("RawTable", value) if isinstance(value, dict) else None


_WORDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "a table",
    "date": "a date",
    "time": "a time",
    "datetime": "a date with time",
}


def _in_words(message: str) -> str:
    """A conversion error in the words of TOML."""

    def words(kinds: re.Match[str]) -> str:
        return " or ".join(_WORDS.get(kind, kind) for kind in kinds[1].split(" | "))

    text = re.sub(r"`([^`$]*)`", words, message.partition(" - at ")[0])
    return text[:1].lower() + text[1:]
