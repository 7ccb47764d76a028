"""What an Expert may touch, for people: its own and its delegates' reach, told kind by kind.

The names are those of `perstack.lock`'s `Reach`; here they only get headings, an order, and who asks for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from perstack.definition import BASE_SKILL
from perstack.lock import GrantKind, Reach, reach_of
from perstack.registry import expert_of

ANY = "*"


class Grant(NamedTuple):
    """One thing that may be touched. to: who gets it; note: what else there is to know; askers: keys."""

    what: str
    to: str
    note: str
    grave: bool
    askers: tuple[str, ...]


class Group(NamedTuple):
    """Grants of one kind. heading: what they are; none: what is said where there are none."""

    id: str
    heading: str
    none: str
    grants: tuple[Grant, ...]


class Touch(NamedTuple):
    """The box on an Expert's page. executes: whether programs may be run; askers: by whom, if not by itself.

    more: there are Experts below that were not looked into.
    """

    groups: tuple[Group, ...]
    executes: bool
    askers: tuple[str, ...]
    more: bool

    @property
    def shown(self) -> tuple[Group, ...]:
        return tuple(group for group in self.groups if group.grants)

    @property
    def absent(self) -> tuple[str, ...]:
        return tuple(group.none for group in self.groups if group.none and not group.grants)


_GROUPS: tuple[tuple[str, str, str, tuple[GrantKind, ...]], ...] = (
    ("variables", "Reads from your environment", "no environment variable", ("variable",)),
    ("network", "Reaches on the network", "no network", ("domain", "endpoint")),
    ("code", "Runs code of", "no package", ("package", "command")),
    ("tools", "Uses tools", "", ("tool", "providerTool")),
    ("questions", "May ask you", "", ("question",)),
)


def touch_of(documents: Mapping[str, bytes], root: str, *, more: bool = False) -> Touch:
    """What the Expert `root` and those below it may touch. documents: by key.

    more: there are Experts below that are not among them.
    """
    reaches = {key: _reach(document) for key, document in documents.items()}
    running = tuple(key for key, reach in reaches.items() if reach.executes)
    return Touch(
        groups=tuple(
            Group(id, heading, none, tuple(_grants(reaches, kinds, root)))
            for id, heading, none, kinds in _GROUPS
        ),
        executes=bool(running),
        askers=() if root in running else running,
        more=more,
    )


@lru_cache(maxsize=2048)
def _reach(document: bytes) -> Reach:
    return reach_of(expert_of(document))


def _grants(reaches: Mapping[str, Reach], kinds: Iterable[GrantKind], root: str) -> Iterable[Grant]:
    for kind in kinds:
        asked: dict[tuple[str, str, str, bool], list[str]] = {}
        for key, reach in reaches.items():
            for grant in reach.of(kind):
                note, grave = _note(kind, grant.what, grant.to, grant.pin, grant.without)
                asked.setdefault((grant.what, grant.to, note, grave), []).append(key)
        for (what, to, note, grave), keys in sorted(asked.items()):
            shown = "any host" if kind == "domain" and what == ANY else what
            shown = "all tools" if kind == "tool" and what == ANY else shown
            yield Grant(shown, to, note, grave, () if root in keys else tuple(keys))


def _note(
    kind: GrantKind, what: str, to: str, pin: str, without: tuple[str, ...]
) -> tuple[str, bool]:
    """What else there is to know of a grant, and whether one should look twice."""
    match kind:
        case "package":
            return (f"version {pin}", False) if pin else ("whatever version is newest", True)
        case "command":
            return "a command line of its author's", True
        case "domain":
            return "", what == ANY
        case "tool" if what == ANY:
            runs = to == BASE_SKILL and "exec" not in without
            but = f"all but {', '.join(without)}" if without else ""
            return but, runs
        case "tool":
            return "", to == BASE_SKILL and what == "exec"
        case _:
            return "", False
