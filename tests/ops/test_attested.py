"""What a project asks to be attested: only what has it is locked, and no registry gets around that."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perstack.cli.exits import FAILED, INTEGRITY, exit_for
from perstack.definition import EVALUATION, PUBLISH
from perstack.errors import RegistryTampered, UserError
from perstack.ops.packages.access import Access, access_of
from perstack.ops.packages.auditing import audit
from perstack.ops.packages.deps import plan_add
from perstack.ops.packages.queries import about
from perstack.ops.packages.sources import Sources
from perstack.ops.packages.verify import verify
from perstack.registry import Place, key_id, open_client, public_key_of, sign_statement

from ..registry.house import House, open_house, request
from .publishing import User

pytestmark = pytest.mark.anyio

OURS, SPARE, THEIRS = b"\1" * 32, b"\2" * 32, b"\3" * 32
SCORE: dict[str, Any] = {"suite": "triage-200", "model": "claude-sonnet-4-5", "score": 0.93}
POLICY = '[registry]\nrequireAttestations = ["publish"]\n'
A = "@acme/a@1.0.0"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path, "acme", "evil") as found:
        yield found


async def lets(house: House, seed: bytes, organization: str = "acme") -> None:
    """The organization attests with this key."""
    place = Place(url=house.url, key=house.keys[organization])
    body = {"name": "k", "publicKey": base64.b64encode(public_key_of(seed)).decode()}
    async with open_client(place) as client:
        path = f"/orgs/{organization}/attestation-keys"
        await client.request("POST", path, body=msgspec.json.encode(body))


async def revokes(house: House, seed: bytes) -> None:
    async with open_client(Place(url=house.url, key=house.keys["acme"])) as client:
        await client.request("DELETE", f"/orgs/acme/attestation-keys/{key_id(public_key_of(seed))}")


async def attests(house: House, key: str, kind: str = PUBLISH, seed: bytes = OURS) -> None:
    name, _, version = key[1:].partition("@")
    publish = {"name": f"@{name}", "version": version, "registry": house.url}
    async with open_client(Place(url=house.url, key=house.keys["acme"])) as client:
        digest = (await client.get(key)).digest
        told = publish if kind == PUBLISH else SCORE
        body = msgspec.json.encode(sign_statement(key, digest, kind, told, seed))
        await client.request("POST", f"/experts/{key.replace('/', '%2F')}/attestations", body=body)


def access(user: User) -> Access:
    return access_of(None, (), Sources(), user.env, user.place, needs_project=True)


async def unattested_in(user: User) -> list[tuple[str, str]]:
    """What an audit finds lacking, with its level."""
    report = await audit(access(user))
    return [(each.level, each.subject) for each in report.found if each.rule == "unattested"]


def wanting(house: House, place: Path, *delegates: str) -> User:
    """A project that asks for what was published to be attested."""
    return User(place, house.url, *(delegates or ("@acme/a@^1.0.0",)), more=POLICY)


async def refused(user: User, kind: type[Exception] = UserError) -> str:
    with pytest.raises(kind) as caught:
        await user.install()
    assert exit_for(caught.value) == (INTEGRITY if kind is RegistryTampered else FAILED)
    assert not user.path.exists()
    return str(caught.value)


async def test_what_is_attested_is_locked_and_verified(house: House, tmp_path: Path) -> None:
    await house.publish(request("@acme/a"))
    await lets(house, OURS)
    await attests(house, A)
    await attests(house, A, EVALUATION)
    user = wanting(house, tmp_path / "user")
    await user.install()
    (found,) = await verify(access(user))
    assert found.outcome == "verified"
    assert [(one.outcome, one.predicate_type) for one in found.attested] == [
        ("signed", PUBLISH),
        ("signed", EVALUATION),
    ]
    assert (await about(access(user), A)).attested == found.attested
    assert await unattested_in(user) == []


async def test_what_lacks_it_is_not_locked_and_what_is_locked_is_told_of(
    house: House, tmp_path: Path
) -> None:
    await house.publish(request("@acme/a"))
    await lets(house, OURS)
    await attests(house, A, EVALUATION)
    told = await refused(wanting(house, tmp_path / "first"))
    assert told.startswith("@acme/a@1.0.0 lacks what requireAttestations asks for: publish.")
    user = User(tmp_path / "user", house.url, "@acme/a@^1.0.0")
    await user.install()
    user.write("@acme/a@^1.0.0", more=POLICY)
    await user.install()  # what the lock has stays
    assert await unattested_in(user) == [("error", A)]
    await attests(house, A)
    assert await unattested_in(user) == []


async def test_add_and_offline_refuse_it_too(house: House, tmp_path: Path) -> None:
    await house.publish(request("@acme/a"), request("@acme/b"))
    await lets(house, OURS)
    await attests(house, A)
    user = wanting(house, tmp_path / "user")
    await user.install()
    with pytest.raises(UserError, match=r"@acme/b@1\.0\.0 lacks"):
        await plan_add(access(user), ["@acme/b"], "lead")
    await audit(access(user))  # from then on its versions are known here
    user.write("@acme/a@1.0.0", more=POLICY)
    user.path.unlink()
    with pytest.raises(UserError, match=r"Offline, .* cannot be asked what is attested"):
        await user.install(offline=True)


async def test_a_revoked_key_is_good_for_nothing_new(house: House, tmp_path: Path) -> None:
    await house.publish(request("@acme/a"))
    await lets(house, OURS)
    await attests(house, A)
    user = wanting(house, tmp_path / "user")
    await user.install()
    await revokes(house, OURS)
    told = await refused(wanting(house, tmp_path / "other"))
    assert "publish by acme (key" in told
    assert ", revoked)" in told
    (found,) = await verify(access(user))
    assert (found.outcome, found.attested[0].outcome) == ("verified", "revoked")
    assert await unattested_in(user) == [("error", A)]


async def test_a_key_that_was_not_there_before_has_to_be_believed_by_hand(
    house: House, tmp_path: Path
) -> None:
    await house.publish(request("@acme/a"))
    await lets(house, OURS)
    await attests(house, A)
    user = wanting(house, tmp_path / "user")
    await user.install()
    await lets(house, SPARE)
    await house.publish(request("@acme/a", "1.1.0"))
    await attests(house, "@acme/a@1.1.0", seed=SPARE)
    user.path.unlink()
    told = await refused(user)
    assert "not among those first seen" in told
    (place,) = [path for path in user.cache.rglob("acme") if path.parent.name == "attesters"]
    assert f"delete {place} and try again" in told
    place.unlink()
    await user.install()
    assert user.keys == ["@acme/a@1.1.0"]


async def test_of_a_private_expert_the_log_says_by_whom_it_was_published(
    house: House, tmp_path: Path
) -> None:
    await house.publish(request("@acme/a", visibility="private"))
    await lets(house, OURS)
    await attests(house, A)
    user = wanting(house, tmp_path / "user")
    user.env["PERSTACK_API_KEY"] = house.keys["acme"]
    await user.install()
    assert user.lock.lock.experts[A].origin.publisher.startswith("sha256:")  # type: ignore[union-attr]
    (found,) = await verify(access(user))
    assert [one.outcome for one in found.attested] == ["signed"]


# Lies -----------------------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], None]


def lying(change: Change) -> Any:
    """Whoever runs the registry, who knows no private key of acme."""

    def twist(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        if not path.endswith("/attestations") or status != 200:
            return None
        told = msgspec.json.decode(body)
        change(told["data"])
        return 200, msgspec.json.encode(told)

    return twist


def hide(told: dict[str, Any]) -> None:
    told.pop("attestations", None)


def evil_key(organization: str) -> dict[str, Any]:
    public = public_key_of(THEIRS)
    return {
        "id": key_id(public),
        "organization": organization,
        "name": "k",
        "publicKey": base64.b64encode(public).decode(),
        "createdAt": "2026-01-31T09:30:00.000Z",
    }


def forged(told: dict[str, Any], organization: str) -> None:
    """Its own, rightly signed with a key of its own."""
    predicate = {"name": "@acme/a", "version": told["key"].rpartition("@")[2], "registry": "x"}
    envelope = sign_statement(told["key"], told["digest"], PUBLISH, predicate, THEIRS)
    told["attestations"] = [
        {
            "id": "ab",
            "organization": organization,
            "predicateType": PUBLISH,
            "envelope": msgspec.to_builtins(envelope),
            "createdAt": "2026-01-31T09:30:00.000Z",
        }
    ]
    told["keys"] = [*told.get("keys", ()), evil_key(organization)]


def swap(told: dict[str, Any]) -> None:
    forged(told, "acme")


def by_another(told: dict[str, Any]) -> None:
    forged(told, "evil")


def relabel(told: dict[str, Any]) -> None:
    """An evaluation, called what is asked for."""
    for one in told.get("attestations", ()):
        one["predicateType"] = PUBLISH


def unrevoke(told: dict[str, Any]) -> None:
    for one in told.get("keys", ()):
        one.pop("revokedAt", None)


LIES: dict[str, tuple[Change, str]] = {
    "it hides them": (hide, "lacks what requireAttestations asks for: publish"),
    "it swaps key and attestation": (swap, "not among those first seen"),
    "it lets another organization speak": (by_another, "which did not publish it"),
    "it calls one what it is not": (relabel, "lacks what requireAttestations asks for: publish"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lying_registry_does_not_get_around_what_is_asked_for(
    house: House, tmp_path: Path, lie: str
) -> None:
    """It is asked by who has seen acme's keys before."""
    await house.publish(request("@acme/a"))
    await lets(house, OURS)
    await attests(house, A)
    user = wanting(house, tmp_path / "user")
    await user.install()
    user.path.unlink()
    await house.publish(request("@acme/a", "1.1.0"))
    await attests(house, "@acme/a@1.1.0", EVALUATION)
    change, what = LIES[lie]
    house.twist = lying(change)
    assert what in await refused(user)


