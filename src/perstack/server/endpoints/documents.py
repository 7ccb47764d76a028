"""Documents by their digest: the bytes that were hashed, for ever the same."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from perstack.registry import DOCUMENT_TYPE, PREFIX

from ..queries import experts
from ..wire.http import (
    FOR_EVER,
    PRIVATE_FOR_EVER,
    Request,
    Response,
    not_found,
    not_modified,
    unchanged,
)
from ..wire.routing import Route
from .asking import may_get, reader

if TYPE_CHECKING:
    from ..app import Context

_HEX = re.compile(r"[0-9a-f]{64}")


async def get(request: Request, context: Context) -> Response:
    found_hex = request.params["hex"]
    caller = await reader(request, context)
    if not _HEX.fullmatch(found_hex):
        raise not_found("Document not found")
    digest = f"sha256:{found_hex}"
    found = await context.repository.read(lambda session: experts.by_digest(session, digest))
    if found is None or not may_get(caller, found):
        raise not_found("Document not found")
    cache = PRIVATE_FOR_EVER if found.expert.is_private else FOR_EVER
    if found.version.quarantined_at is not None:
        cache = "private, no-store"
    etag = f'"{digest}"'
    context.tally.fetched(found.expert.n, context.now())
    packed = base64.b64encode(bytes.fromhex(found_hex)).decode()
    headers = {"repr-digest": f"sha-256=:{packed}:"}
    if unchanged(request, etag):
        return not_modified(etag, cache, headers)
    body = await context.repository.read(lambda session: experts.document(session, digest))
    if body is None:
        raise not_found("Document not found")
    return Response(body, kind=DOCUMENT_TYPE, cache=cache, etag=etag, headers=headers)


ROUTES = (Route("GET", f"{PREFIX}/documents/sha256/{{hex}}", get),)
