"""The pages as they are sent: what they show, what they keep to themselves, what they let nobody do."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import httpx
import pytest

from ..house import BASE, Registry

pytestmark = pytest.mark.anyio

VOID = {"meta", "link", "img", "input", "br", "hr", "rect"}

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<svg/onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "</pre></title><style>*{display:none}</style>",
    "\u202e\u2066javascript:alert(1)",
)


class Page(HTMLParser):
    """A page taken apart. Raises AssertionError where it is not well-formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.said: list[str] = []
        self.headings: list[int] = []
        self.feed(text)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        given = dict(attrs)
        if identity := given.get("id"):
            self.ids.append(identity)
        if tag == "a":
            self.links.append(given["href"] or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, tag
            assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


async def shown(registry: Registry, path: str, status: int = 200, **headers: str) -> Page:
    answer = await registry.http.get(path, headers=headers)
    assert answer.status_code == status, answer.text
    check_headers(answer)
    page = Page(answer.text)
    assert len(page.ids) == len(set(page.ids)), "an id is given twice"
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    return page


def check_headers(answer: httpx.Response) -> None:
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"].startswith("text/html; charset=utf-8")


def search_skill(**more: Any) -> dict[str, Any]:
    return {
        "type": "mcpStdioSkill",
        "description": "Web search",
        "command": "npx",
        "packageName": "@acme/search@1.4.2",
        "requiredEnv": ["SEARCH_API_KEY"],
        "allowedDomains": ["api.search.example"],
        "pick": ["search"],
    } | more


async def two_experts(registry: Registry) -> str:
    key = await registry.key("acme")
    await registry.publish(
        "@acme/researcher", "2.0.0", key=key, skills={**BASE, "search": search_skill()}
    )
    await registry.publish(
        "@acme/researcher",
        "2.1.0",
        key=key,
        instruction="Do it better.",
        skills={**BASE, "search": search_skill(requiredEnv=["SEARCH_API_KEY", "REGION"])},
    )
    await registry.publish(
        "@acme/triage",
        "1.0.0",
        key=key,
        delegates=["@acme/researcher@2.1.0"],
        readme="# About\n\nSorts **reports**.",
        license="MIT",
        keywords=["support"],
    )
    return key


async def test_an_expert_s_page_says_what_it_and_its_delegates_may_touch(
    registry: Registry,
) -> None:
    await two_experts(registry)
    page = await shown(registry, "/experts/@acme/triage")
    touch = page.text.partition("What it may touch")[2].partition("Instruction")[0]
    for what in ("SEARCH_API_KEY", "REGION", "api.search.example", "@acme/search", "version 1.4.2"):
        assert what in touch
    assert "through @acme/researcher@2.1.0" in touch
    assert "may run programs" not in touch  # the base skill's exec is not picked
    assert "Do it well." in page.text
    assert "MIT" in page.text


async def test_running_programs_is_said_first(registry: Registry) -> None:
    key = await registry.key("acme")
    base = {"@perstack/base": {**BASE["@perstack/base"], "pick": ["exec", "attemptCompletion"]}}
    await registry.publish("@acme/runner", key=key, skills=base)
    page = await shown(registry, "/experts/@acme/runner")
    assert "It may run programs" in page.text
    await registry.publish("@acme/caller", key=key, delegates=["@acme/runner@1.0.0"])
    page = await shown(registry, "/experts/@acme/caller")
    assert "through @acme/runner@1.0.0" in page.text.partition("may run programs")[2][:120]


async def test_a_diff_marks_what_widens(registry: Registry) -> None:
    await two_experts(registry)
    page = await shown(registry, "/experts/@acme/researcher/diff?from=2.0.0&to=2.1.0")
    assert "may do more than the earlier one" in page.text
    assert ("li", "class", "widen") in page.attributes
    assert "may read REGION" in page.text
    assert "+Do it better." in page.text
    back = await shown(registry, "/experts/@acme/researcher/diff?from=2.1.0&to=2.0.0")
    assert "may do more" not in back.text
    assert ("li", "class", "narrow") in back.attributes


async def test_older_versions_say_so_and_all_are_listed(registry: Registry) -> None:
    await two_experts(registry)
    page = await shown(registry, "/experts/@acme/researcher/v/2.0.0")
    assert "This is not the latest version" in page.text
    page = await shown(registry, "/experts/@acme/researcher/versions")
    assert page.text.index("2.1.0") < page.text.index("2.0.0")


async def test_a_deprecated_version_says_what_to_use_instead(registry: Registry) -> None:
    key = await two_experts(registry)
    await registry.post(
        "/experts/%40acme%2Fresearcher%402.0.0",
        {"status": "deprecated", "deprecation": {"message": "Old.", "replacement": "@acme/triage"}},
        key=key,
    )
    page = await shown(registry, "/experts/@acme/researcher/v/2.0.0")
    assert "This version is deprecated. Old." in page.text
    assert "/experts/@acme/triage" in page.links


async def test_every_link_leads_somewhere(registry: Registry) -> None:
    await two_experts(registry)
    seen: set[str] = set()
    todo = ["/"]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = await registry.http.get(path)
        assert answer.status_code == 200, path
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        for link in Page(answer.text).links:
            parts = urlsplit(urljoin(f"http://registry.test{path}", link))
            if parts.netloc == "registry.test":
                todo.append(parts.path + (f"?{parts.query}" if parts.query else ""))
    assert len(seen) > 15


async def test_search_finds_narrows_and_goes_on(registry: Registry) -> None:
    key = await registry.key("acme")
    other = await registry.key("zoo")
    for n in range(22):
        await registry.publish(f"@acme/finder-{n}", key=key, description="Finds things")
    await registry.publish("@zoo/finder", key=other, description="Finds animals")
    page = await shown(registry, "/search?q=finds")
    assert "23 Experts for" in page.text
    onward = next(link for link in page.links if "cursor=" in link)
    assert "@acme/finder" in (await shown(registry, onward)).text
    narrowed = next(link for link in page.links if "scope=%40zoo" in link)
    page = await shown(registry, narrowed)
    assert "1 Expert for" in page.text
    assert "@zoo/finder" in page.text


@pytest.mark.parametrize("text", HOSTILE)
async def test_nothing_that_somebody_wrote_becomes_markup(registry: Registry, text: str) -> None:
    key = await registry.key("acme")
    skill = {"type": "mcpStdioSkill", "description": text, "rule": text, "command": "npx"}
    await registry.publish(
        "@acme/hostile",
        key=key,
        description=text,
        instruction=text,
        readme=text,
        license=text,
        repository=f"https://x.example/{text}",
        keywords=[text],
        skills={**BASE, "search": {**skill, "packageName": "@acme/search"}},
    )
    clean = await shown(registry, "/experts/@acme/hostile")
    for path in ("/", "/experts/@acme/hostile", f"/search?q={text}", "/orgs/acme"):
        answer = await registry.http.get(path.replace("&", "%26").replace("#", "%23"))
        page = Page(answer.text)
        assert not {"script", "style", "iframe", "object"} & set(page.tags), path
        assert page.tags.count("svg") == 0
        assert not [
            name for _, name, _ in page.attributes if name.startswith("on") or name == "style"
        ]
        assert not [link for link in page.links if not link.startswith(("/", "https://", "#"))]
        assert {value for tag, name, value in page.attributes if (tag, name) == ("img", "src")} == {
            "/assets/icon.svg"
        }
    assert "49" not in clean.text.partition("Instruction")[2].partition("Skills")[0]


@pytest.mark.parametrize(
    ("markdown", "kept", "gone"),
    [
        ("[x](javascript:alert(1))", "", "href"),
        ("![p](https://tracker.example/p.png)", "", "<img"),
        ("# Big", "<h3>Big</h3>", "<h1"),
        ("| a |\n|---|\n| b |", "<table>", "style"),
        ("<details open ontoggle=alert(1)>", "&lt;details", "<details"),
        ("[y](https://a.example)", 'rel="nofollow noopener noreferrer"', "target"),
    ],
)
def test_a_readme_is_only_words(markdown: str, kept: str, gone: str) -> None:
    from perstack.server.pages.rendering import markdown as rendered

    html = rendered(markdown)
    assert kept in html
    assert gone not in html


async def test_what_is_private_is_not_there(registry: Registry) -> None:
    key = await registry.key("acme")
    await registry.publish(
        "@acme/secret", key=key, visibility="private", description="hidden words"
    )
    for path in ("", "/v/1.0.0", "/versions", "/diff?from=1.0.0&to=1.0.0", "/feed.atom"):
        there = await registry.http.get(f"/experts/@acme/secret{path}")
        never = await registry.http.get(f"/experts/@acme/nothing{path}")
        assert there.status_code == never.status_code == 404
        assert there.content == never.content
    for path in ("/", "/search?q=hidden", "/orgs/acme", "/feed.atom"):
        answer = await registry.http.get(path)
        assert "secret" not in answer.text
        assert "hidden words" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/experts/@acme/nobody", 404),
        ("/experts/NOT A NAME", 422),
        ("/experts/@acme/nobody/v/x.y", 404),
        ("/orgs/nobody", 404),
        ("/orgs/../etc", 404),
        ("/search?cursor=broken", 422),
        ("/search?sort=none", 422),
        ("/experts/@acme/nobody/versions?skip=-1", 422),
    ],
)
async def test_refusals_are_pages_that_say_how_to_go_on(
    registry: Registry, path: str, status: int
) -> None:
    answer = await registry.http.get(path)
    assert answer.status_code == status
    if answer.headers["content-type"].startswith("text/html"):
        check_headers(answer)
        assert "/" in Page(answer.text).links


