"""What several endpoints ask of a request: the key in its path, who may see what it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack.definition import EXPERT_KEY, EXPERT_NAME, MAX_KEY, MAX_NAME
from perstack.errors import UserError

from ..identity.keys import Caller, covers
from ..queries.experts import Asked, asked
from ..storage.rows import ExpertRow, Found
from ..wire.http import Issue, Refused, Request, invalid, not_found, unauthorized
from ..writes.changes import Act
from .access import actor_of, caller_of, note_failure

if TYPE_CHECKING:
    from ..app import Context


def key_of(request: Request, *, specs: bool = False) -> Asked:
    """The key in the path. specs: ranges and digests, too. Raises Refused: 422, 404 for a key nobody can have."""
    text = request.params["key"]
    if not specs and (not EXPERT_KEY.fullmatch(text) or len(text) > MAX_KEY):
        raise invalid(Issue(("key",), "invalid_string", "Invalid key"))
    try:
        return asked(text)
    except UserError as error:
        raise not_a_key(text, error) from error


def not_a_key(text: str, error: UserError) -> Refused:
    """404 for what is a key by its form, but of nothing that can be published; else 422."""
    name = text[:at] if (at := text.find("@", 1)) > 0 else text
    if EXPERT_KEY.fullmatch(text) and len(text) <= MAX_KEY and len(name) <= MAX_NAME:
        return not_found()
    return invalid(Issue(("key",), "invalid_string", str(error)))


def name_of(request: Request) -> str:
    """The name in the path; a version or tag behind it does not count. Raises Refused."""
    text = request.params["key"]
    if not EXPERT_KEY.fullmatch(text) or len(text) > MAX_KEY:
        raise invalid(Issue(("key",), "invalid_string", "Invalid key"))
    at = text.find("@", 1)
    name = text if at < 0 else text[:at]
    if not EXPERT_NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise not_found()
    return name


async def reader(request: Request, context: Context) -> Caller | None:
    """Who reads. Raises Refused (401) where nobody may without a key."""
    caller = await caller_of(request, context)
    if caller is None and not context.settings.anonymous_read:
        if request.header(b"authorization"):  # who only looks is not worth a row
            note_failure(request, context, "unauthenticated")
        raise unauthorized()
    return caller


def may_see(caller: Caller | None, expert: ExpertRow) -> bool:
    """Whether an Expert is there at all, for this caller."""
    return not expert.is_private or owns(caller, expert)


def may_get(caller: Caller | None, found: Found) -> bool:
    """Whether this version is there. Owners see what is quarantined; nobody sees a tombstone."""
    if found.version.unpublished_at is not None or not may_see(caller, found.expert):
        return False
    return found.version.is_there or owns(caller, found.expert)


def owns(caller: Caller | None, expert: ExpertRow) -> bool:
    """Whether the caller sees what is private about this Expert."""
    return (
        caller is not None
        and caller.organization == expert.organization
        and "read" in caller.scopes
        and covers(caller.patterns, expert.name)
    )


def act_of(request: Request, context: Context, caller: Caller) -> Act:
    return Act(context=context, caller=caller, actor=actor_of(request), at=context.now())
