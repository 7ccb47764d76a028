"""What is there for a caller, how long an answer may be kept, and what the query of a request says."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec

from ..endpoints.asking import may_get, may_see
from ..identity.keys import Caller
from ..queries import experts
from ..queries.experts import Asked
from ..storage.repository import Session
from ..storage.rows import ExpertRow, Found
from ..wire.http import PRIVATE, Issue, Request, invalid, not_found

if TYPE_CHECKING:
    from ..app import Context


def seen_expert(session: Session, name: str, caller: Caller | None) -> ExpertRow:
    """The Expert of this name. Raises Refused (404)."""
    found = experts.expert(session, name)
    if found is None or not may_see(caller, found):
        raise not_found()
    return found


def seen_version(session: Session, what: Asked, caller: Caller | None) -> Found:
    """The version that is meant. Raises Refused (404)."""
    found = experts.find(session, what)
    if found is None or not may_get(caller, found):
        raise not_found()
    return found


def cache_of(
    request: Request, context: Context, public: str, expert: ExpertRow | None = None
) -> str:
    """`public`, unless the answer depends on whose key came with the request."""
    open_to_all = context.settings.anonymous_read and not (expert and expert.is_private)
    return public if open_to_all and request.kept.get("auth") != "valid" else PRIVATE


class Cursor(msgspec.Struct, frozen=True):
    """Where the next page of a long answer begins."""

    at: int


def cursor_after(at: int) -> str:
    """An opaque text for the client."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(Cursor(at))).decode().rstrip("=")


def cursor_in(request: Request) -> int | None:
    """What the `cursor` of a request says; None on the first page. Raises Refused (422)."""
    text = request.query.get("cursor", "")
    if not text:
        return None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        at = msgspec.msgpack.decode(data, type=Cursor).at
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        at = -1
    if not 0 <= at < 2**53:
        raise invalid(
            Issue(("cursor",), "invalid_cursor", "Give the cursor of an answer, as it is")
        )
    return at


def number_in(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query. Raises Refused (422)."""
    text = request.query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not least <= int(text) <= most:
        raise invalid(Issue((name,), "invalid_number", f"Must be a number from {least} to {most}"))
    return int(text)


def one_of(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """One of `choices`, the first if nothing was asked for. Raises Refused (422)."""
    text = request.query.get(name, "") or choices[0]
    if text not in choices:
        raise invalid(Issue((name,), "invalid_value", f"Expected {' or '.join(choices)}"))
    return text
