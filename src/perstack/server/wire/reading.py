"""The members of a JSON object that was sent, read one by one. What is wrong is told at once, at the end."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from perstack.definition import utf16_length

from .http import Issue, invalid

Path = tuple[str | int, ...]
Check = Callable[[str], str | None]


class Reading:
    """Members of one JSON object as they are read; `issues` collects what is wrong, in all of them.

    path: where the object is in the body. issues: those of the object it is in.
    """

    def __init__(
        self, value: dict[str, Any], path: Path = (), issues: list[Issue] | None = None
    ) -> None:
        self.value = value
        self.path = path
        self.issues = [] if issues is None else issues
        self.known: set[str] = set()

    def end(self) -> None:
        """Raises Refused (422) with all that was wrong, if anything was."""
        if self.issues:
            raise invalid(*self.issues)

    def wrong(self, member: str | int | Path, code: str, message: str) -> None:
        path = member if isinstance(member, tuple) else (member,)
        self.issues.append(Issue((*self.path, *path), code, message))

    def text(
        self,
        name: str,
        most: int,
        *,
        least: int = 0,
        required: bool = False,
        check: Check | None = None,
    ) -> str:
        """A text of `least` to `most` UTF-16 code units; "" if it is not there."""
        found = self._member(name, required)
        if found is _MISSING:
            return ""
        return self._text(name, found, most, least, check)

    def texts(
        self, name: str, count: int, most: int, check: Check | None = None
    ) -> tuple[str, ...]:
        """Up to `count` texts of 1 to `most`; () if they are not there."""
        found = self._member(name, False)
        if found is _MISSING:
            return ()
        if not isinstance(found, list):
            self.wrong(name, "invalid_type", "Expected an array")
            return ()
        items = cast("list[Any]", found)
        if len(items) > count:
            self.wrong(name, "too_big", f"At most {count} entries are allowed")
            return ()
        return tuple(self._text((name, at), item, most, 1, check) for at, item in enumerate(items))

    def object(self, name: str, *, required: bool = False) -> dict[str, Any]:
        found = self._member(name, required)
        if found is _MISSING:
            return {}
        if not isinstance(found, dict):
            self.wrong(name, "invalid_type", "Expected an object")
            return {}
        return cast("dict[str, Any]", found)

    def flag(self, name: str, default: bool) -> bool:
        found = self._member(name, False)
        if found is _MISSING:
            return default
        if not isinstance(found, bool):
            self.wrong(name, "invalid_type", "Expected true or false")
            return default
        return found

    def one_of(self, name: str, choices: tuple[str, ...], *, required: bool = False) -> str:
        """One of `choices`, the first if it is not there."""
        found = self._member(name, required)
        if found is _MISSING:
            return choices[0]
        if found not in choices:
            self.wrong(name, "invalid_value", f"Expected {' or '.join(choices)}")
            return choices[0]
        return cast("str", found)

    def below(self, name: str | int | Path, value: Any) -> Reading | None:
        """The object at `name`."""
        path = name if isinstance(name, tuple) else (name,)
        if not isinstance(value, dict):
            self.wrong(path, "invalid_type", "Expected an object")
            return None
        return Reading(cast("dict[str, Any]", value), (*self.path, *path), self.issues)

    @property
    def unknown(self) -> list[str]:
        """Members that nobody asked for."""
        return sorted(self.value.keys() - self.known)

    def refuse_unknown(self) -> None:
        for name in self.unknown:
            self.wrong(name, "unrecognized_key", f"Unknown member {name}")

    def _member(self, name: str, required: bool) -> Any:
        self.known.add(name)
        if name in self.value:
            return self.value[name]
        if required:
            self.wrong(name, "missing", "Required")
        return _MISSING

    def _text(
        self, name: str | Path, found: Any, most: int, least: int, check: Check | None
    ) -> str:
        if not isinstance(found, str):
            self.wrong(name, "invalid_type", "Expected a string")
            return ""
        size = utf16_length(found)
        if size < least:
            self.wrong(name, "too_small", "Must not be empty")
        elif size > most:
            self.wrong(name, "too_big", f"Has {size} characters; at most {most} are allowed")
        elif "\0" in found:
            self.wrong(name, "invalid_string", "Must not contain NUL")  # no database keeps it
        elif check and (fault := check(found)):
            self.wrong(name, "invalid_string", fault)
        return found


_MISSING: Any = object()


def matching(pattern: re.Pattern[str], what: str) -> Check:
    return lambda text: None if pattern.fullmatch(text) else f"Must be {what}"


def printable(text: str) -> str | None:
    """What is wrong with a text that is to be shown as it is: letters nobody sees, lines."""
    return None if text.isprintable() else "Must be of printable characters"
