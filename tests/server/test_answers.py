"""Answers that are kept: never out of date, in no server of a database; and not too many."""

from __future__ import annotations

from typing import Any

import pytest

from perstack.server.answers import Answers
from perstack.server.queries import experts
from perstack.server.storage.repository import Session
from perstack.server.storage.rows import Found

from .house import Registry, open_registry, reason, wire

pytestmark = pytest.mark.anyio


async def found(registry: Registry, name: str) -> Found:
    def look(session: Session) -> Found | None:
        return experts.find(session, experts.asked(f"{name}@1.0.0"))

    there = await registry.repository.read(look)
    assert there is not None
    return there


async def test_what_was_answered_once_is_answered_without_its_document(registry: Registry):
    key = await registry.key("acme")
    for name in ("@acme/x", "@acme/y"):
        await registry.publish(name, key=key)
    first = await registry.get("/experts/@acme/x@1.0.0")
    await registry.repository.write(lambda session: session.run("DELETE FROM documents"))
    again = await registry.get("/experts/@acme/x@1.0.0")
    assert again.status_code == 200
    assert again.content == first.content
    assert again.headers["etag"] == first.headers["etag"]
    assert (await registry.get("/experts/@acme/x")).content == first.content
    assert reason(await registry.get("/experts/@acme/y@1.0.0")) == (404, "Expert not found")


async def test_each_change_is_seen_at_once_where_the_answer_is_kept(
    registry: Registry, database: str
):
    """`registry` keeps answers, another server of its database makes the changes and keeps none."""
    ann = await registry.key("ann", type="personal")
    bob = await registry.key("bob", type="personal")
    admin = await registry.key("ops", type="serviceAdmin")
    await registry.publish("x", key=ann, visibility="private")
    path = "/experts/x@1.0.0"
    async with open_registry(database) as other:
        other.app.context.answers = Answers(0)
        told: set[bytes] = set()

        async def seen(anyone: int, owner: int, key: str = ann) -> Any:
            """What the owner is told, when these are the statuses for anyone and for the owner."""
            mine = await registry.get(path, key=key)
            assert mine.status_code == owner
            assert (await registry.get(path)).status_code == anyone
            for server in (registry, other):
                assert (await server.get(path, key=key)).content == mine.content
            assert mine.content not in told, "the change is not in the answer"
            told.add(mine.content)
            return mine.json()["data"]["expert"] if owner == 200 else None

        async def done(path: str, body: Any, key: str = ann, method: str = "POST") -> None:
            answer = await other.ask(method, path, body, key=key)
            assert answer.status_code == 200, answer.text

        await seen(404, 200)
        await done("/experts/x/settings", {"visibility": "public"})
        await seen(200, 200)
        await done(path, {"tags": ["a"]})
        assert (await seen(200, 200))["tags"] == ["latest", "a"]
        await other.publish("x", "2.0.0", key=ann)
        assert (await seen(200, 200))["tags"] == ["a"]
        await done(path, {"status": "deprecated", "deprecation": {"message": "Use y"}})
        assert (await seen(200, 200))["deprecation"] == {"message": "Use y"}
        await done(f"{path}/quarantine", {"reason": "It sends mail"}, admin)
        assert (await seen(404, 200))["quarantine"]["reason"] == "It sends mail"
        await done(f"{path}/quarantine", None, admin, "DELETE")
        assert (await seen(200, 200))["status"] == "deprecated"
        await done("/experts/x/transfer", {"to": "bob"})
        await done("/experts/x/transfer", {"accept": True}, bob)
        assert (await seen(200, 200, bob))["owner"]["name"] == "bob"
        await done(path, {"status": "disabled"}, bob)
        assert (await seen(200, 200, bob))["status"] == "disabled"
        await done(path, None, bob, "DELETE")
        await seen(404, 404, bob)


async def test_a_kept_answer_is_not_for_everyone(registry: Registry):
    key, other = await registry.key("acme"), await registry.key("other")
    await registry.publish("@acme/secret", key=key, visibility="private")
    path = f"/experts/{wire('@acme/secret@1.0.0')}"
    for _ in range(2):
        mine = await registry.get(path, key=key)
        assert mine.status_code == 200
        assert mine.headers["cache-control"] == "private, no-cache"
        for nobody in (None, other):
            assert reason(await registry.get(path, key=nobody)) == (404, "Expert not found")


async def test_what_was_not_asked_for_the_longest_goes_first(registry: Registry):
    key = await registry.key("acme")
    for name in ("a", "b", "c"):
        await registry.publish(f"@acme/{name}", key=key)
    a, b, c = [await found(registry, f"@acme/{name}") for name in ("a", "b", "c")]
    answers = Answers(25)
    answers.keep(a, b"a" * 10)
    answers.keep(b, b"b" * 10)
    answers.keep(b, b"b" * 10)  # two who asked at once
    assert answers.get(a) == b"a" * 10
    answers.keep(c, b"c" * 10)
    assert [answers.get(each) for each in (a, b, c)] == [b"a" * 10, None, b"c" * 10]
    answers.keep(b, b"b" * 26)
    assert [answers.get(each) for each in (a, b, c)] == [None, None, None]
    answers.keep(a, b"a" * 25)
    assert answers.get(a) == b"a" * 25
