"""Publishing a version (R4): the checks that need the database, in their fixed order, and the write.

All of it happens within one write, and writes happen one after the other. So of any number of clients that publish
the same version one succeeds, and the others are told that it is there already.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from perstack import _ids
from perstack.definition import (
    BASE_SKILL,
    parse_range,
    parse_version,
    scope_of,
    short_of,
)
from perstack.lock import digest_of
from perstack.registry import PublishRequest, document_of_request

from ..identity.keys import Caller
from ..queries import audit, experts, writing
from ..queries.audit import Actor
from ..queries.experts import Asked, asked
from ..queries.writing import Edge
from ..storage import tlog
from ..storage.precedence import precedence
from ..storage.repository import Session
from ..storage.rows import ExpertRow, Found, VersionRow
from ..wire.http import Issue, Refused, bad_request, invalid
from ..wire.telling import date
from . import latest

if TYPE_CHECKING:
    from ..app import Context


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """A version that is being published. expert, version: their rows' numbers, 0 while it is only checked."""

    request: PublishRequest
    caller: Caller
    actor: Actor
    document: bytes
    digest: str
    at: int
    expert: int = 0
    version: int = 0


class Published(NamedTuple):
    """What came of it."""

    found: Found
    document: bytes
    warnings: list[str]


class Checked(NamedTuple):
    """What would come of it."""

    document: bytes
    digest: str
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delegate:
    """One delegate: sent: as it came; spec: as its author wrote it; stored: as the document has it."""

    sent: str
    spec: str
    what: Asked
    stored: str
    kind: str
    found: Found | None
    problem: str = ""
    warning: str = ""


class _Checked(NamedTuple):
    publication: Publication
    own: ExpertRow | None
    delegates: list[_Delegate]
    warnings: list[str]


def check(
    session: Session, context: Context, request: PublishRequest, caller: Caller, actor: Actor
) -> Checked:
    """All checks. Raises Refused with the first that fails."""
    checked = _checked(session, context, request, caller, actor)
    publication = checked.publication
    return Checked(publication.document, publication.digest, checked.warnings)


def publish(
    session: Session, context: Context, request: PublishRequest, caller: Caller, actor: Actor
) -> Published:
    """All checks, then the version, its tags, its place in the log and in the audit log. Raises Refused."""
    publication, own, delegates, warnings = _checked(session, context, request, caller, actor)
    at = publication.at
    if own is None:
        n = writing.add_expert(
            session,
            request.name,
            caller.organization,
            request.visibility,
            at,
            secrets.token_bytes(16),
        )
        own = experts.expert_by_n(session, n)
    version = parse_version(request.version)
    who = caller.organization_name or caller.organization
    index = tlog.append(
        session,
        tlog.entry_of(
            "publish",
            own.name,
            at=date(at),
            actor=who,
            salt=own.salt if own.is_private else b"",
            version=request.version,
            digest=publication.digest,
        ),
    )
    row = VersionRow(
        n=0,
        id=_ids.drawn(),
        expert=own.n,
        version=request.version,
        precedence=precedence(version),
        stable=int(not version.is_prerelease),
        digest=publication.digest,
        size=len(publication.document),
        description=request.description,
        status="available",
        tags="",
        deprecation="",
        published_at=at,
        updated_at=at,
        revision=1,
        quarantined_at=None,
        quarantine_reason="",
        unpublished_at=None,
        log_index=index,
        publisher=f"organization:{who}",
    )
    edges = [
        Edge(d.spec, d.kind, d.found.expert.n, d.found.version.n if d.kind == "version" else None)
        for d in delegates
        if d.found is not None
    ]
    n = writing.add_version(session, row, publication.document, edges)
    for tag in request.tags:
        if tag != "latest":
            writing.put_tag(session, own.n, tag, n, at)
    latest.after_publish(session, own, n, at, wanted=request.set_latest)
    _keep_page(session, own, request)
    writing.refresh(session, own.n)
    made = experts.by_n(session, n)
    audit.note(
        session,
        actor,
        "publish",
        made.key,
        at,
        after={"digest": publication.digest, "tags": made.tags},
    )
    context.published(session, replace(publication, expert=own.n, version=n))
    return Published(made, publication.document, warnings)


def _keep_page(session: Session, own: ExpertRow, request: PublishRequest) -> None:
    """What the page of an Expert says beside its documents: as the last publisher said it."""
    given = {
        "readme": request.readme,
        "repository": request.repository,
        "license": request.license,
        "keywords": msgspec.json.encode(request.keywords).decode() if request.keywords else "",
    }
    for column, text in given.items():
        if text:
            session.run(f"UPDATE experts SET {column} = ? WHERE n = ?", text, own.n)


# Checks ---------------------------------------------------------------------------------------------------


def _checked(
    session: Session, context: Context, request: PublishRequest, caller: Caller, actor: Actor
) -> _Checked:
    own = experts.expert(session, request.name)
    _scope(caller, request, own)
    _naming(caller, request.name)
    if own is not None and own.organization != caller.organization:
        raise bad_request(f"Expert {request.name} already exists")
    private = (own.visibility if own else request.visibility) == "private"
    delegates = _delegates(session, request, caller, private)
    document = _document(request, delegates)
    publication = Publication(
        request=request,
        caller=caller,
        actor=actor,
        document=document,
        digest=digest_of(document),
        at=context.now(),
        expert=own.n if own else 0,
    )
    warnings = context.checks(session, publication)
    if BASE_SKILL not in request.skills:
        raise bad_request(f"{BASE_SKILL} is required")
    _free(session, request, publication.digest)
    for delegate in delegates:
        if delegate.problem:
            raise bad_request(delegate.problem)
        if delegate.warning:
            warnings.append(delegate.warning)
    _unambiguous(request, delegates)
    _tags(session, request, own)
    if request.expected_digest and request.expected_digest != publication.digest:
        raise bad_request(
            "The document has another digest than expected", digest=publication.digest
        )
    return _Checked(publication, own, delegates, warnings)


