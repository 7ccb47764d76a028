"""Attestations on a registry: what it takes, from whom, and what it shows of it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perstack.definition import EVALUATION, PUBLISH
from perstack.registry import (
    Attestations,
    Envelope,
    Signature,
    key_id,
    open_attestation,
    public_key_of,
    sign_statement,
)
from perstack.registry.attestation import MAX_PAYLOAD, PAYLOAD_TYPE
from perstack.registry.dsse import sign
from perstack.server.extensions.log import verifier_key
from perstack.server.queries import audit
from perstack.server.settings import Settings
from perstack.server.storage.repository import Session
from perstack.server.upkeep.moving import export, take_in
from perstack.server.upkeep.verifying import differences
from perstack.server.writes.attesting import MAX_ATTESTATIONS, MAX_GOOD

from .house import Registry, open_registry, reason, wire

pytestmark = pytest.mark.anyio

OURS, SPARE, THEIRS = b"\1" * 32, b"\2" * 32, b"\3" * 32
SCORE: dict[str, Any] = {"suite": "triage-200", "model": "claude-sonnet-4-5", "score": 0.93}
KEYS = "/orgs/acme/attestation-keys"
READER = "@acme/reader@1.0.0"


def at(key: str = READER) -> str:
    return f"/experts/{wire(key)}/attestations"


def told(envelope: Envelope) -> Any:
    return msgspec.to_builtins(envelope)


def id_of(seed: bytes) -> str:
    return key_id(public_key_of(seed))


def said(seed: bytes, name: str = "laptop") -> dict[str, str]:
    return {"name": name, "publicKey": base64.b64encode(public_key_of(seed)).decode()}


async def founded(registry: Registry, *seeds: bytes, **more: Any) -> tuple[str, str]:
    """A key of acme, which has published the reader and attests with `seeds`; and the reader's digest."""
    key = await registry.key("acme")
    made = await registry.publish("@acme/reader", key=key, **more)
    for seed in seeds:
        answer = await registry.post(KEYS, said(seed), key=key)
        assert answer.status_code == 200, answer.text
    return key, made["digest"]


def evaluation(digest: str, seed: bytes = OURS, **more: Any) -> Envelope:
    return sign_statement(READER, digest, EVALUATION, SCORE | more, seed)


async def shown(registry: Registry, version: str = READER, **more: Any) -> Attestations:
    answer = await registry.get(at(version), **more)
    assert answer.status_code == 200, answer.text
    return msgspec.convert(answer.json()["data"], Attestations)


async def test_what_is_attested_is_shown_with_all_that_is_needed_to_check_it(registry: Registry):
    key, digest = await founded(registry, OURS, SPARE)
    assert await shown(registry) == Attestations(
        key=READER, digest=digest, keys=(await shown(registry)).keys
    )
    answer = await registry.post(at(), told(evaluation(digest)), key=key)
    made = answer.json()["data"]["attestation"]
    assert (made["predicateType"], made["organization"]) == (EVALUATION, "acme")
    assert answer.headers["cache-control"] == "no-store"
    found = await shown(registry)
    assert [one.id for one in found.attestations] == [made["id"]]
    assert {one.id: one.name for one in found.keys} == {
        id_of(OURS): "laptop",
        id_of(SPARE): "laptop",
    }
    public = {one.id: base64.b64decode(one.public_key) for one in found.keys}
    statement, _ = open_attestation(found.attestations[0].envelope, READER, digest, public)
    assert statement.predicate == SCORE
    assert (await registry.get(at())).headers["cache-control"] == "public, max-age=15"


async def test_it_is_kept_once(registry: Registry):
    key, digest = await founded(registry, OURS)
    first = await registry.post(at(), told(evaluation(digest)), key=key)
    again = await registry.post(at(), told(evaluation(digest)), key=key)
    assert again.json() == first.json()
    assert len((await shown(registry)).attestations) == 1
    rows = (await registry.get("/orgs/acme/audit", key=key)).json()["data"]["audit"]
    done = [row["action"] for row in rows]
    assert done[-2:] == ["attestation-key.add", "attest"]
    assert (rows[-1]["target"], rows[-1]["after"]["keys"]) == (READER, [id_of(OURS)])


