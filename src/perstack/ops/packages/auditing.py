"""Audit a project: ask the registries about all that is locked, and find what there is to say against it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import msgspec

from perstack.definition import RuntimeName, parse_delegate
from perstack.errors import LockError, RegistryError, UserError
from perstack.lock import Choosing, Lock, Pin, decode_lock
from perstack.registry import Cache, Findings, RegistryClient, Severity, cache_place, side_by_side

from .access import Access
from .attested import unattested
from .audit import RULES, Audited, Finding, Standing, findings
from .deps import Plan, Rewritten, plan_of, project_text, ranged, with_pins, without_names
from .documents import NOT_FOUND, check_copies, check_place
from .edit import with_delegates
from .listings import listing_from, open_registries
from .locked import LockedProject, locked_project
from .offering import offered, redefined
from .verify import shelf_of

_BAD = ("unpublished", "quarantined", "disabled", "deprecated")
"""Rules that another version may mend."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """asked: whether the registries were; servers_asked: whether those of skills were. texts: of the files that
    findings are in.
    """

    project: LockedProject
    found: tuple[Finding, ...]
    asked: bool
    servers_asked: bool
    texts: dict[str, str]


class Starting(msgspec.Struct, frozen=True, kw_only=True):
    """That the servers of skills are to be started, to compare their tools. runtime, read: as for a run."""

    runtime: RuntimeName | None = None
    read: tuple[Path, ...] = ()


async def audit(
    access: Access, *, since: str | None = None, servers: Starting | None = None
) -> Report:
    """since: path of an older lock, to find what widened. Offline only what the lock itself says is found.

    servers: None to start none. Raises LockError; LockTampered if it is not whole, by the copies at hand;
    RegistryError if a registry that has to be asked does not answer; what `offered` raises for servers.
    """
    project = locked_project(str(access.project.path), access.env, access.cwd)
    asked = not access.sources.is_offline(access.env)
    pins = [pin for pin in project.file.lock.experts.values() if pin.origin is not None]
    shelf = shelf_of(access, Cache(cache_place(access.env)))
    for pin in pins:
        check_place(pin, access.place(pin.expert.name))
        check_copies(pin, shelf)
    rules = access.project.project.registry
    audited = Audited(
        project=access.project.project,
        lock=project.file.lock,
        is_stale=project.is_stale,
        redefined=redefined(project),
        standings=await _standings(access, pins) if asked else {},
        unattested=await unattested(access, pins) if asked else {},
        offered=None
        if servers is None
        else await offered(access, project, servers.runtime, servers.read),
        choosing=Choosing(
            now_s=time.time(),
            min_age_s=rules.min_release_age_s,
            exempt=rules.min_release_age_exclude,
        ),
        before=_older(since, access.cwd) if since else None,
    )
    directory = access.project.directory
    texts = {
        "perstack.toml": project_text(access.project),
        "perstack.lock": (directory / "perstack.lock").read_text(encoding="utf-8"),
    }
    return Report(
        project=project,
        found=findings(audited),
        asked=asked,
        servers_asked=servers is not None,
        texts=texts,
    )


def _older(path: str, cwd: Path) -> Lock:
    file = cwd / Path(path).expanduser()
    try:
        return decode_lock(file.read_bytes().decode(), path).lock
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise LockError(f"{path} is not UTF-8 text.") from error


async def _standings(access: Access, pins: Iterable[Pin]) -> dict[str, Standing]:
    """By key, what the registries say now of these published Experts."""
    wanted = tuple(pins)
    found: dict[str, Standing] = {}

    names = {pin.expert.name for pin in wanted}
    async with open_registries(access, names) as clients:

        async def look(pin: Pin) -> None:
            found[pin.expert.key] = await _standing(pin, clients[pin.expert.name])

        async def keep(name: str) -> None:
            # what a registry says is kept, so that a run can warn without asking
            await listing_from(clients[name], name)

        await side_by_side(look, wanted)
        await side_by_side(keep, names)
    return found


async def _standing(pin: Pin, client: RegistryClient) -> Standing:
    key = pin.expert.key
    try:
        now = await client.get(key)
    except RegistryError as error:
        if error.status != NOT_FOUND:
            raise
        return Standing(status="unpublished", note="unpublished by its owner, or under quarantine")
    told = now.deprecation
    note = ""
    if told is not None:
        instead = f"use {told.replacement} instead" if told.replacement else ""
        note = "; ".join(text for text in (told.message, instead) if text)
    scanned = await _scan(key, client)
    return Standing(
        status=now.status,
        note=note,
        digest=now.digest,
        publisher=_owner(pin, now.owner.name or ""),
        scan=_told(scanned, "warning"),
        grave=_told(scanned, "critical"),
        similar=tuple(
            each.what.rstrip(".") for each in scanned.findings if each.code == "similar-name"
        ),
    )


def _owner(pin: Pin, now: str) -> str:
    """Who owns the Expert now; "" where the log says only a salted name, as of private ones."""
    was = pin.origin.publisher if pin.origin else ""
    return "" if was.startswith("sha256:") else now


async def _scan(key: str, client: RegistryClient) -> Findings:
    """What the checks of the registry found; nothing, where it makes none."""
    try:
        return await client.data("GET", f"/experts/{quote(key, safe='')}/scan", Findings)
    except RegistryError as error:
        if error.status != NOT_FOUND:
            raise
        return Findings(key=key)


def _told(scanned: Findings, severity: Severity) -> tuple[str, ...]:
    return tuple(
        f"{each.what.rstrip('.')} ({each.path})" if each.path else each.what.rstrip(".")
        for each in scanned.findings
        if each.severity == severity and each.code not in RULES  # those are found here, too
    )


async def plan_fix(access: Access, report: Report) -> Plan:
    """What mends findings: a range in place of what floats, other versions of what should not be used.

    Raises NoVersion where no other version fits.
    """
    known = report.project.file
    text, rewritten = project_text(access.project), Rewritten()
    pins: dict[str, Pin] = {}
    floating = {each.subject for each in report.found if each.rule == "floating"}
    for expert in access.project.project.experts.values():
        for spec in expert.delegates:
            pin = known.lock.experts.get(known.lock.key_of(spec)) if spec in floating else None
            if pin is None or pin.origin is None:
                continue
            name = parse_delegate(spec).name
            new = f"{name}@{ranged(pin.expert.version, '^')}"
            text = with_delegates(text, expert.key, [new])
            rewritten.setdefault(expert.key, {})[name] = new
            pins[new] = pin
    bad = {each.subject for each in report.found if each.rule in _BAD}
    names = {pin.expert.name for key, pin in known.lock.experts.items() if key in bad}
    return await plan_of(access, text, without_names(with_pins(known, pins), names), rewritten)