@pytest.mark.parametrize("also_key", [False, True])
async def test_what_does_not_hold_is_an_integrity_failure(
    house: House, tmp_path: Path, also_key: bool
) -> None:
    """A statement about another version, and one with another key under the name of acme's."""
    await house.publish(request("@acme/a"), request("@acme/a", "1.1.0"))
    await lets(house, OURS)
    await attests(house, A)
    user = User(tmp_path / "user", house.url, "@acme/a@1.1.0")
    await user.install()
    async with open_client(Place(url=house.url)) as client:
        old = await client.data("GET", "/experts/@acme%2Fa@1.0.0/attestations", dict[str, Any])

    def replay(told: dict[str, Any]) -> None:
        told["attestations"] = old["attestations"]
        if also_key:
            told["keys"][0]["publicKey"] = evil_key("acme")["publicKey"]

    house.twist = lying(replay)
    told = await refused(wanting(house, tmp_path / "other", "@acme/a@1.1.0"), RegistryTampered)
    assert "does not hold" in told
    (found,) = await verify(access(user))
    assert found.outcome == "failed"
    assert "that does not hold" in found.what


async def test_a_key_cannot_be_made_good_again(house: House, tmp_path: Path) -> None:
    await house.publish(request("@acme/a"))
    await lets(house, OURS)
    await attests(house, A)
    await revokes(house, OURS)
    user = wanting(house, tmp_path / "user")
    assert ", revoked)" in await refused(user)
    house.twist = lying(unrevoke)
    assert ", revoked)" in await refused(user)


async def test_a_registry_without_attestations_is_one_without_any(
    house: House, tmp_path: Path
) -> None:
    await house.publish(request("@acme/a"))
    user = User(tmp_path / "user", house.url, "@acme/a@^1.0.0")
    await user.install()
    house.twist = lambda path, status, body: (
        (404, b"{}") if path.endswith("/attestations") else None
    )
    (found,) = await verify(access(user))
    assert (found.outcome, found.attested) == ("verified", ())
    assert (await about(access(user), A)).attested == ()
    assert "lacks" in await refused(wanting(house, tmp_path / "other"))
