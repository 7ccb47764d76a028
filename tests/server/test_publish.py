"""Publishing (R4): what is checked, in what order, and what is kept."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from perstack.lock import digest_of
from perstack.registry import PublishRequest, document_of_request

from .house import BASE, Registry, payload, reason, wire

pytestmark = pytest.mark.anyio


async def test_a_published_version_is_read_back_as_it_was_sent(registry: Registry):
    key = await registry.key("acme")
    sent = payload("@acme/triage", "1.2.0")
    told = await registry.publish("@acme/triage", "1.2.0", key=key)
    got = (await registry.get(f"/experts/{wire('@acme/triage@1.2.0')}")).json()["data"]["expert"]
    assert got == told
    assert {name: got[name] for name in sent if name in got} == sent
    assert got["key"] == "@acme/triage@1.2.0"
    assert got["type"] == "registryExpert"
    assert got["status"] == "available"
    assert got["owner"]["name"] == "acme"
    request = PublishRequest(
        name="@acme/triage",
        version="1.2.0",
        min_runtime_version="v1.0",
        description=sent["description"],
        instruction=sent["instruction"],
        skills=BASE,
    )
    assert got["digest"] == digest_of(document_of_request(request))
    document = await registry.get(f"/documents/sha256/{got['digest'][7:]}")
    assert document.content == document_of_request(request)


async def test_every_reason_is_given_in_its_order(registry: Registry):
    """Each request is wrong in all that comes after, too; what is said is what comes first."""
    acme, other, ann = (
        await registry.key("acme"),
        await registry.key("other"),
        await registry.key("ann", type="personal"),
    )
    await registry.publish("@acme/taken", key=acme)
    await registry.publish("mine", key=ann)
    bob = await registry.key("bob", type="personal")
    wrong: dict[str, Any] = {"skills": {}, "delegates": ["@acme/none"]}

    async def refusal(name: str, version: str, key: str | None, **more: Any):
        return reason(await registry.post("/experts/", payload(name, version, **more), key=key))

    assert await refusal("Bad Name", "1", None) == (401, "Failed to authenticate")
    reader = await registry.key("acme", "read")
    assert await refusal("Bad Name", "1", reader) == (403, "The key lacks the scope publish-new")
    assert (await refusal("Bad Name", "1", acme))[0] == 422
    assert await refusal("@ann/x", "1.0.0", ann, **wrong) == (400, "Expert name cannot be scoped")
    assert await refusal("x", "1.0.0", acme, **wrong) == (400, "Expert name must be scoped")
    assert await refusal("@acme/x", "1.0.0", other, **wrong) == (400, "Expert name must be scoped")
    assert await refusal("mine", "1.0.0", bob, **wrong) == (400, "Expert mine already exists")
    assert await refusal("@acme/taken", "1.0.0", acme, **wrong) == (
        400,
        "@perstack/base is required",
    )
    wrong["skills"] = BASE
    for version in ("1.0.0", "1.0.0+build.7"):
        assert await refusal("@acme/taken", version, acme, **wrong) == (
            400,
            f"Version {version} is already published",
        )
    wrong["expectedDigest"] = "sha256:" + "0" * 64
    assert await refusal("@acme/taken", "2.0.0", acme, **wrong) == (
        400,
        "Delegate expert not found: @acme/none",
    )
    await registry.publish("@acme/b", key=acme)
    await registry.publish("@other/b", key=other)
    wrong["delegates"] = ["@acme/b", "@other/b"]
    assert await refusal("@acme/taken", "2.0.0", acme, **wrong) == (
        400,
        "Delegates are ambiguous: @acme/b and @other/b",
    )
    wrong["delegates"] = []
    assert await refusal("@acme/taken", "2.0.0", acme, **wrong) == (
        400,
        "The document has another digest than expected",
    )


async def test_who_tries_again_learns_that_it_was_kept(registry: Registry):
    key = await registry.key("acme")
    first = await registry.publish("@acme/x", key=key)
    same = await registry.post("/experts/", payload("@acme/x"), key=key)
    assert same.json()["extensions"] == {
        "identical": True,
        "digest": first["digest"],
        "publishedAt": first["publishedAt"],
    }
    changed = await registry.post("/experts/", payload("@acme/x", instruction="Else"), key=key)
    assert changed.status_code == 400
    assert "extensions" not in changed.json()


async def test_the_base_skill_may_be_pinned_in_its_package(registry: Registry):
    key = await registry.key("acme")
    pinned = {"@perstack/base": BASE["@perstack/base"] | {"packageName": "@perstack/base@0.0.34"}}
    await registry.publish("@acme/x", key=key, skills=pinned)
    renamed = {"@perstack/base@0.0.34": BASE["@perstack/base"]}
    answer = await registry.post("/experts/", payload("@acme/y", skills=renamed), key=key)
    assert reason(answer) == (400, "@perstack/base is required")


async def test_a_dry_run_checks_all_and_keeps_nothing(registry: Registry):
    key = await registry.key("acme")
    answer = await registry.post("/experts/", payload("@acme/x"), key=key, dryRun="true")
    assert answer.status_code == 200
    assert answer.json()["data"]["document"]["schema"] == "perstack.expert/1"
    assert (await registry.get("/experts/@acme/x")).status_code == 404
    made = await registry.publish("@acme/x", key=key)
    assert made["digest"] == answer.json()["data"]["digest"]
    again = await registry.post("/experts/", payload("@acme/x"), key=key, dryRun="true")
    assert reason(again) == (400, "Version 1.0.0 is already published")


async def test_unknown_members_are_left_out_and_named(registry: Registry):
    key = await registry.key("acme")
    answer = await registry.post("/experts/", payload("@acme/x", mood="good"), key=key)
    assert answer.json()["meta"]["warnings"] == ["The member mood is not known and was left out"]
    assert "mood" not in answer.json()["data"]["expert"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": "Upper"}, ["name"]),
        ({"name": "a\n"}, ["name"]),
        ({"name": "a.b"}, ["name"]),
        ({"name": "a" * 256}, ["name"]),
        ({"version": "1"}, ["version"]),
        ({"version": "01.0.0"}, ["version"]),
        ({"version": "1.0.0\n"}, ["version"]),
        ({"version": "1.0.\u0660"}, ["version"]),
        ({"minRuntimeVersion": "v2.0"}, ["minRuntimeVersion"]),
        ({"description": ""}, ["description"]),
        ({"description": "\U0001f600" * 1025}, ["description"]),
        ({"description": "\0"}, ["description"]),
        ({"instruction": None}, ["instruction"]),
        ({"instruction": "a" * 20481}, ["instruction"]),
        ({"skills": []}, ["skills"]),
        ({"delegates": ["A b"]}, ["delegates", 0]),
        ({"delegates": ["a@>=1 <"]}, ["delegates", 0]),
        ({"delegates": "a"}, ["delegates"]),
        ({"delegateSpecs": ["a@^1"]}, ["delegateSpecs"]),
        ({"tags": ["Bad"]}, ["tags", 0]),
        ({"tags": [f"t{n}" for n in range(9)]}, ["tags"]),
        ({"visibility": "secret"}, ["visibility"]),
        ({"setLatest": 1}, ["setLatest"]),
        ({"expectedDigest": "abc"}, ["expectedDigest"]),
        ({"providerToolOptions": {"a": 0.5}}, ["providerToolOptions", "a"]),
        ({"providerToolOptions": {"a": 2**60}}, ["providerToolOptions", "a"]),
        ({"readme": "ä" * 40000}, ["readme"]),
    ],
)
async def test_what_is_malformed_is_named_by_its_place(
    registry: Registry, change: dict[str, Any], path: list[Any]
):
    key = await registry.key("acme", type="personal")
    status, issues = reason(await registry.post("/experts/", payload("x") | change, key=key))
    assert status == 422
    assert path in [issue["path"] for issue in issues]
    assert all(issue["code"] and issue["message"] for issue in issues)


STDIO: dict[str, Any] = BASE["@perstack/base"]
SSE: dict[str, Any] = {
    "type": "mcpSseSkill",
    "description": "d",
    "endpoint": "https://example.com/mcp",
}
ASK: dict[str, Any] = {
    "type": "interactiveSkill",
    "description": "d",
    "tools": {"askUser": {"description": "d", "inputJsonSchema": "{}"}},
}


BAD_SKILLS: list[dict[str, Any]] = [
    STDIO | {"command": "bash"},
    STDIO | {"args": ["-y"]},
    STDIO | {"packageName": "a b"},
    STDIO | {"requiredEnv": ["A B"]},
    STDIO | {"allowedDomains": ["*.xn--e1afmkfd.com"]},
    STDIO | {"pick": ["x" * 256]},
    STDIO | {"env": "x"},
    {"type": "other", "description": "d"},
    {**SSE, "endpoint": "http://example.com"},
    *(
        {**SSE, "endpoint": f"https://{host}/"}
        for host in (
            "localhost",
            "0.0.0.0",
            "127.1.2.3",
            "10.0.0.1",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "[::1]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:10.0.0.1]",
        )
    ),
    ASK | {"tools": {"bad name": {"description": "d", "inputJsonSchema": "{}"}}},
    ASK | {"tools": {"t": {"description": "d", "inputJsonSchema": "[]"}}},
    ASK | {"tools": {"t": {"description": "d", "inputJsonSchema": "{"}}},
]


@pytest.mark.parametrize("skill", BAD_SKILLS)
async def test_a_skill_that_may_not_be_published_is_refused(
    registry: Registry, skill: dict[str, Any]
):
    key = await registry.key("acme", type="personal")
    answer = await registry.post("/experts/", payload("x", skills=BASE | {"s": skill}), key=key)
    status, issues = reason(answer)
    assert status == 422
    assert all(issue["path"][:2] == ["skills", "s"] for issue in issues)


async def test_skills_of_every_kind_are_kept_as_they_were_sent(registry: Registry):
    key = await registry.key("acme", type="personal")
    skills = BASE | {
        "search": STDIO
        | {"packageName": "srv@1.0.0", "lazyInit": True, "allowedDomains": ["*.a.io"]},
        "remote": SSE,
        "person": ASK,
    }
    made = await registry.publish("x", key=key, skills=skills)
    assert made["skills"] == skills


async def test_ranges_in_delegates_are_pinned_and_kept_beside(registry: Registry):
    key = await registry.key("acme")
    for version in ("1.0.0", "1.4.0", "2.0.0"):
        await registry.publish("@acme/r", version, key=key)
    await registry.publish("@acme/t", key=key, tags=["stable"])
    digest = (await registry.publish("@acme/d", key=key))["digest"]
    await registry.publish("@acme/n", "3.1.0", key=key)
    sent = ["@acme/r@^1.0.0", "@acme/t@stable", f"@acme/d@{digest}", "@acme/n@3"]
    made = await registry.publish("@acme/x", key=key, delegates=sent)
    assert made["delegates"] == [
        "@acme/r@1.4.0",
        "@acme/t@stable",
        "@acme/d@1.0.0",
        "@acme/n@3.1.0",
    ]
    assert made["delegateSpecs"] == sent
    plain = await registry.publish("@acme/y", key=key, delegates=["@acme/r", "@acme/t@1.0.0"])
    assert plain["delegates"] == ["@acme/r", "@acme/t@1.0.0"]
    assert "delegateSpecs" not in plain
    chosen = await registry.publish(
        "@acme/z", key=key, delegates=["@acme/r@1.0.0"], delegateSpecs=["@acme/r@~1.0"]
    )
    assert chosen["delegateSpecs"] == ["@acme/r@~1.0"]
    lie = await registry.post(
        "/experts/",
        payload("@acme/w", delegates=["@acme/r@2.0.0"], delegateSpecs=["@acme/r@~1.0"]),
        key=key,
    )
    assert reason(lie) == (400, "Delegate @acme/r@2.0.0 is not what @acme/r@~1.0 selects")


async def test_delegates_must_be_there_for_every_reader(registry: Registry):
    acme, other = await registry.key("acme"), await registry.key("other")
    await registry.publish("@acme/secret", key=acme, visibility="private")
    await registry.publish("@acme/old", key=acme)
    await registry.publish("@acme/off", key=acme)
    for key, status in (("@acme/old@1.0.0", "deprecated"), ("@acme/off@1.0.0", "disabled")):
        await registry.post(f"/experts/{wire(key)}", {"status": status}, key=acme)

    async def refused(name: str, delegate: str, key: str, **more: Any):
        body = payload(name, delegates=[delegate], **more)
        return reason(await registry.post("/experts/", body, key=key))

    missing = (400, "Delegate expert not found: @acme/secret")
    assert await refused("@acme/x", "@acme/secret", acme) == missing
    assert await refused("@other/x", "@acme/secret", other) == missing
    assert await refused("@acme/x", "@acme/off@1.0.0", acme) == (
        400,
        "Delegate expert is disabled: @acme/off@1.0.0",
    )
    own = payload("@acme/x", "1.0.0", delegates=["@acme/x@1.0.0"])
    assert reason(await registry.post("/experts/", own, key=acme)) == (
        400,
        "Delegate expert not found: @acme/x@1.0.0",
    )
    await registry.publish("@acme/p", key=acme, visibility="private", delegates=["@acme/secret"])
    answer = await registry.post("/experts/", payload("@acme/y", delegates=["@acme/old"]), key=acme)
    assert answer.json()["meta"]["warnings"] == ["Delegate expert is deprecated: @acme/old@1.0.0"]


async def test_of_many_that_publish_one_version_one_succeeds(registry: Registry):
    key = await registry.key("acme")
    answers: list[tuple[int, Any]] = []

    async def publish(n: int) -> None:
        sent = payload("@acme/x", "1.0.0", description=f"by {n}")
        answer = await registry.post("/experts/", sent, key=key)
        told = answer.json()
        answers.append((answer.status_code, told.get("reason") or told["data"]["expert"]["log"]))

    async with anyio.create_task_group() as tasks:
        for n in range(64):
            tasks.start_soon(publish, n)
    assert sorted(status for status, _ in answers) == [200] + [400] * 63
    assert {said for status, said in answers if status == 400} == {
        "Version 1.0.0 is already published"
    }
    row = await registry.repository.read(lambda s: s.one("SELECT count(*) FROM log_entries"))
    assert row is not None
    assert row[0] == 1


async def test_many_versions_at_once_all_succeed_and_the_last_is_latest(registry: Registry):
    key = await registry.key("acme")

    async def publish(n: int) -> None:
        await registry.publish("@acme/x", f"1.{n}.0", key=key)

    async with anyio.create_task_group() as tasks:
        for n in range(64):
            tasks.start_soon(publish, n)
    told = (await registry.get("/experts/@acme/x/versions")).json()
    assert [found["version"] for found in told["data"]["versions"]] == [
        f"1.{n}.0" for n in reversed(range(64))
    ]
    rows = await registry.repository.read(
        lambda s: s.all("SELECT version FROM versions ORDER BY n DESC LIMIT 1")
    )
    assert told["data"]["latest"] == rows[0][0]