async def test_of_several_signatures_those_of_the_owner_are_kept(registry: Registry):
    key, digest = await founded(registry, OURS, SPARE)
    ours, spare, other = (evaluation(digest, seed) for seed in (OURS, SPARE, THEIRS))
    signatures = (*other.signatures, *ours.signatures, Signature(sig=spare.signatures[0].sig))
    sent = msgspec.structs.replace(ours, signatures=signatures)
    assert (await registry.post(at(), told(sent), key=key)).status_code == 200
    (kept,) = (await shown(registry)).attestations
    assert {each.keyid for each in kept.envelope.signatures} == {id_of(OURS), id_of(SPARE)}


def in_our_name(envelope: Envelope) -> Envelope:
    (one,) = envelope.signatures
    return msgspec.structs.replace(
        envelope, signatures=(msgspec.structs.replace(one, keyid=id_of(OURS)),)
    )


def altered(envelope: Envelope) -> Envelope:
    payload = base64.b64decode(envelope.payload).replace(b"0.93", b"1.00")
    return msgspec.structs.replace(envelope, payload=base64.b64encode(payload).decode())


def renamed(envelope: Envelope) -> Envelope:
    return msgspec.structs.replace(envelope, payload_type="application/json")


def as_another_kind(envelope: Envelope) -> Envelope:
    """Signed as another kind, and shown as a statement."""
    made = sign("text/plain", base64.b64decode(envelope.payload), OURS)
    return msgspec.structs.replace(made, payload_type=PAYLOAD_TYPE)


