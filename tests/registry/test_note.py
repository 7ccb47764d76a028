"""Signed notes and checkpoints: published examples, and every way to get them wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.registry import (
    BadProof,
    open_checkpoint,
    open_note,
    parse_verifier_key,
    render_checkpoint,
    render_verifier_key,
    sign_note,
    signing_key_of,
    verifier_key_of,
)

# The example of the Go module golang.org/x/mod/sumdb/note, and that of c2sp.org/signed-note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SIGNING_KEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = (
    f"{GO_TEXT}\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqd"
    "ngotpRZb6KE6RyyBwJnAM=\n"
)
C2SP_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n"
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72I"
    "neyaQM=\n"
)
ROOT = bytes(range(32))


def log_keys(name: str = "registry.example/tlog", seed: bytes = b"\x07" * 32) -> tuple[str, str]:
    signing = signing_key_of(name, seed)
    return signing, render_verifier_key(verifier_key_of(signing))


def test_the_published_notes_are_opened() -> None:
    assert open_note(GO_NOTE, parse_verifier_key(GO_KEY)) == GO_TEXT
    assert open_note(C2SP_NOTE, parse_verifier_key(C2SP_KEY)) == "This is an example message.\n"


def test_the_published_note_is_signed_byte_for_byte() -> None:
    assert sign_note(GO_TEXT, GO_SIGNING_KEY) == GO_NOTE
    assert render_verifier_key(verifier_key_of(GO_SIGNING_KEY)) == GO_KEY


def test_a_signature_by_someone_unknown_is_skipped() -> None:
    unknown = "\u2014 elsewhere.example AAAAAAAAAAAAAAAAAAAA\n"
    assert open_note(GO_NOTE + unknown, parse_verifier_key(GO_KEY)) == GO_TEXT


def test_one_wrong_signature_by_the_known_key_spoils_the_note() -> None:
    forged = GO_NOTE.replace(GO_TEXT, "Trust me.\n").rpartition("\n\n")[2].replace("ZJku", "ZJkv")
    with pytest.raises(BadProof, match="wrong"):
        open_note(GO_NOTE + forged, parse_verifier_key(GO_KEY))


@pytest.mark.parametrize(
    "note",
    [
        "",
        GO_TEXT,
        GO_NOTE.removesuffix("\n"),
        GO_NOTE.replace("cryptography", "cryptographY"),
        GO_NOTE.replace("\u2014", "-"),
        GO_NOTE.replace("PeterNeumann", "PeterNeumanm"),
        GO_NOTE.replace("x08go", "y08go"),
        GO_NOTE.replace("answer", "an\tswer"),
        GO_NOTE + "\u2014 elsewhere.example\n",
        GO_NOTE + "\u2014 elsewhere.example %%%%\n",
        GO_NOTE + "\u2014 elsewhere.example AAAAAAAAAAAAAAAAAAAA\n" * 101,
        "\n" + GO_NOTE.rpartition("\n\n")[2],
    ],
)
def test_what_is_not_a_note_signed_by_the_key_is_refused(note: str) -> None:
    with pytest.raises(BadProof):
        open_note(note, parse_verifier_key(GO_KEY))


@given(st.integers(0, len(GO_KEY) - 1), st.characters(codec="ascii"))
def test_a_changed_key_is_no_key(at: int, letter: str) -> None:
    changed = GO_KEY[:at] + letter + GO_KEY[at + 1 :]
    if changed.lower() != GO_KEY.lower():
        with pytest.raises(ValueError, match="key"):
            parse_verifier_key(changed)


def test_a_broken_signing_key_is_refused_without_being_told() -> None:
    broken = GO_SIGNING_KEY.replace("AYEK", "AYEL")
    with pytest.raises(ValueError, match="signing key") as told:
        sign_note(GO_TEXT, broken)
    assert "AYEL" not in str(told.value)


@given(st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_as_it_was_signed(size: int, root: bytes) -> None:
    signing, key = log_keys()
    note = render_checkpoint("registry.example/tlog", size, root, signing)

    read = open_checkpoint(note, key)

    assert (read.origin, read.size, read.root) == ("registry.example/tlog", size, root)
    assert read.note == note


def test_a_checkpoint_of_another_log_is_refused_though_the_key_signed_it() -> None:
    signing, key = log_keys()
    note = render_checkpoint("registry.example/other", 3, ROOT, signing)
    with pytest.raises(BadProof, match="other"):
        open_checkpoint(note, key)


@pytest.mark.parametrize(
    "text",
    ["a\n", "registry.example/tlog\n5\n", "registry.example/tlog\n05\nAAAA\n", "o\n-1\nAAAA\n"],
)
def test_a_signed_text_that_says_no_tree_is_no_checkpoint(text: str) -> None:
    signing, key = log_keys()
    with pytest.raises(BadProof):
        open_checkpoint(sign_note(text, signing), key)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n"])
def test_a_key_has_a_name_that_can_stand_in_a_note(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        signing_key_of(name, b"\x07" * 32)
