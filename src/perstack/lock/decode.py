"""The text of `perstack.lock` → Lock, after all that can be held against it here was held against it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote

import msgspec

from perstack._value import Value
from perstack.definition import Expert
from perstack.errors import LockError, LockTampered

from .document import digest_of, document_of
from .exact import Twofold, exact
from .file import FILE_HASH, LOCK_FORMAT, LockFile, file_hash
from .lock import Lock, Origin, Pin, PinnedTool, tools_digest

CONFLICT = "<<<<<<< "
"""How a line begins with which version control marks that two sides differ."""

_AGAIN = "Make it anew with `perstack install`."
_REVIEW = "Look at what changed it, then make it anew with `perstack install`."


class _Definition(Value, frozen=True):
    skill_name: str
    name: str
    input_schema: dict[str, Any]
    description: str = ""
    title: str = ""
    reads_only: bool = False
    may_repeat: bool = False


class _Entry(Value, frozen=True):
    integrity: str = ""
    registry: str = ""
    resolved: str = ""
    published_at: str = ""
    log_index: int | None = None
    publisher: str = ""
    tools_integrity: str = ""
    tool_definitions: tuple[_Definition, ...] = ()


class Resolution(Value, frozen=True):
    key: str
    registry: str = ""


class _Document(Value, frozen=True):
    version: str
    generated_at: float
    config_path: str
    experts: dict[str, dict[str, Any]]
    lock_format: int = 1
    manifest_hash: str = ""
    resolutions: dict[str, Resolution] = msgspec.field(default_factory=dict[str, Resolution])


def decode_lock(text: str, source: str) -> LockFile:
    """The lock file that `text` is. source: what to call it in messages, usually its path.

    Raises LockTampered if it was changed since it was written, in any place; LockError for what is no lock file,
    has two sides of a merge in it, or is from a newer version.
    """
    raw = _parsed(text, source)
    changed = _changed(raw)
    try:
        file = _read(raw, source)
    except LockTampered:
        raise  # it says more exactly what is another
    except LockError as error:
        if changed:
            raise _tampered(source) from error
        raise
    if changed:
        raise _tampered(source)
    return file


def _read(raw: dict[str, Any], source: str) -> LockFile:
    _check_version(raw, source)
    try:
        document = msgspec.convert(raw, _Document)
        pins = {
            key: pin_of(table, f"experts.{key}", document.lock_format, source)
            for key, table in document.experts.items()
        }
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise LockError(f"{source} cannot be used: {error}. {_AGAIN}") from error
    if document.lock_format > 1:
        for key, pin in pins.items():
            check_key(key, pin, source)
        for spec, resolution in document.resolutions.items():
            check_resolution(spec, resolution, pins, source)
    return LockFile(
        lock=Lock(
            experts=pins,
            resolutions={spec: found.key for spec, found in document.resolutions.items()},
        ),
        config=document.config_path,
        generated_at=int(document.generated_at),
        manifest=document.manifest_hash,
        format=document.lock_format,
    )


def _parsed(text: str, source: str) -> dict[str, Any]:
    """What `text` says as TOML. Raises LockTampered; LockError for one that was half merged.

    Programs alone write lock files: one that is no TOML was changed.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if any(line.startswith(CONFLICT) for line in text.splitlines()):
            raise LockError(
                f"{source} has both sides of a merge in it. Run `perstack install`, which keeps what they agree "
                "on."
            ) from error
        deep = isinstance(error, RecursionError)
        what = "it is nested too deeply" if deep else str(error)
        raise LockTampered(
            f"{source} was changed: it is not TOML any more: {what}. {_REVIEW}"
        ) from error


def _changed(raw: Mapping[str, Any]) -> bool:
    """Whether the file is not as it was written; not, if it does not say how that was."""
    told = raw.get(FILE_HASH)
    try:
        return told is not None and told != file_hash(raw)
    except (ValueError, RecursionError):
        return True


def _tampered(source: str) -> LockTampered:
    return LockTampered(f"{source} was changed: it is not what its {FILE_HASH} says. {_REVIEW}")


def _check_version(raw: Mapping[str, Any], source: str) -> None:
    version, found = raw.get("version"), raw.get("lockFormat", 1)
    if version != "1" or not isinstance(found, int) or isinstance(found, bool) or found < 1:
        told = f"version {version!r}, lockFormat {found!r}"
        raise LockError(f"{source} is no lock file that Perstack knows ({told}). {_AGAIN}")
    if found > LOCK_FORMAT:
        raise LockError(
            f"{source} was written by a newer Perstack (lockFormat {found}; this one reads up to {LOCK_FORMAT}). "
            "Update Perstack, or make the file anew with `perstack install`."
        )


