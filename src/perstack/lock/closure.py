"""What a Definition may touch, what a whole tree of delegates may, and how two of these differ.

A Definition is taken at its word and reduced to *grants*: environment variables and who gets them, domains,
packages, endpoints, tools, delegates. What two versions of an Expert may touch is compared grant by grant. A grant
of `before` *covers* one of `after` if it allows as much: all tools cover one, `*.example.com` covers
`a.example.com`, a package without a version covers the same package with one. What is not covered is a widening,
told as such whatever else the new version gave up; covering is transitive, so harmless steps never add up to a
harmful one.

A skill without `allowedDomains` may reach any domain: that is so wherever no sandbox stands around it.

Nothing here knows what a server really does: a new version of a package is new code, and only told as a change.
"""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from perstack._value import Value
from perstack.definition import (
    BASE_SKILL,
    PACKAGE,
    Expert,
    InteractiveSkill,
    RemoteSkill,
    Skill,
    StdioSkill,
    parse_delegate,
)

from .document import canonical_json
from .lock import Lock

Kind = Literal[
    "variable",
    "domain",
    "package",
    "command",
    "endpoint",
    "tool",
    "question",
    "providerTool",
    "delegate",
]
Effect = Literal["widen", "narrow", "neutral"]

ANY = "*"
"""All tools of a server; any domain."""

EXEC = "exec"
"""The tool of the base skill that runs programs."""

PERSON = "you"
"""Whom interactive tools ask."""

_LAUNCHERS = ("npx", "uvx")


class Grant(Value, frozen=True):
    """One thing that may be touched.

    what: name of the variable, domain, package without version, command line, URL, tool or delegate. to: who gets
    it, which is the server of a skill, by what it runs and not by what its author calls it. pin: version of a
    package. without: tools that `*` leaves out.
    """

    kind: Kind
    what: str
    to: str = ""
    pin: str = ""
    without: tuple[str, ...] = ()

    def covers(self, other: Grant) -> bool:
        """Whether it allows all that `other` allows."""
        if (self.kind, self.to) != (other.kind, other.to):
            return False
        match self.kind:
            case "tool":
                return _covers_tools(self, other)
            case "domain":
                return _covers_domain(self.what, other.what)
            case "package":
                return self.what == other.what and (not self.pin or bool(other.pin))
            case _:
                return self.what == other.what

    def __str__(self) -> str:
        return _told(self)


class Reach(Value, frozen=True):
    """All that may be touched: grants in a fixed order, each once."""

    grants: tuple[Grant, ...] = ()

    def of(self, kind: Kind) -> tuple[Grant, ...]:
        return tuple(grant for grant in self.grants if grant.kind == kind)

    def names(self, kind: Kind) -> tuple[str, ...]:
        """What is touched of one kind, whoever gets it, in order."""
        return tuple(sorted({grant.what for grant in self.of(kind)}))

    @property
    def executes(self) -> bool:
        """Whether programs may be run, by `exec` or as a server of the author's choosing."""
        run = Grant(kind="tool", what=EXEC, to=BASE_SKILL)
        return bool(self.of("command")) or self.covers(run)

    def covers(self, grant: Grant) -> bool:
        return any(own.covers(grant) for own in self.grants)


class Change(Value, frozen=True):
    """One difference. text: in words, such as "may read TOKEN, given to npx @acme/search"."""

    effect: Effect
    text: str
    kind: str = ""
    what: str = ""
    to: str = ""


def reach_of(expert: Expert) -> Reach:
    """What one Definition may touch, its delegates only by name."""
    grants: list[Grant] = []
    for name, skill in expert.skills.items():
        grants += _skill_grants(name, skill)
    grants += (Grant(kind="providerTool", what=tool) for tool in expert.provider_tools)
    grants += (Grant(kind="delegate", what=parse_delegate(each).name) for each in expert.delegates)
    return _reach(grants)


