"""What happens to an Expert as a whole: who sees it, where its `latest` points by itself, whose it is.

Each function is to be called within a write, and raises Refused.
"""

from __future__ import annotations

from typing import Any

from ..queries import audit, experts, trusted, writing
from ..queries.organizations import Organization
from ..storage.repository import Session
from ..storage.rows import ExpertRow
from ..wire.http import bad_request, not_found
from . import latest
from .changes import Act, log, log_latest, owned_expert


def settle(
    session: Session,
    act: Act,
    name: str,
    *,
    visibility: str | None,
    policy: str | None,
    trusted_only: bool | None = None,
) -> ExpertRow:
    """Makes a private Expert public, changes where its `latest` points by itself, or who may publish it."""
    expert = owned_expert(session, act, name)
    trusted_before = trusted.is_trusted_only(session, name)
    if trusted_only is not None:
        trusted.set_trusted_only(session, expert.n, trusted_only)
    if visibility is not None and visibility != expert.visibility:
        if visibility == "private":
            raise bad_request("A public Expert cannot be made private")
        if _delegates_to_private(session, expert):
            raise bad_request("A public Expert cannot delegate to a private one")
        session.run(
            "UPDATE experts SET visibility = 'public', owner_revision = owner_revision + 1 WHERE n = ?",
            expert.n,
        )
    if policy is not None:
        session.run("UPDATE experts SET latest_policy = ? WHERE n = ?", policy, expert.n)
        latest.follow_policy(session, experts.expert_by_n(session, expert.n), act.at)
        log_latest(session, act, expert)
    writing.refresh(session, expert.n)
    after = experts.expert_by_n(session, expert.n)
    audit.note(
        session,
        act.actor,
        "settings",
        name,
        act.at,
        before=_said(expert, trusted_before),
        after=_said(after, trusted.is_trusted_only(session, name)),
    )
    act.context.changed(session, expert.n)
    return after


def _said(expert: ExpertRow, trusted_only: bool) -> dict[str, Any]:
    said: dict[str, Any] = {
        "visibility": expert.visibility,
        "latestPolicy": expert.latest_policy,
    }
    return said | ({"trustedOnly": True} if trusted_only else {})


def _delegates_to_private(session: Session, expert: ExpertRow) -> bool:
    row = session.one(
        "SELECT 1 FROM versions v JOIN edges e ON e.version = v.n JOIN experts t ON t.n = e.target"
        " WHERE v.expert = ? AND v.unpublished_at IS NULL AND t.visibility = 'private' AND t.n <> ? LIMIT 1",
        expert.n,
        expert.n,
    )
    return row is not None


def offer(session: Session, act: Act, name: str, to: Organization) -> None:
    """Offers an Expert to another organization, which may accept."""
    expert = owned_expert(session, act, name)
    if name.startswith("@"):
        raise bad_request("A scoped Expert belongs to its scope")
    if to.type == "team":
        raise bad_request("Expert name must be scoped")
    if to.id == expert.organization:
        raise bad_request("Expert is owned by this organization already")
    session.run(
        "INSERT INTO transfers (expert, organization, offered_by, at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (expert) DO UPDATE SET organization = excluded.organization,"
        " offered_by = excluded.offered_by, at = excluded.at",
        expert.n,
        to.id,
        act.actor.name,
        act.at,
    )
    audit.note(session, act.actor, "offer", name, act.at, after={"to": to.name or to.id})


def withdraw(session: Session, act: Act, name: str) -> None:
    expert = owned_expert(session, act, name)
    if not session.run("DELETE FROM transfers WHERE expert = ?", expert.n):
        raise not_found("Nothing was offered")
    audit.note(session, act.actor, "withdraw", name, act.at)


def accept(session: Session, act: Act, name: str) -> ExpertRow:
    """Takes over what was offered to the caller's organization."""
    expert = experts.expert(session, name)
    offered = expert and session.one(
        "SELECT organization FROM transfers WHERE expert = ?", expert.n
    )
    if expert is None or offered is None or offered[0] != act.caller.organization:
        raise not_found("Nothing was offered")
    session.run("DELETE FROM transfers WHERE expert = ?", expert.n)
    session.run(
        "UPDATE experts SET organization = ?, owner_revision = owner_revision + 1 WHERE n = ?",
        act.caller.organization,
        expert.n,
    )
    log(session, act, expert, "owner")
    writing.refresh(session, expert.n)
    before = {"organization": expert.organization}
    for organization in (expert.organization, act.caller.organization):
        actor = act.actor._replace(organization=organization)
        after = {"organization": act.caller.organization}
        audit.note(session, actor, "transfer", name, act.at, before=before, after=after)
    act.context.changed(session, expert.n)
    return experts.expert_by_n(session, expert.n)
