"""Search: words and traits, ranked by fit and use, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args
from weakref import WeakKeyDictionary

import msgspec

from perstack.registry import PREFIX, Facet, Facets, Owner, SearchFound, SearchHit, Status

from ..app import Extension, Publication
from ..endpoints.asking import may_see, reader
from ..identity.keys import Caller
from ..queries import popularity, search
from ..queries.search import Kind, Order
from ..storage.repository import Repository, Session
from ..storage.rows import Found
from ..wire.http import PUBLIC_LIST, Issue, Request, Response, answered, invalid, validated
from ..wire.openapi import About, Parameter
from ..wire.routing import Route
from ..wire.telling import date, owner
from .seeing import cache_of, cursor_after, cursor_in, number_in, one_of

if TYPE_CHECKING:
    from ..app import Context

MAX_QUERY = 256
ORDER_MS = 60_000
"""For how long the order of use is kept."""

FACETS = 20

_FILTERS: tuple[Kind, ...] = ("scope", "skill", "package", "env", "tag", "status")
_SORTS = ("relevance", "downloads", "updatedAt")

_orders: WeakKeyDictionary[Repository, Order] = WeakKeyDictionary()


async def find(request: Request, context: Context) -> Response:
    caller = await reader(request, context)
    found, total = await searched(request, context, caller)
    said = answered(
        {"data": found, "meta": {"total": total}}, cache=cache_of(request, context, PUBLIC_LIST)
    )
    return validated(request, said)


async def searched(
    request: Request, context: Context, caller: Caller | None
) -> tuple[SearchFound, int]:
    """One page of what the query of `request` finds, and how many there are in all. Raises Refused (422, 429)."""
    context.admit(request, "search", caller)
    words, traits = _asked(request)
    sort = one_of(request, "sort", _SORTS)
    take = number_in(request, "take", 20, 1, 100)
    start = cursor_in(request) or 0
    repository, now = context.repository, context.now()

    def look(session: Session) -> tuple[SearchFound, int]:
        own = _own(session, words, traits, caller)
        listed = search.matches(session, words, traits) if words or traits else None
        if sort == "updatedAt":
            chosen = search.newest(session, listed, search.RANKED)
        elif listed is None:
            chosen = search.most_used(session, search.RANKED)
        else:
            chosen = _order(session, repository, now).most_used(listed, search.RANKED)
            chosen += [n for n in search.named(session, words) if n in listed]
        total = search.count(session) if listed is None else len(listed)
        chosen = list(dict.fromkeys((*chosen, *own)))
        ranked = _ranked(session, words, chosen, own, sort)
        page = search.hits(session, ranked[start : start + take])
        more = start + take < len(ranked)
        places = [-n if n in own else n for n in ranked]
        found = SearchFound(
            experts=tuple(_hit(*hit) for hit in page if _there(hit[0], caller)),
            facets=Facets(
                scopes=_counted(session, "scope", places),
                packages=_counted(session, "package", places),
            ),
            cursor=cursor_after(start + take) if more else "",
        )
        return found, total + len(own)

    return await repository.read_slowly(look)


def _asked(request: Request) -> tuple[list[str], list[tuple[Kind, str]]]:
    """Words and traits. Raises Refused (422)."""
    query = request.query
    for name in ("q", *_FILTERS):
        if len(query.get(name, "")) > MAX_QUERY or "\0" in query.get(name, ""):
            raise invalid(Issue((name,), "too_big", f"At most {MAX_QUERY} characters are allowed"))
    words = list(dict.fromkeys(search.words_of(query.get("q", ""))))[: search.MAX_WORDS]
    if query.get("status"):
        one_of(request, "status", get_args(Status))
    traits: list[tuple[Kind, str]] = []
    for kind in _FILTERS:
        if query.get(kind):
            traits.append((kind, _as_kept(kind, query[kind])))  # noqa: PERF401 - keeps the type of kind
    return words, traits


def _as_kept(kind: Kind, value: str) -> str:
    match kind:
        case "scope":
            return value if value.startswith("@") else f"@{value}"
        case "package":
            return search.bare(value)
        case _:
            return value


def _own(
    session: Session, words: list[str], traits: list[tuple[Kind, str]], caller: Caller | None
) -> set[int]:
    """The private Experts among the matches that the caller may read."""
    if caller is None or not caller.may("read"):
        return set()
    rows = session.all(
        "SELECT n, name FROM experts WHERE organization = ? AND visibility = 'private'",
        caller.organization,
    )
    mine = {row[0] for row in rows if caller.may("read", row[1])}
    if not words and not traits:
        return mine
    return mine & set(search.matches(session, words, traits, private=True)) if mine else set()


def _order(session: Session, repository: Repository, now: int) -> Order:
    order = _orders.get(repository)
    if order is None or not 0 <= now - order.at < ORDER_MS:
        _orders[repository] = order = Order(session, now)
    return order


def _ranked(
    session: Session, words: list[str], chosen: list[int], own: set[int], sort: str
) -> list[int]:
    if sort == "updatedAt":
        found = [hit[0] for hit in search.hits(session, chosen)]
        found.sort(key=lambda one: (-one.version.updated_at, one.expert.name))
        return [one.expert.n for one in found]
    weights = search.weights(session, chosen)
    if sort == "downloads":
        return sorted(chosen, key=lambda n: (-weights.get(n, 0), -n))
    fits = search.relevance(session, words, [-n if n in own else n for n in chosen], weights)
    return sorted(fits, key=lambda n: (-fits[n], -weights.get(n, 0), -n))


def _there(found: Found, caller: Caller | None) -> bool:
    """What the index says may be older than the rows."""
    if not found.version.is_there or found.version.status == "disabled":
        return False
    return may_see(caller, found.expert)


def _counted(session: Session, kind: Kind, places: list[int]) -> tuple[Facet, ...]:
    most = search.facet(session, kind, places).most_common()
    ordered = sorted(
        ((name, count) for name, count in most if name), key=lambda pair: (-pair[1], pair[0])
    )
    return tuple(Facet(name=name, count=count) for name, count in ordered[:FACETS])


def _hit(found: Found, keywords: list[str], weight: int) -> SearchHit:
    expert, version = found
    return SearchHit(
        name=expert.name,
        key=found.key,
        version=version.version,
        description=version.description,
        owner=msgspec.convert(owner(expert), Owner),
        status=version.status,
        digest=version.digest,
        published_at=date(version.published_at),
        updated_at=date(version.updated_at),
        tags=tuple(found.tags),
        keywords=tuple(keywords),
        visibility=expert.visibility,
        weight=weight,
    )


def published(session: Session, publication: Publication) -> None:
    popularity.note_dependent(session, publication.expert, publication.version)
    search.index(session, publication.expert)


EXTENSION = Extension(
    routes=(
        Route(
            "GET",
            f"{PREFIX}/search",
            find,
            About(
                text="Experts that have every word of `q` and every trait asked for, each in its latest version.",
                query=(
                    Parameter(
                        "q", "Words, in names, descriptions, keywords, readmes and instructions."
                    ),
                    Parameter("scope", "For example @acme."),
                    Parameter("skill", "Name of a skill."),
                    Parameter("package", "That a skill runs, without a version."),
                    Parameter("env", "A variable that a skill asks for."),
                    Parameter("tag", "Of the latest version."),
                    Parameter("status", kind=get_args(Status)),
                    Parameter("sort", "Default relevance.", _SORTS),
                    Parameter("take", "Default 20.", int, 1, 100),
                    Parameter("cursor", "Of the answer before."),
                ),
                answer=SearchFound,
            ),
        ),
    ),
    published=published,
    changed=search.index,
)
