"""From a project to the Definitions that run: its own, those its lock pins, those that come with Perstack.

The lock lies beside the project file, and nowhere else is looked. What the author changed since it was made wins
over it, with a warning; `frozen` turns every such warning into a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import msgspec
from msgspec.structs import replace

from perstack.definition import (
    BASE_SKILL,
    Expert,
    RemoteSkill,
    StdioSkill,
    parse_version,
)
from perstack.engine import drift, is_served, toolboxes_of, unpinned
from perstack.errors import LockError, LockOutOfDate, UnknownExpert, UserError
from perstack.lock import (
    Lock,
    LockFile,
    Pin,
    decode_lock,
    digest_of,
    document_of,
    resolve,
    resolved,
    with_tools,
)
from perstack.skills import base_tools

from .project import LoadedProject
from .shipped import shipped_project

LOCK_NAME = "perstack.lock"
_INSTALL = "Run `perstack install`."


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """The Definitions of one run, with their pins. warnings: where the lock file is not used, and why."""

    lock: Lock
    warnings: tuple[str, ...] = ()


def lock_path(loaded: LoadedProject) -> Path:
    """Where the lock of a project is, or would be."""
    return loaded.directory / LOCK_NAME


def read_lock(loaded: LoadedProject) -> LockFile | None:
    """The lock of a project, None if there is none. Raises LockError."""
    path = lock_path(loaded)
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise LockError(
            f"{path} is not UTF-8 text. Make it anew with `perstack install`."
        ) from error
    return decode_lock(text, str(path))


def lock_of(
    roots: Iterable[str], loaded: LoadedProject | None, known: LockFile | None = None
) -> Lock:
    """The Definitions that `roots` and all their delegates need, without tools.

    From the project file, else as `known` pins them, else from the shipped set. Raises UnknownExpert,
    DefinitionError.
    """

    def look_up(key: str) -> Expert:
        found = loaded.find(key) if loaded is not None else None
        found = found or _published(key, known) or shipped_project().local(key)
        if found is None:
            raise _unknown(key, loaded)
        return found

    lock = resolved(resolve(roots), look_up)
    toolboxes_of(lock)  # two tools of one name are found here, before anything runs
    return lock


def lock_to_run(expert: str, loaded: LoadedProject | None, *, frozen: bool) -> Locked:
    """What `expert` runs with: its Definitions, and their tools as far as the lock beside the project is true.

    frozen: refuse whatever else would be a warning. Raises LockError and what `lock_of` raises.
    """
    file = read_lock(loaded) if loaded is not None else None
    if file is None or loaded is None:
        if frozen:
            where = lock_path(loaded) if loaded else f"{LOCK_NAME}, since there is no perstack.toml"
            raise LockOutOfDate(f"--frozen needs a lock, and there is no {where}. {_INSTALL}")
        return Locked(lock=lock_of([expert], loaded))
    if loaded.find(expert) is None and file.lock.key_of(expert) not in file.lock.experts:
        if frozen:
            raise LockOutOfDate(
                f'--frozen needs a lock, and {lock_path(loaded)} is not about "{expert}", which is no Expert of '
                f"{loaded.parsed.source}."
            )
        return Locked(
            lock=lock_of([expert], loaded)
        )  # it comes with Perstack; no lock is made for it
    fresh = lock_of([expert], loaded, file)
    pins = {
        key: _with_pins(pin, file.lock.experts.get(key), file) for key, pin in fresh.experts.items()
    }
    lock = replace(fresh, experts=pins)
    warnings = tuple(_warnings(lock, file, lock_path(loaded)))
    if frozen and warnings:
        raise LockOutOfDate(" ".join(warnings))
    if frozen:
        check_frozen(lock)
    return Locked(lock=lock, warnings=warnings)


def check_frozen(lock: Lock) -> None:
    """Raises LockOutOfDate if there is a skill in `lock` whose tools were not pinned."""
    for key, pin in lock.experts.items():
        if names := unpinned(pin):
            skills = ", ".join(f'"{name}"' for name in names)
            raise LockOutOfDate(
                f'--frozen needs a lock with the tools of all skills; those of {skills} of "{key}" are not in it. '
                f"{_INSTALL}"
            )


def tools_kept(pin: Pin, known: Pin | None) -> Pin:
    """`pin` with the tools of `known`, if that is about the same Definition."""
    if known is None or known.integrity != pin.integrity or not known.tools_integrity:
        return pin
    return replace(pin, tools=known.tools, tools_integrity=known.tools_integrity)


def _with_pins(pin: Pin, known: Pin | None, file: LockFile) -> Pin:
    """`pin` with those tools of `known` that a server would be asked for, if it is about the same Definition."""
    if known is None or not _is_same(pin, known, file):
        return pin
    tools = {name: tools for name, tools in known.tools.items() if is_served(pin.expert, name)}
    if not tools:
        return pin
    return with_tools(pin, tools) if known.tools_integrity else replace(pin, tools=tools)


def _is_same(pin: Pin, known: Pin, file: LockFile) -> bool:
    if file.format > 1:
        return pin.integrity == known.integrity
    return _as_reference(pin.expert) == _as_reference(known.expert)


def _as_reference(expert: Expert) -> str:
    """A digest over those members of a Definition that the reference writes into its locks."""
    skills = {
        name: replace(skill, allowed_domains=())
        if isinstance(skill, StdioSkill | RemoteSkill)
        else skill
        for name, skill in expert.skills.items()
    }
    plain = Expert(
        key=expert.key,
        name=expert.name,
        instruction=expert.instruction,
        version=expert.version,
        description=expert.description,
        skills=skills,
        delegates=expert.delegates,
        tags=expert.tags,
    )
    return digest_of(document_of(plain))


def _warnings(lock: Lock, file: LockFile, path: Path) -> Iterable[str]:
    known = file.lock.experts
    missing = [key for key in lock.experts if key not in known]
    changed = [
        key
        for key, pin in lock.experts.items()
        if key in known and not _is_same(pin, known[key], file)
    ]
    if file.format == 1:
        yield f"{path} is in an old format, which pins no Definitions. {_INSTALL}"
    if missing:
        yield f"{path} is out of date: {_listed(missing)} {_is(missing)} not in it. {_INSTALL}"
    if changed:
        yield f"{path} is out of date: {_listed(changed)} {_is(changed)} defined otherwise now. {_INSTALL}"
    if file.format > 1 and any(_base_changed(key, lock, file) for key in lock.experts):
        yield (
            f"{path} is out of date: it has the base skill's tools of another version of Perstack. {_INSTALL}"
        )


def _base_changed(key: str, lock: Lock, file: LockFile) -> bool:
    """Whether this version's base skill has other tools for the Expert than its pin says."""
    pin, known = lock.experts[key], file.lock.experts.get(key)
    if known is None or known.integrity != pin.integrity or BASE_SKILL not in known.tools:
        return False
    return not is_served(pin.expert, BASE_SKILL) and bool(drift(known, BASE_SKILL, base_tools()))


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)


def _is(keys: list[str]) -> str:
    return "is" if len(keys) == 1 else "are"


def _published(key: str, known: LockFile | None) -> Expert | None:
    """The Definition under an exact version that a lock pins for `key`.

    What has no version in its key came from a project file or with Perstack, and is asked for there.
    """
    if known is None or known.format == 1:
        return None
    pin = known.lock.experts.get(known.lock.key_of(key))
    if pin is None:
        return None
    _, at, version = pin.expert.key[1:].rpartition("@")
    try:
        return pin.expert if at and parse_version(version) else None
    except UserError:
        return None


def _unknown(key: str, loaded: LoadedProject | None) -> UnknownExpert:
    """What is said of a key that nobody has, with the names most like it."""
    shipped = tuple(shipped_project().experts)
    own = tuple(loaded.project.experts) if loaded is not None else ()
    where = (
        loaded.parsed.source
        if loaded
        else "the shipped Experts; there is no perstack.toml here or above"
    )
    return UnknownExpert(key, get_close_matches(key, (*own, *shipped)), where)
