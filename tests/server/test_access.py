"""Who may do what: every endpoint, asked by every kind of caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from perstack.registry import PREFIX
from perstack.server.endpoints import ROUTES
from perstack.server.extensions import attestations, trusted
from perstack.server.identity.keys import ALLOWED, SCOPES, Scope, new_key
from perstack.server.queries import audit

from .house import Registry, payload, reason

pytestmark = pytest.mark.anyio

DAY_MS = 24 * 3600 * 1000

X = "/experts/%40acme%2Fx"
"""Public, in versions 1.0.0 and 2.0.0."""


@dataclass(frozen=True)
class Endpoint:
    """needs: the scope; None: no key at all; "" any key. other: what another organization's full key gets."""

    method: str
    path: str
    needs: Scope | str | None
    other: int
    body: Any = None


ENDPOINTS = {
    "GET /experts/{key}": Endpoint("GET", X, None, 200),
    "GET /experts/{key}/versions": Endpoint("GET", f"{X}/versions", None, 200),
    "GET /experts": Endpoint("GET", "/experts/", None, 200),
    "POST /experts": Endpoint(
        "POST", "/experts/", "publish-update", 400, payload("@acme/x", "3.0.0")
    ),
    "POST /experts/{key}": Endpoint(
        "POST", f"{X}%402.0.0", "status", 400, {"status": "deprecated"}
    ),
    "DELETE /experts/{key}": Endpoint("DELETE", f"{X}%402.0.0", "unpublish", 400),
    "POST /experts/{key}/settings": Endpoint(
        "POST", f"{X}/settings", "owners", 400, {"latestPolicy": "published"}
    ),
    "POST /experts/{key}/transfer": Endpoint(
        "POST", f"{X}/transfer", "owners", 404, {"accept": True}
    ),
    "GET /experts/{key}/tags": Endpoint("GET", f"{X}/tags", None, 200),
    "PUT /experts/{key}/tags/{tag}": Endpoint(
        "PUT", f"{X}/tags/good", "tag", 400, {"version": "1.0.0"}
    ),
    "DELETE /experts/{key}/tags/{tag}": Endpoint("DELETE", f"{X}/tags/good", "tag", 400),
    "GET /experts/{key}/trusted-publishers": Endpoint(
        "GET", f"{X}/trusted-publishers", "keys", 400
    ),
    "POST /experts/{key}/trusted-publishers": Endpoint(
        "POST",
        f"{X}/trusted-publishers",
        "keys",
        400,
        {"issuer": "github", "repository": "acme/x", "workflow": "publish.yml"},
    ),
    "DELETE /experts/{key}/trusted-publishers/{id}": Endpoint(
        "DELETE", f"{X}/trusted-publishers/none", "keys", 400
    ),
    "GET /experts/{key}/attestations": Endpoint("GET", f"{X}%402.0.0/attestations", None, 200),
    "POST /experts/{key}/attestations": Endpoint(
        "POST",
        f"{X}%402.0.0/attestations",
        "publish-update",
        400,
        {"payloadType": "application/json", "payload": "", "signatures": []},
    ),
    "GET /documents/sha256/{hex}": Endpoint("GET", "/documents/sha256/DIGEST", None, 200),
    "GET /whoami": Endpoint("GET", "/whoami", "", 200),
    "GET /keys": Endpoint("GET", "/keys", "keys", 200),
    "POST /keys": Endpoint("POST", "/keys", "keys", 200, {"name": "k"}),
    "DELETE /keys/{id}": Endpoint("DELETE", "/keys/nokey", "keys", 404),
    "GET /orgs": Endpoint("GET", "/orgs", "", 200),
    "POST /orgs": Endpoint("POST", "/orgs", "owners", 403, {"name": "new"}),
    "GET /orgs/{org}/members": Endpoint("GET", "/orgs/acme/members", "read", 404),
    "GET /orgs/{org}/members/{account}": Endpoint("GET", "/orgs/acme/members/ann", "read", 404),
    "POST /orgs/{org}/members/{account}": Endpoint(
        "POST", "/orgs/acme/members/eve", "owners", 404, {"role": "reader"}
    ),
    "DELETE /orgs/{org}/members/{account}": Endpoint(
        "DELETE", "/orgs/acme/members/eve", "owners", 404
    ),
    "GET /orgs/{org}/attestation-keys": Endpoint("GET", "/orgs/acme/attestation-keys", "keys", 404),
    "POST /orgs/{org}/attestation-keys": Endpoint(
        "POST",
        "/orgs/acme/attestation-keys",
        "keys",
        404,
        {"name": "k", "publicKey": "A" * 43 + "="},
    ),
    "DELETE /orgs/{org}/attestation-keys/{id}": Endpoint(
        "DELETE", "/orgs/acme/attestation-keys/none", "keys", 404
    ),
    "GET /orgs/{org}/audit": Endpoint("GET", "/orgs/acme/audit", "audit", 404),
}


