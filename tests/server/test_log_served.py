"""The transparency log as anyone reads it: all that was published, provable, and private names hidden."""

from __future__ import annotations

import json

import pytest

from perstack.registry import (
    Tile,
    inclusion_proof,
    leaf_hash,
    open_checkpoint,
    parse_bundle,
    parse_entry,
    parse_proof,
    reader,
    tile_path,
    tiles_for_inclusion,
    verify_inclusion,
    verify_published,
)

from .house import Registry, wire

pytestmark = pytest.mark.anyio


async def log_key(registry: Registry) -> str:
    return (await registry.get("/index/config.json")).json()["logKey"]


async def test_the_config_says_where_things_are(registry: Registry):
    told = (await registry.get("/index/config.json")).json()
    assert told["v"] == 1
    assert told["documents"].endswith("/documents/sha256/{hex}")
    assert told["log"] == "/api/registry/v1/tlog"
    assert told["logKey"].startswith("127.0.0.1:7717/api/registry/v1/tlog+")


async def test_every_version_is_proved_to_have_been_published(registry: Registry):
    key = await registry.key("acme")
    log = await log_key(registry)
    for number in range(5):
        made = await registry.publish("@acme/triage", f"1.{number}.0", key=key)
        answer = await registry.get(f"/api/registry/v1/tlog/proof/{wire(made['key'])}")
        proof = parse_proof(answer.text)
        state = verify_published(proof, "@acme/triage", made["version"], made["digest"], log)
        assert proof.index == made["log"]["index"]
        assert state.size > proof.index
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert (
        await registry.get(f"/api/registry/v1/tlog/proof/{wire('@acme/triage')}")
    ).status_code == 404
    assert (
        await registry.get(f"/api/registry/v1/tlog/proof/{wire('@acme/none@1.0.0')}")
    ).status_code == 404


async def test_the_log_can_be_read_as_static_files(registry: Registry):
    """Checkpoint, then tiles, then the bundle: no other endpoint is needed to check everything."""
    key = await registry.key("acme")
    for number in range(3):
        await registry.publish("@acme/triage", f"1.{number}.0", key=key)
    await registry.post(f"/experts/{wire('@acme/triage@1.0.0')}", {"status": "deprecated"}, key=key)
    state = open_checkpoint(
        (await registry.get("/api/registry/v1/tlog/checkpoint")).text, await log_key(registry)
    )
    bundle = await registry.get(
        f"/api/registry/v1/tlog/{tile_path(Tile(level=-1, index=0, width=state.size))}"
    )
    entries = parse_bundle(bundle.content)
    assert [parse_entry(one).op for one in entries] == ["publish"] * 3 + ["status"]
    assert bundle.headers["cache-control"] == "public, max-age=31536000, immutable"
    for index, entry in enumerate(entries):
        tiles = {
            tile: (await registry.get(f"/api/registry/v1/tlog/{tile_path(tile)}")).content
            for tile in tiles_for_inclusion(index, state.size)
        }
        proof = inclusion_proof(index, state.size, reader(state.size, tiles))
        verify_inclusion(leaf_hash(entry), index, state.size, proof, state.root)


async def test_what_the_log_does_not_reach_is_not_there(registry: Registry):
    for path in ("tile/0/000", "tile/0/000.p/9", "tile/9/000", "tile/x/000", "tile/0/0", "tile/0"):
        assert (await registry.get(f"/api/registry/v1/tlog/{path}")).status_code == 404


async def test_a_private_name_is_seen_by_its_members_only(registry: Registry):
    key = await registry.key("acme")
    stranger = await registry.key("other")
    made = await registry.publish("@acme/secret", key=key, visibility="private")
    place = f"/api/registry/v1/tlog/proof/{wire('@acme/secret@1.0.0')}"

    assert (await registry.get(place)).status_code == 404
    assert (await registry.get(place, key=stranger)).status_code == 404
    own = await registry.get(place, key=key)
    proof = parse_proof(own.text)
    verify_published(proof, "@acme/secret", "1.0.0", made["digest"], await log_key(registry))

    assert own.headers["cache-control"] == "private, no-cache"
    assert "secret" not in (await registry.get("/changes")).text
    assert (
        b"secret" not in (await registry.get("/api/registry/v1/tlog/tile/entries/000.p/1")).content
    )