def closure_of(lock: Lock, *roots: str) -> Reach:
    """What the Experts `roots` and all they delegate to may touch. roots: keys or specs; none: all of the lock.

    A delegate that the lock does not have counts by its name alone.
    """
    todo, seen = deque(roots or lock.experts), set[str]()
    grants: list[Grant] = []
    while todo:
        key = lock.key_of(todo.popleft())
        if key in seen or key not in lock.experts:
            continue
        seen.add(key)
        expert = lock.experts[key].expert
        grants += reach_of(expert).grants
        todo.extend(expert.delegates)
    return _reach(grants)


def widened(before: Reach, after: Reach) -> tuple[Change, ...]:
    """How `after` differs from `before`: what it may besides, what it no longer may, what only changed."""
    gained = [grant for grant in after.grants if not before.covers(grant)]
    lost = [grant for grant in before.grants if not after.covers(grant)]
    return (
        *(_change("widen", grant) for grant in gained),
        *(_change("narrow", grant) for grant in lost),
        *_repinned(before, after),
    )


def changes(before: Expert, after: Expert) -> tuple[Change, ...]:
    """As `widened`, of two Definitions, with what else an author changed: neutral, and worth a look.

    Their keys and versions do not count.
    """
    return (*widened(reach_of(before), reach_of(after)), *_wording(before, after))


def widens(found: Iterable[Change]) -> bool:
    return any(change.effect == "widen" for change in found)


# Grants ----------------------------------------------------------------------------------------------------


def _reach(grants: Iterable[Grant]) -> Reach:
    def order(grant: Grant) -> tuple[str, ...]:
        return (grant.kind, grant.what, grant.to, grant.pin, *grant.without)

    return Reach(
        grants=tuple({order(grant): grant for grant in sorted(grants, key=order)}.values())
    )


def _skill_grants(name: str, skill: Skill) -> Iterator[Grant]:
    match skill:
        case InteractiveSkill(tools=tools):
            yield from (Grant(kind="question", what=tool, to=PERSON) for tool in tools)
        case RemoteSkill():
            server = skill.endpoint
            yield Grant(kind="endpoint", what=server)
            for value in skill.headers_env.values():
                yield Grant(kind="variable", what=value.rpartition(" ")[2], to=server)
            yield from (
                Grant(kind="domain", what=each, to=server) for each in skill.allowed_domains
            )
            yield from _tools(skill, server)
        case StdioSkill():
            runs = _runs(name, skill)
            server = f"{skill.command} {runs.what}" if runs.kind == "package" else runs.what
            if name == BASE_SKILL and server == f"npx {BASE_SKILL}" and not runs.pin:
                server, domains = BASE_SKILL, skill.allowed_domains  # in this process
            else:
                yield runs
                domains = skill.allowed_domains or (ANY,)
            yield from (Grant(kind="domain", what=each, to=server) for each in domains)
            yield from (Grant(kind="variable", what=each, to=server) for each in skill.required_env)
            yield from _tools(skill, server)


def _runs(name: str, skill: StdioSkill) -> Grant:
    """The package of a skill, or the command line where it is no plain package."""
    words = [word for word in skill.args if word != "-y"]
    package = skill.package_name or (words[0] if len(words) == 1 else "")
    if skill.command in _LAUNCHERS and PACKAGE.fullmatch(package):
        bare, at, pin = package[1:].partition("@")
        return Grant(
            kind="package", what=package[0] + bare, to=skill.command, pin=pin if at else ""
        )
    argv = (skill.command, *(skill.args or (skill.package_name or name,)))
    return Grant(kind="command", what=shlex.join(argv))


def _tools(skill: StdioSkill | RemoteSkill, server: str) -> Iterator[Grant]:
    if skill.pick:
        for tool in skill.pick:
            if tool not in skill.omit:
                yield Grant(kind="tool", what=tool, to=server)
    else:
        yield Grant(kind="tool", what=ANY, to=server, without=tuple(sorted(set(skill.omit))))


# Covering --------------------------------------------------------------------------------------------------


def _covers_tools(one: Grant, other: Grant) -> bool:
    if one.what != ANY:
        return one.what == other.what
    if other.what == ANY:
        return set(one.without) <= set(other.without)
    return other.what not in one.without


def _covers_domain(one: str, other: str) -> bool:
    one, other = one.lower(), other.lower()
    if one in (ANY, other):
        return True
    return one.startswith("*.") and other.endswith(one[1:])


