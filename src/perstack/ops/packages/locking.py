"""From a project to the Definitions that run: its own, those its lock pins, those that come with Perstack.

The lock lies beside the project file, and nowhere else is looked. What the author changed since it was made wins
over it, with a warning; `frozen` turns every such warning into a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from perstack.definition import (
    BASE_SKILL,
    Expert,
    RemoteSkill,
    StdioSkill,
    parse_delegate,
    runtime_fault,
)
from perstack.engine import drift, is_served, toolboxes_of, unpinned
from perstack.errors import (
    LockError,
    LockOutOfDate,
    LockTampered,
    RegistryError,
    UnknownExpert,
    UserError,
)
from perstack.lock import (
    Lock,
    LockFile,
    Pin,
    check_rules,
    decode_lock,
    digest_of,
    document_of,
    pinned,
    resolve,
    salvaged,
    with_tools,
)
from perstack.skills import base_tools

from ..project import LoadedProject
from ..shipped import shipped_project
from .sources import Sources

if TYPE_CHECKING:
    from .finding import Finder

LOCK_NAME = "perstack.lock"
_INSTALL = "Run `perstack install`."


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """The Definitions of one run, with their pins.

    warnings: where the lock file is not used and why, and what their owners say of published ones.
    """

    lock: Lock
    warnings: tuple[str, ...] = ()


def lock_path(loaded: LoadedProject) -> Path:
    """Where the lock of a project is, or would be."""
    return loaded.directory / LOCK_NAME


def read_lock(loaded: LoadedProject) -> LockFile | None:
    """The lock of a project, None if there is none. Raises LockError; LockTampered if it was changed."""
    path = lock_path(loaded)
    data = _lock_bytes(path)
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise LockTampered(
            f"{path} was changed: it is not UTF-8 text any more. Look at what changed it, then make it anew with "
            "`perstack install`."
        ) from error
    return decode_lock(text, str(path))


def salvaged_lock(loaded: LoadedProject) -> LockFile | None:
    """What still counts of a lock that cannot be used as it is; None if that is nothing. Raises LockError."""
    data = _lock_bytes(lock_path(loaded))
    return None if data is None else salvaged(data.decode(errors="replace"))


def _lock_bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockError(f"{path} cannot be read: {error.strerror}.") from error


async def lock_of(
    roots: Iterable[str],
    loaded: LoadedProject | None,
    known: LockFile | None = None,
    *,
    env: Mapping[str, str],
    sources: Sources | None = None,
) -> Locked:
    """The Definitions that `roots` and all their delegates need, without tools.

    From the project file, else as `known` pins them, else from the shipped set, else from the name's registry.
    env: process and dotenv files together. Nothing is asked of a registry for what is at hand. Raises
    UnknownExpert, DefinitionError, NoVersion, RegistryError, RegistryTampered, LockError.
    """
    walk = resolve(roots)
    needed: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        finder: Finder | None = None
        try:
            specs = next(walk)
            while True:
                pins = {spec: pin for spec in specs if (pin := at_home(spec, loaded, known))}
                if away := [spec for spec in specs if spec not in pins]:
                    for spec in away:
                        _check_spec(spec, loaded)
                    if finder is None:
                        from .finding import open_finder  # most projects need no registry

                        finder = await stack.enter_async_context(
                            open_finder(loaded, known, env, sources or Sources())
                        )
                    try:
                        pins |= await finder.find(away, lambda spec: _chain(spec, needed))
                    except UnknownExpert as error:
                        raise _unknown(error.key, loaded, error.looked_in) from error
                    except RegistryError as error:
                        if error.status or error.reason == "":
                            raise
                        raise _unreached(away, loaded, error) from error
                for spec in specs:
                    for delegate in pins[spec].expert.delegates:
                        needed.setdefault(delegate, spec)
                specs = walk.send(pins)
        except StopIteration as end:
            lock: Lock = end.value
        check_runtime(lock)
        check_rules(lock)
        toolboxes_of(lock)  # two tools of one name are found here, before anything runs
        if finder is None:
            return Locked(lock=lock)
        await finder.prove()
        fresh = {pin.expert.key: pin for pin in finder.fresh.values()}
        proved = {key: fresh.get(key, pin) for key, pin in lock.experts.items()}
        return Locked(
            lock=replace(lock, experts=proved), warnings=tuple(sorted(set(finder.warnings)))
        )


def at_home(spec: str, loaded: LoadedProject | None, known: LockFile | None) -> Pin | None:
    """The pin of what is defined in the project file, or comes with Perstack and was never published."""
    if loaded is not None and (own := loaded.find(spec)) is not None:
        return pinned(own)
    if known is not None and known.format > 1:
        pin = known.lock.experts.get(known.lock.key_of(spec))
        if pin is not None and pin.origin is not None:
            return None
    shipped = shipped_project().local(spec)
    return None if shipped is None else pinned(shipped)


def _chain(spec: str, needed: Mapping[str, str]) -> str:
    """Who needs `spec`, from a root on."""
    chain: list[str] = []
    while (by := needed.get(spec)) is not None and by not in chain:
        chain.append(by)
        spec = by
    return f" (needed by {' → '.join(reversed(chain))})" if chain else ""


def check_runtime(lock: Lock) -> None:
    """Pass if this runtime is new enough for all Experts of `lock`. Raises UserError."""
    for key, pin in lock.experts.items():
        least = pin.expert.min_runtime_version
        if least is not None and (fault := runtime_fault(least)):
            raise UserError(f'"{key}" {fault}')


async def lock_to_run(
    expert: str,
    loaded: LoadedProject | None,
    *,
    frozen: bool,
    env: Mapping[str, str],
    sources: Sources | None = None,
) -> Locked:
    """What `expert` runs with: its Definitions, and their tools as far as the lock beside the project is true.

    frozen: refuse whatever else would be a warning. Raises LockError and what `lock_of` raises.
    """
    file = read_lock(loaded) if loaded is not None else None
    if file is None or loaded is None:
        if frozen:
            where = lock_path(loaded) if loaded else f"{LOCK_NAME}, since there is no perstack.toml"
            raise LockOutOfDate(f"--frozen needs a lock, and there is no {where}. {_INSTALL}")
        return await lock_of([expert], loaded, env=env, sources=sources)
    if loaded.find(expert) is None and file.lock.key_of(expert) not in file.lock.experts:
        if frozen:
            raise LockOutOfDate(
                f'--frozen needs a lock, and {lock_path(loaded)} is not about "{expert}", which is no Expert of '
                f"{loaded.parsed.source}."
            )
        # it comes with Perstack or is published; no lock is made for it
        return await lock_of([expert], loaded, env=env, sources=sources)
    if frozen:
        check_covered([expert], loaded, file)
    found = await lock_of([expert], loaded, file, env=env, sources=sources)
    fresh = found.lock
    pins = {
        key: _with_pins(pin, file.lock.experts.get(key), file) for key, pin in fresh.experts.items()
    }
    lock = replace(fresh, experts=pins)
    stale = tuple(_warnings(lock, file, lock_path(loaded)))
    if frozen and stale:
        raise LockOutOfDate(" ".join(stale))
    if frozen:
        check_frozen(lock)
    return Locked(lock=lock, warnings=(*stale, *found.warnings))


def check_covered(roots: Iterable[str], loaded: LoadedProject, file: LockFile) -> None:
    """Pass if the lock has all that `roots` need from elsewhere, so that no registry has to be asked."""
    todo, seen = list(roots), set[str]()
    while todo:
        if (spec := todo.pop()) in seen:
            continue
        seen.add(spec)
        pin = at_home(spec, loaded, file) or file.lock.experts.get(file.lock.key_of(spec))
        if pin is None:
            raise LockOutOfDate(
                f'--frozen needs a lock with all that runs; "{spec}" is not in {lock_path(loaded)}. {_INSTALL}'
            )
        todo += pin.expert.delegates


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


def _is(keys: Sequence[str]) -> str:
    return "is" if len(keys) == 1 else "are"


def _check_spec(spec: str, loaded: LoadedProject | None) -> None:
    """Pass if a registry can be asked for `spec`."""
    try:
        parse_delegate(spec)
    except UserError as error:
        raise _unknown(spec, loaded) from error


def _unknown(key: str, loaded: LoadedProject | None, elsewhere: str = "") -> UnknownExpert:
    """What is said of a key that nobody has, with the names most like it. elsewhere: where else was looked."""
    where = f"{_here(loaded)}{f', nor in {elsewhere}' if elsewhere else ''}"
    return UnknownExpert(key, get_close_matches(key, _names(loaded)), where)


def _unreached(
    specs: Iterable[str], loaded: LoadedProject | None, error: RegistryError
) -> RegistryError:
    """What is said if a registry had to be asked and does not answer: first, that perhaps it need not be."""
    names, specs = _names(loaded), tuple(specs)
    close = {near for spec in specs for near in get_close_matches(spec, names, n=1)}
    told = f"{_listed(specs)} {_is(specs)} not found in {_here(loaded)}."
    if close:
        told += f" Did you mean {_listed(sorted(close))}?"
    elif loaded is not None and loaded.project.experts:
        told += f" It has: {_listed(loaded.project.experts)}."
    told += f" It could be published, but the registry does not answer: {error}"
    return RegistryError(told, status=error.status, reason=error.reason, aborted=error.aborted)


def _here(loaded: LoadedProject | None) -> str:
    if loaded is not None:
        return loaded.parsed.source
    return "the shipped Experts; there is no perstack.toml here or above"


def _names(loaded: LoadedProject | None) -> tuple[str, ...]:
    own = tuple(loaded.project.experts) if loaded is not None else ()
    return (*own, *shipped_project().experts)