def check_key(key: str, pin: Pin, source: str) -> None:
    """Pass if an Expert stands under its own key. Raises LockTampered."""
    if pin.expert.key != key:
        raise LockTampered(
            f'{source} was changed: what it has under "{key}" calls itself "{pin.expert.key}". {_REVIEW}'
        )


def check_resolution(
    spec: str, resolution: Resolution, pins: Mapping[str, Pin], source: str
) -> None:
    """Pass if a delegate string stands for an Expert that is there, of that registry. Raises LockTampered."""
    pin = pins.get(resolution.key)
    if pin is None:
        raise LockTampered(
            f'{source} was changed: "{spec}" stands for "{resolution.key}", which it does not have. {_REVIEW}'
        )
    registry = pin.origin.registry if pin.origin else ""
    if resolution.registry != registry:
        raise LockTampered(
            f'{source} was changed: "{spec}" is of the registry "{resolution.registry}", and {resolution.key} of '
            f'"{registry}". {_REVIEW}'
        )


def pin_of(table: dict[str, Any], place: str, format: int, source: str) -> Pin:
    """The pin in one table. Raises LockTampered; ValueError for what is no table of an Expert."""
    try:
        table = _exact(table)
    except Twofold as error:
        raise LockTampered(
            f"{source} was changed: a member {error} of {place} and its exact form {error}Json differ. {_REVIEW}"
        ) from error
    entry = msgspec.convert(table, _Entry)
    expert = msgspec.convert(table, Expert)
    tools = _tools(expert, entry)
    if format == 1:
        return Pin(expert=expert, integrity="", tools=tools)
    if not entry.resolved and entry.integrity != digest_of(document_of(expert)):
        raise LockTampered(
            f"{source} was changed: {place} is not what its integrity says. {_REVIEW}"
        )
    if entry.resolved and not _is_where(entry, expert.key):
        raise LockTampered(
            f"{source} was changed: integrity, registry and resolved of {place} do not belong together. {_REVIEW}"
        )
    if (entry.tools_integrity or tools) and entry.tools_integrity != tools_digest(tools):
        raise LockTampered(
            f"{source} was changed: the toolDefinitions of {place} are not what toolsIntegrity says. {_REVIEW}"
        )
    return Pin(
        expert=expert,
        integrity=entry.integrity,
        tools=tools,
        tools_integrity=entry.tools_integrity,
        origin=_origin(entry),
    )


def _exact(table: dict[str, Any]) -> dict[str, Any]:
    """The table of an Expert, and those in it, as they were before they were written as TOML."""
    table = exact(table)
    skills = table.get("skills")
    if isinstance(skills, dict):
        table["skills"] = {
            name: exact(cast("dict[str, Any]", skill)) if isinstance(skill, dict) else skill
            for name, skill in cast("dict[str, Any]", skills).items()
        }
    rows = table.get("toolDefinitions")
    if isinstance(rows, list):
        table["toolDefinitions"] = [
            exact(cast("dict[str, Any]", row)) if isinstance(row, dict) else row
            for row in cast("list[Any]", rows)
        ]
    return table


def _is_where(entry: _Entry, key: str) -> bool:
    """Whether the registry can have the document at this address: by its digest, or by the key of its Expert."""
    kind, _, digits = entry.integrity.partition(":")
    names = (f"/documents/{kind}/{digits}", f"/experts/{key}")
    return entry.resolved.startswith(f"{entry.registry}/") and unquote(entry.resolved).endswith(
        names
    )


def _origin(entry: _Entry) -> Origin | None:
    if not entry.resolved:
        return None
    return Origin(
        registry=entry.registry,
        resolved=entry.resolved,
        published_at=entry.published_at,
        log_index=entry.log_index,
        publisher=entry.publisher,
    )


def _tools(expert: Expert, entry: _Entry) -> dict[str, tuple[PinnedTool, ...]]:
    """The tools by skill name. A skill whose tools were asked for, and that had none, is in it too."""
    asked = bool(entry.tools_integrity or entry.tool_definitions)
    tools: dict[str, list[PinnedTool]] = {name: [] for name in sorted(expert.skills) if asked}
    for row in entry.tool_definitions:
        tools.setdefault(row.skill_name, []).append(
            PinnedTool(
                name=row.name,
                schema=row.input_schema,
                description=row.description,
                title=row.title,
                reads_only=row.reads_only,
                may_repeat=row.may_repeat,
            )
        )
    return {
        skill: tuple(sorted(found, key=lambda tool: tool.name)) for skill, found in tools.items()
    }
