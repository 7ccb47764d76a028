"""A registry that lies, in every way a client can find out, is found out; and what was right is believed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import pytest

from perstack.errors import RegistryError, RegistryTampered
from perstack.registry import (
    Cache,
    Claim,
    Place,
    RegistryClient,
    ResolveRequest,
    check_claims,
    open_client,
)

from ..fakes.lying_registry import Liar, Twist
from .house import House, open_house, request

pytestmark = pytest.mark.anyio

KNOWN = 4
"""Entries in the log that the client knows, of 8."""

FIRST, SECOND, OTHER = "@acme/triage@1.0.0", "@acme/triage@1.1.0", "@acme/other@1.0.0"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Path]]:
    place = tmp_path_factory.mktemp("registry")
    with open_house(place, "acme") as found:
        yield found, place / "registry.db"


@pytest.fixture
async def client(
    house: tuple[House, Path], tmp_path: Path
) -> AsyncGenerator[tuple[RegistryClient, Cache]]:
    """A client that knows the log as it was before the second version was published."""
    found, _ = house
    found.twist = None
    cache = Cache(tmp_path / "cache")
    async with open_client(Place(url=found.url, key=found.keys["acme"]), cache, pauses_s=()) as one:
        if not (await one.experts(filter="@acme/")).experts:
            await one.publish(request("@acme/other"))
            await one.publish(request("@acme/triage", "1.0.0"))
            for number in range(5):
                await one.publish(request("@acme/more", f"1.{number}.0"))
            await one.publish(request("@acme/triage", "1.1.0"))
        yield one, cache


async def claim(client: RegistryClient, key: str) -> Claim:
    found = await client.get(key)
    return Claim(name=found.name, version=found.version, digest=found.digest)


Lie = Callable[[Liar], Twist]

LIES: dict[str, tuple[str, Lie]] = {
    "another digest": (SECOND, lambda liar: liar.another_digest("@acme/triage", "1.1.0")),
    "a forked log": (FIRST, lambda liar: liar.forked_log("@acme/triage", "1.0.0")),
    "a forked past": (SECOND, lambda liar: liar.forked_log("@acme/other", "1.0.0")),
    "a log rolled back": (OTHER, lambda liar: liar.rolled_back(3)),
    "a broken proof": (SECOND, lambda liar: liar.broken_proof()),
    "someone else's proof": (SECOND, lambda liar: liar.someone_elses_proof(OTHER)),
    "another key": (SECOND, lambda liar: liar.another_key()),
    "half a proof": (SECOND, lambda liar: liar.cut_off("/tlog/proof/")),
    "half a tile": (SECOND, lambda liar: liar.cut_off("/tlog/tile/")),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_found_out_and_nothing_is_remembered(
    lie: str, house: tuple[House, Path], client: tuple[RegistryClient, Cache]
) -> None:
    found, database = house
    one, cache = client
    key, told = LIES[lie]
    honest = await claim(one, key)
    found.twist = Liar(database).rolled_back(KNOWN)
    await check_claims(one, cache, [await claim(one, FIRST)])
    before = cache.note(found.url, "checkpoint")
    assert before is not None
    assert f"\n{KNOWN}\n" in before

    found.twist = told(Liar(database))
    with pytest.raises(RegistryTampered):
        await check_claims(one, cache, [await claim(one, key)])

    assert cache.note(found.url, "checkpoint") == before
    found.twist = None
    assert honest.digest in await check_claims(one, cache, [honest])


async def test_a_fork_beyond_what_was_seen_is_found_out_by_the_truth(
    house: tuple[House, Path], client: tuple[RegistryClient, Cache]
) -> None:
    """Nobody can know the first time; but the liar has to go on lying, and both states are the proof."""
    found, database = house
    one, cache = client
    found.twist = Liar(database).forked_log("@acme/triage", "1.1.0")
    await check_claims(one, cache, [await claim(one, SECOND)])
    forked = cache.note(found.url, "checkpoint")
    assert forked is not None

    found.twist = None
    with pytest.raises(RegistryTampered) as told:
        await check_claims(one, cache, [await claim(one, OTHER)])
    assert forked.strip() in str(told.value)


async def test_another_document_for_a_digest_is_refused(
    house: tuple[House, Path], client: tuple[RegistryClient, Cache]
) -> None:
    found, database = house
    one, _ = client
    digest = (await one.get(SECOND)).digest
    assert await one.document(digest)
    found.twist = Liar(database).another_document("@acme/triage", "1.1.0")
    with pytest.raises(RegistryTampered):
        await one.document(digest)


async def test_half_an_answer_is_none(
    house: tuple[House, Path], client: tuple[RegistryClient, Cache]
) -> None:
    found, _ = house
    one, _ = client
    digest = (await one.get(SECOND)).digest
    found.twist = Liar.cut_off("/")
    with pytest.raises(RegistryTampered):
        await one.document(digest)
    with pytest.raises(RegistryError):
        await one.get(SECOND)
    with pytest.raises(RegistryError):
        await one.resolve(ResolveRequest(roots=(SECOND,)))


async def test_the_truth_is_believed(
    house: tuple[House, Path], client: tuple[RegistryClient, Cache]
) -> None:
    one, cache = client
    claims = [await claim(one, key) for key in (FIRST, SECOND, OTHER)]
    assert (await check_claims(one, cache, claims)).keys() == {one.digest for one in claims}
