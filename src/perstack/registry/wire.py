"""What the registry's client and server say to each other: requests, answers, documents.

Wire names are camelCase and optional members are left out, never null; readers skip what they do not know. The
reference's client reads R1 to R6, so nothing it needs may change.

The *document* is what a version is: canonical JSON (RFC 8785) of what its author wrote, without ids, dates, status
or tags. Its SHA-256 is the version's digest. No default is filled in and nothing is normalised, so the same
request gives the same digest on every server.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from perstack._value import Value
from perstack.definition import Expert
from perstack.errors import RegistryError
from perstack.lock import canonical_json

PREFIX = "/api/registry/v1"
DOCUMENT_SCHEMA = "perstack.expert/1"
DOCUMENT_TYPE = "application/vnd.perstack.expert.v1+json"

Status = Literal["available", "deprecated", "disabled"]
Visibility = Literal["public", "private"]


class PublishRequest(Value, frozen=True):
    """R4, `POST /experts/`. skills: by name, as written. Members that are None or empty were not sent."""

    name: str
    version: str
    min_runtime_version: str
    description: str
    instruction: str
    skills: dict[str, dict[str, Any]]
    delegates: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    delegate_specs: tuple[str, ...] = ()
    provider_tools: tuple[str, ...] = ()
    provider_skills: tuple[dict[str, str], ...] = ()
    provider_tool_options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    visibility: Visibility = "public"
    set_latest: bool = True
    expected_digest: str = ""
    readme: str = ""
    repository: str = ""
    license: str = ""
    keywords: tuple[str, ...] = ()


def document_of_request(request: PublishRequest | RegistryExpert) -> bytes:
    """The canonical document that publishing this makes, or has made. Raises ValueError for what is no JSON."""
    document: dict[str, Any] = {
        "schema": DOCUMENT_SCHEMA,
        "name": request.name,
        "version": request.version,
        "minRuntimeVersion": request.min_runtime_version,
        "description": request.description,
        "instruction": request.instruction,
        "skills": request.skills,
        "delegates": list(request.delegates),
    }
    rare: dict[str, Any] = {
        "delegateSpecs": list(request.delegate_specs),
        "providerTools": list(request.provider_tools),
        "providerSkills": list(request.provider_skills),
        "providerToolOptions": request.provider_tool_options,
    }
    document |= {name: member for name, member in rare.items() if member}
    return canonical_json(document)


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    schema: str
    name: str
    version: str
    min_runtime_version: str
    description: str
    instruction: str
    skills: dict[str, dict[str, Any]]
    delegates: tuple[str, ...]
    delegate_specs: tuple[str, ...] = ()
    provider_tools: tuple[str, ...] = ()
    provider_skills: tuple[dict[str, str], ...] = ()
    provider_tool_options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


def expert_of(document: bytes) -> Expert:
    """The Definition that a document says, under its exact key.

    Its delegates are the author's specs where there are any, else the pins. Raises RegistryError.
    """
    try:
        found = msgspec.json.decode(document, type=_Document)
        if found.schema != DOCUMENT_SCHEMA:
            raise RegistryError(
                f"The document is of a kind this version does not know: {found.schema!r}."
            )
        return msgspec.convert(
            {
                "key": f"{found.name}@{found.version}",
                "name": found.name,
                "instruction": found.instruction,
                "version": found.version,
                "description": found.description,
                "minRuntimeVersion": found.min_runtime_version,
                "skills": found.skills,
                "delegates": found.delegate_specs or found.delegates,
                "providerTools": found.provider_tools,
                "providerSkills": found.provider_skills,
                "providerToolOptions": found.provider_tool_options,
            },
            Expert,
        )
    except msgspec.MsgspecError as error:
        raise RegistryError(f"The document is no Definition: {error}.") from error


class Owner(Value, frozen=True):
    """An organization. created_at: when it was made."""

    organization_id: str
    created_at: str
    name: str | None = None


class LogPlace(Value, frozen=True):
    """Where the transparency log has this version. index: from 0."""

    index: int
    tree_size: int


class Deprecation(Value, frozen=True):
    """Why not to use a version any more, and what to use instead (a key)."""

    message: str = ""
    replacement: str = ""


class ExpertDigest(Value, frozen=True):
    """A version without its instruction, skills and delegates. Dates: ISO 8601, UTC, with milliseconds."""

    id: str
    key: str
    name: str
    min_runtime_version: str
    description: str
    owner: Owner
    created_at: str
    updated_at: str
    tags: tuple[str, ...]
    type: Literal["expertDigest"]
    version: str = ""
    status: Status = "available"
    digest: str = ""


class RegistryExpert(Value, frozen=True):
    """A version, whole. tags: sorted, `latest` first. Members with defaults are additions of ours."""

    type: Literal["registryExpert"]
    id: str
    key: str
    name: str
    min_runtime_version: str
    description: str
    owner: Owner
    created_at: str
    updated_at: str
    version: str
    status: Status
    instruction: str
    skills: dict[str, dict[str, Any]]
    delegates: tuple[str, ...]
    tags: tuple[str, ...]
    digest: str = ""
    published_at: str = ""
    delegate_specs: tuple[str, ...] = ()
    provider_tools: tuple[str, ...] = ()
    provider_skills: tuple[dict[str, str], ...] = ()
    provider_tool_options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    visibility: Visibility = "public"
    deprecation: Deprecation | None = None
    log: LogPlace | None = None
    publisher: str = ""


def index_path(name: str) -> str:
    """Where the index file of an Expert is, below the prefix: `/index/@acme/triage`, `/index/_/triage`."""
    return f"/index/{name if name.startswith('@') else f'_/{name}'}"


class IndexLine(Value, frozen=True):
    """One version in the sparse index (`GET /index/{scope or _}/{name}`). delegates: as their author wrote them.

    size: bytes of the document; log: index in the transparency log.
    """

    v: int
    name: str
    vers: str
    digest: str
    size: int
    delegates: tuple[str, ...]
    status: Status
    published_at: str
    log: int


class Resolution(Value, frozen=True):
    """What one spec turned out to mean."""

    key: str
    digest: str
    status: Status
    published_at: str


class Unresolved(Value, frozen=True):
    """A spec that means nothing. required_by: the key whose delegate it is, empty for a root."""

    spec: str
    reason: str
    required_by: str = ""


class ResolveRequest(Value, frozen=True):
    """`POST /resolve`. roots: specs; locked: by spec, the version to keep if it still fits.

    proofs: whether to say with each version how the log holds it.
    """

    roots: tuple[str, ...]
    locked: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    include: Literal["digests", "documents"] = "digests"
    proofs: bool = False
    min_release_age_seconds: int = 0
    prefer: Literal["highest", "locked"] = "locked"


class Resolved(Value, frozen=True):
    """The `data` of its answer. documents, proofs (as `render_proof` has them): by digest, if asked for."""

    resolutions: dict[str, Resolution]
    errors: tuple[Unresolved, ...] = ()
    documents: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict[str, msgspec.Raw])
    proofs: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class Refusal(Value, frozen=True):
    """The body of every answer that is not a success. reason: text, or what is wrong by place (422)."""

    code: int
    error: str
    reason: Any = None
    extensions: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    request_id: str = ""


ERRORS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    422: "Validation Failed",
    429: "Too Many Requests",
    451: "Unavailable",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
"""The fixed text of `Refusal.error` for each status."""