def _scope(caller: Caller, request: PublishRequest, own: ExpertRow | None) -> None:
    mine = own is not None and own.organization == caller.organization
    scope = "publish-update" if mine else "publish-new"
    if own is not None and not mine:
        return  # whose it is will be said
    if not caller.may(scope):
        raise Refused(403, f"The key lacks the scope {scope}")
    if not caller.may(scope, request.name):
        raise Refused(403, f"The key is not for {request.name}")


def _naming(caller: Caller, name: str) -> None:
    scope = scope_of(name)
    if caller.organization_type == "team":
        if scope is None or scope != f"@{caller.organization_name}":
            raise bad_request("Expert name must be scoped")
    elif scope is not None:
        raise bad_request("Expert name cannot be scoped")


def _free(session: Session, request: PublishRequest, digest: str) -> None:
    there = experts.by_precedence(session, request.name, precedence(parse_version(request.version)))
    if there is None:
        return
    reason = f"Version {request.version} is already published"
    if there.version.digest == digest and there.version.unpublished_at is None:
        # who tries again after a lost answer learns that it was kept
        published = date(there.version.published_at)
        raise bad_request(reason, identical=True, digest=digest, publishedAt=published)
    raise bad_request(reason)


def _delegates(
    session: Session, request: PublishRequest, caller: Caller, private: bool
) -> list[_Delegate]:
    specs = request.delegate_specs or request.delegates
    return [
        _delegate(session, sent, spec, caller, private)
        for sent, spec in zip(request.delegates, specs, strict=True)
    ]


def _delegate(session: Session, sent: str, spec: str, caller: Caller, private: bool) -> _Delegate:
    what = asked(sent)
    found = experts.find(session, what)
    kind = what.spec.kind
    stored = sent
    if kind == "number" and found is not None:
        named = experts.by_tag(session, what.spec.name, what.spec.selector or "")
        kind = "tag" if named is not None else "range"
    if kind in ("range", "number", "digest") and found is not None:
        kind, stored = "version", found.key
    delegate = _Delegate(sent=sent, spec=spec, what=what, stored=stored, kind=kind, found=found)
    missing = replace(delegate, found=None, problem=f"Delegate expert not found: {sent}")
    if found is None or not found.version.is_there:
        return missing
    target = found.expert
    if target.is_private and not (private and target.organization == caller.organization):
        return missing
    if found.version.status == "disabled":
        return replace(delegate, problem=f"Delegate expert is disabled: {sent}")
    if spec != sent and not _selects(asked(spec), found):
        return replace(delegate, problem=f"Delegate {sent} is not what {spec} selects")
    if found.version.status == "deprecated":
        return replace(delegate, warning=f"Delegate expert is deprecated: {found.key}")
    return delegate


def _selects(what: Asked, found: Found) -> bool:
    """Whether a spec can have led to this version. A tag may have moved since."""
    if what.spec.name != found.expert.name:
        return False
    selector = what.spec.selector or ""
    match what.spec.kind:
        case "version":
            return what.precedence == found.version.precedence
        case "digest":
            return selector == found.version.digest
        case "range":
            return parse_range(selector).selects(parse_version(found.version.version))
        case "latest" | "tag" | "number":
            return True


def _document(request: PublishRequest, delegates: list[_Delegate]) -> bytes:
    stored = tuple(delegate.stored for delegate in delegates)
    if stored != request.delegates:
        request = msgspec.structs.replace(
            request,
            delegates=stored,
            delegate_specs=tuple(delegate.spec for delegate in delegates),
        )
    try:
        return document_of_request(request)
    except (ValueError, RecursionError) as error:
        raise invalid(
            Issue((), "invalid_json", f"There is no canonical form of it: {error}")
        ) from error


def _unambiguous(request: PublishRequest, delegates: list[_Delegate]) -> None:
    names: dict[str, str] = {}
    tools: dict[str, str] = {}
    for delegate in delegates:
        name = delegate.what.spec.name
        for kind, seen in ((name, names), (short_of(name), tools)):
            if kind in seen:
                raise bad_request(f"Delegates are ambiguous: {seen[kind]} and {delegate.sent}")
            seen[kind] = delegate.sent
        if name == request.name and delegate.what.precedence == precedence(
            parse_version(request.version)
        ):
            raise bad_request(f"Expert cannot delegate to itself: {delegate.sent}")


def _tags(session: Session, request: PublishRequest, own: ExpertRow | None) -> None:
    for tag in request.tags:
        refuse_number(session, own, tag)


def refuse_number(session: Session, own: ExpertRow | None, tag: str) -> None:
    """A tag of digits only would be mistaken for a range; those that exist may move."""
    if tag.isdigit() and (own is None or experts.holder_of_tag(session, own.n, tag) is None):
        raise bad_request(f"Tag {tag} consists of digits only")
