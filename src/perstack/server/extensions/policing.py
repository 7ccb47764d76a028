"""What is refused because of who asks how often, under which name, or with what in the text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import msgspec

from ..app import Extension, Publication
from ..identity.keys import Caller
from ..queries import experts, graph
from ..screening.limits import VERSIONS_OF_AN_EXPERT, Buckets, rates_of
from ..screening.names import name_fault
from ..screening.scan import scan
from ..settings import Settings
from ..storage.repository import Session
from ..storage.rows import VersionRow
from ..wire.http import Refused, Request, bad_request

if TYPE_CHECKING:
    from ..app import Context

_buckets: WeakKeyDictionary[Context, Buckets] = WeakKeyDictionary()


class Policy(msgspec.Struct, frozen=True, rename="camel"):
    """What an organization wants for what it publishes itself. block_critical: refuse critical findings."""

    block_critical: bool = False


QUOTAS = "quotas"


def opened(session: Session, settings: Settings) -> None:
    """Says at once what is wrong with the rates, and notes whether there are quotas. Raises UserError."""
    on = b"on" if rates_of(settings.rate_limits) else b""
    session.run(
        "INSERT INTO settings (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        QUOTAS,
        on,
    )


def buckets_of(context: Context) -> Buckets:
    found = _buckets.get(context)
    if found is None:
        _buckets[context] = found = Buckets(rates_of(context.settings.rate_limits))
    return found


def admit(request: Request, context: Context, action: str, caller: Caller | None) -> None:
    """Raises Refused (429) with the seconds to wait."""
    whose = [f"address:{request.address}"]
    if caller is not None:
        whose = [f"key:{caller.key}", f"organization:{caller.organization}"]
        if caller.account is not None:
            whose.append(f"account:{caller.account}")
    _take(context, action, whose)
    if action == "publish-new" and caller is not None:
        _take(context, "names-a-day", [caller.organization])


def failed(request: Request, context: Context) -> None:
    """Raises Refused (429) to an address that keeps guessing."""
    _take(context, "authenticate", [request.address])


def _take(context: Context, action: str, whose: list[str]) -> None:
    wait = buckets_of(context).take(action, whose, context.now() / 1000)
    if wait:
        seconds = math.ceil(wait)
        raise Refused(
            429,
            f"Too many requests of this kind ({action}); try again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )


def checks(session: Session, publication: Publication) -> Iterator[str]:
    """Names, numbers and texts. Raises Refused (400); what it only found it says."""
    name, organization = publication.request.name, publication.caller.organization
    before: bytes | None = None
    if publication.expert:
        _check_quota(session, publication.expert)
        newest = experts.newest(session, publication.expert)
        version: VersionRow | None = experts.by_n(session, newest).version if newest else None
        before = experts.document(session, version.digest) if version else None
    elif fault := name_fault(session, name, organization):
        raise bad_request(fault)
    found = scan(graph.parsed(publication.document), graph.parsed(before) if before else None)
    if (
        any(one.severity == "critical" for one in found)
        and _policy(session, organization).block_critical
    ):
        grave = [one for one in found if one.severity == "critical"]
        told = "; ".join(f"{one.path} {one.what}" for one in grave)
        raise bad_request(f"The policy of the organization does not let this be published: {told}")
    for one in found:
        yield f"{one.severity}: {one.path} {one.what}"


def _check_quota(session: Session, expert: int) -> None:
    on = session.one("SELECT value FROM settings WHERE name = ?", QUOTAS)
    if on is None or not bytes(on[0]):
        return
    row = session.one("SELECT count(*) FROM versions WHERE expert = ?", expert)
    if row and row[0] >= VERSIONS_OF_AN_EXPERT:
        raise bad_request(f"An Expert has at most {VERSIONS_OF_AN_EXPERT} versions")


def _policy(session: Session, organization: str) -> Policy:
    row = session.one("SELECT policy FROM organizations WHERE id = ?", organization)
    return msgspec.json.decode(row[0], type=Policy) if row else Policy()


EXTENSION = Extension(opened=opened, admit=admit, failed=failed, checks=checks)
