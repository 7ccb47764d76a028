"""Names nobody may take, and how often one may do what."""

from __future__ import annotations

from typing import Any

import pytest

from perstack.errors import UserError, sole

from .house import Registry, open_registry, payload, reason, wire

pytestmark = pytest.mark.anyio


async def try_name(registry: Registry, name: str, key: str) -> tuple[int, Any]:
    answer = await registry.post("/experts/", payload(name), key=key)
    return (200, "") if answer.status_code == 200 else reason(answer)


async def test_reserved_names_are_nobodys(registry: Registry):
    ann = await registry.key("ann", type="personal")
    for name in ("admin", "perstack", "perstack-tools", "pers-tack"):
        assert await try_name(registry, name, ann) == (400, f"Expert name is reserved: {name}")


async def test_names_that_look_alike_belong_to_one_owner(registry: Registry):
    ann = await registry.key("ann", type="personal")
    bob = await registry.key("bob", type="personal")
    await registry.publish("web-tool", key=ann)
    assert await try_name(registry, "web_tool", bob) == (
        400,
        "Expert name is too similar to web-tool",
    )
    assert await try_name(registry, "webt00l", bob) == (
        400,
        "Expert name is too similar to web-tool",
    )
    assert (await try_name(registry, "web_tool", ann))[0] == 200
    assert (await try_name(registry, "web-took", bob))[0] == 200


async def test_a_name_that_many_rely_on_has_no_near_neighbours(registry: Registry):
    ann = await registry.key("ann", type="personal")
    bob = await registry.key("bob", type="personal")
    await registry.publish("summarizer", key=ann)
    await registry.repository.write(
        lambda session: session.run("UPDATE experts SET weight = 50 WHERE name = 'summarizer'")
    )
    for name in ("sumarizer", "summarizers", "sumamrizer", "summorizer"):
        assert (await try_name(registry, name, bob))[0] == 400
    assert (await try_name(registry, "summary", bob))[0] == 200


async def test_nothing_is_limited_unless_the_settings_say_so(registry: Registry):
    for _ in range(40):
        assert (await registry.get("/search")).status_code == 200


async def test_who_is_too_fast_is_told_how_long_to_wait(database: str):
    async with open_registry(database, rate_limits="publish-update=1/2 search=60/3") as registry:
        key = await registry.key("acme")
        await registry.publish("@acme/a", key=key)
        for number in (1, 2):
            await registry.publish("@acme/a", f"1.{number}.0", key=key)
        answer = await registry.post("/experts/", payload("@acme/a", "1.3.0"), key=key)
        assert answer.status_code == 429
        assert 50 <= int(answer.headers["retry-after"]) <= 60
        registry.now[0] += 60_000
        await registry.publish("@acme/a", "1.3.0", key=key)
        statuses = [(await registry.get("/search")).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert (await registry.get(f"/experts/{wire('@acme/a')}")).status_code == 200


async def test_who_guesses_keys_is_slowed_down(database: str):
    async with open_registry(database, rate_limits="authenticate=5/3") as registry:
        statuses = [
            (await registry.post("/experts/", payload("@acme/a"), key="psk_no")).status_code
            for _ in range(5)
        ]
        assert statuses == [401, 401, 401, 429, 429]


async def test_a_rate_that_cannot_be_read_is_told_at_the_start(database: str):
    with pytest.raises((UserError, ExceptionGroup)) as told:
        async with open_registry(database, rate_limits="search=often"):
            pass
    assert isinstance(error := sole(told.value), UserError)
    assert "search=often" in str(error)
