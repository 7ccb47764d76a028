"""What can change about a version: status, tags, `latest`; and how it goes."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from perstack.server.identity.keys import SCOPES, Caller
from perstack.server.queries.experts import asked
from perstack.server.queries.writing import purge
from perstack.server.writes.changes import Act, quarantine

from .house import OPERATOR, Registry, payload, reason, wire

pytestmark = pytest.mark.anyio


async def update(registry: Registry, key: str, who: str, **wishes: Any) -> tuple[int, Any]:
    """Status, and the Expert as it was told or the reason."""
    answer = await registry.post(f"/experts/{wire(key)}", wishes, key=who)
    if answer.status_code == 200:
        return 200, answer.json()["data"]["expert"]
    return reason(answer)


async def latest(registry: Registry, name: str) -> str | None:
    answer = await registry.get(f"/experts/{wire(name)}")
    return answer.json()["data"]["expert"]["version"] if answer.status_code == 200 else None


async def tags(registry: Registry, name: str, key: str | None = None) -> dict[str, str]:
    return (await registry.get(f"/experts/{wire(name)}/tags", key=key)).json()["data"]["tags"]


SAME = "Status is the same as the current status"
BACK = "Cannot change deprecated expert to available"
FINAL = "Cannot change status of disabled expert"
TRANSITIONS = {
    ("available", "available"): SAME,
    ("available", "deprecated"): None,
    ("available", "disabled"): None,
    ("deprecated", "available"): BACK,
    ("deprecated", "deprecated"): SAME,
    ("deprecated", "disabled"): None,
    ("disabled", "available"): FINAL,
    ("disabled", "deprecated"): FINAL,
    ("disabled", "disabled"): SAME,
}


@pytest.mark.parametrize(("before", "after"), TRANSITIONS)
async def test_status_goes_one_way(registry: Registry, before: str, after: str):
    who = await registry.key("acme")
    await registry.publish("@acme/x", key=who)
    if before != "available":
        assert (await update(registry, "@acme/x@1.0.0", who, status=before))[0] == 200
    status, said = await update(registry, "@acme/x@1.0.0", who, status=after)
    fault = TRANSITIONS[before, after]
    assert (status, said if fault else said["status"]) == ((400, fault) if fault else (200, after))
    now = (await registry.get("/experts/@acme/x@1.0.0")).json()["data"]["expert"]["status"]
    assert now == (before if fault else after)


async def test_each_fault_is_told_before_those_that_follow(registry: Registry):
    who, other = await registry.key("acme"), await registry.key("other")
    await registry.publish("@acme/x", key=who)
    await registry.publish("@acme/x", "2.0.0", key=who)
    every: dict[str, Any] = {"status": "available", "tags": ["latest"]}
    assert await update(registry, "@acme/none@1.0.0", who, **every) == (404, "Expert not found")
    assert await update(registry, "@acme/x@9.9.9", who, **every) == (404, "Expert not found")
    assert await update(registry, "@acme/x", who, **every) == (400, "Version is required")
    assert await update(registry, "@acme/x@1.0.0", who) == (400, "At least one field is required")
    assert (await update(registry, "@acme/x@1.0.0", who, status="gone"))[0] == 422
    assert (await update(registry, "@acme/x@^1.0.0", who, **every))[0] == 422
    assert await update(registry, "@acme/x@1.0.0", other, **every) == (
        400,
        "Expert is not owned by the organization",
    )
    assert await update(registry, "@acme/x@1.0.0", who, **every) == (400, SAME)
    every["status"] = "deprecated"
    assert await update(registry, "@acme/x@1.0.0", who, **every) == (
        400,
        "Cannot manually set latest tag",
    )
    told = (await registry.get("/experts/@acme/x@1.0.0")).json()["data"]["expert"]
    assert told["status"] == "available"
    assert await update(registry, "@acme/x@1.0.0", who, tags=["7"]) == (
        400,
        "Tag 7 consists of digits only",
    )
    await update(registry, "@acme/x@1.0.0", who, status="disabled")
    assert await update(registry, "@acme/x@1.0.0", who, tags=["a"]) == (
        400,
        "Cannot tag a disabled expert",
    )


async def test_tags_replace_those_of_a_version_and_move_from_others(registry: Registry):
    who = await registry.key("acme")
    await registry.publish("@acme/x", "1.0.0", key=who, tags=["latest", "a", "b"])
    made = await registry.publish("@acme/x", "2.0.0", key=who, tags=["b"])
    assert made["tags"] == ["latest", "b"]
    assert await tags(registry, "@acme/x") == {"latest": "2.0.0", "a": "1.0.0", "b": "2.0.0"}
    before = (await registry.get("/experts/@acme/x@2.0.0")).json()["data"]["expert"]["updatedAt"]
    _, told = await update(registry, "@acme/x@1.0.0", who, tags=["c", "b"])
    assert told["tags"] == ["b", "c"]
    _, told = await update(registry, "@acme/x@2.0.0", who, tags=["latest"])
    assert told["tags"] == ["latest"]
    assert told["updatedAt"] > before
    _, told = await update(registry, "@acme/x@latest", who, tags=[])
    assert told["tags"] == ["latest"]
    assert await tags(registry, "@acme/x") == {"latest": "2.0.0", "b": "1.0.0", "c": "1.0.0"}
    nine = [f"t{n}" for n in range(9)]
    assert (await update(registry, "@acme/x@1.0.0", who, tags=nine))[0] == 422


async def test_one_tag_is_moved_or_removed_by_itself(registry: Registry):
    who = await registry.key("acme")
    for version in ("1.0.0", "2.0.0"):
        await registry.publish("@acme/x", version, key=who)

    async def put(tag: str, version: str) -> Any:
        return await registry.ask(
            "PUT", f"/experts/@acme/x/tags/{tag}", {"version": version}, key=who
        )

    assert (await put("s", "1.0.0")).json()["data"]["tags"] == {"latest": "2.0.0", "s": "1.0.0"}
    assert (await put("s", "2.0.0")).json()["data"]["tags"] == {"latest": "2.0.0", "s": "2.0.0"}
    assert reason(await put("latest", "1.0.0")) == (400, "Cannot manually set latest tag")
    assert reason(await put("s", "3.0.0"))[0] == 404
    assert reason(await put("S", "1.0.0"))[0] == 422
    gone = await registry.ask("DELETE", "/experts/@acme/x/tags/s", key=who)
    assert (gone.status_code, gone.json()) == (200, {})
    again = await registry.ask("DELETE", "/experts/@acme/x/tags/s", key=who)
    assert reason(again) == (404, "Tag not found")
    held = await registry.ask("DELETE", "/experts/@acme/x/tags/latest", key=who)
    assert reason(held) == (400, "Cannot remove latest tag from latest version")


async def test_a_tag_that_many_move_has_one_holder(registry: Registry):
    who = await registry.key("acme")
    for n in range(8):
        await registry.publish("@acme/x", f"1.{n}.0", key=who)

    async def move(n: int) -> None:
        await update(registry, f"@acme/x@1.{n % 8}.0", who, tags=["it"])

    async with anyio.create_task_group() as tasks:
        for n in range(32):
            tasks.start_soon(move, n)
    told = (await registry.get("/experts/@acme/x/versions")).json()["data"]["versions"]
    assert sum("it" in version["tags"] for version in told) == 1


async def test_where_latest_points(registry: Registry):
    who = await registry.key("acme")
    await registry.publish("@acme/x", "1.0.0", key=who, setLatest=False)
    assert await latest(registry, "@acme/x") == "1.0.0"  # it had none
    await registry.publish("@acme/x", "3.0.0-rc", key=who)
    assert await latest(registry, "@acme/x") == "3.0.0-rc"
    await registry.publish("@acme/x", "2.0.0", key=who, setLatest=False)
    assert await latest(registry, "@acme/x") == "3.0.0-rc"
    await registry.publish("@acme/x", "1.5.0", key=who)
    assert await latest(registry, "@acme/x") == "1.5.0"
    await update(registry, "@acme/x@1.5.0", who, status="disabled")
    assert await latest(registry, "@acme/x") == "2.0.0"  # the highest that is stable
    await update(registry, "@acme/x@1.0.0", who, status="deprecated")
    await update(registry, "@acme/x@2.0.0", who, status="disabled")
    assert await latest(registry, "@acme/x") == "3.0.0-rc"  # the highest pre-release
    await update(registry, "@acme/x@3.0.0-rc", who, status="disabled")
    assert await latest(registry, "@acme/x") == "3.0.0-rc"  # nothing better
    assert (await registry.get("/experts/")).json()["data"]["experts"] == []
    await registry.publish("@acme/x", "0.1.0", key=who)
    gone = await registry.ask("DELETE", "/experts/@acme/x@0.1.0", key=who)
    assert gone.status_code == 200
    assert await latest(registry, "@acme/x") == "1.5.0"  # published last of those that remain


async def test_an_expert_may_keep_latest_at_its_highest_release(registry: Registry):
    who = await registry.key("acme")
    await registry.publish("@acme/x", "1.0.0-rc", key=who)
    settings = {"latestPolicy": "highest-stable"}
    told = await registry.post("/experts/@acme/x/settings", settings, key=who)
    assert told.json()["data"]["settings"]["latestPolicy"] == "highest-stable"
    for version, now in (("2.0.0", "2.0.0"), ("1.5.0", "2.0.0"), ("3.0.0-rc", "2.0.0")):
        await registry.publish("@acme/x", version, key=who)
        assert await latest(registry, "@acme/x") == now
    await update(registry, "@acme/x@2.0.0", who, status="deprecated")
    assert await latest(registry, "@acme/x") == "1.5.0"
    await registry.ask("DELETE", "/experts/@acme/x@1.5.0", key=who)
    assert await latest(registry, "@acme/x") == "3.0.0-rc"


async def test_a_number_stays_taken_when_its_version_is_gone(registry: Registry):
    who = await registry.key("acme")
    made = await registry.publish("@acme/x", "1.0.0", key=who, tags=["a"])
    for key in ("@acme/x", "@acme/x@a", "@acme/x@latest"):
        answer = await registry.ask("DELETE", f"/experts/{wire(key)}", key=who)
        assert reason(answer) == (400, "Version is required")
    gone = await registry.ask("DELETE", f"/experts/{wire('@acme/x@1.0.0')}", key=who)
    assert (gone.status_code, gone.json()) == (200, {})
    for path in (
        "/experts/@acme/x",
        "/experts/@acme/x@1.0.0",
        "/experts/@acme/x@a",
        "/experts/@acme/x/versions",
        f"/documents/sha256/{made['digest'][7:]}",
    ):
        assert (await registry.get(path, key=who)).status_code == 404, path
    for version in ("1.0.0", "1.0.0+again"):
        answer = await registry.post("/experts/", payload("@acme/x", version), key=who)
        assert reason(answer) == (400, f"Version {version} is already published")
        assert "extensions" not in answer.json()
    again = await registry.ask("DELETE", "/experts/@acme/x@1.0.0", key=who)
    assert reason(again) == (404, "Expert not found")
    await registry.publish("@acme/x", "1.0.1", key=who)
    assert await latest(registry, "@acme/x") == "1.0.1"


async def test_a_name_stays_with_its_owner(registry: Registry):
    ann, bob = (
        await registry.key("ann", type="personal"),
        await registry.key("bob", type="personal"),
    )
    await registry.publish("mine", key=ann)
    await registry.ask("DELETE", "/experts/mine@1.0.0", key=ann)
    answer = await registry.post("/experts/", payload("mine", "2.0.0"), key=bob)
    assert reason(answer) == (400, "Expert mine already exists")
    await registry.publish("mine", "2.0.0", key=ann)


async def test_what_others_need_is_not_unpublished(registry: Registry):
    who, other = await registry.key("acme"), await registry.key("other")
    await registry.publish("@acme/x", "1.0.0", key=who)
    await registry.publish("@acme/x", "1.1.0", key=who, tags=["stable"])
    await registry.publish("@acme/x", "2.0.0", key=who)
    await registry.publish("@other/exact", key=other, delegates=["@acme/x@1.0.0"])
    await registry.publish("@other/range", key=other, delegates=["@acme/x@^1.0.0"])
    await registry.publish(
        "@other/tag", key=other, delegates=["@acme/x@stable"], visibility="private"
    )
    await registry.publish("@other/bare", key=other, delegates=["@acme/x"])

    async def remove(key: str, who: str) -> Any:
        answer = await registry.ask("DELETE", f"/experts/{wire(key)}", key=who)
        return answer.status_code if answer.status_code == 200 else reason(answer)

    needed = (400, "Expert is delegated to other experts")
    assert await remove("@acme/x@1.0.0", other) == (400, "Expert is not owned by the organization")
    assert await remove("@acme/x@1.0.0", who) == needed
    assert await remove("@acme/x@1.1.0", who) == needed
    await remove("@other/exact@1.0.0", other)
    assert await remove("@acme/x@1.0.0", who) == 200
    await remove("@other/range@1.0.0", other)
    assert await remove("@acme/x@1.1.0", who) == needed  # the tag
    await remove("@other/tag@1.0.0", other)
    assert await remove("@acme/x@2.0.0", who) == 200  # the bare name still leads to 1.1.0
    assert await remove("@acme/x@1.1.0", who) == needed  # and now would lead nowhere
    await remove("@other/bare@1.0.0", other)
    assert await remove("@acme/x@1.1.0", who) == 200
    assert await latest(registry, "@acme/x") is None


async def test_a_version_can_be_unpublished_for_a_while_only(database: str):
    from .house import open_registry

    async with open_registry(database, unpublish_window_hours=72) as registry:
        who = await registry.key("acme")
        await registry.publish("@acme/x", key=who)
        registry.now[0] += 73 * 3600 * 1000
        answer = await registry.ask("DELETE", "/experts/@acme/x@1.0.0", key=who)
        assert reason(answer)[0] == 400
        await registry.publish("@acme/y", key=who)
        registry.now[0] += 71 * 3600 * 1000
        answer = await registry.ask("DELETE", "/experts/@acme/y@1.0.0", key=who)
        assert answer.status_code == 200


async def test_a_quarantined_version_is_there_for_its_owner_only(registry: Registry):
    who = await registry.key("acme")
    made = await registry.publish("@acme/x", "1.0.0", key=who)
    await registry.publish("@acme/x", "1.1.0", key=who)
    act = Act(
        context=registry.app.context,
        caller=Caller(
            key="k",
            organization="o",
            organization_name="admin",
            organization_type="serviceAdmin",
            account=None,
            account_name=None,
            role=None,
            scopes=frozenset(SCOPES),
        ),
        actor=OPERATOR,
        at=registry.app.context.now(),
    )
    await registry.repository.write(
        lambda session: quarantine(session, act, asked("@acme/x@1.1.0"), "malicious")
    )
    assert (await registry.get("/experts/@acme/x@1.1.0")).status_code == 404
    own = (await registry.get("/experts/@acme/x@1.1.0", key=who)).json()["data"]["expert"]
    assert own["status"] == "disabled"
    assert own["quarantine"]["reason"] == "malicious"
    assert await latest(registry, "@acme/x") == "1.0.0"
    told = (await registry.get("/experts/@acme/x/versions")).json()
    assert [v["version"] for v in told["data"]["versions"]] == ["1.0.0"]
    found = (await registry.get("/experts/%40acme%2Fx%40%5E1")).json()["data"]["expert"]
    assert found["version"] == "1.0.0"
    await registry.repository.write(
        lambda session: quarantine(session, act, asked("@acme/x@1.1.0"), None)
    )
    assert (await registry.get("/experts/@acme/x@1.1.0")).status_code == 200
    assert made["version"] == "1.0.0"


async def test_a_range_chooses_the_deprecated_last_and_the_disabled_never(registry: Registry):
    who = await registry.key("acme")
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        await registry.publish("@acme/x", version, key=who)

    async def chosen() -> str | None:
        answer = await registry.get("/experts/%40acme%2Fx%40%5E1")
        return answer.json()["data"]["expert"]["version"] if answer.status_code == 200 else None

    await update(registry, "@acme/x@1.2.0", who, status="disabled")
    assert await chosen() == "1.1.0"
    await update(registry, "@acme/x@1.1.0", who, status="deprecated")
    assert await chosen() == "1.0.0"
    await update(registry, "@acme/x@1.0.0", who, status="disabled")
    assert await chosen() == "1.1.0"
    await update(registry, "@acme/x@1.1.0", who, status="disabled")
    assert await chosen() is None
    assert (await registry.get("/experts/@acme/x@1.1.0")).json()["data"]["expert"][
        "status"
    ] == "disabled"


async def test_a_private_expert_becomes_public_and_never_private(registry: Registry):
    who = await registry.key("acme")
    await registry.publish("@acme/deep", key=who, visibility="private")
    await registry.publish("@acme/x", key=who, visibility="private", delegates=["@acme/deep"])

    async def settle(name: str, visibility: str) -> Any:
        body = {"visibility": visibility}
        return await registry.post(f"/experts/@acme/{name}/settings", body, key=who)

    assert reason(await settle("x", "public")) == (
        400,
        "A public Expert cannot delegate to a private one",
    )
    assert (await settle("deep", "public")).status_code == 200
    assert (await settle("x", "public")).status_code == 200
    assert (await registry.get("/experts/@acme/x")).status_code == 200
    assert reason(await settle("x", "private")) == (400, "A public Expert cannot be made private")


async def test_an_expert_goes_to_another_owner_when_both_agree(registry: Registry):
    ann, bob = (
        await registry.key("ann", type="personal"),
        await registry.key("bob", type="personal"),
    )
    eve = await registry.key("eve", type="personal")
    await registry.publish("mine", key=ann)
    before = (await registry.get("/experts/mine@1.0.0")).headers["etag"]

    async def transfer(who: str, **body: Any) -> Any:
        return await registry.post("/experts/mine/transfer", body, key=who)

    assert reason(await transfer(bob, accept=True)) == (404, "Nothing was offered")
    assert reason(await transfer(eve, to="eve")) == (400, "Expert is not owned by the organization")
    assert (await transfer(ann, to="bob")).json()["data"]["transfer"]["state"] == "offered"
    assert reason(await transfer(eve, accept=True)) == (404, "Nothing was offered")
    assert (await transfer(ann, withdraw=True)).status_code == 200
    assert reason(await transfer(bob, accept=True)) == (404, "Nothing was offered")
    await transfer(ann, to="bob")
    assert (await transfer(bob, accept=True)).json()["data"]["transfer"]["state"] == "accepted"
    answer = await registry.get("/experts/mine@1.0.0")
    assert answer.json()["data"]["expert"]["owner"]["name"] == "bob"
    assert answer.headers["etag"] != before
    assert reason(await registry.post("/experts/", payload("mine", "2.0.0"), key=ann))[0] == 400
    await registry.publish("mine", "2.0.0", key=bob)
    acme = await registry.key("acme")
    await registry.publish("@acme/x", key=acme)
    scoped = await registry.post("/experts/@acme/x/transfer", {"to": "bob"}, key=acme)
    assert reason(scoped) == (400, "A scoped Expert belongs to its scope")


async def test_a_document_is_deleted_a_week_after_its_version(registry: Registry):
    who = await registry.key("acme")
    made = await registry.publish("@acme/x", key=who)
    kept = await registry.publish("@acme/y", key=who)
    await registry.ask("DELETE", "/experts/@acme/x@1.0.0", key=who)
    at = registry.now[0]

    async def left() -> set[str]:
        rows = await registry.repository.read(lambda s: s.all("SELECT digest FROM documents"))
        return {row[0] for row in rows}

    await registry.repository.write(lambda session: purge(session, at + 6 * 24 * 3600 * 1000))
    assert await left() == {made["digest"], kept["digest"]}
    await registry.repository.write(lambda session: purge(session, at + 8 * 24 * 3600 * 1000))
    assert await left() == {kept["digest"]}


async def test_how_many_are_listed_is_known_without_counting(registry: Registry):
    who = await registry.key("acme")

    async def totals() -> tuple[int, int]:
        told = (await registry.get("/experts/")).json()
        return told["meta"]["total"], len(told["data"]["experts"])

    for name in ("a", "b", "c", "d"):
        await registry.publish(f"@acme/{name}", key=who)
    await registry.publish("@acme/secret", key=who, visibility="private")
    assert await totals() == (4, 4)
    await update(registry, "@acme/a@1.0.0", who, status="disabled")
    assert await totals() == (3, 3)
    await update(registry, "@acme/b@1.0.0", who, status="deprecated")
    assert await totals() == (3, 3)
    await registry.ask("DELETE", "/experts/@acme/c@1.0.0", key=who)
    assert await totals() == (2, 2)
    await registry.publish("@acme/a", "1.1.0", key=who)
    assert await totals() == (3, 3)
    await registry.post("/experts/@acme/secret/settings", {"visibility": "public"}, key=who)
    assert await totals() == (4, 4)
