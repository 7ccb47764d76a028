"""What is locked is verified past all caches: a registry that has changed its mind is found out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perstack.errors import LockTampered, RegistryError, RegistryTampered
from perstack.ops.packages.access import Access, access_of
from perstack.ops.packages.audit import at_least
from perstack.ops.packages.auditing import audit
from perstack.ops.packages.sources import Sources
from perstack.ops.packages.vendor import vendor_documents
from perstack.ops.packages.verify import Verified, failures, verify

from ..registry.house import House, Twist, open_house, request
from .publishing import User

pytestmark = pytest.mark.anyio


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path, "acme") as found:
        yield found


@pytest.fixture
async def user(house: House, tmp_path: Path) -> User:
    """Who has locked @acme/a and @acme/b."""
    await house.publish(request("@acme/a"), request("@acme/b"))
    user = User(tmp_path / "user", house.url, "@acme/a@^1.0.0", "@acme/b@1.0.0")
    await user.install()
    return user


def access(user: User, *, offline: bool = False) -> Access:
    sources = Sources(offline=offline)
    return access_of(None, (), sources, user.env, user.place, needs_project=True)


def outcomes(found: tuple[Verified, ...]) -> list[tuple[str, str]]:
    return [(each.key, each.outcome) for each in found]


def of(document: str, change: Twist) -> Twist:
    """`change`, for the one document that has these words in it."""

    def twist(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        about = path.startswith("/documents/") and document.encode() in body
        return change(path, status, body) if about else None

    return twist


async def test_all_is_fetched_anew_and_proved(user: User, house: House) -> None:
    house.forget()
    found = await verify(access(user))
    assert outcomes(found) == [("@acme/a@1.0.0", "verified"), ("@acme/b@1.0.0", "verified")]
    assert [each.log for each in found] == [0, 1]
    assert len([asked for asked in house.asked if "/documents/" in asked]) == 2
    assert outcomes(await verify(access(user), "@acme/b")) == [("@acme/b@1.0.0", "verified")]


async def test_a_document_that_is_another_fails_alone(user: User, house: House) -> None:
    house.twist = of("Be @acme/b", lambda path, status, body: (200, body.replace(b"Be ", b"Do ")))
    found = await verify(access(user))
    assert outcomes(found) == [("@acme/a@1.0.0", "verified"), ("@acme/b@1.0.0", "failed")]
    (failed,) = failures(found)
    assert "Nothing of it was used" in failed.what
    house.twist = of("Be @acme/b", lambda path, status, body: (404, b"{}"))
    (failed,) = failures(await verify(access(user)))
    assert "any more" in failed.what


async def test_a_registry_that_does_not_answer_is_no_proof_of_anything(
    user: User, house: House
) -> None:
    house.twist = lambda path, status, body: (418, b"{}")
    with pytest.raises(RegistryError):
        await verify(access(user))
    with pytest.raises(RegistryError):
        await audit(access(user))


async def test_offline_the_copies_are_verified(user: User, house: House) -> None:
    house.forget()
    found = await verify(access(user, offline=True))
    assert [(each.outcome, each.log) for each in found] == [("verified", 0), ("verified", 1)]
    report = await audit(access(user, offline=True))
    assert (at_least(report.found, "warning"), report.asked) == ((), False)
    assert house.asked == []


async def test_a_lock_that_says_otherwise_than_the_documents_is_found(user: User) -> None:
    user.relock(user.path.read_text().replace("Be @acme/b", "Do @acme/b"))
    for offline in (False, True):
        found = await verify(access(user, offline=offline))
        assert outcomes(failures(found)) == [("@acme/b@1.0.0", "failed")]
        with pytest.raises(LockTampered):
            await audit(access(user, offline=offline))


async def test_copies_in_the_vendor_directory_are_verified_too(user: User) -> None:
    found = await user.resolve()
    place, count = vendor_documents(found.loaded, found.lock, user.env)
    assert count == 2
    digest = user.lock.lock.experts["@acme/b@1.0.0"].integrity
    victim = place / f"{digest.partition(':')[2]}.json"
    victim.write_bytes(victim.read_bytes().replace(b"Be ", b"Do "))
    for offline in (False, True):
        (failed,) = failures(await verify(access(user, offline=offline)))
        assert failed.key == "@acme/b@1.0.0"
        assert str(victim) in failed.what
        with pytest.raises(RegistryTampered, match="perstack_vendor"):
            await audit(access(user, offline=offline))


async def test_a_cached_copy_counts_though_a_vendored_one_comes_first(user: User) -> None:
    found = await user.resolve()
    vendor_documents(found.loaded, found.lock, user.env)
    for path in user.cache.rglob("documents/**/*"):
        if path.is_file():
            path.write_bytes(b"{}")
    assert len(failures(await verify(access(user)))) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("logIndex = 1\n", "logIndex = 7\n", "it is entry 1 of the log, and 7 by the lock"),
        (
            'publisher = "acme"',
            'publisher = "evil"',
            "acme published it by the log, evil by the lock",
        ),
    ],
)
async def test_a_lock_that_says_otherwise_than_the_log_is_found(
    user: User, old: str, new: str, said: str
) -> None:
    head, mark, tail = user.path.read_text().partition('[experts."@acme/b@1.0.0"]')
    assert old in tail
    user.relock(head + mark + tail.replace(old, new))
    for offline in (False, True):
        (failed,) = failures(await verify(access(user, offline=offline)))
        assert (failed.key, failed.what) == ("@acme/b@1.0.0", said)


async def test_a_log_that_a_registry_gave_up_is_missed(user: User, house: House) -> None:
    """Also by who has never seen it: the lock says that there was one."""

    def without(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        return (404, b"{}") if path == "/index/config.json" else None

    house.twist = without
    user.env["PERSTACK_CACHE_DIR"] = str(user.place.parent / "empty")
    found = await verify(access(user))
    assert [each.outcome for each in found] == ["failed", "failed"]
    assert found[0].what == "the lock has it as entry 0 of a log, and its registry has none"


async def test_an_audit_finds_a_registry_that_tells_of_another_document(
    user: User, house: House
) -> None:
    def twist(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        if path != "/experts/@acme/a@1.0.0":
            return None
        at = body.index(b'"digest":"sha256:') + len(b'"digest":"sha256:')
        return status, body[:at] + b"0" * 64 + body[at + 64 :]

    house.twist = twist
    found = at_least((await audit(access(user))).found, "warning")
    assert [(each.rule, each.subject) for each in found] == [("digest", "@acme/a@1.0.0")]
