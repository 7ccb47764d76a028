"""Newer versions of what is locked: inside the ranges, beyond them, exactly one, or as few as can be.

Every way ends in the same question, put to `lock_of`: which parts of the lock still count? What does not is chosen
anew. The plans that come of it are carried out in `deps`.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from perstack.definition import (
    DelegateSpec,
    Expert,
    parse_delegate,
    parse_range,
    parse_version,
)
from perstack.errors import LockError, UnknownExpert, UserError
from perstack.lock import Lock, LockFile

from ..project import LoadedProject
from .access import Access
from .deps import (
    Plan,
    Rewritten,
    Style,
    locked_for,
    name_of,
    plan_of,
    project_text,
    published_in,
    ranged,
    usable_lock,
    with_pins,
    without_names,
)
from .edit import with_delegates
from .tree import near_names


async def plan_update(
    access: Access, names: Iterable[str] = (), *, latest: bool = False, precise: str | None = None
) -> Plan:
    """Resolve anew what the lock has, or `names` in it. latest: beyond the ranges of the project's own delegates.

    precise: this version, of the one name. Raises whatever resolving raises, UserError.
    """
    loaded, chosen = access.project, [parse_delegate(name).name for name in names]
    known = _need_lock(loaded)
    there = {pin.expert.name for pin in known.lock.experts.values() if pin.origin}
    for name in chosen:
        if name not in there:
            raise UnknownExpert(name, near_names(name, sorted(there)), "the lock")
    if precise is not None:
        if len(chosen) != 1:
            raise UserError("--precise is for one Expert, which has to be named.")
        pinned, warned = await _precisely(access, known, chosen[0], precise)
        return await plan_of(access, project_text(loaded), pinned, {}, warned)
    names = chosen or there
    text, rewritten = project_text(loaded), Rewritten()
    if latest:
        text, rewritten = await _at_latest(access, known, names)
    return await plan_of(access, text, without_names(known, names), rewritten)


async def plan_dedupe(access: Access) -> Plan:
    """Have as few versions of each Expert as the delegates allow, of those the lock has. Nothing new is chosen."""
    loaded = access.project
    known = _need_lock(loaded)
    resolutions = {**known.lock.resolutions, **_fewest(known.lock)}
    lock = replace(known.lock, resolutions=resolutions)
    return await plan_of(access, project_text(loaded), replace(known, lock=lock), {})


# Choosing --------------------------------------------------------------------------------------------------


def _need_lock(loaded: LoadedProject) -> LockFile:
    known = usable_lock(loaded)
    if known is None:
        raise LockError("There is nothing locked to update. Run `perstack install`.")
    return known


async def _at_latest(
    access: Access, known: LockFile, names: Iterable[str]
) -> tuple[str, Rewritten]:
    """The project file with its own delegates among `names` at their latest versions."""
    loaded, among = access.project, set(names)
    text, rewritten = project_text(loaded), Rewritten()
    own = {
        spec: parse_delegate(spec)
        for expert in loaded.project.experts.values()
        for spec in expert.delegates
        if loaded.project.local(spec) is None and name_of(spec) in among
    }
    pinned = {
        spec: each for spec, each in own.items() if each.kind in ("version", "range", "number")
    }
    newest = sorted({each.name for each in pinned.values()})
    found = (await locked_for(newest, access, loaded, without_names(known, newest))).lock
    for expert in loaded.project.experts.values():
        for spec in expert.delegates:
            if (each := pinned.get(spec)) is None:
                continue
            version = found.experts[found.key_of(each.name)].expert.version
            locked = known.lock.experts.get(known.lock.key_of(spec))
            if locked is not None and parse_version(locked.expert.version) >= parse_version(
                version
            ):
                continue
            new = f"{each.name}@{ranged(version, _style(each))}"
            text = with_delegates(text, expert.key, [new])
            rewritten.setdefault(expert.key, {})[each.name] = new
    return text, rewritten


def _style(spec: DelegateSpec) -> Style:
    """How its author likes ranges."""
    if spec.kind == "version":
        return ""
    return "~" if (spec.selector or "").startswith("~") else "^"


async def _precisely(
    access: Access, known: LockFile, name: str, version: str
) -> tuple[LockFile, tuple[str, ...]]:
    """The lock with `name` in this version wherever a delegate may mean it; and what there is to say of that."""
    wanted = parse_version(version)
    key = f"{name}@{version}"
    found = await locked_for([key], access, access.project, known)
    pin = found.lock.experts[found.lock.key_of(key)]
    specs = [spec for spec in known.lock.resolutions if name_of(spec) == name]
    fitting = [spec for spec in specs if _selects(parse_delegate(spec), pin.expert)]
    if not fitting:
        told = ", ".join(specs) or f"{name} in an exact version"
        raise UserError(f"No delegate can mean {name}@{wanted}: what is asked for is {told}.")
    return with_pins(known, dict.fromkeys(fitting, pin)), found.warnings


def _fewest(lock: Lock) -> dict[str, str]:
    """By range in the lock, the key it gets so that there are few versions: those most ranges can share."""
    found: dict[str, str] = {}
    for name, experts in published_in(lock).items():
        specs = [spec for spec in lock.resolutions if name_of(spec) == name]
        fitting = {
            spec: {key for key, each in experts.items() if _selects(parse_delegate(spec), each)}
            for spec in specs
        }
        left = {spec for spec, keys in fitting.items() if keys}
        # what is named by version or tag stays, so a range had best share that
        chosen = {lock.resolutions[spec] for spec in specs if spec not in left}
        chosen |= {key for key in experts if key in _exactly_named(lock)}
        left -= {spec for spec in left if fitting[spec] & chosen}
        while left:
            best = max(
                reversed(experts), key=lambda key: sum(key in fitting[spec] for spec in left)
            )
            chosen.add(best)
            left -= {spec for spec in left if best in fitting[spec]}
        newest_first = list(reversed(experts))
        for spec, keys in fitting.items():
            if keys:
                found[spec] = next(key for key in newest_first if key in keys & chosen)
    return found


def _exactly_named(lock: Lock) -> set[str]:
    """The keys that somebody delegates to as they are."""
    return {
        spec for pin in lock.experts.values() for spec in pin.expert.delegates
    } & lock.experts.keys()


def _selects(spec: DelegateSpec, expert: Expert) -> bool:
    """Whether a range can mean this version; a tag cannot be told to mean another."""
    if spec.kind not in ("range", "number"):
        return False
    return parse_range(spec.selector or "").selects(parse_version(expert.version))