def test_every_endpoint_is_in_the_table():
    routes = (*ROUTES, *trusted.EXTENSION.routes, *attestations.EXTENSION.routes)
    there = {f"{route.method} {route.pattern.removeprefix(PREFIX)}" for route in routes}
    # where a token is shown, no key is asked for
    assert there - {"POST /oidc/exchange"} == ENDPOINTS.keys()


async def callers(registry: Registry) -> dict[str, str | None]:
    """A key of every kind. Those of NOBODY are no good at all."""
    owner = await registry.key("acme", account="ann")
    made = {
        "none": None,
        "mistyped": owner[:-1] + ("0" if owner[-1] != "0" else "1"),
        "unknown": new_key(),
        "another kind": "sk-" + "a" * 40,
        "expired": await registry.key("acme", days=1),
        "elsewhere": await registry.key("acme", networks=("192.0.2.0/24",)),
        "revoked": await registry.key("acme"),
        "left": await registry.key("acme", account="gone", role="reader"),
        "closed": await registry.key("closed"),
        "owner": owner,
        "maintainer": await registry.key("acme", account="max", role="maintainer"),
        "publisher": await registry.key("acme", account="pia", role="publisher"),
        "reader": await registry.key("acme", account="rob", role="reader"),
        "machine": await registry.key("acme", "publish-update", "read"),
        "other names": await registry.key("acme", patterns=("@acme/other*",)),
        "other": await registry.key("other"),
    }

    def spoil(session: Any) -> None:
        session.run(
            "DELETE FROM members WHERE account = (SELECT id FROM accounts WHERE name = 'gone')"
        )
        session.run("UPDATE organizations SET status = 'inactive' WHERE name = 'closed'")
        revoked = session.all("SELECT id FROM keys ORDER BY created_at")[3][0]
        session.run("UPDATE keys SET revoked_at = 1 WHERE id = ?", revoked)

    await registry.repository.write(spoil)
    registry.now[0] += 2 * DAY_MS
    return made


NOBODY = (
    "none",
    "mistyped",
    "unknown",
    "another kind",
    "expired",
    "elsewhere",
    "revoked",
    "left",
    "closed",
)
MAY: dict[str, frozenset[Scope]] = {
    "owner": ALLOWED["owner"],
    "maintainer": ALLOWED["maintainer"],
    "publisher": ALLOWED["publisher"],
    "reader": ALLOWED["reader"],
    "machine": frozenset({"publish-update", "read"}),
}


@pytest.mark.parametrize("name", ENDPOINTS)
async def test_every_endpoint_answers_every_caller_as_it_should(registry: Registry, name: str):
    endpoint = ENDPOINTS[name]
    who = await callers(registry)
    await registry.publish("@acme/x", "1.0.0", key=who["owner"] or "")
    made = await registry.publish("@acme/x", "2.0.0", key=who["owner"] or "", tags=["good"])
    path = endpoint.path.replace("DIGEST", made["digest"][7:])

    async def ask(caller: str) -> tuple[int, Any]:
        answer = await registry.ask(endpoint.method, path, endpoint.body, key=who[caller])
        return (answer.status_code, None) if answer.is_success else reason(answer)

    for caller in NOBODY:
        status, said = await ask(caller)
        if endpoint.needs is None:
            assert status == 200, caller
        else:
            assert (status, said) == (401, "Failed to authenticate"), caller
    if endpoint.needs in (None, ""):
        for caller in (
            "owner",
            "maintainer",
            "publisher",
            "reader",
            "machine",
            "other names",
            "other",
        ):
            assert (await ask(caller))[0] == 200, caller
        return
    for caller, scopes in MAY.items():
        if endpoint.needs not in scopes:
            status, said = await ask(caller)
            assert status == 403, (caller, said)
            assert said.startswith("The key lacks the scope "), (caller, said)
    if path.startswith("/experts/") and path != "/experts/":
        assert await ask("other names") == (403, "The key is not for @acme/x")
    if name == "POST /experts":
        assert await ask("other names") == (403, "The key is not for @acme/x")
    assert (await ask("other"))[0] == endpoint.other
    for caller, scopes in MAY.items():
        if endpoint.needs in scopes and name != "POST /orgs":
            status, said = await ask(caller)
            assert status not in (401, 403), (caller, said)


async def test_a_new_name_needs_its_own_scope(registry: Registry):
    update = await registry.key("acme", "publish-update")
    new = await registry.key("acme", "publish-new")
    answer = await registry.post("/experts/", payload("@acme/x"), key=update)
    assert reason(answer) == (403, "The key lacks the scope publish-new")
    await registry.publish("@acme/x", "1.0.0", key=new)
    answer = await registry.post("/experts/", payload("@acme/x", "2.0.0"), key=new)
    assert reason(answer) == (403, "The key lacks the scope publish-update")
    await registry.publish("@acme/x", "2.0.0", key=update)