async def test_what_was_private_is_proved_after_it_became_public(registry: Registry):
    key = await registry.key("acme")
    made = await registry.publish("@acme/shy", key=key, visibility="private")
    await registry.post(f"/experts/{wire('@acme/shy')}/settings", {"visibility": "public"}, key=key)
    later = await registry.publish("@acme/shy", "1.1.0", key=key)
    log = await log_key(registry)
    for version in (made, later):
        text = (await registry.get(f"/api/registry/v1/tlog/proof/{wire(version['key'])}")).text
        verify_published(parse_proof(text), "@acme/shy", version["version"], version["digest"], log)


async def test_the_feed_of_changes_is_followed_page_by_page(registry: Registry):
    key = await registry.key("acme")
    for number in range(5):
        await registry.publish("@acme/triage", f"1.{number}.0", key=key)
    seen: list[int] = []
    since = 0
    while True:
        page = (await registry.get("/changes", since=str(since), limit="2")).json()["data"]
        if not page["changes"]:
            break
        seen += [change["index"] for change in page["changes"]]
        since = page["next"]
    assert seen == [0, 1, 2, 3, 4]
    assert page["size"] == 5
    assert (await registry.get("/changes", since="-1")).status_code == 422
    assert (await registry.get("/changes", limit="1001")).status_code == 422


async def test_the_index_has_a_line_for_each_version_and_one_for_the_tags(registry: Registry):
    key = await registry.key("acme")
    await registry.publish("@acme/base", key=key)
    await registry.publish(
        "@acme/triage", "1.0.0", key=key, delegates=["@acme/base@^1.0.0"], tags=["stable"]
    )
    await registry.publish("@acme/triage", "1.1.0", key=key)
    await registry.publish("@acme/triage", "1.2.0", key=key)
    await registry.ask("DELETE", f"/experts/{wire('@acme/triage@1.1.0')}", key=key)

    answer = await registry.get("/index/@acme/triage")
    *lines, tags = answer.text.splitlines()
    told = [json.loads(line) for line in lines]

    assert [line["vers"] for line in told] == ["1.0.0", "1.2.0"]
    assert told[0]["delegates"] == ["@acme/base@^1.0.0"]
    assert told[0]["size"] > 0
    assert tags == '{"tags":{"latest":"1.2.0","stable":"1.0.0"}}'
    again = await registry.ask(
        "GET", "/index/@acme/triage", headers={"if-none-match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    await registry.post(f"/experts/{wire('@acme/triage@1.0.0')}", {"status": "disabled"}, key=key)
    changed = await registry.ask(
        "GET", "/index/@acme/triage", headers={"if-none-match": answer.headers["etag"]}
    )
    assert changed.status_code == 200
    assert '"status":"disabled"' in changed.text


async def test_a_name_without_a_scope_has_its_index_below_an_underscore(registry: Registry):
    key = await registry.key("ann", type="personal")
    await registry.publish("reader", key=key)
    assert '"vers":"1.0.0"' in (await registry.get("/index/_/reader")).text
    for name in ("@acme/none", "_/none", "_/NONE", "%2e%2e"):
        assert (await registry.get(f"/index/{name}")).status_code == 404


async def test_the_log_stays_the_same_log_when_the_server_is_started_again(database: str):
    from .house import open_registry

    async with open_registry(database) as registry:
        key = await registry.key("acme")
        await registry.publish("@acme/triage", key=key)
        before = await log_key(registry)
    async with open_registry(database, public_url="https://elsewhere.example") as registry:
        assert await log_key(registry) == before
        state = open_checkpoint(
            (await registry.get("/api/registry/v1/tlog/checkpoint")).text, before
        )
    assert state.size == 1
