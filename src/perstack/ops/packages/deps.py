"""Change what a project depends on: add and remove delegates, update what is locked.

Each verb makes a `Plan`, which says what would change and what that could touch; nothing is written before
`carry_out`. The project file is written first, then the lock: if something happens between the two, the lock is
behind, which every reader of it notices and `perstack install` mends. No skill is started here; tools are locked
by `perstack install`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from perstack._value import Value
from perstack.definition import (
    DelegateSpec,
    Expert,
    parse_delegate,
    parse_project,
    parse_version,
)
from perstack.errors import DefinitionError, UserError
from perstack.lock import (
    LOCK_FORMAT,
    Change,
    Lock,
    LockFile,
    Pin,
    Reach,
    changes,
    reach_of,
    widened,
    widens,
)
from perstack.skills import loopback_allowed

from ..project import Flags, LoadedProject, settle
from .access import Access
from .edit import BOM, edit_file, with_delegates, without_delegates
from .install import Installation, keep_tools, write_lock
from .locking import Locked, lock_of, read_lock

Style = Literal["^", "~", ""]
"""What stands before the version that is written: from this one up, only its patches, exactly this one."""


Rewritten = dict[str, dict[str, str | None]]
"""By key of an Expert and name of a delegate: how that is written now, None for removed."""


class Move(Value, frozen=True):
    """An Expert that comes, goes, or changes its version.

    before, after: keys, None if it was not, or is not, there. changes: how what it may touch differs; of one that
    comes: all it may touch.
    """

    name: str
    before: str | None = None
    after: str | None = None
    changes: tuple[Change, ...] = ()

    @property
    def widens(self) -> bool:
        return widens(self.changes)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be done.

    original, text: of the project file, now and then. delegates: by Expert, what would be written there by name,
    None for what is removed. moves: of published Experts, by name. warnings: for the user, a sentence each.
    """

    access: Access
    original: str
    text: str
    installation: Installation
    moves: tuple[Move, ...]
    delegates: Rewritten
    warnings: tuple[str, ...] = ()

    @property
    def widens(self) -> bool:
        return any(move.widens for move in self.moves)


async def plan_add(
    access: Access,
    specs: Iterable[str],
    expert: str | None = None,
    *,
    style: Style = "^",
    tag: str | None = None,
) -> Plan:
    """Let `expert` delegate to what `specs` select, besides or in other versions than it does.

    A spec with a range or a version is written as it is; else the version it selects at present is, behind
    `style`. tag: what a name alone stands for, None for `latest`. Raises whatever resolving raises, UserError.
    """
    loaded, target = access.project, need_expert(access.project, expert)
    known = usable_lock(loaded)
    wanted = [_wanted(spec, tag) for spec in specs]
    away = [spec for spec in wanted if loaded.project.local(spec.text) is None]
    found = await locked_for(
        [spec.text for spec in away], access, loaded, without_names(known, (s.name for s in away))
    )
    pins: dict[str, Pin] = {}
    for spec in away:
        pin = found.lock.experts[found.lock.key_of(spec.text)]
        pins[_written(spec, pin.expert.version, style)] = pin
    written = [*pins, *(spec.text for spec in wanted if spec not in away)]
    for spec in written:
        if parse_delegate(spec).name == target.name:
            raise UserError(f'"{target.key}" would delegate to itself.')
    text = with_delegates(project_text(loaded), target.key, written)
    return await plan_of(
        access,
        text,
        with_pins(known, pins),
        {target.key: {parse_delegate(spec).name: spec for spec in written}},
        found.warnings,
    )


async def plan_remove(access: Access, names: Iterable[str], expert: str | None = None) -> Plan:
    """Let `expert`, or the only one that does, no longer delegate to `names`. Raises UserError."""
    loaded = access.project
    text, removed = project_text(loaded), Rewritten()
    for given in names:
        name = parse_delegate(given).name
        users = [
            each.key
            for each in loaded.project.experts.values()
            if name in map(name_of, each.delegates) and expert in (None, each.key)
        ]
        if not users:
            who = f'"{expert}"' if expert else "No Expert of the project"
            raise UserError(f"{who} {'does not delegate' if expert else 'delegates'} to {name}.")
        if len(users) > 1:
            raise UserError(
                f"{', '.join(users)} delegate to {name}. Say with --expert whose it is."
            )
        text = without_delegates(text, users[0], [name])
        removed.setdefault(users[0], {})[name] = None
    return await plan_of(access, text, usable_lock(loaded), removed)


def carry_out(plan: Plan, *, at: float) -> bool:
    """Write the project file and the lock; whether there was anything to write. at: seconds since 1970.

    Raises UserError, if the project file is not what it was when the plan was made, or cannot be written.
    """
    loaded = plan.installation.loaded

    def change(text: str) -> str:
        if text != plan.original:
            raise UserError(f"{loaded.path} was changed by somebody else meanwhile. Try again.")
        return plan.text

    edited = edit_file(loaded.path, change)
    written = write_lock(plan.installation, keep_tools(plan.installation), at=at)
    return edited or written


def need_expert(loaded: LoadedProject, key: str | None) -> Expert:
    """The Expert of the project to change; the only one if none is named. Raises UserError."""
    experts = loaded.project.experts
    if key is not None:
        return loaded.expert(key)
    if not experts:
        raise UserError(f"{loaded.parsed.source} has no Experts yet.")
    if len(experts) > 1:
        raise UserError(f"Say with --expert which one is meant: {', '.join(experts)}.")
    return next(iter(experts.values()))


