"""Reading: one version (R1), all of them (R2), lists (R3), documents; and what caches are told."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import pytest

from perstack.definition import best, parse_version
from perstack.server.queries import experts
from perstack.server.storage.repository import Session

from .house import Registry, payload, reason, wire

pytestmark = pytest.mark.anyio


async def spread(registry: Registry) -> str:
    """Two Experts, `plain` and `@acme/reader`, with versions and tags; gives the key of acme."""
    ann = await registry.key("ann", type="personal")
    acme = await registry.key("acme")
    for name, key in (("plain", ann), ("@acme/reader", acme)):
        await registry.publish(name, "1.0.0+b1", key=key)
        await registry.publish(name, "1.2.0", key=key, tags=["latest", "stable", "beta-1"])
        await registry.publish(name, "2.0.0-rc.1", key=key, setLatest=False)
    return acme


SELECTORS = {
    "": "1.2.0",
    "@latest": "1.2.0",
    "@stable": "1.2.0",
    "@beta-1": "1.2.0",
    "@1.2.0": "1.2.0",
    "@1.0.0": "1.0.0+b1",
    "@1.0.0+b1": "1.0.0+b1",
    "@1.0.0+other": "1.0.0+b1",
    "@2.0.0-rc.1": "2.0.0-rc.1",
    "@^1.0.0": "1.2.0",
    "@^1.0.0 || ~2": "1.2.0",
    "@1": "1.2.0",
    "@1.x": "1.2.0",
    "@>=2.0.0-rc": "2.0.0-rc.1",
    "@<1.2": "1.0.0+b1",
}


@pytest.mark.parametrize("name", ["plain", "@acme/reader"])
async def test_a_key_may_be_written_in_all_its_ways(registry: Registry, name: str):
    await spread(registry)
    for selector, version in SELECTORS.items():
        key = name + selector
        loose = key.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E").replace("^", "%5E")
        for path in (
            f"/experts/{wire(key)}",
            f"/experts/{wire(key)}/",
            f"/experts/{loose}",
            f"http://registry.test//api/registry/v1/experts/{wire(key)}",
        ):
            answer = await registry.get(path)
            assert answer.status_code == 200, (path, answer.text)
            assert answer.json()["data"]["expert"]["version"] == version, path
    digest = (await registry.get(f"/experts/{wire(name)}")).json()["data"]["expert"]["digest"]
    answer = await registry.get(f"/experts/{wire(f'{name}@{digest}')}")
    assert answer.json()["data"]["expert"]["version"] == "1.2.0"


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("nobody", 404),
        ("plain@9.9.9", 404),
        ("plain@nosuch", 404),
        ("plain@^9", 404),
        ("plain@v1", 404),
        ("plain@01.2.3", 404),
        ("plain@1.2.3.4", 404),
        ("pl.ain", 404),
        ("@acme", 422),
        ("@acme/reader@", 422),
        ("Plain", 422),
        ("pláin", 422),
        ("plain@>=", 422),
        ("plain\n", 422),
        ("a" * 255, 404),
        ("a" * 256, 422),
        ("plain@" + "9" * 255, 404),
        ("plain@" + "^1 || " * 9 + "2", 422),
        ("plain@sha256:" + "0" * 64, 404),
    ],
)
async def test_what_is_no_key_or_leads_nowhere(registry: Registry, key: str, status: int):
    await spread(registry)
    answer = await registry.ask("GET", f"/experts/{_encoded(key)}")
    assert reason(answer)[0] == status, answer.text
    if status == 404:
        assert reason(answer)[1] == "Expert not found"


def _encoded(text: str) -> str:
    return "".join(chr(byte) if chr(byte).isalnum() else f"%{byte:02X}" for byte in text.encode())


async def test_an_expert_may_be_called_versions(registry: Registry):
    key = await registry.key("acme")
    await registry.publish("@acme/versions", key=key)
    for path in ("/experts/@acme/versions", "/experts/%40acme%2Fversions"):
        answer = (await registry.get(path)).json()
        assert answer["data"]["expert"]["name"] == "@acme/versions"
    answer = (await registry.get("/experts/@acme/versions/versions")).json()
    assert answer["data"]["latest"] == "1.0.0"


async def test_versions_come_by_precedence_whatever_key_is_asked(registry: Registry):
    await spread(registry)
    for key in ("plain", "plain@1.0.0", "plain@nosuch"):
        told = (await registry.get(f"/experts/{wire(key)}/versions")).json()
        assert [v["version"] for v in told["data"]["versions"]] == [
            "2.0.0-rc.1",
            "1.2.0",
            "1.0.0+b1",
        ]
        assert told["data"]["latest"] == "1.2.0"
        assert told["meta"] == {"total": 3}
        assert {v["type"] for v in told["data"]["versions"]} == {"expertDigest"}
        assert told["data"]["versions"][1]["tags"] == ["latest", "beta-1", "stable"]
    page = (await registry.get("/experts/plain/versions", take="1", skip="1")).json()
    assert [v["version"] for v in page["data"]["versions"]] == ["1.2.0"]
    assert page["meta"] == {"total": 3}
    assert reason(await registry.get("/experts/nobody/versions")) == (404, "Expert not found")


async def test_lists_are_sorted_filtered_and_paged(registry: Registry):
    key, ann = await registry.key("acme"), await registry.key("ann", type="personal")
    for name, version in (("b", "1.10.0"), ("a", "1.9.0"), ("c", "2.0.0-rc")):
        await registry.publish(f"@acme/{name}", version, key=key)
    await registry.publish("ab", "3.0.0", key=ann)

    async def names(**query: str) -> list[str]:
        told = (await registry.get("/experts/", **query)).json()
        assert {one["type"] for one in told["data"]["experts"]} <= {"registryExpert"}
        return [one["name"] for one in told["data"]["experts"]]

    assert await names() == ["ab", "@acme/c", "@acme/a", "@acme/b"]
    assert await names(sort="name", order="asc") == ["@acme/a", "@acme/b", "@acme/c", "ab"]
    assert await names(sort="version") == ["ab", "@acme/c", "@acme/b", "@acme/a"]
    assert await names(sort="createdAt", order="asc") == ["@acme/b", "@acme/a", "@acme/c", "ab"]
    assert await names(filter="@ACME/", sort="name", order="asc") == [
        "@acme/a",
        "@acme/b",
        "@acme/c",
    ]
    assert await names(filter="a", sort="name") == ["ab"]
    assert await names(filter="%") == []
    assert await names(filter="ä") == []
    assert await names(take="2", skip="1") == ["@acme/c", "@acme/a"]
    told = (await registry.get("/experts/", take="2", skip="3")).json()
    assert told["meta"] == {"total": 4, "take": 2, "skip": 3}
    owner = (await registry.get("/experts/ab")).json()["data"]["expert"]["owner"]
    assert await names(organizationId=owner["organizationId"]) == ["ab"]
    await registry.post("/experts/%40acme%2Fb%401.10.0", {"status": "deprecated"}, key=key)
    assert (await names())[0] == "@acme/b"


@pytest.mark.parametrize(
    "query",
    [
        {"take": "0"},
        {"take": "101"},
        {"take": "x"},
        {"take": "1.5"},
        {"take": "٣"},
        {"skip": "-1"},
        {"sort": "size"},
        {"order": "up"},
        {"filter": ""},
        {"filter": "a" * 257},
        {"organizationId": "x"},
    ],
)
async def test_a_list_asked_for_wrongly_is_refused(registry: Registry, query: dict[str, str]):
    status, issues = reason(await registry.get("/experts/", **query))
    assert status == 422
    assert [issue["path"] for issue in issues] == [list(query)]


async def test_what_is_private_is_not_there_for_others(registry: Registry):
    acme, other = await registry.key("acme"), await registry.key("other")
    unread = await registry.key("acme", "publish-update")
    narrow = await registry.key("acme", "read", patterns=("@acme/else*",))
    made = await registry.publish("@acme/secret", key=acme, visibility="private")
    paths = (
        "/experts/%40acme%2Fsecret",
        "/experts/%40acme%2Fsecret%401.0.0",
        f"/experts/%40acme%2Fsecret%40{made['digest']}".replace(":", "%3A"),
        "/experts/%40acme%2Fsecret/versions",
        "/experts/%40acme%2Fsecret/tags",
        f"/documents/sha256/{made['digest'][7:]}",
    )
    for path in paths:
        mine = await registry.get(path, key=acme)
        assert mine.status_code == 200
        assert mine.headers["cache-control"].startswith("private")
        for key in (None, other, unread, narrow):
            hidden = await registry.get(path, key=key)
            absent = await registry.get(
                path.replace("secret", "absent").replace("/sha256/", "/sha256/0"), key=key
            )
            assert hidden.status_code == 404
            assert hidden.content == absent.content
            assert _told(hidden) == _told(absent)
    told = (await registry.get(paths[0], key=acme)).json()["data"]["expert"]
    assert told["visibility"] == "private"
    for key in (None, other, acme):
        assert (await registry.get("/experts/", key=key)).json()["data"]["experts"] == []
    owner = made["owner"]["organizationId"]
    for key, seen in ((acme, 1), (other, 0), (unread, 0), (narrow, 0), (None, 0)):
        told = await registry.get("/experts/", key=key, organizationId=owner)
        assert told.json()["meta"]["total"] == len(told.json()["data"]["experts"]) == seen


def _told(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "x-request-id"}


async def test_a_bad_key_reads_as_none(registry: Registry):
    key = await spread(registry)
    for sent, said in ((None, "anonymous"), (key, "valid"), (key[:-1] + "_", "invalid")):
        answer = await registry.get("/experts/plain", key=sent)
        assert answer.status_code == 200
        assert answer.headers["x-perstack-auth"] == said
        assert answer.headers["vary"] == "Authorization, Accept-Encoding"


async def test_caches_are_told_what_they_may_keep(registry: Registry):
    key = await spread(registry)
    digest = (await registry.get("/experts/plain")).json()["data"]["expert"]["digest"]
    expected = {
        "/experts/plain%401.2.0": "public, max-age=60",
        "/experts/plain": "public, max-age=0, must-revalidate",
        "/experts/plain%40stable": "public, max-age=0, must-revalidate",
        "/experts/plain%40%5E1": "public, max-age=0, must-revalidate",
        "/experts/plain/versions": "public, max-age=30, stale-if-error=86400",
        "/experts/": "public, max-age=15",
        f"/documents/sha256/{digest[7:]}": "public, max-age=31536000, immutable",
    }
    for path, cache in expected.items():
        answer = await registry.get(path)
        assert answer.headers["cache-control"] == cache
        etag = answer.headers["etag"]
        for sent in (etag, f'"x", {etag}', f"W/{etag}", "*"):
            again = await registry.ask("GET", path, headers={"if-none-match": sent})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == etag
            assert again.headers["cache-control"] == cache
        other = await registry.ask("GET", path, headers={"if-none-match": '"else"'})
        assert other.status_code == 200
    missing = await registry.get("/experts/nobody")
    assert missing.headers["cache-control"] == "public, max-age=10"
    missing = await registry.get("/experts/nobody", key=key)
    assert missing.headers["cache-control"] == "private, no-cache"
    moving = await registry.get("/experts/plain%40stable")
    assert moving.headers["content-location"] == "/api/registry/v1/experts/plain%401.2.0"


async def test_a_validator_changes_when_the_answer_does(registry: Registry):
    key = await registry.key("acme")
    seen: set[str] = set()

    async def fresh(path: str = "/experts/@acme/x@1.0.0") -> None:
        answer = await registry.get(path)
        assert answer.headers["etag"] not in seen
        seen.add(answer.headers["etag"])
        again = await registry.get(path)
        assert again.headers["etag"] == answer.headers["etag"]
        assert again.content == answer.content

    await registry.publish("@acme/x", key=key)
    await fresh()
    await registry.post("/experts/@acme/x@1.0.0", {"tags": ["a"]}, key=key)
    await fresh()
    await registry.publish("@acme/x", "2.0.0", key=key, tags=["a"])
    await fresh()
    await registry.post("/experts/@acme/x@1.0.0", {"status": "deprecated"}, key=key)
    await fresh()
    await registry.post("/experts/@acme/x@1.0.0", {"deprecation": {"message": "m"}}, key=key)
    await fresh()


async def test_a_document_is_its_digest_however_it_travels(registry: Registry):
    key = await registry.key("acme")
    made = await registry.publish("@acme/x", key=key, instruction="word " * 1000)
    path = f"/documents/sha256/{made['digest'][7:]}"
    answer = await registry.get(path)
    assert answer.headers["content-type"] == "application/vnd.perstack.expert.v1+json"
    assert answer.headers["etag"] == f'"{made["digest"]}"'
    assert answer.headers["content-encoding"] == "gzip"
    plain = await registry.ask("GET", path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == answer.content
    packed = base64.b64encode(bytes.fromhex(made["digest"][7:])).decode()
    assert plain.headers["repr-digest"] == f"sha-256=:{packed}:"
    assert int(answer.headers["content-length"]) < len(gzip.compress(plain.content)) * 1.5
    head = await registry.ask("HEAD", path)
    assert head.content == b""
    assert head.headers["content-length"] == answer.headers["content-length"]
    for wrong in ("0" * 64, "zz", made["digest"][7:].upper()):
        assert (await registry.get(f"/documents/sha256/{wrong}")).status_code == 404


async def test_other_methods_are_refused_with_those_there_are(registry: Registry):
    answer = await registry.ask("PATCH", "/experts/plain")
    assert reason(answer)[0] == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, POST"
    assert reason(await registry.get("/nothing")) == (404, "No such path")


async def test_bodies_that_are_too_large_or_no_json_are_refused(registry: Registry):
    key = await registry.key("acme")
    auth = {"authorization": f"Bearer {key}"}
    url = "/api/registry/v1/experts/"
    large = await registry.http.post(url, content=b" " * (1024 * 1024 + 1), headers=auth)
    assert reason(large)[0] == 413
    for body in (b"{", b"[]", b'"\xff"', b'{"name":"\\ud800"}', b"[" * 100_000):
        answer = await registry.http.post(url, content=body, headers=auth)
        assert reason(answer)[0] == 422, body[:20]
    form = auth | {"content-type": "application/x-www-form-urlencoded"}
    assert reason(await registry.http.post(url, content=b"a=b", headers=form))[0] == 415
    deep: Any = "x"
    for _ in range(100):
        deep = {"a": deep}
    answer = await registry.post("/experts/", payload("@acme/x", providerToolOptions=deep), key=key)
    assert reason(answer)[0] == 422


async def test_what_no_database_keeps_is_refused_before_it_is_asked(registry: Registry):
    key = await registry.key("admin", type="serviceAdmin")
    await registry.publish("x", key=key)
    asked = [
        await registry.get("/orgs/admin/audit", key=key, actor="a\0"),
        await registry.get("/experts/", filter="a\0"),
        await registry.get("/keys", key=key, organization="\0"),
        await registry.get("/orgs/%00/members", key=key),
        await registry.post("/orgs/admin/members/%00", {"role": "reader"}, key=key),
        await registry.post("/orgs", {"name": "a\0"}, key=key),
        await registry.post("/keys", {"name": "\0"}, key=key),
        await registry.post("/experts/x/transfer", {"to": "a\0"}, key=key),
        await registry.post("/experts/x@1.0.0", {"deprecation": {"message": "\0"}}, key=key),
    ]
    assert [answer.status_code for answer in asked] == [422] * len(asked)


async def test_a_range_selects_the_highest_that_fits(registry: Registry):
    key = await registry.key("acme")
    texts = [
        f"{major}.{minor}.{patch}{pre}"
        for major in (0, 1, 2)
        for minor in (0, 3)
        for patch in (0, 7)
        for pre in ("", "-rc.2", "-rc.10")
    ]
    for text in texts:
        await registry.publish("@acme/x", text, key=key)
    versions = [parse_version(text) for text in texts]
    parts = ("0", "1", "2", "1.3", "0.3.7", "1.0.0", "2.3.7-rc.2", "1.x", "3")
    ranges = [f"{op}{part}" for op in ("^", "~", ">=", "<", ">", "<=", "=") for part in parts]
    ranges += ["*", ">=1 <2", ">0.3 <1.3", "1 - 2", "~1 || ^0.3", "<1.0.0-rc.10", "^9"]

    def look(session: Session) -> dict[str, str | None]:
        found = {text: experts.in_range(session, "@acme/x", text) for text in ranges}
        return {text: hit.version.version if hit else None for text, hit in found.items()}

    chosen = await registry.repository.read(look)
    expected = {text: best(text, versions) for text in ranges}
    assert chosen == {text: str(hit) if hit else None for text, hit in expected.items()}
    assert len(set(chosen.values())) > 8
