"""Bring the lock of a project in line with its perstack.toml.

Three steps, each of which the caller may tell about: `resolve_all` reads the Definitions, `collect` asks all their
skills for their tools, side by side, `write_lock` puts the file in its place, if anything changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio
import msgspec
from msgspec.structs import replace

from perstack._version import version
from perstack.definition import RuntimeName
from perstack.engine import Equipment, open_equipment, tools_in
from perstack.errors import (
    DefinitionError,
    LockError,
    LockOutOfDate,
    PerstackError,
    UserError,
    WorldError,
)
from perstack.job import Job, Notice
from perstack.lock import LOCK_FORMAT, Lock, LockFile, Pin, encode_lock, manifest_of, with_tools

from ..atomic import replace_file
from ..project import Flags, LoadedProject, Settings, load_env, need_project, settle
from ..walls.build import open_walls
from ..walls.needs import needs_of
from .locking import check_covered, lock_of, lock_path, read_lock, salvaged_lock, tools_kept
from .sources import Sources


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be locked. lock: without tools. before: the lock file there is. env: for the skills.
    read: what their servers may read besides the workspace.

    warnings: what the user should look at, one sentence each.
    """

    loaded: LoadedProject
    lock: Lock
    before: LockFile | None
    env: dict[str, str]
    workspace: Path
    settings: Settings
    read: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return lock_path(self.loaded)


async def resolve_all(
    config: str | None,
    env_paths: tuple[str, ...],
    env: Mapping[str, str],
    cwd: Path,
    *,
    frozen: bool = False,
    runtime: RuntimeName | None = None,
    read: tuple[Path, ...] = (),
    sources: Sources | None = None,
) -> Installation:
    """All Experts of the project file and all they delegate to.

    config: path of a perstack.toml, None to look for it from `cwd` upwards. frozen: a lock that cannot be read is
    an error, else it is only a warning, since it will be made anew from what still counts of it; and what it lacks
    is not looked for. runtime, read, sources: as for a run. Raises DefinitionError with the faults of all Experts,
    and what `lock_of` raises.
    """
    loaded = need_project(config, cwd, env)
    if faults := loaded.parsed.faults:
        raise DefinitionError(loaded.parsed.source, faults)
    settings = settle(loaded.project, Flags(env_paths=env_paths, runtime=runtime))
    warnings = [str(warning) for warning in loaded.parsed.warnings]
    try:
        before = read_lock(loaded)
    except LockError as error:
        if frozen:
            raise
        before = salvaged_lock(loaded)
        warnings.append(
            f"{error} What it pins is kept where that is whole." if before else str(error)
        )
    if frozen:
        check_covered(loaded.project.experts, loaded, before or LockFile(lock=Lock()))
    variables = load_env(settings.env_paths, env, cwd, required=settings.env_required)
    roots = loaded.project.experts
    found = await lock_of(roots, loaded, before, env=variables, sources=sources)
    return Installation(
        loaded=loaded,
        lock=found.lock,
        before=before,
        env=variables,
        workspace=cwd,
        settings=settings,
        read=read,
        warnings=(*warnings, *found.warnings),
    )


async def collect(installation: Installation) -> Lock:
    """The lock with all tools the Experts may use, as their skills offer them now.

    Raises as `tools_of` does.
    """
    lock = installation.lock
    return replace(lock, experts=await tools_of(installation, lock.experts))


async def tools_of(installation: Installation, keys: Iterable[str]) -> dict[str, Pin]:
    """By key, the pins of these Experts of the lock with the tools that their skills offer now.

    Raises UserError for what a Definition or the environment lacks, WorldError for servers that do not answer; all
    of them, if there are several.
    """
    lock, wanted = installation.lock, tuple(keys)
    pins: dict[str, Pin] = {}
    errors: dict[str, PerstackError] = {}

    async def ask(key: str, pin: Pin, equipment: Equipment) -> None:
        try:
            box = await equipment.toolbox(key)
        except PerstackError as error:
            errors[str(error)] = error  # Experts that share a server fail alike
        else:
            pins[key] = with_tools(pin, tools_in(box, pin.expert))

    job = Job(lock=lock, workspace=str(installation.workspace), version=version())
    needs = tuple(need for need in needs_of(lock, wanted) if need.serves and need.expert in wanted)
    settings, env, read = installation.settings, installation.env, installation.read
    async with (
        open_walls(settings, needs, installation.workspace, env, read) as walls,
        open_equipment(job, env, _unheard, walls=walls) as equipment,
        anyio.create_task_group() as tasks,
    ):
        for key in wanted:
            tasks.start_soon(ask, key, lock.experts[key], equipment)
    if len(errors) == 1:
        raise next(iter(errors.values()))
    if errors:
        kind = UserError if all(isinstance(e, UserError) for e in errors.values()) else WorldError
        raise kind("\n".join(sorted(errors)))
    return {key: pins[key] for key in wanted}


def _unheard(_: Notice) -> None:
    """What servers say while they start is told if one fails, by the error."""


def keep_tools(installation: Installation) -> Lock:
    """The lock with the tools that are pinned already, for the Experts that are as they were."""
    lock, before = installation.lock, installation.before
    known = before.lock.experts if before is not None and before.format == LOCK_FORMAT else {}
    return replace(
        lock,
        experts={key: tools_kept(pin, known.get(key)) for key, pin in lock.experts.items()},
    )


def write_lock(installation: Installation, lock: Lock, *, at: float, frozen: bool = False) -> bool:
    """Write the lock file, unless it says the same already; whether it was written.

    at: the time, seconds since 1970. frozen: raise LockOutOfDate instead of writing. Raises UserError if it cannot
    be written; the file there was is whole then.
    """
    loaded, path = installation.loaded, installation.path
    file = LockFile(
        lock=lock,
        config=loaded.path.name,
        generated_at=round(at * 1000),
        manifest=manifest_of(loaded.project),
    )
    if installation.before is not None and file.says_the_same_as(installation.before):
        return False
    if frozen:
        raise LockOutOfDate(
            f"{path} {'is out of date' if path.exists() else 'is missing'}, and --frozen forbids to write it: "
            f"{_what_differs(installation.before, file)}. Run `perstack install` without --frozen."
        )
    try:
        replace_file(path, encode_lock(file).encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    return True


def _what_differs(before: LockFile | None, after: LockFile) -> str:
    if before is None:
        return "there is no lock that can be read"
    old, new = before.lock.experts, after.lock.experts
    told = [
        *(f'"{key}" is not in it' for key in new if key not in old),
        *(f'"{key}" is no longer needed' for key in old if key not in new),
        *(
            f'"{key}" is defined otherwise now'
            for key in new
            if key in old and new[key].integrity != old[key].integrity
        ),
        *(
            f'the tools of "{key}" are others now'
            for key in new
            if key in old
            and new[key].integrity == old[key].integrity
            and new[key].tools_integrity != old[key].tools_integrity
        ),
    ]
    return "; ".join(told) or "what the delegates stand for is another now"
