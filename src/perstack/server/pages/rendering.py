"""From values to HTML: one template environment, the headers that all pages have, and Markdown made harmless.

Pages need no script, load nothing from elsewhere and may do nothing else: the Content-Security-Policy says so.
Everything that somebody wrote is escaped by the templates; only a readme becomes HTML, by way of a sanitiser.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..wire.http import PUBLIC_LIST, Request, Response, validated

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'"
)
HTML = "text/html; charset=utf-8"
ATOM = "application/atom+xml; charset=utf-8"

_HERE = Path(__file__).parent
_HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

READABLE = frozenset(
    (
        "a b blockquote br code del em h3 h4 h5 h6 hr i li ol p pre strong table tbody td th thead tr ul"
    ).split()
)
"""The elements a readme may have. No pictures: they would tell another server who reads."""


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    cache: str = PUBLIC_LIST,
    kind: str = HTML,
    **values: Any,
) -> Response:
    """One page with its validator, or 304."""
    text = _environment().get_template(template).render(values)
    said = Response(text.encode(), status=status, kind=kind, cache=cache, headers=_HEADERS)
    return validated(request, said) if status == 200 else said


def asset(request: Request, name: str, kind: str) -> Response:
    """A file of the pages that does not change while the server runs."""
    return validated(request, Response(_asset(name), kind=kind, cache="public, max-age=3600"))


@cache
def _asset(name: str) -> bytes:
    return (_HERE / name).read_bytes()


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"day": day, "instant": instant, "segment": segment, "count": counted}
    return made


def day(ms: int) -> str:
    """For people: 31 Jan 2026."""
    when = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{when.day} {_MONTHS[when.month - 1]} {when.year}"


def instant(ms: int) -> str:
    """For machines: 2026-01-31T09:30:00Z."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def segment(text: str) -> str:
    """As part of a path: a scope keeps its @ and its slash."""
    return quote(text, safe="@/")


def counted(number: int) -> str:
    return f"{number:,}".replace(",", " ")  # a space that is narrow, and does not break


@lru_cache(maxsize=256)
def markdown(text: str) -> str:
    """HTML of a readme: with no more than READABLE, its headings below those of the page."""
    import nh3
    from markdown_it import MarkdownIt

    tokens = (made := MarkdownIt("commonmark", {"html": False}).enable("table")).parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    html: str = made.renderer.render(tokens, made.options, {})
    return nh3.clean(
        html,
        tags=set(READABLE),
        attributes={"a": {"href"}},
        url_schemes={"https", "http", "mailto"},
        link_rel="nofollow noopener noreferrer",
    )
