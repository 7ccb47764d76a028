"""What happens to a version after publishing: status, tags, unpublishing, quarantine.

Each function is to be called within a write, checks what must be checked in the fixed order, and raises Refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from perstack.registry import Operation, Status

from ..identity.keys import Caller
from ..queries import audit, experts, writing
from ..queries.audit import Actor
from ..queries.experts import Asked
from ..storage import tlog
from ..storage.repository import Session
from ..storage.rows import ExpertRow, Found
from ..wire.http import bad_request, not_found
from ..wire.telling import date
from . import latest
from .publishing import refuse_number

if TYPE_CHECKING:
    from ..app import Context

GRACE_MS = 7 * 24 * 3600 * 1000
"""For how long the document of an unpublished version is kept."""

HOUR_MS = 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who changes something, and when."""

    context: Context
    caller: Caller
    actor: Actor
    at: int

    @property
    def who(self) -> str:
        return self.caller.organization_name or self.caller.organization


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """R5: what shall be different. None: not this. deprecation: JSON."""

    status: Status | None = None
    tags: tuple[str, ...] | None = None
    deprecation: str | None = None


def owned(session: Session, act: Act, what: Asked) -> Found:
    """The version, which the caller may change. Raises Refused: 404, 400."""
    found = experts.find(session, what)
    if found is None or found.version.unpublished_at is not None:
        raise not_found()
    mine = found.expert.organization == act.caller.organization
    if not mine and (found.expert.is_private or not found.version.is_there):
        raise not_found()
    if not mine:
        raise bad_request("Expert is not owned by the organization")
    return found


def update(session: Session, act: Act, what: Asked, wishes: Wishes) -> Found:
    """R5."""
    found = owned(session, act, what)
    version = found.version
    if wishes.status is not None:
        _check_status(version.status, wishes.status)
    if wishes.tags is not None:
        _check_tags(session, found, wishes)
    if wishes.status is not None:
        _set_status(session, act, found, wishes.status)
    if wishes.tags is not None:
        _replace_tags(session, act, found, wishes.tags)
    if wishes.deprecation is not None:
        session.run(
            "UPDATE versions SET deprecation = ? WHERE n = ?", wishes.deprecation, version.n
        )
        writing.touch_version(session, version.n, act.at)
    if wishes.status is not None:
        if wishes.status == "disabled":
            latest.after_hiding(session, found.expert, version.n, act.at)
        latest.follow_policy(session, found.expert, act.at)
        log_latest(session, act, found.expert)
    return _done(session, act, found, "update")


def _check_status(now: str, wanted: str) -> None:
    if wanted == now:
        raise bad_request("Status is the same as the current status")
    if now == "disabled":
        raise bad_request("Cannot change status of disabled expert")
    if now == "deprecated" and wanted == "available":
        raise bad_request("Cannot change deprecated expert to available")


def _check_tags(session: Session, found: Found, wishes: Wishes) -> None:
    wanted = wishes.tags or ()
    if "latest" in wanted and found.expert.latest != found.version.n:
        raise bad_request("Cannot manually set latest tag")
    new = set(wanted) - {"latest"} - set(found.version.tags.split())
    if new and "disabled" in (found.version.status, wishes.status):
        raise bad_request("Cannot tag a disabled expert")
    for tag in sorted(new):
        refuse_number(session, found.expert, tag)


def _set_status(session: Session, act: Act, found: Found, status: Status) -> None:
    session.run("UPDATE versions SET status = ? WHERE n = ?", status, found.version.n)
    writing.touch_version(session, found.version.n, act.at)
    log(session, act, found.expert, "status", version=found.version.version, status=status)


def _replace_tags(session: Session, act: Act, found: Found, tags: tuple[str, ...]) -> None:
    wanted = set(tags) - {"latest"}
    had = set(found.version.tags.split())
    for tag in sorted(had - wanted):
        writing.drop_tag(session, found.expert.n, tag, act.at)
    for tag in sorted(wanted - had):
        writing.put_tag(session, found.expert.n, tag, found.version.n, act.at)


def put_tag(session: Session, act: Act, what: Asked, tag: str) -> Found:
    """Moves one tag to a version."""
    found = owned(session, act, what)
    if tag == "latest":
        raise bad_request("Cannot manually set latest tag")
    if found.version.status == "disabled":
        raise bad_request("Cannot tag a disabled expert")
    refuse_number(session, found.expert, tag)
    tags = found.version.tags.split()
    if tag in tags:
        return found
    if len(tags) >= 8:
        raise bad_request("A version has at most 8 tags")
    writing.put_tag(session, found.expert.n, tag, found.version.n, act.at)
    return _done(session, act, found, "tag")


def drop_tag(session: Session, act: Act, name: str, tag: str) -> None:
    """Removes one tag from whatever version has it."""
    expert = owned_expert(session, act, name)
    if tag == "latest":
        raise bad_request("Cannot remove latest tag from latest version")
    holder = experts.holder_of_tag(session, expert.n, tag)
    if holder is None:
        raise not_found("Tag not found")
    found = experts.by_n(session, holder)
    writing.drop_tag(session, expert.n, tag, act.at)
    _done(session, act, found, "tag")


