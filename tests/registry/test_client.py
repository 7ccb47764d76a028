"""The client against the real server, over loopback."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from perstack.errors import RegistryError, RegistryTampered
from perstack.lock import digest_of
from perstack.registry import (
    Cache,
    Place,
    RegistryClient,
    ResolveRequest,
    expert_of,
    open_client,
    parse_index,
    parse_proof,
)

from .house import House, open_house, refused, request

pytestmark = pytest.mark.anyio

QUICK = (0.0, 0.0)


@pytest.fixture
async def client(house: House, tmp_path: Path) -> AsyncGenerator[RegistryClient]:
    place = Place(url=house.url, key=house.keys["acme"])
    async with open_client(place, Cache(tmp_path / "cache"), pauses_s=QUICK) as found:
        yield found


async def test_what_is_published_can_be_read_in_every_way(client: RegistryClient) -> None:
    told, _ = await client.publish(request("@acme/reader", "1.0.0"))
    await client.publish(request("@acme/reader", "1.1.0+build.7"))
    assert told.key == "@acme/reader@1.0.0"
    assert (await client.get("@acme/reader")).version == "1.1.0+build.7"
    assert (await client.get("@acme/reader@1.0.0")).digest == told.digest
    assert (await client.get("@acme/reader@^1.0.0 <1.1")).version == "1.0.0"
    assert [v.version for v in (await client.versions("@acme/reader")).versions] == [
        "1.1.0+build.7",
        "1.0.0",
    ]
    assert [e.name for e in (await client.experts(filter="@acme/")).experts] == ["@acme/reader"]
    document = await client.document(told.digest)
    assert digest_of(document) == told.digest
    assert expert_of(document).instruction == "Be @acme/reader 1.0.0."


async def test_status_and_tags_can_be_changed_and_a_version_unpublished(
    client: RegistryClient,
) -> None:
    await client.publish(request("@acme/reader", "1.0.0"))
    changed = await client.update("@acme/reader@1.0.0", {"status": "deprecated", "tags": ["old"]})
    assert (changed.status, changed.tags) == ("deprecated", ("latest", "old"))
    await client.unpublish("@acme/reader@1.0.0")
    with pytest.raises(RegistryError) as caught:
        await client.get("@acme/reader@1.0.0")
    assert caught.value.status == 404


async def test_a_refusal_is_told_in_the_words_of_the_registry(client: RegistryClient) -> None:
    await client.publish(request("@acme/reader"))
    with pytest.raises(RegistryError) as caught:
        await client.publish(request("@acme/reader"))
    assert caught.value.status == 400
    assert caught.value.reason == "Version 1.0.0 is already published"
    assert caught.value.reason in str(caught.value)
    with pytest.raises(RegistryError) as caught:
        await client.publish(request("@acme/reader", "2.0.0", description=""))
    assert caught.value.status == 422
    assert "description" in str(caught.value)


async def test_what_cannot_be_read_has_no_status(client: RegistryClient, house: House) -> None:
    house.twist = lambda path, status, body: (200, b"{}")
    with pytest.raises(RegistryError) as caught:
        await client.get("@acme/reader")
    assert (caught.value.status, caught.value.aborted) == (0, False)
    house.twist = lambda path, status, body: (502, b"<html>")
    with pytest.raises(RegistryError) as caught:
        await client.get("@acme/reader")
    assert caught.value.status == 502


async def test_a_registry_that_is_not_there_has_no_status() -> None:
    async with open_client(Place(url="http://127.0.0.1:9"), pauses_s=QUICK) as client:
        with pytest.raises(RegistryError) as caught:
            await client.get("reader")
    assert caught.value.status == 0
    assert "127.0.0.1:9" in str(caught.value)


async def test_too_late_is_aborted(house: House) -> None:
    async with open_client(Place(url=house.url), timeout_s=0, pauses_s=QUICK) as client:
        with pytest.raises(RegistryError) as caught:
            await client.get("reader")
    assert (caught.value.status, caught.value.aborted) == (0, True)


async def test_reading_is_tried_again_and_publishing_is_not(
    client: RegistryClient, house: House
) -> None:
    await client.publish(request("@acme/reader"))
    failures = [503, 429]

    def busy(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        return refused(failures.pop(), "busy") if failures else None

    house.twist = busy
    assert (await client.get("@acme/reader")).version == "1.0.0"
    failures += [503]
    house.forget()
    with pytest.raises(RegistryError):
        await client.publish(request("@acme/reader", "1.1.0"))
    assert house.asked == ["POST /experts/"]


async def test_plain_http_is_for_this_machine_only() -> None:
    async with open_client(Place(url="http://registry.example"), pauses_s=QUICK) as client:
        with pytest.raises(RegistryError, match="https only"):
            await client.get("reader")


async def test_credentials_stay_with_their_origin(house: House, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with open_house(tmp_path / "other") as other:
        place = Place(url=house.url, key="psk_secret")
        async with open_client(place, pauses_s=QUICK) as client:
            with pytest.raises(RegistryError):
                await client.fetch(f"{other.url}/api/registry/v1/documents/sha256/00", "sha256:00")
            with pytest.raises(RegistryError):
                await client.get("reader")
        assert all("authorization" not in headers for headers in other.headers)
    assert house.headers[-1]["authorization"] == "Bearer psk_secret"


async def test_a_mirror_is_asked_instead_and_gets_no_key(house: House) -> None:
    place = Place(url="https://registry.example", key="psk_secret", mirror=house.url)
    await house.publish(request("helper"))
    async with open_client(place, pauses_s=QUICK) as client:
        found = await client.get("helper")
        assert digest_of(await client.document(found.digest)) == found.digest
    assert all("authorization" not in headers for headers in house.headers[-2:])


async def test_an_index_is_fetched_once_and_then_revalidated(house: House, tmp_path: Path) -> None:
    await house.publish(request("@acme/reader"))
    place = Place(url=house.url)
    async with open_client(place, Cache(tmp_path / "cache"), fresh_s=0) as client:
        first = await client.index("@acme/reader")
        again = await client.index("@acme/reader")
    assert first is not None
    assert first == again
    assert "if-none-match" not in house.headers[-2]
    assert "if-none-match" in house.headers[-1]
    listing = parse_index(first, "@acme/reader")
    assert [c.version for c in listing.versions] == ["1.0.0"]
    assert listing.tags == {"latest": "1.0.0"}


async def test_an_index_that_was_just_fetched_is_not_asked_for_again(
    client: RegistryClient, house: House
) -> None:
    await client.publish(request("@acme/reader"))
    await client.index("@acme/reader")
    house.forget()
    assert await client.index("@acme/reader") is not None
    assert house.asked == []


async def test_all_that_is_needed_comes_in_one_answer(client: RegistryClient) -> None:
    await client.publish(request("@acme/leaf", "1.0.0"))
    await client.publish(request("@acme/root", "1.0.0", "@acme/leaf@^1.0.0"))
    wanted = ResolveRequest(roots=("@acme/root",), include="documents", proofs=True)
    found = await client.resolve(wanted)
    assert found is not None
    assert {spec: r.key for spec, r in found.resolutions.items()} == {
        "@acme/root": "@acme/root@1.0.0",
        "@acme/leaf@^1.0.0": "@acme/leaf@1.0.0",
    }
    assert {digest_of(bytes(raw)) for raw in found.documents.values()} == set(found.documents)
    proofs = {digest: parse_proof(text).entry for digest, text in found.proofs.items()}
    assert {digest: entry.digest for digest, entry in proofs.items()} == {
        d: d for d in found.documents
    }


async def test_a_document_that_is_another_is_refused(client: RegistryClient, house: House) -> None:
    told, _ = await client.publish(request("@acme/reader"))

    def swap(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        return (status, body.replace(b"Be ", b"Do ")) if "sha256" in body.decode() + path else None

    house.twist = swap
    with pytest.raises(RegistryTampered):
        await client.document(told.digest)
    with pytest.raises(RegistryTampered):
        await client.resolve(ResolveRequest(roots=("@acme/reader",), include="documents"))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio minds a generator of the HTTP library
async def test_an_answer_that_is_too_large_is_not_read(house: House, anyio_backend: str) -> None:
    from perstack.registry.http import open_http

    async with open_http(connections=1) as send:
        with pytest.raises(RegistryError, match="more than 10 bytes"):
            await send("GET", f"{house.url}/api/registry/v1/index/config.json", {}, None, 10)


def test_a_key_is_not_shown() -> None:
    assert "psk_" not in repr(Place(url="https://registry.example", key="psk_secret"))


def test_a_request_says_only_what_was_given() -> None:
    sent = msgspec.json.decode(msgspec.json.encode(request("a")))
    assert "readme" not in sent
    assert sent["minRuntimeVersion"] == "v1.0"
