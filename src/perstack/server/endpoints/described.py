"""What the routes of the core are about, for the API's description. Routes of extensions say so themselves."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from perstack._value import Value
from perstack.registry import (
    DOCUMENT_TYPE,
    PREFIX,
    Deprecation,
    ExpertDigest,
    PublishRequest,
    RegistryExpert,
    Status,
    Visibility,
)

from ..identity.keys import OrganizationType, Role, Scope
from ..queries.experts import SORTED_BY
from ..wire.openapi import About, Parameter


class OneExpert(Value, frozen=True):
    expert: RegistryExpert


class Versions(Value, frozen=True):
    versions: tuple[ExpertDigest, ...]
    latest: str


class Experts(Value, frozen=True):
    experts: tuple[RegistryExpert, ...]


class Published(Value, frozen=True):
    """document, digest: of a dry run, in place of the Expert."""

    expert: RegistryExpert | msgspec.UnsetType = msgspec.UNSET
    digest: str = ""
    document: Any = None


class Update(Value, frozen=True):
    """tags: instead of those the version has."""

    status: Status = "available"
    tags: tuple[str, ...] = ()
    deprecation: Deprecation = Deprecation()


class Tags(Value, frozen=True):
    """Version by tag."""

    tags: dict[str, str]


class TagMove(Value, frozen=True):
    version: str


class SettingsChange(Value, frozen=True):
    visibility: Visibility = "public"
    latest_policy: Literal["published", "highest-stable"] = "published"
    trusted_only: bool = False


class SettingsNow(Value, frozen=True):
    name: str
    visibility: Visibility
    latest_policy: Literal["published", "highest-stable"]
    trusted_only: bool


class ExpertSettings(Value, frozen=True):
    settings: SettingsNow


class Transfer(Value, frozen=True):
    """One of the three."""

    to: str = ""
    accept: bool = False
    withdraw: bool = False


class TransferState(Value, frozen=True):
    name: str
    state: Literal["offered", "withdrawn", "accepted"]


class Transferred(Value, frozen=True):
    transfer: TransferState


class Key(Value, frozen=True):
    """key: the key itself, only when it is made."""

    id: str
    prefix: str
    name: str
    organization_id: str
    scopes: tuple[Scope, ...]
    patterns: tuple[str, ...]
    networks: tuple[str, ...]
    created_at: str
    expires_at: str
    account_id: str = ""
    revoked_at: str = ""
    used_at: str = ""
    key: str = ""


class OneKey(Value, frozen=True):
    key: Key


class Keys(Value, frozen=True):
    keys: tuple[Key, ...]


class NewKey(Value, frozen=True):
    name: str
    scopes: tuple[Scope, ...] = ()
    patterns: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    expires_in_days: int = 90
    account: str = ""
    organization: str = ""


class Organization(Value, frozen=True):
    type: Literal["organization"]
    id: str
    organization_type: OrganizationType
    status: str
    created_at: str
    name: str = ""


class OneOrganization(Value, frozen=True):
    organization: Organization


class Organizations(Value, frozen=True):
    organizations: tuple[Organization, ...]


class NewOrganization(Value, frozen=True):
    name: str
    type: OrganizationType = "team"
    owner: str = ""


class Account(Value, frozen=True):
    id: str
    name: str


class Whoami(Value, frozen=True):
    key: Key
    organization: Organization
    scopes: tuple[Scope, ...]
    admin: bool
    account: Account | msgspec.UnsetType = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET


class Member(Value, frozen=True):
    account_id: str
    account: str
    role: Role
    since: str


class OneMember(Value, frozen=True):
    member: Member


class Members(Value, frozen=True):
    members: tuple[Member, ...]


class RoleChange(Value, frozen=True):
    role: Role


class AuditRow(Value, frozen=True):
    seq: int
    at: str
    address: str
    action: str
    target: str
    previous: str
    hash: str
    account_id: str = ""
    key_id: str = ""
    subject: str = ""
    before: Any = None
    after: Any = None


class Audit(Value, frozen=True):
    audit: tuple[AuditRow, ...]


_PAGE = (Parameter("take", "", int, 1, 100), Parameter("skip", "", int, 0))
_EXPERT = "/experts/{key}"
_ORG = "/orgs/{org}"

ABOUT: dict[tuple[str, str], About] = {
    ("GET", _EXPERT): About(
        text="One version: by name, tag, version, range or digest.", answer=OneExpert
    ),
    ("GET", f"{_EXPERT}/versions"): About(
        text="All versions, the newest first.", query=_PAGE, answer=Versions
    ),
    ("GET", "/experts"): About(
        text="Each Expert in its latest version.",
        query=(
            *_PAGE,
            Parameter("filter", "Beginning of the name."),
            Parameter("organizationId"),
            Parameter("sort", "", tuple(SORTED_BY)),
            Parameter("order", "", ("asc", "desc")),
        ),
        answer=Experts,
    ),
    ("POST", "/experts"): About(
        text="Publishes a version. A number is given once, for ever.",
        body=PublishRequest,
        query=(Parameter("dryRun", "Checks everything and keeps nothing.", ("true", "false")),),
        answer=Published,
        auth=True,
        may=(400,),
    ),
    ("POST", _EXPERT): About(
        text="Changes status, tags or deprecation note of a version.",
        body=Update,
        answer=OneExpert,
        auth=True,
        may=(400,),
    ),
    ("DELETE", _EXPERT): About(
        text="Unpublishes an exact version. Its number stays taken.", auth=True, may=(400, 422)
    ),
    ("GET", f"{_EXPERT}/tags"): About(text="Version by tag.", answer=Tags),
    ("PUT", f"{_EXPERT}/tags/{{tag}}"): About(
        text="Moves one tag.", body=TagMove, answer=Tags, auth=True, may=(400,)
    ),
    ("DELETE", f"{_EXPERT}/tags/{{tag}}"): About(
        text="Removes one tag.", auth=True, may=(400, 422)
    ),
    ("POST", f"{_EXPERT}/settings"): About(
        text="Makes a private Expert public, says where `latest` points, or that only jobs publish it.",
        body=SettingsChange,
        answer=ExpertSettings,
        auth=True,
        may=(400,),
    ),
    ("POST", f"{_EXPERT}/transfer"): About(
        text="Offers an Expert to another organization, withdraws the offer, or accepts it.",
        body=Transfer,
        answer=Transferred,
        auth=True,
        may=(400,),
    ),
    ("GET", "/documents/sha256/{hex}"): About(
        text="The document with this digest, for ever the same bytes.",
        answer=bytes,
        kind=DOCUMENT_TYPE,
    ),
    ("GET", "/whoami"): About(
        text="Whose key this is, and what it may do.", answer=Whoami, auth=True
    ),
    ("GET", "/keys"): About(
        text="The keys of an organization.",
        query=(Parameter("organization", "For administrators."),),
        answer=Keys,
        auth=True,
        may=(404,),
    ),
    ("POST", "/keys"): About(
        text="Makes a key, told this once.", body=NewKey, answer=OneKey, auth=True, may=(400, 404)
    ),
    ("DELETE", "/keys/{id}"): About(text="Takes a key back.", auth=True, may=(400,)),
    ("GET", "/orgs"): About(text="One's organizations.", answer=Organizations, auth=True),
    ("POST", "/orgs"): About(
        text="Makes an organization.",
        body=NewOrganization,
        answer=OneOrganization,
        auth=True,
        may=(400,),
    ),
    ("GET", f"{_ORG}/members"): About(text="Who belongs to it.", answer=Members, auth=True),
    ("GET", f"{_ORG}/members/{{account}}"): About(text="A member.", answer=OneMember, auth=True),
    ("POST", f"{_ORG}/members/{{account}}"): About(
        text="Makes an account a member, or changes its role.",
        body=RoleChange,
        answer=OneMember,
        auth=True,
        may=(400,),
    ),
    ("DELETE", f"{_ORG}/members/{{account}}"): About(
        text="Removes a member.", auth=True, may=(400,)
    ),
    ("GET", f"{_ORG}/audit"): About(
        text="What was done, oldest first.",
        query=(
            Parameter("since", "A `seq`.", int, 0),
            Parameter("take", "", int, 1, 1000),
            Parameter("actor", "Id of an account or key."),
            Parameter("action"),
        ),
        answer=Audit,
        auth=True,
    ),
}
"""By method and pattern below the prefix."""


def about(method: str, pattern: str) -> About | None:
    """What a route of the core is about."""
    return ABOUT.get((method, pattern.removeprefix(PREFIX)))