async def test_each_member_of_an_update_needs_its_own_scope(registry: Registry):
    owner = await registry.key("acme")
    await registry.publish("@acme/x", key=owner)
    tag, status = await registry.key("acme", "tag"), await registry.key("acme", "status")
    both = {"tags": ["a"], "status": "deprecated"}
    path = "/experts/@acme/x@1.0.0"
    assert reason(await registry.post(path, both, key=tag)) == (
        403,
        "The key lacks the scope status",
    )
    assert reason(await registry.post(path, both, key=status)) == (
        403,
        "The key lacks the scope tag",
    )
    assert (await registry.post(path, {"tags": ["a"]}, key=tag)).status_code == 200
    assert (await registry.post(path, {"status": "deprecated"}, key=status)).status_code == 200


async def test_a_private_registry_reads_to_nobody_without_a_key(database: str):
    from .house import open_registry

    async with open_registry(database, anonymous_read=False) as registry:
        key, other = await registry.key("acme"), await registry.key("other", "read")
        made = await registry.publish("@acme/x", key=key)
        for path in (
            "/experts/@acme/x",
            "/experts/@acme/x/versions",
            "/experts/",
            "/experts/@acme/x/tags",
            f"/documents/sha256/{made['digest'][7:]}",
        ):
            assert reason(await registry.get(path)) == (401, "Failed to authenticate")
            assert reason(await registry.get(path, key=new_key()))[0] == 401
            answer = await registry.get(path, key=other)
            assert answer.status_code == 200
            assert answer.headers["cache-control"].startswith("private")


async def test_what_is_done_and_what_is_refused_is_in_a_chain(registry: Registry):
    key, other = await registry.key("acme"), await registry.key("other")
    await registry.publish("@acme/x", key=key)
    await registry.post("/experts/@acme/x@1.0.0", {"status": "deprecated"}, key=key)
    await registry.post("/experts/@acme/x@1.0.0", {"status": "disabled"})
    narrow = await registry.key("acme", "read")
    await registry.ask("DELETE", "/experts/@acme/x@1.0.0", key=narrow)
    await registry.ask("DELETE", "/experts/@acme/x@1.0.0", key=other)
    await registry.ask("DELETE", "/experts/@acme/x@1.0.0", key=key)
    rows = await registry.repository.write(lambda session: audit.rows(session, limit=1000))
    done = [(row.action, row.target) for row in rows if row.address == "127.0.0.1"]
    assert done == [
        ("publish", "@acme/x@1.0.0"),
        ("update", "@acme/x@1.0.0"),
        ("unauthenticated", "POST /api/registry/v1/experts/@acme/x@1.0.0"),
        ("forbidden", "DELETE /api/registry/v1/experts/@acme/x@1.0.0"),
        ("unpublish", "@acme/x@1.0.0"),
    ]
    assert await registry.repository.read(lambda session: list(audit.breaks(session))) == []
    told = (await registry.get("/orgs/acme/audit", key=key)).json()["data"]["audit"]
    assert [row["action"] for row in told] == [
        "organization.create",
        "key.create",
        "publish",
        "update",
        "key.create",
        "forbidden",
        "unpublish",
    ]
    assert told[3]["before"]["status"] == "available"
    assert told[3]["after"]["status"] == "deprecated"
    filtered = await registry.get("/orgs/acme/audit", key=key, action="publish", since="1")
    assert [row["target"] for row in filtered.json()["data"]["audit"]] == ["@acme/x@1.0.0"]


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE audit SET target = 'other' WHERE seq = 2",
        "UPDATE audit SET address = '' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 2",
        "UPDATE audit SET seq = seq + 1000 WHERE seq = (SELECT max(seq) FROM audit)",
    ],
)
async def test_a_row_that_was_changed_breaks_the_chain(registry: Registry, harm: str):
    key = await registry.key("acme")
    for version in ("1.0.0", "2.0.0"):
        await registry.publish("@acme/x", version, key=key)
    await registry.repository.write(lambda session: session.run(harm))
    assert await registry.repository.read(lambda session: list(audit.breaks(session))) != []


async def test_no_key_is_in_the_database(registry: Registry):
    key = await registry.key("acme", account="ann")
    answer = await registry.post("/keys", {"name": "k"}, key=key)
    secret = answer.json()["data"]["key"]["key"]

    def everything(session: Any) -> str:
        return repr(
            [session.all(f"SELECT * FROM {table}") for table in ("keys", "audit", "settings")]
        )

    held = await registry.repository.read(everything)
    for found in (key, secret):
        assert found[8:] not in held
        assert found[:8] in held


def test_the_scopes_are_those_that_endpoints_need():
    needed = {endpoint.needs for endpoint in ENDPOINTS.values()} - {None, ""}
    assert needed | {"publish-new"} == set(SCOPES)