# Words -----------------------------------------------------------------------------------------------------


def _change(effect: Effect, grant: Grant) -> Change:
    says = "" if effect == "widen" else "no longer "
    return Change(
        effect=effect, text=f"{says}{grant}", kind=grant.kind, what=grant.what, to=grant.to
    )


def _told(grant: Grant) -> str:
    match grant.kind:
        case "variable":
            return f"may read {grant.what}, given to {grant.to}"
        case "domain":
            where = "any domain" if grant.what == ANY else grant.what
            return f"may reach {where}, from {grant.to}"
        case "package":
            version = f"version {grant.pin}" if grant.pin else "whatever version is the newest"
            return f"may run the package {grant.what} by {grant.to}, {version}"
        case "command":
            return f"may run the command {grant.what}"
        case "endpoint":
            return f"may talk to {grant.what}"
        case "tool" if grant.what == EXEC and grant.to == BASE_SKILL:
            return f"may run programs, with {EXEC} of {BASE_SKILL}"
        case "tool" if grant.what == ANY:
            but = f" but {', '.join(grant.without)}" if grant.without else ""
            runs = ""
            if grant.to == BASE_SKILL and EXEC not in grant.without:
                runs = f", {EXEC} among them"
            return f"may use all tools of {grant.to}{but}{runs}"
        case "tool":
            return f"may use the tool {grant.what} of {grant.to}"
        case "question":
            return f"may ask you by {grant.what}"
        case "providerTool":
            return f"may use {grant.what} of the model's provider"
        case "delegate":
            return f"may delegate to {grant.what}"


def _repinned(before: Reach, after: Reach) -> Iterator[Change]:
    """Packages that come in other versions now."""
    olds, news = _pins(before), _pins(after)
    for package in sorted(olds.keys() & news.keys()):
        old, new = olds[package], news[package]
        if old != new and all((*old, *new)):
            name, launcher = package
            yield Change(
                effect="neutral",
                text=f"the package {name} has version {_or(new)}, before {_or(old)}",
                kind="package",
                what=name,
                to=launcher,
            )


def _pins(reach: Reach) -> dict[tuple[str, str], tuple[str, ...]]:
    pins: dict[tuple[str, str], tuple[str, ...]] = {}
    for grant in reach.of("package"):
        place = (grant.what, grant.to)
        pins[place] = (*pins.get(place, ()), grant.pin)
    return pins


def _or(pins: Iterable[str]) -> str:
    return " or ".join(pins)


def _wording(before: Expert, after: Expert) -> Iterator[Change]:
    for what in ("instruction", "description"):
        if getattr(before, what) != getattr(after, what):
            yield Change(effect="neutral", text=f"the {what} is another", kind=what)
    old_specs, new_specs = _specs(before), _specs(after)
    for name in sorted(old_specs.keys() & new_specs.keys()):
        old, new = old_specs[name], new_specs[name]
        if old != new:
            text = f"delegates to {_or(new)}, before {_or(old)}"
            yield Change(effect="neutral", text=text, kind="delegate", what=name)
    for name in sorted(before.skills.keys() & after.skills.keys()):
        if _phrased(before.skills[name]) != _phrased(after.skills[name]):
            yield Change(
                effect="neutral",
                text=f"the skill {name} is worded otherwise",
                kind="skill",
                what=name,
            )
    if canonical_json(before.provider_tool_options) != canonical_json(after.provider_tool_options):
        yield Change(
            effect="neutral",
            text="the options of the provider's tools are others",
            kind="providerTool",
        )


def _specs(expert: Expert) -> dict[str, list[str]]:
    """The delegates as written, by name: a broken Definition may name one twice."""
    specs: dict[str, list[str]] = {}
    for spec in sorted(expert.delegates):
        specs.setdefault(parse_delegate(spec).name, []).append(spec)
    return specs


def _phrased(skill: Skill) -> Any:
    questions = msgspec.to_builtins(skill.tools) if isinstance(skill, InteractiveSkill) else None
    return skill.description, skill.rule, questions
