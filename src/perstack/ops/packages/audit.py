"""What there is to say against a lock: findings, each of one rule, with a level.

Pure: who asks a registry is elsewhere. A finding is about the Expert it names and nothing is guessed: what could
not be asked (no network, no such endpoint) is no finding. Nor is it asked here whether a lock is whole: one that
is not cannot be read at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from perstack._value import Value
from perstack.definition import BASE_SKILL, Limits, Project, parse_delegate, parse_key
from perstack.engine import is_served, pinned_tools
from perstack.lock import Choosing, Grant, Lock, Pin, closure_of, differences, reach_of, widened
from perstack.skills import base_tools, toolbox_of

from .tree import cycles, reached

Level = Literal["note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("note", "warning", "error")


class Rule(Value, frozen=True):
    """id: for machines, never changed. about: what is wrong where it finds something. advice: what to do."""

    id: str
    level: Level
    about: str
    advice: str = ""


RULES = {
    rule.id: rule
    for rule in (
        Rule(
            id="unpublished",
            level="error",
            about="A locked version is not in its registry any more",
            advice="Run `perstack update` for another version.",
        ),
        Rule(
            id="quarantined",
            level="error",
            about="A locked version was put under quarantine by its registry",
            advice="Do not run it. Run `perstack update` for another version.",
        ),
        Rule(
            id="disabled",
            level="error",
            about="A locked version was disabled by its owner",
            advice="Run `perstack update` for another version.",
        ),
        Rule(
            id="deprecated",
            level="warning",
            about="A locked version is deprecated by its owner",
            advice="Run `perstack update`, or choose another Expert.",
        ),
        Rule(
            id="digest",
            level="error",
            about="The registry has another document for a locked version",
            advice="One of the two was tampered with. Run `perstack verify`, and tell the registry.",
        ),
        Rule(
            id="publisher",
            level="error",
            about="A locked version has another publisher than when it, or one before it, was locked",
            advice="Make sure that the name has not changed hands unnoticed.",
        ),
        Rule(
            id="unattested",
            level="error",
            about="A locked version lacks an attestation that the project asks for",
            advice="Run `perstack update` for another version, or ask its publisher to attest it.",
        ),
        Rule(
            id="scan",
            level="warning",
            about="The registry's checks found something in a locked version",
            advice="Read what it is about before you run it.",
        ),
        Rule(
            id="scan-critical",
            level="error",
            about="The registry's checks found something grave in a locked version",
            advice="Do not run it before you know what it is about.",
        ),
        Rule(
            id="similar-name",
            level="warning",
            about="A locked Expert has a name like that of one which is used more",
            advice="Make sure that it is the one you mean.",
        ),
        Rule(
            id="stale-lock",
            level="warning",
            about="The lock was made for other Experts or delegates than the project has",
            advice="Run `perstack install`.",
        ),
        Rule(
            id="tools-changed",
            level="warning",
            about="A skill has other tools now than the lock says",
            advice="Look at what changed. If that is as it should be, run `perstack install`.",
        ),
        Rule(
            id="tools-not-locked",
            level="warning",
            about="The lock does not have the tools of a skill, so nobody can tell whether they changed",
            advice="Run `perstack install` without --no-tools.",
        ),
        Rule(
            id="floating",
            level="warning",
            about="A delegate is named by a tag, or by no version at all",
            advice="Name a range: `perstack audit --fix` writes the one of the locked version.",
        ),
        Rule(
            id="unpinned-package",
            level="warning",
            about="A skill runs whatever version of its package is the newest",
            advice="Name the version in packageName, or ask who published the Expert to.",
        ),
        Rule(
            id="remote-endpoint",
            level="note",
            about="A skill is a server that can change at any time",
        ),
        Rule(
            id="command",
            level="note",
            about="A skill runs a command of its author's choosing",
        ),
        Rule(
            id="write-tools",
            level="note",
            about="A published Expert has tools that do not only read",
        ),
        Rule(
            id="widened",
            level="warning",
            about="An Expert may touch more than in the former lock",
            advice="Make sure that it needs to.",
        ),
        Rule(
            id="young",
            level="warning",
            about="A locked version is younger than the minimum release age",
        ),
        Rule(
            id="cycle",
            level="warning",
            about="Experts delegate to each other in a ring",
            advice="A job ends such a ring at its depth limit; make sure that it is meant.",
        ),
        Rule(
            id="depth",
            level="warning",
            about="Delegates stand deeper below each other than a job allows",
        ),
    )
}


class Finding(Value, frozen=True):
    """rule: id of a Rule. subject: the key it is about, or the delegate as written. place: the file it is in."""

    rule: str
    level: Level
    subject: str
    what: str
    place: Literal["perstack.toml", "perstack.lock"] = "perstack.lock"
    advice: str = ""


class Standing(Value, frozen=True):
    """What its registry says of a locked version now. publisher, digest: empty if it does not say.

    scan, grave: what its checks found, and what they found critical, a sentence each. similar: what they found in
    its name, compared with others.
    """

    status: Literal["available", "deprecated", "disabled", "quarantined", "unpublished"]
    note: str = ""
    digest: str = ""
    publisher: str = ""
    scan: tuple[str, ...] = ()
    grave: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at. standings: by exact key, of those that could be asked. before: an older lock.

    redefined: keys that are defined otherwise now than in the lock. offered: by key, pins with the tools that the
    servers of their skills have now; None if no server was asked. unattested: by key, what of a version should be
    attested and is not, in a sentence.
    """

    project: Project
    lock: Lock
    is_stale: bool = False
    redefined: tuple[str, ...] = ()
    offered: Mapping[str, Pin] | None = None
    standings: Mapping[str, Standing] = msgspec.field(default_factory=dict[str, Standing])
    unattested: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    choosing: Choosing = Choosing()
    before: Lock | None = None