def owned_expert(session: Session, act: Act, name: str) -> ExpertRow:
    """The Expert, which the caller may change. Raises Refused: 404, 400."""
    expert = experts.expert(session, name)
    if expert is None:
        raise not_found()
    if expert.organization != act.caller.organization:
        if expert.is_private or expert.vacated:
            raise not_found()
        raise bad_request("Expert is not owned by the organization")
    return expert


def unpublish(session: Session, act: Act, what: Asked) -> None:
    """R6: leaves a tombstone. The number stays taken."""
    found = owned(session, act, what)
    hours = act.context.settings.unpublish_window_hours
    if hours and act.at - found.version.published_at > hours * HOUR_MS:
        raise bad_request(
            f"Version can only be unpublished for {hours} hours; deprecate or disable it"
        )
    if _is_needed(session, found):
        raise bad_request("Expert is delegated to other experts")
    n, expert = found.version.n, found.expert
    for tag in found.version.tags.split():
        writing.drop_tag(session, expert.n, tag, act.at)
    session.run("UPDATE versions SET unpublished_at = ? WHERE n = ?", act.at, n)
    writing.touch_version(session, n, act.at)
    session.run(
        "UPDATE documents SET delete_after = ? WHERE digest = ?",
        act.at + GRACE_MS,
        found.version.digest,
    )
    latest.after_unpublish(session, expert, n, act.at)
    log(
        session,
        act,
        expert,
        "unpublish",
        version=found.version.version,
        digest=found.version.digest,
    )
    log_latest(session, act, expert)
    _done(session, act, found, "unpublish")


def _is_needed(session: Session, found: Found) -> bool:
    """Whether another version pins this one, or leads to it and would then lead to nothing available."""
    expert, version = found
    if experts.has_dependent(session, version.n):
        return True
    for text in experts.floating_specs(session, expert.n, besides=version.n):
        spec = experts.visible_spec(text)
        if spec is None:
            continue
        now = experts.find(session, spec)
        if now is None or now.version.n != version.n:
            continue
        match spec.spec.kind:
            case "range" | "number" if now.expert.n == expert.n and not _is_tag(session, spec):
                then = experts.in_range(
                    session, expert.name, spec.spec.selector or "", without=version.n
                )
            case "latest":
                then = _newest_besides(session, expert, version.n)
            case _:
                then = None
        if then is None or not then.version.is_live:
            return True
    return False


def _is_tag(session: Session, what: Asked) -> bool:
    return experts.by_tag(session, what.spec.name, what.spec.selector or "") is not None


def _newest_besides(session: Session, expert: ExpertRow, n: int) -> Found | None:
    row = session.one(
        "SELECT n FROM versions WHERE expert = ? AND unpublished_at IS NULL AND n <> ?"
        " ORDER BY n DESC LIMIT 1",
        expert.n,
        n,
    )
    return experts.by_n(session, row[0]) if row else None


def quarantine(session: Session, act: Act, what: Asked, reason: str | None) -> Found:
    """Takes a version out of everyone's reach, or lets it back in (reason: None). For administrators only."""
    found = experts.find(session, what)
    if found is None or found.version.unpublished_at is not None:
        raise not_found()
    version = found.version
    if (reason is None) == (version.quarantined_at is None):
        raise bad_request(
            "Expert is not quarantined" if reason is None else "Expert is quarantined"
        )
    session.run(
        "UPDATE versions SET quarantined_at = ?, quarantine_reason = ? WHERE n = ?",
        None if reason is None else act.at,
        reason or "",
        version.n,
    )
    writing.touch_version(session, version.n, act.at)
    if reason is not None:
        latest.after_hiding(session, found.expert, version.n, act.at)
    latest.follow_policy(session, found.expert, act.at)
    status = "released" if reason is None else "quarantined"
    log(
        session,
        act,
        found.expert,
        "quarantine",
        version=version.version,
        digest=version.digest,
        status=status,
    )
    log_latest(session, act, found.expert)
    return _done(session, act, found, "quarantine", reason=reason)


# In common ------------------------------------------------------------------------------------------------


def _done(session: Session, act: Act, before: Found, action: str, **more: Any) -> Found:
    """The version as it is now, with a row in the audit log that says what is different."""
    writing.refresh(session, before.expert.n)
    after = experts.by_n(session, before.version.n)
    audit.note(
        session,
        act.actor,
        action,
        before.key,
        act.at,
        before=_said(before),
        after=_said(after) | {name: value for name, value in more.items() if value is not None},
    )
    act.context.changed(session, before.expert.n)
    return after


def _said(found: Found) -> dict[str, Any]:
    said: dict[str, Any] = {"status": found.version.status, "tags": found.tags}
    if found.version.deprecation:
        said["deprecation"] = msgspec.json.decode(found.version.deprecation)
    if found.version.unpublished_at is not None:
        said["unpublished"] = True
    return said


def log(session: Session, act: Act, expert: ExpertRow, op: Operation, **what: str) -> int:
    """Appends to the transparency log."""
    salt = expert.salt if expert.is_private else b""
    entry = tlog.entry_of(op, expert.name, at=date(act.at), actor=act.who, salt=salt, **what)
    return tlog.append(session, entry)


def log_latest(session: Session, act: Act, before: ExpertRow) -> None:
    """Says where `latest` went, if it moved for another reason than publishing."""
    now = experts.expert_by_n(session, before.n)
    if now.latest != before.latest and now.latest is not None:
        found = experts.by_n(session, now.latest)
        log(session, act, now, "latest", version=found.version.version, digest=found.version.digest)
