"""What one may want to know before relying on an Expert: dependents, differences, numbers, findings."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff
from functools import lru_cache
from typing import TYPE_CHECKING

from perstack.errors import UserError
from perstack.lock import changes, widens
from perstack.registry import (
    PREFIX,
    Day,
    Dependent,
    Dependents,
    Diff,
    Finding,
    Findings,
    Stats,
    expert_of,
)

from ..app import Extension
from ..endpoints.asking import key_of, name_of, reader
from ..queries import experts, graph
from ..queries.experts import asked
from ..screening.names import more_used_alike
from ..screening.scan import scan
from ..storage.repository import Session
from ..storage.rows import ExpertRow, Found
from ..wire.http import (
    PUBLIC_EXACT,
    PUBLIC_LIST,
    Issue,
    Request,
    Response,
    answered,
    invalid,
    not_found,
    validated,
)
from ..wire.openapi import About, Parameter
from ..wire.routing import Route
from .seeing import cache_of, cursor_after, cursor_in, number_in, seen_expert, seen_version

if TYPE_CHECKING:
    from ..app import Context

STATS_DAYS = 90
DIFF_LINES = 2000
"""Instructions with more lines than this are told as one that went and one that came."""


async def dependents(request: Request, context: Context) -> Response:
    what = key_of(request)
    caller = await reader(request, context)
    take = number_in(request, "take", 50, 1, 100)
    below = cursor_in(request)

    def find(session: Session) -> tuple[ExpertRow, list[graph.Leading]]:
        expert = seen_expert(session, what.spec.name, caller)
        pin = None if what.spec.kind == "latest" else seen_version(session, what, caller).version
        return expert, graph.dependents(session, expert, pin, caller, below=below, take=take + 1)

    expert, rows = await context.repository.read_slowly(find)
    page = rows[:take]
    said = Dependents(
        dependents=tuple(
            Dependent(key=one.found.key, spec=one.spec, status=one.found.version.status)
            for one in page
        ),
        cursor=cursor_after(page[-1].found.version.n) if len(rows) > take else "",
    )
    cache = cache_of(request, context, PUBLIC_LIST, expert)
    return validated(request, answered({"data": said}, cache=cache))


async def diff(request: Request, context: Context) -> Response:
    name = name_of(request)
    caller = await reader(request, context)
    ends = [request.query.get(end, "") for end in ("from", "to")]
    for end, text in zip(("from", "to"), ends, strict=True):
        if not text:
            raise invalid(Issue((end,), "missing", "Name a version or a tag"))

    def find(session: Session) -> tuple[ExpertRow, Diff]:
        expert = seen_expert(session, name, caller)
        sides: list[tuple[Found, bytes]] = []
        for text in ends:
            key = f"{name}@{text}"
            found = seen_version(session, key_of_text(key), caller)
            sides.append((found, document(session, found)))
        return expert, difference(*sides)

    expert, said = await context.repository.read_slowly(find)
    return validated(
        request, answered({"data": said}, cache=cache_of(request, context, PUBLIC_LIST, expert))
    )


def key_of_text(text: str) -> experts.Asked:
    """Raises Refused (422)."""
    try:
        return asked(text)
    except UserError as error:
        raise invalid(Issue(("from",), "invalid_string", str(error))) from error


def document(session: Session, found: Found) -> bytes:
    """Raises Refused (404)."""
    body = experts.document(session, found.version.digest)
    if body is None:
        raise not_found("Document not found")
    return body


def difference(before: tuple[Found, bytes], after: tuple[Found, bytes]) -> Diff:
    """How two versions differ, in what they may touch and in words."""
    old, new = expert_of(before[1]), expert_of(after[1])
    told = changes(old, new)
    return Diff(
        before=before[0].key,
        after=after[0].key,
        widens=widens(told),
        changes=told,
        instruction=_unified(old.instruction, new.instruction),
    )


def _unified(old: str, new: str) -> str:
    """A unified diff; empty if nothing differs."""
    before, after = old.splitlines(), new.splitlines()
    if old == new:
        return ""
    if len(before) + len(after) > DIFF_LINES:
        return "\n".join((*(f"-{line}" for line in before), *(f"+{line}" for line in after), ""))
    return "\n".join((*unified_diff(before, after, lineterm="", n=3), ""))


async def stats(request: Request, context: Context) -> Response:
    name = name_of(request)
    caller = await reader(request, context)
    now = context.now()

    def find(session: Session) -> tuple[ExpertRow, Stats]:
        expert = seen_expert(session, name, caller)
        days = graph.fetches(session, expert.n, now, STATS_DAYS)
        row = session.one("SELECT dependents FROM experts WHERE n = ?", expert.n)
        return expert, Stats(
            days=tuple(Day(day=day, fetches=count) for day, count in days),
            fetches=sum(count for _, count in days),
            dependents=row[0] if row else 0,
        )

    expert, said = await context.repository.read(find)
    return validated(
        request, answered({"data": said}, cache=cache_of(request, context, PUBLIC_LIST, expert))
    )


async def findings(request: Request, context: Context) -> Response:
    what = key_of(request)
    caller = await reader(request, context)

    def find(session: Session) -> tuple[Found, tuple[Finding, ...]]:
        found = seen_version(session, what, caller)
        return found, findings_of(session, found)

    found, told = await context.repository.read_slowly(find)
    said = Findings(key=found.key, findings=told)
    cache = cache_of(request, context, PUBLIC_EXACT, found.expert)
    return validated(request, answered({"data": said}, cache=cache))


def findings_of(session: Session, found: Found) -> tuple[Finding, ...]:
    """What was found in a version, compared with the one before it, and in its name, compared with all others."""
    earlier = graph.before(session, found.version)
    before = experts.document(session, earlier.digest) if earlier else None
    return (*_scanned(document(session, found), before), *_name_findings(session, found.expert))


def _name_findings(session: Session, expert: ExpertRow) -> Iterator[Finding]:
    """Nothing of private names, which nobody takes for others."""
    if not expert.is_private and (other := more_used_alike(session, expert)):
        what = f"can be mistaken for {other}, which is used more and belongs to somebody else"
        yield Finding(code="similar-name", severity="warning", path="name", what=what)


@lru_cache(maxsize=512)
def _scanned(body: bytes, before: bytes | None) -> tuple[Finding, ...]:
    return scan(graph.parsed(body), graph.parsed(before) if before else None)


_EXPERTS = f"{PREFIX}/experts/{{key}}"

EXTENSION = Extension(
    routes=(
        Route(
            "GET",
            f"{_EXPERTS}/dependents",
            dependents,
            About(
                text="Versions that delegate to an Expert; with a version in the key, those that pin it.",
                query=(
                    Parameter("take", "Default 50.", int, 1, 100),
                    Parameter("cursor", "Of the answer before."),
                ),
                answer=Dependents,
            ),
        ),
        Route(
            "GET",
            f"{_EXPERTS}/diff",
            diff,
            About(
                text="How two versions differ, and what the later one may touch that the earlier one may not.",
                query=(Parameter("from", "Version or tag."), Parameter("to", "Version or tag.")),
                answer=Diff,
            ),
        ),
        Route(
            "GET",
            f"{_EXPERTS}/stats",
            stats,
            About(
                text="How often it was fetched, by day, and how many depend on it.", answer=Stats
            ),
        ),
        Route(
            "GET",
            f"{_EXPERTS}/scan",
            findings,
            About(
                text="What was found in a version: hidden text, blobs and the like, and names easily mistaken.",
                answer=Findings,
            ),
        ),
    )
)