def findings(audited: Audited) -> tuple[Finding, ...]:
    """All findings, the gravest first."""
    found = [
        *_standing(audited),
        *(_finding("unattested", key, what) for key, what in audited.unattested.items()),
        *_stale(audited),
        *_floating(audited),
        *_skills(audited.lock),
        *_writing(audited.lock),
        *_drifted(audited),
        *_young(audited),
        *_shape(audited),
        *_widened(audited),
        *_handed_over(audited),
    ]
    return tuple(sorted(found, key=lambda f: (-LEVELS.index(f.level), f.rule, f.subject, f.what)))


def at_least(found: Iterable[Finding], level: Level) -> tuple[Finding, ...]:
    """Those of `level` or above."""
    return tuple(f for f in found if LEVELS.index(f.level) >= LEVELS.index(level))


def _finding(rule: str, subject: str, what: str, *, in_project: bool = False) -> Finding:
    known = RULES[rule]
    return Finding(
        rule=rule,
        level=known.level,
        subject=subject,
        what=what,
        place="perstack.toml" if in_project else "perstack.lock",
        advice=known.advice,
    )


def _standing(audited: Audited) -> Iterator[Finding]:
    for key, standing in sorted(audited.standings.items()):
        pin = audited.lock.experts.get(key)
        if pin is None:
            continue
        if standing.status != "available":
            note = f": {standing.note}" if standing.note else ""
            yield _finding(standing.status, key, f"{key} is {standing.status}{note}")
        if standing.digest and standing.digest != pin.integrity:
            what = f"the registry has {standing.digest} for {key}, the lock {pin.integrity}"
            yield _finding("digest", key, what)
        was = pin.origin.publisher if pin.origin else ""
        if was and standing.publisher and was != standing.publisher:
            what = f"{key} was published by {was} when it was locked, and is by {standing.publisher} now"
            yield _finding("publisher", key, what)
        for rule, sentences in (
            ("scan", standing.scan),
            ("scan-critical", standing.grave),
            ("similar-name", standing.similar),
        ):
            for told in sentences:
                yield _finding(rule, key, f"{key}: {told}")


def _stale(audited: Audited) -> Iterator[Finding]:
    if audited.is_stale:
        what = "perstack.toml names other delegates than perstack.lock was made for"
        yield _finding("stale-lock", "perstack.lock", what)
    for key in audited.redefined:
        yield _finding("stale-lock", key, f"{key} is defined otherwise now than in perstack.lock")


def _floating(audited: Audited) -> Iterator[Finding]:
    for key, expert in audited.project.experts.items():
        for text in expert.delegates:
            if audited.project.local(text) is None and floats(text):
                locked = audited.lock.key_of(text)
                now = f"; it is {locked} at present" if locked != text else ""
                yield _finding("floating", text, f"{key} delegates to {text}{now}", in_project=True)


def floats(spec: str) -> bool:
    """Whether a delegate means what somebody else says it means: a tag, or nothing behind the name."""
    parsed = parse_delegate(spec)
    return parsed.kind in ("latest", "tag") or parsed.selector in ("*", "x", "X")


