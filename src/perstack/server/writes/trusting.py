"""Trusted publishers: who may say whom an Expert trusts, and what a token is worth.

Each function is to be called within a write, and raises Refused.
"""

from __future__ import annotations

from collections.abc import Callable

from perstack import _ids
from perstack.definition import scope_of

from ..identity.issuers import Identity, Kind, Unfit
from ..identity.keys import Caller, Scope
from ..queries import audit, experts, trusted
from ..queries import organizations as orgs
from ..queries.audit import Actor
from ..queries.trusted import Publisher
from ..storage.repository import Session
from ..wire.http import Refused, bad_request, not_found
from .changes import Act
from .holders import DAY_MS, NewKey, issue_key

KEY_MS = 15 * 60 * 1000
SCOPES: tuple[Scope, ...] = ("read", "publish-new", "publish-update", "tag")
"""What the key of a job may do, to the names that trust it."""

MAX_PUBLISHERS = 32
"""Of one Expert."""


def check_name(session: Session, caller: Caller, name: str) -> None:
    """That the caller's organization has a say about a name: it is its own, or may become its own."""
    found = experts.expert(session, name)
    if found is not None and found.organization == caller.organization:
        return
    if found is not None and not found.is_private and not found.vacated:
        raise bad_request("Expert is not owned by the organization")
    scope = scope_of(name)
    own = f"@{caller.organization_name}" if caller.organization_type == "team" else None
    if scope != own:
        raise not_found()


def add_publisher(
    session: Session,
    act: Act,
    name: str,
    *,
    issuer: str,
    repository: str,
    workflow: str,
    environment: str,
    owner_id: str,
) -> Publisher:
    """Lets jobs of a workflow publish `name`, of the caller's organization."""
    check_name(session, act.caller, name)
    made = Publisher(
        id=_ids.drawn(),
        name=name,
        organization=act.caller.organization,
        issuer=issuer,
        repository=repository.lower(),
        workflow=workflow,
        environment=environment,
        owner_id=owner_id,
        created_at=act.at,
        used_at=None,
    )
    if len(trusted.publishers(session, made.organization, name)) >= MAX_PUBLISHERS:
        raise bad_request(f"An Expert has at most {MAX_PUBLISHERS} trusted publishers")
    if not trusted.add(session, made):
        raise bad_request("This publisher is trusted already")
    audit.note(session, act.actor, "trust.add", name, act.at, after=_said(made))
    return made


def remove_publisher(session: Session, act: Act, name: str, id: str) -> None:
    check_name(session, act.caller, name)
    found = {one.id: one for one in trusted.publishers(session, act.caller.organization, name)}
    if id not in found:
        raise not_found("Trusted publisher not found")
    trusted.remove(session, id)
    audit.note(session, act.actor, "trust.remove", name, act.at, before=_said(found[id]))


def _said(publisher: Publisher) -> dict[str, str]:
    told = {
        "id": publisher.id,
        "issuer": publisher.issuer,
        "repository": publisher.repository,
        "workflow": publisher.workflow,
        "environment": publisher.environment,
        "ownerId": publisher.owner_id,
    }
    return {member: text for member, text in told.items() if text}


def exchange(
    session: Session, identity: Identity, kind: Kind, name: str, address: str, at: int
) -> NewKey:
    """A key for the job that a token is of. name: an Expert it shall be for, empty for any. at: ms.

    Raises Refused: 403 if nobody trusts it; 401 if the token was exchanged before.
    """
    trusted.forget_exchanges(session, at)
    fitting = _fitting(session, identity, kind, name)
    whose = {one.organization for one in fitting}
    if len(whose) > 1:
        raise Refused(403, "Several organizations trust this publisher: send the name, too")
    organization = orgs.organization(session, whose.pop())
    assert organization is not None  # publishers refer to it
    names = tuple(dict.fromkeys(one.name for one in fitting))
    made = issue_key(
        session,
        Actor(address, subject=identity.subject),
        organization,
        at,
        name=f"{identity.repository}, {identity.workflow}"[:255],
        scopes=SCOPES,
        patterns=names,
        lasts_ms=KEY_MS,
    )
    # for as long as the token could be sent again, and the key be asked about
    forget_at = max(identity.expires_at, at) + DAY_MS
    if not trusted.note_exchange(session, identity, made.key.id, forget_at):
        raise Refused(401, "The token's claim jti is of a token that was used already")
    for one in fitting:
        trusted.note_use(session, one.id, identity.owner, at)
    return made


def _fitting(session: Session, identity: Identity, kind: Kind, name: str) -> list[Publisher]:
    """Those publishers that the job is, of the organization that `name` is about. Raises Refused.

    What does not fit is told by the claim alone. Each step is taken only by who has taken those before, so nobody
    learns anything about a repository that is not their own.
    """
    found = trusting = trusted.trusting(session, identity.issuer, identity.repository.lower())
    if name:
        whose = {one.organization for one in trusting if one.name == name}
        found = [one for one in trusting if one.organization in whose]
    steps: tuple[tuple[str, Callable[[Publisher], bool]], ...] = (
        (kind.repository, lambda _: True),
        (kind.workflows[0], lambda one: one.workflow == identity.workflow),
        ("environment", lambda one: one.environment in ("", identity.environment)),
        (kind.owner, lambda one: one.owner_id in ("", identity.owner)),
    )
    for claim, fits in steps:
        found = [one for one in found if fits(one)]
        if not found or (name and not any(one.name == name for one in found)):
            raise Refused(403, str(Unfit(claim)))
    return found