ATTACKS: dict[str, tuple[Callable[[str], Envelope], str]] = {
    "a stranger's key": (lambda digest: evaluation(digest, THEIRS), "none of its signatures"),
    "a stranger's key in our name": (
        lambda digest: in_our_name(evaluation(digest, THEIRS)),
        "is wrong",
    ),
    "a revoked key": (lambda digest: evaluation(digest, SPARE), "was revoked"),
    "an altered payload": (lambda digest: altered(evaluation(digest)), "is wrong"),
    "another kind": (lambda digest: renamed(evaluation(digest)), "payloadType is not"),
    "a signature of another kind": (
        lambda digest: as_another_kind(evaluation(digest)),
        "is wrong",
    ),
    "another version": (
        lambda digest: evaluation("sha256:" + "cd" * 32),
        "no subject of the statement is the document",
    ),
    "another's publishing": (
        lambda digest: sign_statement(
            "@acme/other@1.0.0",
            digest,
            PUBLISH,
            {"name": "@acme/other", "version": "1.0.0", "registry": "https://registry.test"},
            OURS,
        ),
        "it says that @acme/other@1.0.0 was published",
    ),
    "too much": (
        lambda digest: sign(PAYLOAD_TYPE, b" " * (MAX_PAYLOAD + 1), OURS),
        "more than 131072 bytes",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_is_refused_and_leaves_no_trace(registry: Registry, attack: str):
    key, digest = await founded(registry, OURS, SPARE)
    assert (await registry.ask("DELETE", f"{KEYS}/{id_of(SPARE)}", key=key)).status_code == 200
    make, what = ATTACKS[attack]
    answer = await registry.post(at(), told(make(digest)), key=key)
    status, why = reason(answer)
    assert status == 400
    assert what in why
    assert (await shown(registry)).attestations == ()


async def test_what_is_no_envelope_is_told_as_such(registry: Registry):
    key, digest = await founded(registry, OURS)
    bodies: list[dict[str, Any]] = [
        {},
        {"payloadType": PAYLOAD_TYPE, "payload": 7, "signatures": []},
    ]
    for body in bodies:
        assert reason(await registry.post(at(), body, key=key))[0] == 422
    huge = told(evaluation(digest)) | {"more": "x" * (1 << 20)}
    assert reason(await registry.post(at(), huge, key=key))[0] == 413
    for path in ("/experts/@acme/reader/attestations", "/experts/@acme/reader@latest/attestations"):
        assert reason(await registry.get(path))[0] == 422
        assert reason(await registry.post(path, told(evaluation(digest)), key=key))[0] == 422


async def test_it_cannot_be_shown_for_another_expert_or_version(registry: Registry):
    key, digest = await founded(registry, OURS)
    await registry.publish("@acme/reader", "2.0.0", key=key)
    await registry.publish("@acme/other", key=key)
    envelope = told(evaluation(digest))
    assert (await registry.post(at(), envelope, key=key)).status_code == 200
    for other in ("@acme/reader@2.0.0", "@acme/other@1.0.0"):
        status, why = reason(await registry.post(at(other), envelope, key=key))
        assert (status, "no subject" in why) == (400, True)
        assert (await shown(registry, other)).attestations == ()
    assert reason(await registry.post(at("@acme/reader@3.0.0"), envelope, key=key))[0] == 404


async def test_who_does_not_own_it_cannot_attest_also_with_keys_of_their_own(registry: Registry):
    _, digest = await founded(registry, OURS)
    evil = await registry.key("evil")
    path = "/orgs/evil/attestation-keys"
    assert (await registry.post(path, said(THEIRS), key=evil)).status_code == 200
    answer = await registry.post(at(), told(evaluation(digest, THEIRS)), key=evil)
    assert reason(answer) == (400, "Expert is not owned by the organization")
    answer = await registry.post(at(), told(evaluation(digest)), key=evil)  # copied
    assert reason(answer)[0] == 400


async def test_a_revoked_key_is_shown_as_such_with_what_it_signed(registry: Registry):
    key, digest = await founded(registry, OURS)
    await registry.post(at(), told(evaluation(digest)), key=key)
    path = f"{KEYS}/{id_of(OURS)}"
    assert (await registry.ask("DELETE", path, key=key)).status_code == 200
    assert reason(await registry.ask("DELETE", path, key=key))[0] == 400
    assert reason(await registry.ask("DELETE", f"{KEYS}/none", key=key))[0] == 404
    found = await shown(registry)
    assert len(found.attestations) == 1
    assert found.keys[0].revoked_at.startswith("2026-")
    listed = (await registry.get(KEYS, key=key)).json()["data"]["keys"]
    assert [one["revokedAt"] for one in listed] == [found.keys[0].revoked_at]
    status, why = reason(await registry.post(KEYS, said(OURS), key=key))
    assert (status, "was revoked" in why) == (400, True)
    page = (await registry.ask("GET", "http://registry.test/experts/@acme/reader")).text
    assert ">evaluation</a>" in page
    assert f"<code>{id_of(OURS)[:12]}</code> <strong>revoked since</strong>" in page


async def test_a_key_is_added_once_and_there_are_not_many(registry: Registry):
    key, _ = await founded(registry, OURS)
    assert reason(await registry.post(KEYS, said(OURS), key=key))[0] == 400
    for bad in ("", "%", "AAAA", base64.b64encode(b"\1" * 33).decode()):
        answer = await registry.post(KEYS, {"name": "k", "publicKey": bad}, key=key)
        assert reason(answer)[0] == 422
    for number in range(MAX_GOOD - 1):
        answer = await registry.post(KEYS, said(bytes([100 + number]) * 32), key=key)
        assert answer.status_code == 200
    status, why = reason(await registry.post(KEYS, said(THEIRS), key=key))
    assert (status, f"at most {MAX_GOOD} keys" in why) == (400, True)


async def test_a_version_has_so_many_attestations_and_no_more(registry: Registry):
    key, digest = await founded(registry, OURS)
    for number in range(MAX_ATTESTATIONS):
        answer = await registry.post(at(), told(evaluation(digest, score=number)), key=key)
        assert answer.status_code == 200, answer.text
    status, why = reason(await registry.post(at(), told(evaluation(digest, score=99)), key=key))
    assert (status, f"at most {MAX_ATTESTATIONS}" in why) == (400, True)


async def test_those_of_a_private_expert_are_private(registry: Registry):
    key, digest = await founded(registry, OURS, visibility="private")
    other = await registry.key("other")
    narrow = await registry.key("acme", patterns=("@acme/else*",))
    assert (await registry.post(at(), told(evaluation(digest)), key=key)).status_code == 200
    for who in (None, other, narrow):
        assert reason(await registry.get(at(), key=who))[0] == 404
    assert reason(await registry.post(at(), told(evaluation(digest)), key=other))[0] == 404
    answer = await registry.get(at(), key=key)
    assert answer.headers["cache-control"].startswith("private")
    assert len((await shown(registry, key=key)).attestations) == 1
    status = {"reason": "No"}
    admin = await registry.key("admins", type="serviceAdmin")
    await registry.publish("@acme/open", key=key)
    await registry.post(f"/experts/{wire('@acme/open@1.0.0')}/quarantine", status, key=admin)
    assert reason(await registry.get(at("@acme/open@1.0.0")))[0] == 404


async def test_keys_are_found_by_the_id_of_an_organization_too(registry: Registry):
    key, _ = await founded(registry, OURS)
    own = (await registry.get("/whoami", key=key)).json()["data"]["organization"]["id"]
    listed = (await registry.get(f"/orgs/{own}/attestation-keys", key=key)).json()["data"]["keys"]
    assert [one["id"] for one in listed] == [id_of(OURS)]
    admin = await registry.key("admins", type="serviceAdmin")
    answer = await registry.post(KEYS, said(SPARE), key=admin)
    assert answer.status_code == 200
    assert answer.json()["data"]["key"]["organization"] == "acme"
    rows = (await registry.get("/orgs/acme/audit", key=key)).json()["data"]["audit"]
    assert rows[-1]["action"] == "attestation-key.add"


async def test_one_statement_can_be_about_several_versions(registry: Registry):
    key, digest = await founded(registry, OURS)
    later = (await registry.publish("@acme/reader", "2.0.0", key=key))["digest"]
    payload = json.loads(base64.b64decode(evaluation(digest).payload))
    payload["subject"].append({"name": "more", "digest": {"sha256": later[7:]}})
    envelope = told(sign(PAYLOAD_TYPE, json.dumps(payload).encode(), OURS))
    for version in (READER, "@acme/reader@2.0.0"):
        assert (await registry.post(at(version), envelope, key=key)).status_code == 200
        assert len((await shown(registry, version)).attestations) == 1
    assert await differing(registry) == []


async def differing(registry: Registry) -> list[str]:
    return await registry.repository.read_slowly(
        lambda session: list(differences(session, verifier_key(session, Settings())))
    )


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("UPDATE attestation_keys SET public_key = ?", "the attestation key"),
        ("DELETE FROM attestation_keys", "does not hold"),
        ("UPDATE attestations SET envelope = ?", "does not hold"),
        ("UPDATE attestations SET predicate_type = 'urn:x'", "was changed"),
        ("UPDATE attestations SET id = 'x'", "nobody has posted"),
        ("DELETE FROM attestations", "is missing"),
    ],
)
async def test_every_change_behind_its_back_is_found(registry: Registry, sql: str, what: str):
    key, digest = await founded(registry, OURS)
    await registry.post(at(), told(evaluation(digest)), key=key)
    assert await differing(registry) == []
    values = (b"x",) if "?" in sql else ()
    await registry.repository.write(lambda session: session.run(sql, *values))
    found = await differing(registry)
    assert any(what in one for one in found), found


async def test_a_copy_that_is_swapped_behind_its_back_is_found(registry: Registry):
    """By another one, rightly signed: the audit log knows of no such thing."""
    key, digest = await founded(registry, OURS)
    await registry.post(at(), told(evaluation(digest)), key=key)
    other = json.dumps(told(evaluation(digest, score=1))).encode()
    await registry.repository.write(
        lambda session: session.run("UPDATE attestations SET envelope = ?", other)
    )
    assert any("was changed" in one for one in await differing(registry))


async def test_they_move_with_the_registry(registry: Registry, tmp_path: Path):
    key, digest = await founded(registry, OURS)
    await registry.post(at(), told(evaluation(digest)), key=key)
    before = await shown(registry)
    to = io.BytesIO()
    await registry.repository.read_slowly(lambda session: export(session, to, log_key=True))
    async with open_registry(str(tmp_path / "other.db"), extensions=()) as empty:
        await empty.repository.write(lambda session: take_in(session, io.BytesIO(to.getvalue())))
    async with open_registry(str(tmp_path / "other.db")) as other:
        assert await shown(other) == before
        assert await differing(other) == []

        def look(session: Session) -> list[str]:
            return list(audit.breaks(session))

        assert await other.repository.read_slowly(look) == []
