"""Searching: what fits is found, what one may not see is not, and pages follow each other."""

from __future__ import annotations

from typing import Any

import pytest

from .house import BASE, Registry, wire

pytestmark = pytest.mark.anyio

MAIL: dict[str, Any] = {
    **BASE,
    "mail": {
        "type": "mcpStdioSkill",
        "description": "Mail",
        "command": "uvx",
        "packageName": "@tools/mail@1.2.3",
        "requiredEnv": ["MAIL_TOKEN"],
    },
}


async def found(registry: Registry, *, key: str | None = None, **query: str) -> list[str]:
    answer = await registry.get("/search", key=key, **query)
    assert answer.status_code == 200, answer.text
    return [hit["name"] for hit in answer.json()["data"]["experts"]]


async def shelf(registry: Registry) -> str:
    key = await registry.key("acme")
    ann = await registry.key("ann", type="personal")
    await registry.publish("@acme/triage", key=key, description="Sorts incoming mail by urgency")
    await registry.publish(
        "@acme/postman", key=key, description="Answers letters", skills=MAIL, keywords=["mail"]
    )
    await registry.publish("mail", key=ann, description="Reads and writes")
    await registry.publish(
        "poet", key=ann, description="Verses", instruction="Write about mail, and the sea."
    )
    return key


async def test_a_word_counts_most_in_a_name_and_least_in_an_instruction(registry: Registry):
    await shelf(registry)
    first, *middle, last = await found(registry, q="mail")
    assert (first, sorted(middle), last) == ("mail", ["@acme/postman", "@acme/triage"], "poet")


async def test_all_words_must_be_there_in_any_writing(registry: Registry):
    key = await registry.key("acme")
    await registry.publish("@acme/guide", key=key, description="Führt durch das Café am Platz")
    assert await found(registry, q="cafe PLATZ") == ["@acme/guide"]
    assert await found(registry, q="cafe strand") == []
    assert await found(registry, q="acme/guide") == ["@acme/guide"]
    assert await found(registry, q="guide fuhrt") == ["@acme/guide"]


@pytest.mark.parametrize(
    "q", ['"', "*", "NEAR(a b)", "a OR b", "name:x", "' --", "%", "🙂", "-", "()"]
)
async def test_no_sign_means_anything(registry: Registry, q: str):
    key = await registry.key("acme")
    await registry.publish("@acme/guide", key=key)
    assert (await registry.get("/search", q=q)).status_code == 200


async def test_traits_narrow_what_is_found(registry: Registry):
    await shelf(registry)
    assert await found(registry, skill="mail") == ["@acme/postman"]
    assert await found(registry, package="@tools/mail") == ["@acme/postman"]
    assert await found(registry, package="@tools/mail@9.9.9") == ["@acme/postman"]
    assert await found(registry, env="MAIL_TOKEN") == ["@acme/postman"]
    assert await found(registry, env="OTHER") == []
    assert sorted(await found(registry, scope="acme")) == ["@acme/postman", "@acme/triage"]
    assert await found(registry, scope="@acme", q="urgency") == ["@acme/triage"]
    assert len(await found(registry)) == 4


async def test_tags_and_status_are_those_of_the_latest_version(registry: Registry):
    key = await shelf(registry)
    await registry.post(f"/experts/{wire('@acme/triage@1.0.0')}", {"tags": ["stable"]}, key=key)
    assert await found(registry, tag="stable") == ["@acme/triage"]
    await registry.post(f"/experts/{wire('@acme/triage@1.0.0')}", {"status": "deprecated"}, key=key)
    assert await found(registry, status="deprecated") == ["@acme/triage"]
    await registry.publish("@acme/triage", "1.1.0", key=key)
    assert await found(registry, tag="stable") == []
    assert await found(registry, status="deprecated") == []