def moves_of(before: Lock, after: Lock) -> tuple[Move, ...]:
    """The published Experts that are others, or in other versions, in `after`."""
    old, new = published_in(before), published_in(after)
    moves: list[Move] = []
    for name in sorted(old.keys() | new.keys()):
        there, here = old.get(name, {}), new.get(name, {})
        gone = [there[key] for key in there if key not in here or here[key] != there[key]]
        come = [here[key] for key in here if key not in there or here[key] != there[key]]
        for place in range(max(len(gone), len(come))):
            was = gone[place] if place < len(gone) else None
            now = come[place] if place < len(come) else None
            moves.append(_move(name, was, now))
    return tuple(moves)


def _move(name: str, was: Expert | None, now: Expert | None) -> Move:
    found: tuple[Change, ...] = ()
    if now is not None:
        found = changes(was, now) if was else widened(Reach(), reach_of(now))
    return Move(
        name=name, before=was.key if was else None, after=now.key if now else None, changes=found
    )


def published_in(lock: Lock) -> dict[str, dict[str, Expert]]:
    """By name and key, in the order of versions."""
    found: dict[str, list[Expert]] = {}
    for pin in lock.experts.values():
        if pin.origin is not None:
            found.setdefault(pin.expert.name, []).append(pin.expert)
    return {
        name: {each.key: each for each in sorted(experts, key=lambda e: parse_version(e.version))}
        for name, experts in found.items()
    }


# Planning --------------------------------------------------------------------------------------------------


async def plan_of(
    access: Access,
    text: str,
    known: LockFile | None,
    delegates: Rewritten,
    warned: Iterable[str] = (),
) -> Plan:
    """What follows from a new text of the project file, with as much of `known` as still counts.

    warned: what there was to say when that was chosen.
    """
    loaded = _reread(access, text)
    found = await lock_of(
        loaded.project.experts, loaded, known, env=access.env, sources=access.sources
    )
    warnings = tuple(dict.fromkeys((*warned, *found.warnings)))
    before = usable_lock(access.project)
    installation = Installation(
        loaded=loaded,
        lock=found.lock,
        before=before,
        env=access.env,
        workspace=access.cwd,
        settings=settle(loaded.project, Flags()),
        warnings=warnings,
    )
    return Plan(
        access=access,
        original=project_text(access.project),
        text=text,
        installation=installation,
        moves=moves_of(before.lock if before else Lock(), found.lock),
        delegates=delegates,
        warnings=warnings,
    )


async def locked_for(
    specs: list[str], access: Access, loaded: LoadedProject, known: LockFile | None
) -> Locked:
    return await lock_of(specs, loaded, known, env=access.env, sources=access.sources)


def _reread(access: Access, text: str) -> LoadedProject:
    """The project as `text` has it. Raises DefinitionError."""
    loaded = access.project
    parsed = parse_project(text, loaded.parsed.source, allow_loopback=loopback_allowed(access.env))
    if parsed.faults:
        raise DefinitionError(parsed.source, parsed.faults)
    return LoadedProject(path=loaded.path, parsed=parsed)


def project_text(loaded: LoadedProject) -> str:
    try:
        return loaded.path.read_bytes().decode().removeprefix(BOM)
    except OSError as error:
        raise UserError(f"{loaded.path} cannot be read: {error.strerror}.") from error


def usable_lock(loaded: LoadedProject) -> LockFile | None:
    """The lock there is. Raises LockError for one that cannot be used; the old format pins nothing."""
    file = read_lock(loaded)
    return file if file is not None and file.format == LOCK_FORMAT else None


def without_names(known: LockFile | None, names: Iterable[str]) -> LockFile | None:
    """The lock with all that delegates to `names` left open."""
    if known is None:
        return None
    open_names = set(names)
    kept = {
        spec: key for spec, key in known.lock.resolutions.items() if name_of(spec) not in open_names
    }
    return replace(known, lock=replace(known.lock, resolutions=kept))


def with_pins(known: LockFile | None, pins: Mapping[str, Pin]) -> LockFile:
    """The lock with `pins`, by delegate as written."""
    known = known or LockFile(lock=Lock())
    lock = Lock(
        experts={**known.lock.experts, **{pin.expert.key: pin for pin in pins.values()}},
        resolutions={
            **known.lock.resolutions,
            **{spec: pin.expert.key for spec, pin in pins.items() if spec != pin.expert.key},
        },
    )
    return replace(known, lock=lock)


# Choosing --------------------------------------------------------------------------------------------------


def _wanted(spec: str, tag: str | None) -> DelegateSpec:
    parsed = parse_delegate(spec)
    return (
        parse_delegate(f"{spec}@{tag}") if tag is not None and parsed.kind == "latest" else parsed
    )


def _written(spec: DelegateSpec, version: str, style: Style) -> str:
    """What is written to the project file for a spec that selects `version`."""
    if spec.kind in ("latest", "tag"):
        return f"{spec.name}@{ranged(version, style)}"
    return spec.text


def ranged(version: str, style: Style) -> str:
    """`version` behind `style`; a pre-release stands alone, for a range around one is rarely meant."""
    return (
        version if parse_version(version).is_prerelease else f"{style}{version.partition('+')[0]}"
    )


def name_of(spec: str) -> str:
    return spec[:1] + spec[1:].partition("@")[0]


def short_of(name: str) -> str:
    return name.rpartition("/")[2]
