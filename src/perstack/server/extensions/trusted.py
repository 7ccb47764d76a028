"""Trusted publishing: a job of CI publishes without a stored key.

An owner says which workflow of which repository an Expert trusts. A job of it shows the token that its CI signed,
and gets a key for a quarter of an hour, for the Experts that trust it. An Expert may be closed to all other keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from perstack._value import Value
from perstack.registry import PREFIX

from ..app import Extension, Publication
from ..endpoints.access import demand, note_failure, required
from ..endpoints.asking import act_of, name_of
from ..endpoints.described import OneKey
from ..endpoints.keys import key_said
from ..identity.issuers import (
    KNOWN,
    Unfit,
    identity_of,
    issuers_of,
    repository_fault,
    workflow_fault,
    workflow_path,
)
from ..identity.keys import Caller
from ..queries import trusted
from ..queries.trusted import Publisher
from ..settings import Settings
from ..storage.repository import Session
from ..wire.http import Refused, Request, Response, answered, invalid
from ..wire.openapi import About
from ..wire.reading import Reading, printable
from ..wire.routing import Route
from ..wire.telling import date
from ..writes.holders import NewKey, check_grant
from ..writes.trusting import SCOPES, add_publisher, check_name, exchange, remove_publisher

if TYPE_CHECKING:
    from ..app import Context
    from ..identity.issuer_keys import IssuerKeys

NEVER = "no-store"
MAX_TOKEN = 16 * 1024

_keys: WeakKeyDictionary[Context, IssuerKeys] = WeakKeyDictionary()


class TrustedPublisher(Value, frozen=True):
    id: str
    issuer: str
    repository: str
    workflow: str
    created_at: str
    environment: str = ""
    owner_id: str = ""
    used_at: str = ""


class TrustedPublishers(Value, frozen=True):
    """trusted_only: whether stored keys are refused."""

    publishers: tuple[TrustedPublisher, ...]
    trusted_only: bool


class OnePublisher(Value, frozen=True):
    publisher: TrustedPublisher


class NewPublisher(Value, frozen=True):
    """issuer: its URL, `github` or `gitlab`. environment: empty for any, or none.

    owner_id: of the repository; else the first token says it.
    """

    issuer: str
    repository: str
    workflow: str
    environment: str = ""
    owner_id: str = ""


class Exchange(Value, frozen=True):
    """name: the Expert it shall be for; needed only where several organizations trust the publisher."""

    token: str
    name: str = ""


def opened(session: Session, settings: Settings) -> None:
    """Says at once what is wrong with the issuers. Raises UserError."""
    del session
    issuers_of(settings.oidc_issuers)


def keys_of(context: Context) -> IssuerKeys:
    """The keys of issuers, as this application knows them."""
    from ..identity.issuer_keys import IssuerKeys

    found = _keys.get(context)
    if found is None:
        _keys[context] = found = IssuerKeys()
    return found


async def list_publishers(request: Request, context: Context) -> Response:
    caller, name = await _keeper(request, context)

    def look(session: Session) -> TrustedPublishers:
        check_name(session, caller, name)
        found = trusted.publishers(session, caller.organization, name)
        return TrustedPublishers(
            publishers=tuple(_told(one) for one in found),
            trusted_only=trusted.is_trusted_only(session, name),
        )

    return answered({"data": await context.repository.read(look)})


async def add(request: Request, context: Context) -> Response:
    caller, name = await _keeper(request, context)
    body = await request.json()
    read = Reading(body)
    said = read.text("issuer", 511, least=1, required=True)
    issuer = issuers_of(context.settings.oidc_issuers).get(KNOWN.get(said, said))
    if issuer is None and not read.issues:
        read.wrong("issuer", "invalid_value", "This registry believes no such issuer")
    repository = read.text(
        "repository",
        255,
        required=True,
        check=lambda text: repository_fault(issuer.kind, text) if issuer else None,
    )
    workflow = read.text("workflow", 255, required=True, check=workflow_fault)
    environment = read.text("environment", 255, check=printable)
    owner_id = read.text("ownerId", 64, check=printable)
    if issuer is None or read.issues:
        raise invalid(*read.issues)
    _check_grant(caller, name)
    act = act_of(request, context, caller)
    path = workflow_path(issuer.kind, workflow)
    made = await context.repository.write(
        lambda session: add_publisher(
            session,
            act,
            name,
            issuer=issuer.url,
            repository=repository,
            workflow=path,
            environment=environment,
            owner_id=owner_id,
        )
    )
    return answered({"data": OnePublisher(publisher=_told(made))}, cache=NEVER)


async def remove(request: Request, context: Context) -> Response:
    caller, name = await _keeper(request, context)
    act, id = act_of(request, context, caller), request.params["id"]
    await context.repository.write(lambda session: remove_publisher(session, act, name, id))
    return answered({}, cache=NEVER)


async def _keeper(request: Request, context: Context) -> tuple[Caller, str]:
    """Who looks after the publishers of which name. Raises Refused."""
    caller = await required(request, context, "keys")
    name = name_of(request)
    demand(request, context, caller, "keys", name)
    return caller, name


def _check_grant(caller: Caller, name: str) -> None:
    """As for the key of a machine: nobody gives more than they have, or what outlives them. Raises Refused."""
    check_grant(caller, SCOPES, (name,))
    if "owners" not in caller.scopes and caller.account is not None:
        raise Refused(403, "The key lacks the scope owners")


def _told(publisher: Publisher) -> TrustedPublisher:
    return TrustedPublisher(
        id=publisher.id,
        issuer=publisher.issuer,
        repository=publisher.repository,
        workflow=publisher.workflow,
        created_at=date(publisher.created_at),
        environment=publisher.environment,
        owner_id=publisher.owner_id,
        used_at=date(publisher.used_at) if publisher.used_at is not None else "",
    )


async def post_exchange(request: Request, context: Context) -> Response:
    """`{token, name?}`: a key, for a token."""
    read = Reading(await request.json())
    token = read.text("token", MAX_TOKEN, least=1, required=True)
    name = read.text("name", 255)
    read.end()
    try:
        made = await _exchanged(request, context, token, name)
    except Refused as refused:
        if refused.status in (401, 403):
            note_failure(request, context, "exchange.refused")
        raise
    said: dict[str, Any] = key_said(made.key) | {"key": made.secret}
    return answered({"data": {"key": said}}, cache=NEVER)


async def _exchanged(request: Request, context: Context, token: str, name: str) -> NewKey:
    from ..identity.issuer_keys import IssuerUnreachable
    from ..identity.tokens import NotGenuine, claims_of

    settings, at = context.settings, context.now()
    issuers = issuers_of(settings.oidc_issuers)
    try:
        issuer, claims = await claims_of(token, issuers, keys_of(context), settings.url, at)
        identity = identity_of(issuer, claims, int(claims["exp"] * 1000))
    except (NotGenuine, Unfit) as bad:
        raise Refused(401, str(bad), headers={"WWW-Authenticate": "Bearer"}) from bad
    except IssuerUnreachable as error:
        raise Refused(503, f"The keys of the token's issuer cannot be had: {error}") from error
    return await context.repository.write(
        lambda session: exchange(session, identity, issuer.kind, name, request.address, at)
    )


def checks(session: Session, publication: Publication) -> Iterable[str]:
    """Raises Refused (403) for a stored key where only jobs may publish."""
    name, key = publication.request.name, publication.caller.key
    if trusted.is_trusted_only(session, name) and trusted.subject_of(session, key) is None:
        raise Refused(403, f"{name} is published by trusted publishers only")
    return ()


def published(session: Session, publication: Publication) -> None:
    trusted.note_provenance(session, publication.version, publication.caller.key)
    trusted.remove_others(session, publication.expert)


_PUBLISHERS = f"{PREFIX}/experts/{{key}}/trusted-publishers"

EXTENSION = Extension(
    opened=opened,
    checks=checks,
    published=published,
    changed=trusted.remove_others,
    routes=(
        Route(
            "GET",
            _PUBLISHERS,
            list_publishers,
            About(
                text="The workflows whose jobs may publish an Expert.",
                answer=TrustedPublishers,
                auth=True,
                may=(400,),
            ),
        ),
        Route(
            "POST",
            _PUBLISHERS,
            add,
            About(
                text="Lets jobs of a workflow publish an Expert, also one that is not published yet.",
                body=NewPublisher,
                answer=OnePublisher,
                auth=True,
                may=(400,),
            ),
        ),
        Route(
            "DELETE",
            f"{_PUBLISHERS}/{{id}}",
            remove,
            About(text="Trusts a workflow no longer.", auth=True, may=(400, 422)),
        ),
        Route(
            "POST",
            f"{PREFIX}/oidc/exchange",
            post_exchange,
            About(
                text="Exchanges the token of a CI job, once, for a key of 15 minutes.",
                body=Exchange,
                answer=OneKey,
                may=(403,),
            ),
        ),
    ),
)
