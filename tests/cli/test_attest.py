"""Attesting a version from the command line, and what its users see of it."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.registry.house import House, open_house

from .program import is_one_message
from .registries import Author, published

KEY = "@acme/reader@1.0.0"


@pytest.fixture
def house(tmp_path: Path) -> Generator[House]:
    with open_house(tmp_path / "registry", "acme") as found:
        yield found


@pytest.fixture
def author(house: House, tmp_path: Path) -> Author:
    """Who has published the reader."""
    env = {"PERSTACK_API_BASE_URL": house.url, "PERSTACK_API_KEY": house.keys["acme"]}
    author = Author(tmp_path / "author", env)
    author.writes(published("@acme/reader"))
    assert author("publish").code == 0
    return author


@pytest.fixture
def user(house: House, tmp_path: Path) -> Author:
    """Who wants an evaluation."""
    user = Author(tmp_path / "user", {"PERSTACK_API_BASE_URL": house.url})
    policy = '[registry]\nrequireAttestations = ["evaluation"]\n'
    user.writes(f'[experts.lead]\ninstruction = "Lead."\ndelegates = ["{KEY}"]\n{policy}')
    return user


def test_a_version_is_attested_and_its_users_see_that(author: Author, user: Author) -> None:
    refused = user("install", "--no-tools")
    assert (refused.code, is_one_message(refused.err)) == (1, True)
    assert f"{KEY} lacks what requireAttestations asks for: evaluation." in refused.err
    assert not (user.place / "perstack.lock").exists()

    added = author("signing-key", "add", "laptop")
    assert (added.code, added.err) == (0, "")
    place = author.place / ".config" / "perstack" / "signing-key.pem"
    assert added.out.startswith("acme attests with the key ")
    assert f"in {place}\n" in added.out
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.read_text().startswith("-----BEGIN PRIVATE KEY-----")

    score = {"suite": "triage-200", "model": "claude-sonnet-4-5", "score": 0.93}
    (author.place / "score.json").write_text(json.dumps(score))
    ran = author("attest", KEY, "--type", "evaluation", "--predicate", "score.json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Attested evaluation of {KEY}, with the key ")
    told = author("attest", KEY, "--type", "publish", "--json")
    assert json.loads(told.out)["attestation"]["organization"] == "acme"

    assert user("install", "--no-tools").code == 0
    verified = user("verify")
    assert verified.code == 0
    assert "  attested: evaluation by acme (key " in verified.out
    assert "  Attested: publish by acme (key " in user("info", KEY).out
    assert "unattested" not in user("audit").out

    listed = author("signing-key", "list")
    assert listed.out.splitlines()[0].split() == ["ID", "NAME", "SINCE", "REVOKED"]
    id = listed.out.splitlines()[1].split()[0]
    assert author("signing-key", "revoke", id).out == f"Revoked {id} (laptop)\n"
    assert ", revoked)" in user("verify").out
    audited = user("audit")
    assert audited.code == 3
    assert "unattested" in audited.out
    again = author("attest", KEY, "--type", "publish")
    assert (again.code, is_one_message(again.err)) == (1, True)
    assert "was revoked" in again.err
    assert author("signing-key", "revoke", id).code == 1


def test_a_key_of_one_s_own_file_signs(author: Author) -> None:
    assert author("signing-key", "add", "ci", "--file", "keys/ci.pem", "--json").code == 0
    path = author.place / "keys" / "ci.pem"
    ran = author("attest", KEY, "--type", "publish", "--signing-key", str(path), "--quiet")
    assert (ran.code, ran.out) == (0, "")
    again = author("signing-key", "add", "ci", "--file", "keys/ci.pem")
    assert (again.code, is_one_message(again.err)) == (1, True)
    assert "is there" in again.err
    path.chmod(0o644)
    shared = author("attest", KEY, "--type", "publish", "--signing-key", str(path))
    assert (shared.code, "can be read by others" in shared.err) == (1, True)
    path.write_text("nothing")
    path.chmod(0o600)
    broken = author("attest", KEY, "--type", "publish", "--signing-key", str(path))
    assert (broken.code, "cannot be used: not an Ed25519" in broken.err) == (1, True)


def test_what_is_wrong_is_said_once(author: Author, house: House) -> None:
    missing = author("attest", KEY, "--type", "publish")
    assert "`perstack signing-key add <name>` makes one" in missing.err
    assert author("signing-key", "add", "laptop", "--quiet").out == ""
    (author.place / "list.json").write_text("[]")
    (author.place / "bad.json").write_text("{")
    (author.place / "few.json").write_text('{"suite": "a"}')
    for args, said in (
        (("@acme/reader", "--type", "publish"), "is no exact version"),
        ((KEY, "--type", "test"), "is no type of attestation; write publish, "),
        ((KEY, "--type", "evaluation"), "--predicate FILE"),
        ((KEY, "--type", "evaluation", "--predicate", "none.json"), "cannot be read"),
        ((KEY, "--type", "evaluation", "--predicate", "list.json"), "must hold a JSON object"),
        ((KEY, "--type", "evaluation", "--predicate", "bad.json"), "is not JSON"),
        ((KEY, "--type", "evaluation", "--predicate", "few.json"), "cannot be attested"),
        (("@acme/reader@9.0.0", "--type", "publish"), "refused @acme/reader@9.0.0"),
    ):
        ran = author("attest", *args)
        assert (ran.code, ran.out, is_one_message(ran.err)) == (1, "", True), ran.err
        assert said in ran.err
    house.forget()
    author.env["PERSTACK_OFFLINE"] = "1"
    assert "Leave out --offline" in author("attest", KEY, "--type", "publish").err
    assert house.asked == []


def test_nobody_signs_for_what_the_log_does_not_hold(author: Author, house: House) -> None:
    """A registry that says another document is the published one gets no signature for it."""
    author("signing-key", "add", "laptop")

    def twist(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        if path.startswith("/tlog/proof"):
            return 404, b'{"code": 404, "error": "Not Found"}'
        return None

    house.forget()
    house.twist = twist
    ran = author("attest", KEY, "--type", "publish")
    assert (ran.code, is_one_message(ran.err)) == (4, True)
    assert "the log does not hold" in ran.err
    assert [asked for asked in house.asked if asked.startswith("POST")] == []
