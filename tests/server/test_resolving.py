"""Batch resolve and the graph below a version: edge by edge, in one answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perstack.lock import digest_of

from .house import Registry, wire

pytestmark = pytest.mark.anyio


async def resolve(registry: Registry, *roots: str, key: str | None = None, **more: Any) -> Any:
    answer = await registry.post("/resolve", {"roots": list(roots), **more}, key=key)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def family(registry: Registry) -> str:
    """lead → researcher (1.0.0, 1.1.0, 2.0.0) and writer; writer → researcher."""
    key = await registry.key("acme")
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        await registry.publish("@acme/researcher", version, key=key)
    await registry.publish("@acme/writer", key=key, delegates=["@acme/researcher@^1.0.0"])
    await registry.publish(
        "@acme/lead", key=key, delegates=["@acme/researcher@2.0.0", "@acme/writer"]
    )
    return key


async def test_a_graph_is_resolved_in_one_answer(registry: Registry):
    await family(registry)
    told = await resolve(registry, "@acme/lead", include="documents")
    assert {spec: one["key"] for spec, one in told["data"]["resolutions"].items()} == {
        "@acme/lead": "@acme/lead@1.0.0",
        "@acme/researcher@2.0.0": "@acme/researcher@2.0.0",
        "@acme/writer": "@acme/writer@1.0.0",
        "@acme/researcher@^1.0.0": "@acme/researcher@1.1.0",
    }
    assert told["meta"] == {"nodes": 4, "edges": 3, "warnings": []}
    documents = told["data"]["documents"]
    assert documents.keys() == {one["digest"] for one in told["data"]["resolutions"].values()}


async def test_documents_come_as_the_bytes_that_were_hashed(registry: Registry):
    await family(registry)
    answer = await registry.post("/resolve", {"roots": ["@acme/writer"], "include": "documents"})
    for digest, said in answer.json()["data"]["documents"].items():
        canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert digest_of(canonical.encode()) == digest
        assert canonical.encode() in answer.content


async def test_one_that_means_nothing_does_not_stop_the_others(registry: Registry):
    await family(registry)
    told = await resolve(
        registry, "@acme/none", "@acme/researcher@^9", "not a key", "@acme/researcher@1.0.0"
    )
    assert list(told["data"]["resolutions"]) == ["@acme/researcher@1.0.0"]
    assert [error["spec"] for error in told["data"]["errors"]] == [
        "@acme/none",
        "@acme/researcher@^9",
        "not a key",
    ]


async def test_what_is_locked_is_kept_as_long_as_it_fits(registry: Registry):
    await family(registry)
    spec = "@acme/researcher@^1.0.0"

    async def means(**more: Any) -> str:
        told = await resolve(registry, spec, **more)
        return told["data"]["resolutions"][spec]["key"]

    assert await means() == "@acme/researcher@1.1.0"
    assert await means(locked={spec: "1.0.0"}) == "@acme/researcher@1.0.0"
    assert await means(locked={spec: "2.0.0"}) == "@acme/researcher@1.1.0"
    assert await means(locked={spec: "1.0.0"}, prefer="highest") == "@acme/researcher@1.1.0"


async def test_available_comes_before_deprecated_and_disabled_is_not_chosen(registry: Registry):
    key = await family(registry)
    spec = "@acme/researcher@^1.0.0"
    await registry.post(
        f"/experts/{wire('@acme/researcher@1.1.0')}", {"status": "deprecated"}, key=key
    )
    told = await resolve(registry, spec)
    assert told["data"]["resolutions"][spec]["key"] == "@acme/researcher@1.0.0"
    await registry.post(
        f"/experts/{wire('@acme/researcher@1.0.0')}", {"status": "disabled"}, key=key
    )
    told = await resolve(registry, spec)
    assert told["data"]["resolutions"][spec]["key"] == "@acme/researcher@1.1.0"
    assert told["meta"]["warnings"] == ["@acme/researcher@1.1.0 is deprecated"]


async def test_what_is_too_young_is_passed_over_unless_it_is_named(registry: Registry):
    key = await registry.key("acme")
    await registry.publish("@acme/a", "1.0.0", key=key)
    registry.now[0] += 3_600_000
    await registry.publish("@acme/a", "1.1.0", key=key)
    age: dict[str, Any] = {"minReleaseAgeSeconds": 60}
    told = await resolve(registry, "@acme/a", "@acme/a@^1.0.0", "@acme/a@1.1.0", **age)
    assert [one["key"] for one in told["data"]["resolutions"].values()] == [
        "@acme/a@1.0.0",
        "@acme/a@1.0.0",
        "@acme/a@1.1.0",
    ]
    assert told["meta"]["warnings"] == ["@acme/a@1.1.0 is younger than the minimum age"]
    told = await resolve(registry, "@acme/a@^1.1.0", **age)
    assert (
        told["data"]["errors"][0]["reason"] == "No version that fits is older than the minimum age"
    )


async def test_a_circle_ends_the_walk(registry: Registry):
    key = await registry.key("acme")
    await registry.publish("@acme/a", "1.0.0", key=key)
    await registry.publish("@acme/b", "1.0.0", key=key, delegates=["@acme/a@^1.0.0"])
    await registry.publish("@acme/a", "1.1.0", key=key, delegates=["@acme/b@^1.0.0"])
    told = await resolve(registry, "@acme/a")
    assert told["meta"] == {"nodes": 2, "edges": 2, "warnings": []}


async def test_private_and_quarantined_versions_are_not_there(registry: Registry):
    key = await registry.key("acme")
    admin = await registry.key("admins", type="serviceAdmin")
    await registry.publish("@acme/secret", key=key, visibility="private")
    await registry.publish("@acme/bad", key=key)
    why = {"reason": "It sends mail to strangers"}
    assert (
        await registry.post(f"/experts/{wire('@acme/bad@1.0.0')}/quarantine", why, key=admin)
    ).status_code == 200
    told = await resolve(registry, "@acme/secret", "@acme/bad@1.0.0")
    assert [error["reason"] for error in told["data"]["errors"]] == ["Expert not found"] * 2
    told = await resolve(registry, "@acme/secret", key=key)
    assert told["data"]["resolutions"].keys() == {"@acme/secret"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"roots": []},
        {"roots": "x"},
        {"roots": ["a"] * 1001},
        {"roots": ["a"], "minReleaseAgeSeconds": -1},
        {"roots": ["a"], "include": "everything"},
    ],
)
async def test_what_is_not_a_request_to_resolve_is_refused(registry: Registry, body: Any):
    assert (await registry.post("/resolve", body)).status_code == 422


async def test_a_graph_that_is_too_deep_is_refused(registry: Registry):
    key = await registry.key("acme")
    await registry.publish("@acme/e0", key=key)
    for n in range(1, 67):
        await registry.publish(f"@acme/e{n}", key=key, delegates=[f"@acme/e{n - 1}"])
    answer = await registry.post("/resolve", {"roots": ["@acme/e66"]})
    assert (answer.status_code, answer.json()["reason"]) == (
        400,
        "The graph is deeper than 64 delegates",
    )
    assert (await resolve(registry, "@acme/e64"))["meta"]["nodes"] == 65


async def test_dependencies_are_told_as_far_as_asked(registry: Registry):
    await family(registry)
    place = f"/experts/{wire('@acme/lead')}/dependencies"
    near = (await registry.get(place)).json()["data"]
    assert [(one["key"], one["depth"]) for one in near["experts"]] == [
        ("@acme/lead@1.0.0", 0),
        ("@acme/researcher@2.0.0", 1),
        ("@acme/writer@1.0.0", 1),
    ]
    far = (await registry.get(place, depth="2")).json()["data"]
    assert far["experts"][-1] == far["experts"][-1] | {"key": "@acme/researcher@1.1.0", "depth": 2}
    assert far["edges"][-1] == {
        "key": "@acme/writer@1.0.0",
        "spec": "@acme/researcher@^1.0.0",
        "to": "@acme/researcher@1.1.0",
    }
    assert (await registry.get(place, depth="65")).status_code == 422
