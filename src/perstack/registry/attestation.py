"""What an attestation says: an in-toto Statement (v1) about one version of an Expert, in a signed envelope. Pure.

A statement has *subjects*, which are digests, and a *predicate* of some type, which is what is said about them. It
is about a version if one of its subjects is the SHA-256 of that version's document; the name that a subject has
counts for nothing. Three types are known, and their predicates must have what makes them worth reading; any other
type is taken as it is.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn, cast

import msgspec

from perstack._value import Value
from perstack.definition import (
    EVALUATION,
    PROVENANCE,
    PUBLISH,
    SHORT_NAMES,
    predicate_type_fault,
)
from perstack.lock import canonical_json

from .dsse import BadAttestation, Envelope, Signature, payload_of, sign, signers_of

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

MAX_PAYLOAD = 128 * 1024
MAX_SUBJECTS = 64

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Statement(Value, frozen=True):
    """digests: of its subjects, `sha256:` and hex."""

    predicate_type: str
    digests: frozenset[str]
    predicate: dict[str, Any]


def sign_statement(
    key: str, digest: str, predicate_type: str, predicate: Mapping[str, Any], seed: bytes
) -> Envelope:
    """A statement about the version `key`, signed. digest: of its document. Raises BadAttestation."""
    payload = msgspec.json.encode(
        {
            "_type": STATEMENT,
            "subject": [{"name": key, "digest": {"sha256": digest.removeprefix("sha256:")}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        },
        order="sorted",
    )
    if len(payload) > MAX_PAYLOAD:
        raise BadAttestation(f"the statement has more than {MAX_PAYLOAD} bytes")
    check_statement(parse_statement(payload), key, digest)
    return sign(PAYLOAD_TYPE, payload, seed)


def open_attestation(
    envelope: Envelope, key: str, digest: str, keys: Mapping[str, bytes]
) -> tuple[Statement, tuple[Signature, ...]]:
    """What is said about the version `key`, and those of the signatures that `keys` have made, at least one.

    digest: of the version's document. keys: public ones, by id. Raises BadAttestation.
    """
    payload = payload_of(envelope, PAYLOAD_TYPE, MAX_PAYLOAD)
    signatures = signers_of(envelope, PAYLOAD_TYPE, payload, keys)
    if not signatures:
        raise BadAttestation("none of its signatures is of a key that may attest")
    statement = parse_statement(payload)
    check_statement(statement, key, digest)
    return statement, signatures


def render_envelope(envelope: Envelope) -> bytes:
    """An envelope that was opened, in the one spelling in which it is kept."""
    payload = payload_of(envelope, PAYLOAD_TYPE, MAX_PAYLOAD)
    same = msgspec.structs.replace(envelope, payload=base64.b64encode(payload).decode())
    return canonical_json(msgspec.to_builtins(same))


def parse_statement(payload: bytes) -> Statement:
    """A statement out of its JSON, in which no member may stand twice. Raises BadAttestation."""
    if len(payload) > MAX_PAYLOAD:
        raise BadAttestation(f"the payload has more than {MAX_PAYLOAD} bytes")
    try:
        told = json.loads(payload.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadAttestation(f"the payload is not JSON: {error}") from error
    match told:
        case {"_type": str(said), "predicateType": str(kind), "subject": [*subjects]} if (
            said == STATEMENT
        ):
            pass
        case _:
            raise BadAttestation(f"the payload is no statement of the type {STATEMENT}")
    if kind in SHORT_NAMES or predicate_type_fault(kind):
        raise BadAttestation("the predicateType is no URI")
    if not 0 < len(subjects) <= MAX_SUBJECTS:
        raise BadAttestation(f"a statement has 1 to {MAX_SUBJECTS} subjects")
    predicate = cast("dict[str, Any]", told).get("predicate", {})
    if not isinstance(predicate, dict):
        raise BadAttestation("the predicate is no object")
    return Statement(
        predicate_type=kind,
        digests=frozenset(_digest(subject) for subject in subjects) - {""},
        predicate=cast("dict[str, Any]", predicate),
    )


def check_statement(statement: Statement, key: str, digest: str) -> None:
    """Pass if it is about the version `key`, and says what its type has to say. Raises BadAttestation."""
    if digest not in statement.digests:
        raise BadAttestation(f"no subject of the statement is the document {digest} of {key}")
    if fault := predicate_fault(statement.predicate_type, statement.predicate, key):
        raise BadAttestation(fault)


def predicate_fault(predicate_type: str, predicate: Mapping[str, Any], key: str) -> str | None:
    """What a predicate of a known type lacks. key: of the version it is about."""
    check = _CHECKS.get(predicate_type)
    return check(predicate, key) if check else None


def _provenance_fault(predicate: Mapping[str, Any], _: str) -> str | None:
    match predicate:
        case {
            "buildDefinition": {"buildType": str(), "externalParameters": dict()},
            "runDetails": {"builder": {"id": str()}},
        }:
            return None
        case _:
            return (
                "a provenance has buildDefinition, with buildType and externalParameters, and runDetails,"
                " with builder.id"
            )


def _publish_fault(predicate: Mapping[str, Any], key: str) -> str | None:
    match predicate:
        case {"name": str(name), "version": str(version), "registry": str()}:
            said = f"{name}@{version}"
            return None if said == key else f"it says that {said} was published, and is about {key}"
        case _:
            return "a publish attestation has name, version and registry"


def _evaluation_fault(predicate: Mapping[str, Any], _: str) -> str | None:
    match predicate:
        case {"suite": str(suite), "model": str(model), "score": int() | float() as score}:
            if suite and model and not isinstance(score, bool) and score - score == 0:
                return None
            return "the suite and the model of an evaluation have a name, and its score is a number"
        case _:
            return "an evaluation has suite and model, which are text, and score, a number"


_CHECKS = {PROVENANCE: _provenance_fault, PUBLISH: _publish_fault, EVALUATION: _evaluation_fault}


def _digest(subject: object) -> str:
    """The SHA-256 of a subject; "" if it has another kind of digest only. Raises BadAttestation."""
    match subject:
        case {"digest": {"sha256": str(found)}} if _HEX.fullmatch(found):
            return f"sha256:{found}"
        case {"digest": {"sha256": object()}}:
            raise BadAttestation("the sha256 of a subject is not 64 hexadecimal digits")
        case {"digest": dict()}:
            return ""
        case _:
            raise BadAttestation("a subject has no digest")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands there twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
