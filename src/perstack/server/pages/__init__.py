"""The registry for people: pages made on the server, readable without script.

    /                          what is new, and a search
    /search?q=…                words and traits, facets
    /experts/{name}            an Expert in its latest version; /v/{version} in another; /versions; /diff?from=&to=
    /orgs/{org}                who publishes
    /feed.atom                 what was published last; /experts/{name}/feed.atom of one Expert

They show what everyone may see; whoever has a key for more uses the command line. `views` reads, `rendering` makes
HTML, the templates say how it looks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING

from perstack.definition import MAX_ORGANIZATION, ORGANIZATION, scope_of

from ..app import Extension
from ..endpoints.asking import key_of, name_of
from ..extensions.search import searched
from ..extensions.seeing import number_in
from ..queries import experts
from ..queries import organizations as orgs
from ..queries.experts import Asked, Listed, asked
from ..queries.organizations import Organization
from ..storage.repository import Session
from ..storage.rows import VERSION, VersionRow
from ..wire.http import Refused, Request, Response, not_found
from ..wire.routing import Handler, Route
from . import views
from .rendering import ATOM, asset, markdown, page

if TYPE_CHECKING:
    from ..app import Context

Page = Callable[[Request, "Context"], Awaitable[Response]]

PAGE = 50
NEWS = 50
_TITLES = {
    400: "That is too much for a page",
    401: "This registry is not open to everyone",
    404: "There is nothing here",
    422: "That cannot be read",
    429: "Too many requests",
}
_WAYS = {
    400: "It delegates to more Experts than a page can show. `perstack tree` shows them all.",
    401: "Reading it needs a key: `perstack login`, then use `perstack search` and `perstack info`.",
    404: "It may have been unpublished, or be private, or never have been. Search for it.",
    422: "Part of the address is not what this page expects.",
    429: "Wait a little, and try again.",
}


def _open(handler: Page) -> Handler:
    """`handler` for everyone, with refusals as pages."""

    @wraps(handler)
    async def shown(request: Request, context: Context) -> Response:
        try:
            if not context.settings.anonymous_read:
                raise Refused(401, "")
            return await handler(request, context)
        except Refused as refused:
            if refused.status not in _TITLES:
                raise
            said = page(
                request,
                "refused.html",
                status=refused.status,
                cache="no-store",
                title=_TITLES[refused.status],
                way=_WAYS[refused.status],
            )
            said.headers |= {name.lower(): value for name, value in refused.headers.items()}
            return said

    return shown


async def front(request: Request, context: Context) -> Response:
    def look(session: Session) -> tuple[list[Listed], list[Listed]]:
        newest, _ = experts.listed(session, take=12)
        rows = session.all("SELECT n FROM experts WHERE listed = 1 ORDER BY weight DESC LIMIT 6")
        used = [experts.by_n(session, _latest(session, row[0])) for row in rows]
        return newest, [Listed(one, b"") for one in used]

    newest, used = await context.repository.read_slowly(look)
    return page(request, "front.html", newest=newest, used=used)


def _latest(session: Session, expert: int) -> int:
    row = session.one("SELECT latest FROM experts WHERE n = ?", expert)
    assert row is not None  # it was just listed
    return row[0]


async def search(request: Request, context: Context) -> Response:
    found, total = await searched(request, context, None)
    kept = {name: value for name, value in request.query.items() if value and name != "cursor"}
    return page(
        request,
        "search.html",
        found=found,
        total=total,
        query=request.query.get("q", ""),
        kept=kept,
        chosen={name: kept[name] for name in _TRAITS if name in kept},
        sort=kept.get("sort", "relevance"),
    )


_TRAITS = ("scope", "skill", "package", "env", "tag", "status")


async def expert(request: Request, context: Context) -> Response:
    return await _expert(request, context, key_of(request, specs=True))


async def version(request: Request, context: Context) -> Response:
    return await _expert(
        request, context, _asked(f"{name_of(request)}@{request.params['version']}")
    )


async def _expert(request: Request, context: Context, what: Asked) -> Response:
    now = context.now()
    shown = await context.repository.read_slowly(lambda db: views.expert_page(db, what, now))
    return page(
        request,
        "expert.html",
        it=shown,
        readme=markdown(shown.about.readme) if shown.about.readme else "",
        url=context.settings.url,
        scope=scope_of(shown.found.expert.name) or "",
    )


async def versions(request: Request, context: Context) -> Response:
    name = name_of(request)
    skip = number_in(request, "skip", 0, 0, 10_000)
    it = await context.repository.read_slowly(lambda db: views.versions_page(db, name, skip))
    return page(request, "versions.html", it=it, skip=skip, take=views.VERSIONS)


async def diff(request: Request, context: Context) -> Response:
    name = name_of(request)
    ends = [request.query.get(end, "") for end in ("from", "to")]
    before, after = (_asked(f"{name}@{end}" if end else name) for end in ends)
    it = await context.repository.read_slowly(lambda db: views.diff_page(db, name, before, after))
    return page(request, "diff.html", it=it)


def _asked(text: str) -> Asked:
    """Raises Refused (404) for what nobody can have."""
    from perstack.errors import UserError

    try:
        return asked(text)
    except UserError as error:
        raise not_found() from error


async def organization(request: Request, context: Context) -> Response:
    name = request.params["org"]
    if not ORGANIZATION.fullmatch(name) or len(name) > MAX_ORGANIZATION:
        raise not_found()
    skip = number_in(request, "skip", 0, 0, 1_000_000)

    def look(session: Session) -> tuple[Organization, list[Listed], int]:
        found = orgs.organization_named(session, name)
        if found is None or found.status != "active":
            raise not_found()
        rows, total = experts.listed(
            session, organization=found.id, sort="name", descending=False, take=PAGE, skip=skip
        )
        return found, rows, total

    found, rows, total = await context.repository.read_slowly(look)
    return page(
        request, "organization.html", it=found, rows=rows, total=total, skip=skip, take=PAGE
    )


async def news(request: Request, context: Context) -> Response:
    rows, _ = await context.repository.read_slowly(
        lambda session: experts.listed(session, sort="createdAt", take=NEWS)
    )
    url = context.settings.url
    entries = [(row.found.expert.name, row.found.version) for row in rows]
    return page(
        request, "feed.xml", kind=ATOM, url=url, path="/feed.atom", title="New", entries=entries
    )


async def news_of_expert(request: Request, context: Context) -> Response:
    name = name_of(request)

    def look(session: Session) -> list[VersionRow]:
        found = views.seen_expert(session, name, None)
        rows = session.all(
            f"SELECT {VERSION} FROM versions v WHERE v.expert = ? AND v.unpublished_at IS NULL"
            " AND v.quarantined_at IS NULL ORDER BY v.n DESC LIMIT ?",
            found.n,
            NEWS,
        )
        return [VersionRow(*row) for row in rows]

    rows = await context.repository.read_slowly(look)
    return page(
        request,
        "feed.xml",
        kind=ATOM,
        url=context.settings.url,
        path=f"/experts/{name}/feed.atom",
        title=name,
        entries=[(name, row) for row in rows],
    )


async def style(request: Request, context: Context) -> Response:
    del context
    return asset(request, "style.css", "text/css; charset=utf-8")


async def icon(request: Request, context: Context) -> Response:
    del context
    return asset(request, "icon.svg", "image/svg+xml")


async def robots(request: Request, context: Context) -> Response:
    del request, context
    text = b"User-agent: *\nDisallow: /api/\nDisallow: /search\n"
    return Response(text, kind="text/plain; charset=utf-8", cache="public, max-age=3600")


EXTENSION = Extension(
    routes=(
        Route("GET", "/", _open(front)),
        Route("GET", "/search", _open(search)),
        Route("GET", "/feed.atom", _open(news)),
        Route("GET", "/experts/{key}", _open(expert)),
        Route("GET", "/experts/{key}/v/{version}", _open(version)),
        Route("GET", "/experts/{key}/versions", _open(versions)),
        Route("GET", "/experts/{key}/diff", _open(diff)),
        Route("GET", "/experts/{key}/feed.atom", _open(news_of_expert)),
        Route("GET", "/orgs/{org}", _open(organization)),
        Route("GET", "/assets/style.css", style),
        Route("GET", "/assets/icon.svg", icon),
        Route("GET", "/robots.txt", robots),
    )
)
