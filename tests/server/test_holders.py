"""Keys, organizations and members, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from perstack.server.identity.keys import is_key

from .house import Registry, open_registry, payload, reason

pytestmark = pytest.mark.anyio


async def test_whoami_says_what_a_key_may_do_now(registry: Registry):
    key = await registry.key("acme", "read", "publish-new", "keys", account="ann", role="publisher")
    told = (await registry.get("/whoami", key=key)).json()["data"]
    assert told["organization"]["name"] == "acme"
    assert told["account"]["name"] == "ann"
    assert told["role"] == "publisher"
    assert told["scopes"] == ["read", "publish-new"]  # a publisher has nothing to do with keys
    assert told["admin"] is False
    assert told["key"]["prefix"] == key[:8]
    assert None not in told["key"].values()


async def test_a_key_is_made_shown_once_used_and_taken_back(registry: Registry):
    owner = await registry.key("acme", account="ann")
    made = await registry.post(
        "/keys", {"name": "ci", "scopes": ["read"], "expiresInDays": 7}, key=owner
    )
    told = made.json()["data"]["key"]
    secret = told.pop("key")
    assert is_key(secret)
    assert made.headers["cache-control"] == "no-store"
    listed = (await registry.get("/keys", key=owner)).json()["data"]["keys"]
    assert told in listed
    assert secret not in str(listed)
    assert (await registry.get("/whoami", key=secret)).json()["data"]["scopes"] == ["read"]
    gone = await registry.ask("DELETE", f"/keys/{told['id']}", key=owner)
    assert (gone.status_code, gone.json()) == (200, {})
    assert (await registry.get("/whoami", key=secret)).status_code == 401
    again = await registry.ask("DELETE", f"/keys/{told['id']}", key=owner)
    assert reason(again) == (404, "Key not found")


async def test_nobody_gives_more_than_they_have(registry: Registry):
    narrow = await registry.key("acme", "read", "keys", patterns=("@acme/a*",))
    refused: list[tuple[dict[str, Any], int]] = [
        ({"scopes": ["unpublish"]}, 403),
        ({"scopes": ["read"]}, 403),
        ({"scopes": ["read"], "patterns": ["@acme/*"]}, 403),
        ({"scopes": ["read"], "patterns": ["@acme/b"]}, 403),
        ({"scopes": ["read"], "patterns": ["@acme/ab"]}, 200),
        ({"scopes": ["read"], "patterns": ["@acme/ab*"]}, 200),
        ({"scopes": ["read"], "patterns": ["@acme/a*"], "organization": "other"}, 404),
        ({"scopes": ["all"], "patterns": ["@acme/ab"]}, 422),
        ({"patterns": ["@acme/ab "]}, 422),
        ({"patterns": ["@acme/ab"], "networks": ["here"]}, 422),
        ({"patterns": ["@acme/ab"], "expiresInDays": 366}, 422),
        ({"patterns": ["@acme/ab"], "expiresInDays": 0}, 422),
        ({"patterns": ["@acme/ab"], "expiresInDays": "9"}, 422),
        ({"patterns": ["@acme/ab"], "account": "nobody"}, 400),
    ]
    await registry.organization("other")
    for body, status in refused:
        answer = await registry.post("/keys", {"name": "k"} | body, key=narrow)
        assert answer.status_code == status, (body, answer.text)
    other = await registry.key("other")
    mine = (await registry.get("/keys", key=narrow)).json()["data"]["keys"][0]["id"]
    assert reason(await registry.ask("DELETE", f"/keys/{mine}", key=other)) == (
        404,
        "Key not found",
    )


async def test_who_signs_out_takes_back_the_own_key_with_any_scope(registry: Registry):
    key = await registry.key("acme", "read")
    id = (await registry.get("/whoami", key=key)).json()["data"]["key"]["id"]
    assert (await registry.ask("DELETE", f"/keys/{id}", key=key)).status_code == 200
    assert (await registry.get("/whoami", key=key)).status_code == 401


async def test_administrators_make_organizations_with_an_owner(registry: Registry):
    admin = await registry.key("admin", type="serviceAdmin")
    made = await registry.post("/orgs", {"name": "acme", "owner": "ann"}, key=admin)
    assert made.json()["data"]["organization"]["organizationType"] == "team"
    again = await registry.post("/orgs", {"name": "acme"}, key=admin)
    assert reason(again) == (400, "Organization acme already exists")
    for name in ("a.b", "Acme", "", "-x", "a" * 129):
        assert reason(await registry.post("/orgs", {"name": name}, key=admin))[0] == 422, name
    dotted = await registry.post("/orgs", {"name": "a.b", "type": "personal"}, key=admin)
    assert dotted.status_code == 200
    key = await registry.post(
        "/keys", {"name": "k", "organization": "acme", "account": "ann"}, key=admin
    )
    ann = key.json()["data"]["key"]["key"]
    await registry.publish("@acme/x", key=ann)
    orgs = (await registry.get("/orgs", key=ann)).json()["data"]["organizations"]
    assert [org["name"] for org in orgs] == ["acme"]
    orgs = (await registry.get("/orgs", key=admin)).json()["data"]["organizations"]
    assert [org["name"] for org in orgs] == ["a.b", "acme", "admin"]


async def test_who_has_an_account_makes_a_few_where_sign_up_is_open(database: str):
    async with open_registry(database, open_signup=True) as registry:
        ann = await registry.key("ann", account="ann", type="personal")
        for name in ("one", "two"):
            assert (await registry.post("/orgs", {"name": name}, key=ann)).status_code == 200
        answer = await registry.post("/orgs", {"name": "three"}, key=ann)
        assert reason(answer) == (400, "An account has at most 3 organizations")
        answer = await registry.post("/orgs", {"name": "x", "type": "serviceAdmin"}, key=ann)
        assert reason(answer)[0] == 403
        machine = await registry.key("acme")
        assert reason(await registry.post("/orgs", {"name": "y"}, key=machine))[0] == 403


async def test_a_role_counts_from_the_moment_it_is_given(registry: Registry):
    owner = await registry.key("acme", account="ann")
    path = "/orgs/acme/members/bob"
    told = await registry.post(path, {"role": "maintainer"}, key=owner)
    assert told.json()["data"]["member"]["role"] == "maintainer"
    key = await registry.post("/keys", {"name": "bob's", "account": "bob"}, key=owner)
    bob = key.json()["data"]["key"]["key"]
    await registry.publish("@acme/x", key=bob)
    assert (await registry.post(path, {"role": "reader"}, key=owner)).status_code == 200
    answer = await registry.post("/experts/", payload("@acme/x", "2.0.0"), key=bob)
    assert reason(answer)[0] == 403
    assert (await registry.get(path, key=bob)).json()["data"]["member"]["role"] == "reader"
    members = (await registry.get("/orgs/acme/members", key=bob)).json()["data"]["members"]
    assert [(member["account"], member["role"]) for member in members] == [
        ("ann", "owner"),
        ("bob", "reader"),
    ]
    assert (await registry.ask("DELETE", path, key=owner)).json() == {}
    assert (await registry.get("/whoami", key=bob)).status_code == 401
    assert reason(await registry.ask("DELETE", path, key=owner)) == (404, "Member not found")


async def test_an_organization_keeps_an_owner(registry: Registry):
    owner = await registry.key("acme", account="ann")
    path = "/orgs/acme/members/ann"
    last = (400, "The last owner cannot be removed")
    assert reason(await registry.post(path, {"role": "reader"}, key=owner)) == last
    assert reason(await registry.ask("DELETE", path, key=owner)) == last
    assert reason(await registry.post(path, {"role": "king"}, key=owner))[0] == 422
    await registry.post("/orgs/acme/members/bob", {"role": "owner"}, key=owner)
    assert (await registry.post(path, {"role": "reader"}, key=owner)).status_code == 200


async def test_a_machines_key_outlives_no_role(registry: Registry):
    """Only who manages members makes keys that no member's role bounds."""
    keeper = await registry.key("acme", "read", "keys", account="ann")
    answer = await registry.post(
        "/keys", {"name": "k", "scopes": ["read"], "account": ""}, key=keeper
    )
    assert reason(answer) == (403, "The key lacks the scope owners")
    made = await registry.post("/keys", {"name": "k", "scopes": ["read"]}, key=keeper)
    assert made.json()["data"]["key"]["accountId"]


async def test_when_a_key_was_used_is_noted_off_the_way(registry: Registry):
    key = await registry.key("acme")
    made = await registry.publish("@acme/x", key=key)
    for _ in range(3):
        await registry.get(f"/documents/sha256/{made['digest'][7:]}")
    await registry.app.context.tally.write(registry.repository)
    assert (await registry.get("/keys", key=key)).json()["data"]["keys"][0]["usedAt"]
    rows = await registry.repository.read(lambda session: session.all("SELECT count FROM fetches"))
    assert [row[0] for row in rows] == [3]
