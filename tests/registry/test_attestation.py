"""Attestations: what is signed, what is believed, and what is remembered of those who sign."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from perstack.definition import EVALUATION, PROVENANCE, PUBLISH
from perstack.errors import RegistryTampered
from perstack.registry import (
    Attestation,
    AttestationKey,
    Attestations,
    BadAttestation,
    Cache,
    Envelope,
    LogEntry,
    Proof,
    Signature,
    judged,
    key_id,
    lacking,
    new_key_pem,
    open_attestation,
    place_of_known,
    public_key_of,
    publisher_of,
    render_envelope,
    salted,
    seed_in,
    sign_statement,
)
from perstack.registry.attestation import MAX_PAYLOAD, PAYLOAD_TYPE, STATEMENT
from perstack.registry.dsse import encoding_of, sign

KEY = "@acme/reader@1.0.0"
DIGEST = "sha256:" + "ab" * 32
OURS, THEIRS = b"\1" * 32, b"\2" * 32
KEYS = {key_id(public_key_of(OURS)): public_key_of(OURS)}
OTHER = {key_id(public_key_of(THEIRS)): public_key_of(THEIRS)}
SCORE: dict[str, Any] = {"suite": "triage-200", "model": "claude-sonnet-4-5", "score": 0.93}
URL = "https://registry.example"


def statement(**more: Any) -> dict[str, Any]:
    return {
        "_type": STATEMENT,
        "subject": [{"name": KEY, "digest": {"sha256": "ab" * 32}}],
        "predicateType": EVALUATION,
        "predicate": SCORE,
    } | more


def signed(told: Any, seed: bytes = OURS, kind: str = PAYLOAD_TYPE) -> Envelope:
    """told: a statement, or bytes."""
    return sign(kind, told if isinstance(told, bytes) else json.dumps(told).encode(), seed)


def test_what_is_signed_is_the_encoding_of_the_specification() -> None:
    """The example of the DSSE protocol."""
    assert encoding_of("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert encoding_of("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


@given(st.text(), st.binary(), st.text(), st.binary())
def test_two_things_are_never_signed_as_one(a: str, b: bytes, c: str, d: bytes) -> None:
    kind, other = (text.encode("utf-8", "replace").decode() for text in (a, c))
    assert (encoding_of(kind, b) == encoding_of(other, d)) == ((kind, b) == (other, d))


def test_what_was_signed_is_opened() -> None:
    envelope = sign_statement(KEY, DIGEST, EVALUATION, SCORE, OURS)
    found, signatures = open_attestation(envelope, KEY, DIGEST, {**OTHER, **KEYS})
    assert (found.predicate_type, found.predicate) == (EVALUATION, SCORE)
    assert signatures == envelope.signatures
    again = json.loads(render_envelope(envelope))
    assert again["payloadType"] == "application/vnd.in-toto+json"
    assert json.loads(base64.b64decode(again["payload"]))["subject"][0]["name"] == KEY


def test_a_signature_without_a_hint_counts_and_base64_for_urls_too() -> None:
    envelope = sign_statement(
        KEY, DIGEST, "https://example.com/review/v1", {"said": "~~~???"}, OURS
    )
    bare = Envelope(
        payload_type=envelope.payload_type,
        payload=envelope.payload.replace("+", "-").replace("/", "_"),
        signatures=(Signature(sig=envelope.signatures[0].sig.replace("+", "-").replace("/", "_")),),
    )
    assert bare.payload != envelope.payload
    _, signatures = open_attestation(bare, KEY, DIGEST, {**OTHER, **KEYS})
    assert signatures == envelope.signatures
    assert render_envelope(replace(bare, signatures=signatures)) == render_envelope(envelope)


def test_signatures_of_strangers_are_left_out_and_ours_counts_once() -> None:
    envelope, other = signed(statement()), signed(statement(), THEIRS)
    many = replace(envelope, signatures=(*other.signatures, *envelope.signatures * 3))
    assert open_attestation(many, KEY, DIGEST, KEYS)[1] == envelope.signatures
    both = open_attestation(many, KEY, DIGEST, {**OTHER, **KEYS})[1]
    assert {each.keyid for each in both} == {*OTHER, *KEYS}


def lied(change: Callable[[Envelope], Envelope]) -> Envelope:
    return change(signed(statement()))


def in_name_of(envelope: Envelope, seed: bytes) -> Envelope:
    """The signature, with the hint of another key."""
    (one,) = envelope.signatures
    return replace(envelope, signatures=(replace(one, keyid=key_id(public_key_of(seed))),))


def payload(told: Any) -> str:
    return base64.b64encode(json.dumps(told).encode()).decode()


TWICE = json.dumps(statement()).replace(
    '"_type"', '"predicateType": "https://other.example", "_type"'
)

ATTACKS: dict[str, tuple[Envelope, str]] = {
    "a stranger's key": (signed(statement(), THEIRS), "none of its signatures is of a key"),
    "a stranger's key in our name": (
        in_name_of(signed(statement(), THEIRS), OURS),
        "the signature of the key",
    ),
    "an altered payload": (
        lied(lambda it: replace(it, payload=payload(statement(predicate={**SCORE, "score": 1})))),
        "the signature of the key",
    ),
    "an altered payload without a hint": (
        lied(
            lambda it: replace(
                it,
                payload=payload(statement(predicate={**SCORE, "score": 1})),
                signatures=(Signature(sig=it.signatures[0].sig),),
            )
        ),
        "none of its signatures",
    ),
    "no signature": (lied(lambda it: replace(it, signatures=())), "has 1 to 8 signatures"),
    "too many signatures": (
        lied(lambda it: replace(it, signatures=it.signatures * 9)),
        "has 1 to 8 signatures",
    ),
    "another kind, shown as ours": (
        replace(signed(statement(), kind="application/json"), payload_type=PAYLOAD_TYPE),
        "the signature of the key",
    ),
    "ours, shown as another kind": (
        lied(lambda it: replace(it, payload_type="application/json")),
        "payloadType is not",
    ),
    "another kind, rightly signed": (
        signed(statement(), kind="application/vnd.in-toto+json; charset=utf-8"),
        "payloadType is not",
    ),
    "another version": (
        signed(statement(subject=[{"name": KEY, "digest": {"sha256": "cd" * 32}}])),
        "no subject of the statement is the document",
    ),
    "the right name, and no digest": (
        signed(statement(subject=[{"name": KEY, "digest": {}}])),
        "no subject",
    ),
    "the digest as one of another kind": (
        signed(statement(subject=[{"name": KEY, "digest": {"sha512": "ab" * 32}}])),
        "no subject",
    ),
    "a digest in capitals": (
        signed(statement(subject=[{"digest": {"sha256": "AB" * 32}}])),
        "not 64 hexadecimal digits",
    ),
    "no subject": (signed(statement(subject=[])), "1 to 64 subjects"),
    "too many subjects": (
        signed(statement(subject=[{"digest": {"sha256": "ab" * 32}}] * 65)),
        "1 to 64 subjects",
    ),
    "no statement": (signed(SCORE), "is no statement"),
    "an older statement": (
        signed(statement(_type="https://in-toto.io/Statement/v0.1")),
        "is no statement",
    ),
    "a member twice": (signed(TWICE.encode()), "a member stands there twice"),
    "no JSON": (signed(b"\xff"), "is not JSON"),
    "NaN": (signed(json.dumps(statement(predicate={"a": float("nan")})).encode()), "is not JSON"),
    "too deep": (signed(b"[" * 100_000), "is not JSON"),
    "too large": (signed(b" " * MAX_PAYLOAD + b"{}"), "more than 131072 bytes"),
    "no base64": (lied(lambda it: replace(it, payload="%%%%")), "a payload is not base64"),
    "cut base64": (lied(lambda it: replace(it, payload="abcde")), "a payload is not base64"),
    "a type that is no URI": (signed(statement(predicateType="evaluation")), "is no URI"),
    "a predicate that is no object": (signed(statement(predicate=[])), "predicate is no object"),
    "an evaluation without a score": (
        signed(statement(predicate={"suite": "a", "model": "b"})),
        "has suite and model",
    ),
    "an evaluation of nothing": (
        signed(statement(predicate={**SCORE, "suite": ""})),
        "have a name",
    ),
    "a score that is none": (signed(statement(predicate={**SCORE, "score": True})), "a number"),
    "a score beyond numbers": (
        signed(json.dumps(statement()).replace("0.93", "1e999").encode()),
        "a number",
    ),
    "the publishing of another": (
        signed(
            statement(
                predicateType=PUBLISH,
                predicate={"name": "@acme/reader", "version": "2.0.0", "registry": URL},
            )
        ),
        "it says that @acme/reader@2.0.0 was published",
    ),
    "publishing without a registry": (
        signed(statement(predicateType=PUBLISH, predicate={"name": "a", "version": "1"})),
        "has name, version and registry",
    ),
    "provenance without a builder": (
        signed(statement(predicateType=PROVENANCE, predicate={"buildDefinition": {}})),
        "builder.id",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(attack: str) -> None:
    envelope, said = ATTACKS[attack]
    with pytest.raises(BadAttestation) as caught:
        open_attestation(envelope, KEY, DIGEST, KEYS)
    assert said in str(caught.value)


def test_each_known_type_and_any_other_is_taken() -> None:
    provenance: dict[str, Any] = {
        "buildDefinition": {"buildType": "https://example.com/b", "externalParameters": {}},
        "runDetails": {"builder": {"id": "https://example.com/ci"}},
    }
    publish = {"name": "@acme/reader", "version": "1.0.0", "registry": URL}
    for kind, predicate in (
        (PROVENANCE, provenance),
        (PUBLISH, publish),
        ("urn:example:review", {}),
        (EVALUATION, {**SCORE, "score": 10**400}),
    ):
        envelope = sign_statement(KEY, DIGEST, kind, predicate, OURS)
        assert open_attestation(envelope, KEY, DIGEST, KEYS)[0].predicate_type == kind
    with pytest.raises(BadAttestation, match="more than"):
        sign_statement(KEY, DIGEST, "urn:long", {"a": "b" * MAX_PAYLOAD}, OURS)
    with pytest.raises(BadAttestation, match="has suite"):
        sign_statement(KEY, DIGEST, EVALUATION, {}, OURS)


def test_a_key_is_kept_in_a_file_that_others_can_read() -> None:
    made = new_key_pem()
    assert made.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert len(seed_in(made)) == 32
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, serialization_with(b"secret")
    )
    other = X25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for bad in (b"", b"psk_secret", locked, other):
        with pytest.raises(ValueError, match="not an Ed25519 private key") as caught:
            seed_in(bad)
        assert "secret" not in str(caught.value)


def serialization_with(password: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

    return BestAvailableEncryption(password)


# What it is worth -----------------------------------------------------------------------------------------


def of(seed: bytes, organization: str = "acme", **more: Any) -> AttestationKey:
    public = public_key_of(seed)
    told = AttestationKey(
        id=key_id(public),
        organization=organization,
        name="a key",
        public_key=base64.b64encode(public).decode(),
        created_at="2026-01-31T09:30:00.000Z",
    )
    return replace(told, **more)


def told(*keys: AttestationKey, by: bytes = OURS, organization: str = "acme") -> Attestations:
    """One evaluation, and these keys."""
    one = Attestation(
        id="ab",
        organization=organization,
        predicate_type=PUBLISH,  # a lie that counts for nothing
        envelope=signed(statement(), by),
        created_at="2026-01-31T09:30:00.000Z",
    )
    return Attestations(key=KEY, digest=DIGEST, attestations=(one,), keys=keys)


def outcome(
    said: Attestations, place: Path, publisher: Any = None, digest: str = DIGEST
) -> tuple[str, tuple[str, ...]]:
    """How the one attestation is found, and which of two types are lacking then."""
    cache = Cache(place)
    found = judged(said, KEY, digest, publisher or publisher_of(None, "acme"), cache, URL)
    return found[0].outcome, lacking(("evaluation", PUBLISH), found)


def test_what_the_publisher_signed_is_good_and_its_type_is_the_one_it_has(tmp_path: Path) -> None:
    assert outcome(told(of(OURS)), tmp_path) == ("signed", (PUBLISH,))


def test_another_key_than_those_first_seen_is_not_taken_for_theirs(tmp_path: Path) -> None:
    assert outcome(told(of(OURS)), tmp_path)[0] == "signed"
    swapped = told(of(THEIRS), by=THEIRS)
    assert outcome(swapped, tmp_path) == ("newKey", ("evaluation", PUBLISH))
    assert outcome(told(of(OURS), of(THEIRS), by=THEIRS), tmp_path)[0] == "newKey"
    assert outcome(told(of(OURS), of(THEIRS)), tmp_path)[0] == "signed"
    Path(place_of_known(Cache(tmp_path), URL, "acme")).unlink()
    assert outcome(swapped, tmp_path)[0] == "signed"


def test_who_has_no_key_yet_is_not_known_by_that(tmp_path: Path) -> None:
    nothing = Attestations(key=KEY, digest=DIGEST)
    assert judged(nothing, KEY, DIGEST, publisher_of(None), Cache(tmp_path), URL) == ()
    assert outcome(told(of(OURS)), tmp_path)[0] == "signed"


def test_a_revoked_key_stays_revoked(tmp_path: Path) -> None:
    revoked = told(of(OURS, revoked_at="2026-02-01T00:00:00.000Z"))
    assert outcome(revoked, tmp_path) == ("revoked", ("evaluation", PUBLISH))
    assert outcome(told(of(OURS)), tmp_path)[0] == "revoked"


def test_another_organization_cannot_speak_for_the_publisher(tmp_path: Path) -> None:
    other = told(of(OURS), of(THEIRS, "evil"), by=THEIRS, organization="evil")
    assert outcome(other, tmp_path) == ("stranger", ("evaluation", PUBLISH))
    passed_off = told(of(OURS), of(THEIRS, "evil"), by=THEIRS)
    assert outcome(passed_off, tmp_path)[0] == "failed"


def test_the_log_says_who_published_also_of_private_experts(tmp_path: Path) -> None:
    entry = LogEntry(v=1, op="publish", name=KEY, at="", actor="acme")
    proof = Proof(entry=entry, index=0, hashes=(), checkpoint="")
    assert outcome(told(of(OURS)), tmp_path / "a", publisher_of(proof, "evil"))[0] == "signed"
    salt = b"\7" * 16
    hidden = replace(proof, entry=replace(entry, actor=salted(salt, "acme")), salt=salt)
    assert outcome(told(of(OURS)), tmp_path / "b", publisher_of(hidden))[0] == "signed"
    salted_otherwise = replace(hidden, salt=b"\x08" * 16)
    assert outcome(told(of(OURS)), tmp_path / "c", publisher_of(salted_otherwise))[0] == "stranger"


def test_what_is_broken_is_told(tmp_path: Path) -> None:
    misnamed = told(of(OURS, public_key=base64.b64encode(public_key_of(THEIRS)).decode()))
    assert outcome(misnamed, tmp_path)[0] == "failed"
    assert outcome(told(of(OURS, public_key="AA==")), tmp_path)[0] == "failed"
    assert outcome(told(of(OURS)), tmp_path, digest="sha256:" + "cd" * 32)[0] == "failed"
    Path(place_of_known(Cache(tmp_path), URL, "acme")).write_text("{")
    with pytest.raises(RegistryTampered, match="Delete it"):
        outcome(told(of(OURS)), tmp_path)