async def test_a_browser_that_has_a_page_gets_no_other(registry: Registry) -> None:
    key = await two_experts(registry)
    for path in ("/", "/experts/@acme/triage", "/assets/style.css", "/feed.atom"):
        first = await registry.http.get(path)
        again = await registry.http.get(path, headers={"if-none-match": first.headers["etag"]})
        assert again.status_code == 304, path
    etag = (await registry.http.get("/experts/@acme/triage")).headers["etag"]
    await registry.publish("@acme/triage", "1.1.0", key=key)
    changed = await registry.http.get("/experts/@acme/triage", headers={"if-none-match": etag})
    assert changed.status_code == 200


async def test_feeds_are_atom(registry: Registry) -> None:
    await two_experts(registry)
    space = "{http://www.w3.org/2005/Atom}"
    for path, titles in (
        ("/feed.atom", ["@acme/triage 1.0.0", "@acme/researcher 2.1.0"]),
        (
            "/experts/@acme/researcher/feed.atom",
            ["@acme/researcher 2.1.0", "@acme/researcher 2.0.0"],
        ),
    ):
        answer = await registry.http.get(path)
        assert answer.headers["content-type"].startswith("application/atom+xml")
        feed = ElementTree.fromstring(answer.text)
        assert [e.findtext(f"{space}title") for e in feed.findall(f"{space}entry")] == titles
        for entry in feed.findall(f"{space}entry"):
            link = entry.find(f"{space}link")
            assert link is not None
            assert (await registry.http.get(urlsplit(link.get("href", "")).path)).status_code == 200
