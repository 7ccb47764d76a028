"""What who runs a server needs: health, numbers, quarantine; and a description that is true."""

from __future__ import annotations

import pytest

from .house import Registry, reason, wire

pytestmark = pytest.mark.anyio

BAD = f"/experts/{wire('@acme/bad@1.0.0')}"


async def test_a_server_says_that_it_is_alive_and_ready(registry: Registry):
    for path in ("/healthz", "/readyz"):
        answer = await registry.http.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


async def test_its_numbers_name_routes_and_nobody(registry: Registry):
    key = await registry.key("acme")
    await registry.publish("@acme/triage", key=key)
    await registry.get(f"/experts/{wire('@acme/triage')}")
    await registry.get("/experts/@acme/none")
    text = (await registry.http.get("/metrics")).text
    route = 'route="/api/registry/v1/experts/{key}",method="GET"'
    assert f'perstack_registry_requests_total{{{route},status="200"}} 1\n' in text
    assert f'perstack_registry_requests_total{{{route},status="404"}} 1\n' in text
    assert "perstack_registry_log_entries 1\n" in text
    assert "acme" not in text


async def test_quarantine_hides_a_version_from_all_but_its_owner(registry: Registry):
    owner = await registry.key("acme")
    other = await registry.key("other")
    admin = await registry.key("admins", type="serviceAdmin")
    made = await registry.publish("@acme/bad", key=owner)
    why = {"reason": "It sends mail to strangers"}

    for key in (None, owner, other):
        assert (await registry.post(f"{BAD}/quarantine", why, key=key)).status_code in (401, 403)
    assert (await registry.post(f"{BAD}/quarantine", {}, key=admin)).status_code == 422
    assert (await registry.post(f"{BAD}/quarantine", why, key=admin)).status_code == 200
    assert reason(await registry.post(f"{BAD}/quarantine", why, key=admin))[0] == 400

    places = [
        BAD,
        f"/documents/sha256/{made['digest'][7:]}",
        f"{BAD}/scan",
        f"{BAD}/dependencies",
        f"/tlog/proof/{wire('@acme/bad@1.0.0')}".replace("/tlog", "/api/registry/v1/tlog", 1),
    ]
    for place in places:
        assert (await registry.get(place)).status_code == 404
        assert (await registry.get(place, key=other)).status_code == 404
        assert (await registry.get(place, key=owner)).status_code == 200
    own = (await registry.get(BAD, key=owner)).json()["data"]["expert"]
    assert own["status"] == "disabled"
    assert own["quarantine"]["reason"] == "It sends mail to strangers"
    assert "1.0.0" not in (await registry.get("/index/@acme/bad")).text

    assert (await registry.ask("DELETE", f"{BAD}/quarantine", key=admin)).status_code == 200
    assert (await registry.get(BAD)).json()["data"]["expert"]["status"] == "available"
    entries = (await registry.get("/changes")).json()["data"]["changes"]
    assert [
        one["entry"].get("status") for one in entries if one["entry"]["op"] == "quarantine"
    ] == [
        "quarantined",
        "released",
    ]


async def test_a_private_registry_asks_for_a_key_everywhere(database: str):
    from .house import open_registry

    async with open_registry(database, anonymous_read=False) as registry:
        key = await registry.key("acme")
        await registry.publish("@acme/bad", key=key)
        tlog = "/api/registry/v1/tlog"
        for path in (
            "/index/config.json",
            "/index/@acme/bad",
            "/search",
            "/changes",
            f"{BAD}/scan",
            f"{BAD}/stats",
            f"{BAD}/dependents",
            f"{BAD}/dependencies",
            f"{tlog}/checkpoint",
            f"{tlog}/tile/entries/000.p/1",
            f"{tlog}/proof/{wire('@acme/bad@1.0.0')}",
        ):
            assert (await registry.get(path)).status_code == 401, path
            answer = await registry.get(path, key=key)
            assert answer.status_code == 200, path
            assert "public" not in answer.headers["cache-control"], path
        assert (await registry.post("/resolve", {"roots": ["@acme/bad"]})).status_code == 401
        assert (await registry.http.get("/healthz")).status_code == 200
