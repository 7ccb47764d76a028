"""What of an Expert starts programs: local servers and `exec`, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from perstack.definition import BASE_SKILL, StdioSkill
from perstack.lock import Lock
from perstack.skills import is_bundled


class Need(NamedTuple):
    """A skill that starts programs. serves: as a server; else by `exec`. named: the author asked for that."""

    expert: str
    name: str
    skill: StdioSkill
    serves: bool
    named: bool


def needs_of(lock: Lock, roots: Iterable[str]) -> tuple[Need, ...]:
    """What of `roots` and their delegates starts programs."""
    found: list[Need] = []
    todo, seen = list(roots), set[str]()
    while todo:
        key = lock.key_of(todo.pop(0))
        if key in seen:
            continue
        seen.add(key)
        expert = lock.expert(key)
        todo += expert.delegates
        for name, skill in expert.skills.items():
            if not isinstance(skill, StdioSkill):
                continue
            if not (name == BASE_SKILL and is_bundled(skill)):
                found.append(Need(key, name, skill, serves=True, named=True))
            elif "exec" not in skill.omit and (not skill.pick or "exec" in skill.pick):
                named = "exec" in skill.pick
                found.append(Need(key, name, skill, serves=False, named=named))
    return tuple(found)


def unwalled(needs: tuple[Need, ...]) -> tuple[str, ...]:
    """What is to be said where there are no walls."""
    servers = sorted({need.name for need in needs if need.serves})
    what = (["`exec`"] if any(not need.serves for need in needs) else []) + [
        f'"{name}"' for name in servers
    ]
    if not what:
        return ()
    runs = "runs" if len(what) == 1 else "run"
    return (f"Runtime local: {', '.join(what)} {runs} with your rights, without walls.",)
