"""What the servers of locked Experts offer now, for who compares it with the lock.

Servers are started inside of the same walls as by `perstack install`, and no others than a run would start: an
Expert of the project, or one that comes with Perstack, counts only if it is still as the lock has it, and a
published one only once its document was held against the lock.
"""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from perstack.definition import RuntimeName
from perstack.engine import is_served
from perstack.lock import Lock, Pin, check_rules

from ..project import Flags, settle
from .access import Access
from .finding import open_finder
from .install import Installation, tools_of
from .locked import LockedProject
from .locking import at_home, check_runtime


def redefined(project: LockedProject) -> tuple[str, ...]:
    """The keys in the lock that mean something else to a run: the project, or Perstack, defines them otherwise."""
    return tuple(
        key
        for key, pin in project.file.lock.experts.items()
        if (home := _home(key, project)) is not None and home.integrity != pin.integrity
    )


async def offered(
    access: Access, project: LockedProject, runtime: RuntimeName | None, read: tuple[Path, ...]
) -> dict[str, Pin]:
    """By key, the pins of those Experts that have servers, with the tools these offer now.

    runtime, read: as for a run. Raises as `Finder.find` and `tools_of` do, and what `check_rules` raises.
    """
    experts, other = project.file.lock.experts, redefined(project)
    served = [key for key, pin in experts.items() if _has_servers(pin) and key not in other]
    own = [key for key in served if _home(key, project) is not None]
    away = [key for key in served if key not in own and experts[key].origin is not None]
    async with open_finder(project.loaded, project.file, access.env, access.sources) as finder:
        await finder.find(away)
    # without what is locked of their tools, so that their servers are asked
    bare = {key: replace(pin, tools={}, tools_integrity="") for key, pin in experts.items()}
    asked = {key: bare[key] for key in (*own, *away)}
    check_runtime(Lock(experts=asked))
    check_rules(Lock(experts=asked))
    installation = Installation(
        loaded=project.loaded,
        lock=replace(project.file.lock, experts=bare),
        before=project.file,
        env=access.env,
        workspace=access.cwd,
        settings=settle(project.loaded.project, Flags(runtime=runtime)),
        read=read,
    )
    return await tools_of(installation, asked)


def _home(key: str, project: LockedProject) -> Pin | None:
    return at_home(key, project.loaded, project.file)


def _has_servers(pin: Pin) -> bool:
    return any(is_served(pin.expert, name) for name in pin.expert.skills)
