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

from perstack._value import Value
from perstack.definition import BASE_SKILL, Limits, Project, parse_delegate, parse_key
from perstack.lock import Choosing, Grant, Lock, closure_of, reach_of, widened

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
            about="A locked version has another publisher than when it was locked",
            advice="Make sure that the name has not changed hands unnoticed.",
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
            id="stale-lock",
            level="warning",
            about="The lock was made for other delegates than the project names",
            advice="Run `perstack install`.",
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

    scan, grave: what its checks found, and what they found critical, a sentence each.
    """

    status: Literal["available", "deprecated", "disabled", "quarantined", "unpublished"]
    note: str = ""
    digest: str = ""
    publisher: str = ""
    scan: tuple[str, ...] = ()
    grave: tuple[str, ...] = ()


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at. standings: by exact key, of those that could be asked. before: an older lock."""

    project: Project
    lock: Lock
    is_stale: bool = False
    standings: Mapping[str, Standing] = msgspec.field(default_factory=dict[str, Standing])
    choosing: Choosing = Choosing()
    before: Lock | None = None


def findings(audited: Audited) -> tuple[Finding, ...]:
    """All findings, the gravest first."""
    found = [
        *_standing(audited),
        *_stale(audited),
        *_floating(audited),
        *_skills(audited.lock),
        *_young(audited),
        *_shape(audited),
        *_widened(audited),
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
        for rule, sentences in (("scan", standing.scan), ("scan-critical", standing.grave)):
            for told in sentences:
                yield _finding(rule, key, f"{key}: {told}")


def _stale(audited: Audited) -> Iterator[Finding]:
    if audited.is_stale:
        what = "perstack.toml names other delegates than perstack.lock was made for"
        yield _finding("stale-lock", "perstack.lock", what)


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