def _skills(lock: Lock) -> Iterator[Finding]:
    for key, pin in lock.experts.items():
        for grant in reach_of(pin.expert).grants:
            match grant:
                case Grant(kind="package", pin="", what=package) if package != BASE_SKILL:
                    yield _finding(
                        "unpinned-package", key, f"{key} runs {package} in whatever version"
                    )
                case Grant(kind="endpoint", what=url):
                    yield _finding("remote-endpoint", key, f"{key} talks to {url}")
                case Grant(kind="command", what=line):
                    yield _finding("command", key, f"{key} runs {line}")
                case _:
                    pass


def _writing(lock: Lock) -> Iterator[Finding]:
    """What published Experts may use that does not only read, as far as the lock knows their tools."""
    for key, pin in lock.experts.items():
        if pin.origin is None:
            continue
        alone = replace(pin.expert, delegates=())
        box = toolbox_of(alone, (), {BASE_SKILL: base_tools(), **pinned_tools(pin)})
        found: dict[str, list[str]] = {}
        for entry in box.entries.values():
            if entry.kind == "tool" and not entry.tool.reads_only:
                found.setdefault(entry.skill, []).append(entry.own_name)
        if found:
            told = "; ".join(f"{', '.join(names)} of {skill}" for skill, names in found.items())
            yield _finding("write-tools", key, f"{key} may use {told}")


def _drifted(audited: Audited) -> Iterator[Finding]:
    for key, now in (audited.offered or {}).items():
        pin = audited.lock.experts[key]
        for name in pin.expert.skills:
            if not is_served(pin.expert, name):
                continue
            if name not in pin.tools:
                what = f"{key}: perstack.lock has no tools of {name}"
                yield _finding("tools-not-locked", key, what)
                continue
            for line in differences(pin.tools[name], now.tools[name]):
                yield _finding("tools-changed", key, f"{key}: {name} has other tools now: {line}")


def _young(audited: Audited) -> Iterator[Finding]:
    choosing = audited.choosing
    if not choosing.min_age_s:
        return
    for key, pin in audited.lock.experts.items():
        at = pin.origin.published_at if pin.origin else ""
        if at and _age_s(at, choosing.now_s) < choosing.min_age_s and not _is_exempt(key, choosing):
            yield _finding("young", key, f"{key} was published at {at}")


def _age_s(at: str, now_s: float) -> float:
    try:
        return now_s - datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0


def _is_exempt(key: str, choosing: Choosing) -> bool:
    name = parse_key(key).name
    return any(
        name.startswith(each[:-1]) if each.endswith("*") else name == each
        for each in choosing.exempt
    )


def _shape(audited: Audited) -> Iterator[Finding]:
    for ring in cycles(audited.lock):
        yield _finding("cycle", ring[0], " -> ".join((*ring, ring[0])))
    deepest = Limits().max_depth
    for root in audited.project.experts:
        for key, chain in reached(audited.lock, root).items():
            if len(chain) - 1 == deepest + 1:
                way = " -> ".join(node.key for node in chain)
                yield _finding("depth", key, f"{deepest + 1} levels below {root}: {way}")


def _widened(audited: Audited) -> Iterator[Finding]:
    if audited.before is None:
        return
    for key in audited.project.experts:
        if key in audited.lock.experts and key in audited.before.experts:
            changes = widened(closure_of(audited.before, key), closure_of(audited.lock, key))
            for change in changes:
                if change.effect == "widen":
                    yield _finding("widened", key, f"{key}, or whom it delegates to, {change.text}")


def _handed_over(audited: Audited) -> Iterator[Finding]:
    """Names that somebody else published under when the older lock was made."""
    before: dict[str, set[str]] = {}
    for pin in audited.before.experts.values() if audited.before else ():
        if publisher := _publisher(pin):
            before.setdefault(pin.expert.name, set()).add(publisher)
    for key, pin in audited.lock.experts.items():
        known, publisher = before.get(pin.expert.name), _publisher(pin)
        if known and publisher and publisher not in known:
            told = " and ".join(sorted(known))
            what = (
                f"{key} was published by {publisher}, and what the older lock has of it by {told}"
            )
            yield _finding("publisher", key, what)


def _publisher(pin: Pin) -> str:
    """By the log; "" where that says only a salted name, as of private ones."""
    told = pin.origin.publisher if pin.origin else ""
    return "" if told.startswith("sha256:") else told
