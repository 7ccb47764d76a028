"""Proofs as text: what they carry, and that nothing in them can be exchanged."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from perstack.registry import (
    BadProof,
    LogEntry,
    Proof,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    open_checkpoint,
    parse_entry,
    parse_proof,
    render_checkpoint,
    render_entry,
    render_proof,
    render_verifier_key,
    root_of,
    roots_upward,
    salted,
    signing_key_of,
    verifier_key_of,
    verify_follows,
    verify_published,
)

ORIGIN = "registry.example/api/registry/v1/tlog"
SIGNING = signing_key_of(ORIGIN, b"\x03" * 32)
KEY = render_verifier_key(verifier_key_of(SIGNING))
SALT = b"\x05" * 16


def entry(number: int, name: str = "@acme/triage") -> LogEntry:
    return LogEntry(
        v=1,
        op="publish",
        name=name,
        version=f"1.{number}.0",
        digest=f"sha256:{number:064x}",
        at="2026-01-31T09:30:00.000Z",
        actor="acme",
    )


def proof_of(entries: list[LogEntry], index: int, salt: bytes = b"") -> Proof:
    levels = roots_upward(leaf_hash(render_entry(e)) for e in entries)
    size = len(entries)

    def read(node: tuple[int, int]) -> bytes:
        return levels[node[0]][node[1]]

    return Proof(
        entry=entries[index],
        index=index,
        hashes=inclusion_proof(index, size, read),
        checkpoint=render_checkpoint(ORIGIN, size, root_of(size, read), SIGNING),
        salt=salt,
    )


ENTRIES = [entry(number) for number in range(7)]


def test_an_entry_is_one_line_of_canonical_json() -> None:
    text = render_entry(entry(1))
    assert text.startswith(b'{"actor":"acme","at":"2026-01-31T09:30:00.000Z","digest":"sha256:')
    assert parse_entry(text) == entry(1)


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b'{"v": 1}', render_entry(entry(1)) + b" "])
def test_any_other_bytes_are_no_entry(text: bytes) -> None:
    with pytest.raises(BadProof):
        parse_entry(text)


def test_a_proof_is_kept_as_text_and_checked_offline() -> None:
    text = render_proof(proof_of(ENTRIES, 4))

    checkpoint = verify_published(
        parse_proof(text), "@acme/triage", "1.4.0", ENTRIES[4].digest, KEY
    )

    assert text.startswith("c2sp.org/tlog-proof@v1\nextra ")
    assert checkpoint.size == 7


def test_the_name_of_a_private_expert_is_proved_only_to_who_has_the_salt() -> None:
    hidden = replace(entry(2, salted(SALT, "@acme/secret")), actor=salted(SALT, "acme"))
    told = parse_proof(render_proof(proof_of([*ENTRIES, hidden], 7, SALT)))

    verify_published(told, "@acme/secret", "1.2.0", hidden.digest, KEY)

    assert "secret" not in render_entry(hidden).decode()
    with pytest.raises(BadProof):
        verify_published(replace(told, salt=b""), "@acme/secret", "1.2.0", hidden.digest, KEY)


@pytest.mark.parametrize(
    ("name", "version", "digest"),
    [
        ("@acme/other", "1.4.0", ENTRIES[4].digest),
        ("@acme/triage", "1.5.0", ENTRIES[4].digest),
        ("@acme/triage", "1.4.0", ENTRIES[5].digest),
    ],
)
def test_a_proof_of_something_else_is_refused(name: str, version: str, digest: str) -> None:
    with pytest.raises(BadProof, match="entry 4 says publish"):
        verify_published(proof_of(ENTRIES, 4), name, version, digest, KEY)


def test_no_part_of_a_proof_can_be_exchanged() -> None:
    good, other = proof_of(ENTRIES, 4), proof_of(ENTRIES[:6], 3)
    forged_key = signing_key_of(ORIGIN, b"\x04" * 32)
    parts = [
        replace(good, index=3),
        replace(good, hashes=other.hashes),
        replace(good, hashes=(*good.hashes, b"\x00" * 32)),
        replace(good, checkpoint=other.checkpoint),
        replace(good, checkpoint=render_checkpoint(ORIGIN, 7, b"\x00" * 32, SIGNING)),
        replace(good, checkpoint=render_checkpoint(ORIGIN, 7, b"\x00" * 32, forged_key)),
        replace(good, entry=replace(good.entry, actor="mallory")),
    ]
    for part in parts:
        with pytest.raises(BadProof):
            verify_published(
                parse_proof(render_proof(part)), "@acme/triage", "1.4.0", ENTRIES[4].digest, KEY
            )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\n\n",
        "c2sp.org/tlog-proof@v2\nextra e30=\nindex 0\n\nx",
        "c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\nx",
        "c2sp.org/tlog-proof@v1\nextra %%\nindex 0\n\nx",
        "c2sp.org/tlog-proof@v1\nextra e30=\nindex 01\n\nx",
    ],
)
def test_what_is_not_a_proof_is_refused(text: str) -> None:
    with pytest.raises(BadProof):
        parse_proof(text)


def test_a_forked_log_is_refused_and_both_checkpoints_are_shown() -> None:
    forked = [*ENTRIES[:3], replace(ENTRIES[3], actor="mallory"), *ENTRIES[4:]]
    levels = roots_upward(leaf_hash(render_entry(e)) for e in forked)
    old = open_checkpoint(proof_of(ENTRIES[:5], 0).checkpoint, KEY)
    new = open_checkpoint(proof_of(forked, 0).checkpoint, KEY)
    path = consistency_proof(5, 7, lambda node: levels[node[0]][node[1]])

    with pytest.raises(BadProof) as told:
        verify_follows(old, new, path)

    assert old.note in str(told.value)
    assert new.note.rstrip() in str(told.value)


def test_a_log_that_was_rolled_back_is_refused() -> None:
    old = open_checkpoint(proof_of(ENTRIES, 0).checkpoint, KEY)
    new = open_checkpoint(proof_of(ENTRIES[:5], 0).checkpoint, KEY)
    with pytest.raises(BadProof, match="had 7 entries before and has 5"):
        verify_follows(old, new, ())