async def test_what_is_disabled_quarantined_or_gone_is_not_found(registry: Registry):
    key = await shelf(registry)
    admin = await registry.key("admins", type="serviceAdmin")
    triage, postman = wire("@acme/triage@1.0.0"), wire("@acme/postman@1.0.0")
    await registry.post(f"/experts/{triage}", {"status": "disabled"}, key=key)
    await registry.post(f"/experts/{postman}/quarantine", {"reason": "bad"}, key=admin)
    assert await found(registry, scope="@acme") == []
    assert await found(registry, scope="@acme", key=key) == []
    await registry.ask("DELETE", f"/experts/{postman}/quarantine", key=admin)
    assert await found(registry, scope="@acme") == ["@acme/postman"]
    await registry.ask("DELETE", f"/experts/{postman}", key=key)
    assert await found(registry, scope="@acme") == []


async def test_private_experts_are_found_by_their_members_only(registry: Registry):
    key = await shelf(registry)
    stranger = await registry.key("other")
    await registry.publish("@acme/secret", key=key, visibility="private", description="Hush mail")
    assert await found(registry, q="hush") == []
    assert await found(registry, q="hush", key=stranger) == []
    assert await found(registry, q="hush", key=key) == ["@acme/secret"]
    assert "@acme/secret" in await found(registry, key=key)
    assert "@acme/secret" not in await found(registry, key=stranger)
    no_reader = await registry.key("acme", "publish-new")
    assert await found(registry, q="hush", key=no_reader) == []
    elsewhere = await registry.key("acme", "read", patterns=("@acme/open*",))
    assert await found(registry, q="hush", key=elsewhere) == []
    await registry.post(
        f"/experts/{wire('@acme/secret')}/settings", {"visibility": "public"}, key=key
    )
    assert await found(registry, q="hush") == ["@acme/secret"]


async def test_what_many_use_comes_first(registry: Registry):
    key = await registry.key("acme")
    for name in ("a", "b", "c"):
        await registry.publish(f"@acme/{name}", key=key, description="same words")
    for name in ("x", "y"):
        await registry.publish(f"@acme/{name}", key=key, delegates=["@acme/b@^1.0.0"])
    await registry.publish("@acme/y", "1.1.0", key=key, delegates=["@acme/b@^1.0.0"])
    registry.now[0] += 60_000
    told = (await registry.get("/search", q="same words", sort="downloads")).json()["data"]
    assert told["experts"][0]["name"] == "@acme/b"
    assert told["experts"][0]["weight"] == 2
    assert (await found(registry, q="same words"))[0] == "@acme/b"


async def test_pages_follow_each_other_and_facets_count_all(registry: Registry):
    key = await registry.key("acme")
    for number in range(7):
        await registry.publish(f"@acme/e{number}", key=key)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = (await registry.get("/search", q="acme", take="3", **cursor)).json()
        seen += [hit["name"] for hit in answer["data"]["experts"]]
        if "cursor" not in answer["data"]:
            break
        cursor = {"cursor": answer["data"]["cursor"]}
    assert sorted(seen) == [f"@acme/e{number}" for number in range(7)]
    assert len(set(seen)) == 7
    assert answer["meta"]["total"] == 7
    assert answer["data"]["facets"]["scopes"] == [{"name": "@acme", "count": 7}]
    assert answer["data"]["facets"]["packages"] == [{"name": "@perstack/base", "count": 7}]


async def test_the_newest_come_first_if_asked_for(registry: Registry):
    key = await registry.key("acme")
    for name in ("a", "b", "c"):
        await registry.publish(f"@acme/{name}", key=key)
    await registry.publish("@acme/a", "1.1.0", key=key)
    assert await found(registry, sort="updatedAt") == ["@acme/a", "@acme/c", "@acme/b"]


@pytest.mark.parametrize(
    "query",
    [
        {"take": "0"},
        {"take": "101"},
        {"sort": "best"},
        {"status": "new"},
        {"cursor": "x"},
        {"q": "a" * 257},
    ],
)
async def test_what_is_not_a_search_is_refused(registry: Registry, query: dict[str, str]):
    assert (await registry.get("/search", **query)).status_code == 422
