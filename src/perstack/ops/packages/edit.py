"""Changes to a perstack.toml that leave the rest of it as its author wrote it: comments, layout, line endings.

Functions here take the text of a file and give its new text. A library that keeps layout does the edit; what comes
out is then read again and held against what was meant, so a file is never written that says something else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

from perstack.definition import parse_delegate
from perstack.errors import UserError

from ..atomic import replace_file

BOM = "\ufeff"


def with_delegates(text: str, expert: str, specs: Iterable[str]) -> str:
    """`text` with these delegates of `expert`: each in the place of the one of its name, or else at the end.

    expert: key of its table. Raises UserError.
    """
    meant = tuple(specs)

    def change(delegates: list[str]) -> None:
        for spec in meant:
            places = _places(delegates, parse_delegate(spec).name)
            if not places:
                delegates.append(spec)
            elif delegates[places[0]] != spec:
                delegates[places[0]] = spec

    return _edited(text, expert, change)


def without_delegates(text: str, expert: str, names: Iterable[str]) -> str:
    """`text` without the delegates of `expert` that have these names, in whatever version. Raises UserError."""
    gone = tuple(names)

    def change(delegates: list[str]) -> None:
        for name in gone:
            for place in reversed(_places(delegates, name)):
                del delegates[place]

    return _edited(text, expert, change)


def edit_file(path: Path, change: Callable[[str], str]) -> bool:
    """Give the text of `path` to `change` and write what comes back; whether it is another.

    Raises UserError if the file cannot be read or written, and whatever `change` raises: then nothing is written.
    """
    try:
        before = path.read_bytes()
        text = before.decode()
        mark = BOM if text.startswith(BOM) else ""
        after = (mark + change(text.removeprefix(BOM))).encode()
        if after == before:
            return False
        if path.read_bytes() != before:
            raise UserError(f"{path} was changed by somebody else meanwhile. Try again.")
        replace_file(path, after)
    except OSError as error:
        raise UserError(f"{path} cannot be edited: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from error
    return True


def _places(delegates: Iterable[str], name: str) -> list[int]:
    return [
        place
        for place, spec in enumerate(delegates)
        if spec[:1] + spec[1:].partition("@")[0] == name
    ]


def _edited(text: str, expert: str, change: Callable[[list[str]], None]) -> str:
    """`text` with the delegates of one Expert changed. change: edits a list in place, one item at a time."""
    import tomlkit  # only commands that edit load it
    from tomlkit.exceptions import TOMLKitError

    meant = _parsed(text)
    table = _expert_table(meant, expert)
    before: Any = table.get("delegates", [])
    if not isinstance(before, list) or not all(
        isinstance(spec, str) for spec in cast("list[Any]", before)
    ):
        raise UserError(
            f'The delegates of "{expert}" are no list of texts. Mend the project file first.'
        )
    wanted = cast("list[str]", before.copy())
    change(wanted)
    if wanted == before:
        return text
    fresh = "delegates" not in table
    table["delegates"] = wanted
    try:
        document = tomlkit.parse(text)
        target = _expert_table(document, expert)
        if fresh:
            target["delegates"] = wanted
        else:
            change(target["delegates"])
        after = tomlkit.dumps(document)
    except (TOMLKitError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _by_hand(expert, wanted) from error
    for candidate in (*([_raised(text, after)] if fresh else []), after):
        ended = _with_endings(candidate, text)
        if _reads_as(ended, meant):
            return ended
    raise _by_hand(expert, wanted)


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"The project file is not TOML: {error}. Mend it first.") from error


def _reads_as(text: str, meant: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == deepcopy(meant)
    except (tomllib.TOMLDecodeError, RecursionError):
        return False


def _expert_table(document: Any, expert: str) -> Any:
    try:
        return document["experts"][expert]
    except (KeyError, TypeError):
        experts = document.get("experts")
        keys = cast("dict[str, Any]", experts) if isinstance(experts, dict) else ()
        known = ", ".join(f'"{key}"' for key in keys) or "none"
        raise UserError(f'The project file has no Expert "{expert}". It has: {known}.') from None


def _raised(before: str, after: str) -> str:
    """`after`, with the line it has more than `before` directly below the last key of its table.

    Comments and empty lines above the next table stay with that table.
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    at = next((n for n, line in enumerate(new) if n >= len(old) or old[n] != line), len(new))
    if at == len(new) or not new[at].lstrip().startswith("delegates"):
        return after
    place = at
    while place and (not old[place - 1].strip() or old[place - 1].lstrip().startswith("#")):
        place -= 1
    above = old[place - 1] if place else ""
    start = "" if above.endswith("\n") or not above else "\n"
    line = new[at] if new[at].endswith("\n") else f"{new[at]}\n"
    return "".join((*old[:place], start, line, *old[place:]))


def _with_endings(text: str, like: str) -> str:
    """`text` with lines that end as all those of `like` do."""
    if "\r\n" in like and like.count("\n") == like.count("\r\n"):
        return text.replace("\r\n", "\n").replace("\n", "\r\n")
    return text


def _by_hand(expert: str, delegates: list[str]) -> UserError:
    line = ", ".join(f'"{spec}"' for spec in delegates)
    return UserError(
        f'The delegates of "{expert}" are written in a way that cannot be edited without changing more. '
        f"Change them by hand to: delegates = [{line}]"
    )
