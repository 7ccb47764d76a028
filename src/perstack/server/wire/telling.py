"""Rows as the wire says them.

A version's answer is its stored document with what can change put before it. So an exact read parses and renders
no JSON of the document, and what is answered is what was hashed. (Hence the member `schema`, which readers skip.)
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from ..storage.rows import ExpertRow, Found, VersionRow
from .http import told


@lru_cache(maxsize=4096)  # an owner's stands in each answer about what is theirs
def date(ms: int) -> str:
    """ISO 8601, UTC, with milliseconds."""
    when = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{when.isoformat()[:19]}.{ms % 1000:03d}Z"


def owner(expert: ExpertRow) -> dict[str, Any]:
    told: dict[str, Any] = {"name": expert.organization_name} if expert.organization_name else {}
    return told | {
        "organizationId": expert.organization,
        "createdAt": date(expert.organization_created_at),
    }


def _changing(found: Found) -> dict[str, Any]:
    """What an answer says of a version beside its document."""
    expert, version = found
    published = date(version.published_at)
    said: dict[str, Any] = {
        "type": "registryExpert",
        "id": version.id,
        "key": found.key,
        "owner": owner(expert),
        "createdAt": published,
        "updatedAt": date(version.updated_at),
        "status": version.status if version.quarantined_at is None else "disabled",
        "tags": found.tags,
        "digest": version.digest,
        "publishedAt": published,
        "log": {"index": version.log_index, "treeSize": version.log_index + 1},
        "publisher": version.publisher,
    }
    if expert.is_private:
        said["visibility"] = expert.visibility
    if version.deprecation:
        said["deprecation"] = msgspec.json.decode(version.deprecation)
    if version.quarantined_at is not None:
        said["quarantine"] = {
            "since": date(version.quarantined_at),
            "reason": version.quarantine_reason,
        }
    return said


def expert_json(found: Found, document: bytes) -> bytes:
    """A `RegistryExpert`."""
    return told(_changing(found))[:-1] + b"," + document[1:]


def answer_of(found: Found, document: bytes, meta: dict[str, Any] | None = None) -> bytes:
    """The body of an answer about one version."""
    more = b',"meta":' + told(meta) if meta else b""
    return b'{"data":{"expert":' + expert_json(found, document) + b"}" + more + b"}"


def digest_said(expert: ExpertRow, version: VersionRow) -> dict[str, Any]:
    """An `ExpertDigest`."""
    said = _changing(Found(expert, version))
    return {
        **{name: value for name, value in said.items() if name not in ("log", "publisher")},
        "type": "expertDigest",
        "name": expert.name,
        "version": version.version,
        "minRuntimeVersion": "v1.0",
        "description": version.description,
    }


def etag(found: Found) -> str:
    return f'"{found.version.digest[7:23]}-{found.revision}"'
