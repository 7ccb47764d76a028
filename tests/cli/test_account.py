"""Keys of registries on the command line: kept, used, made, taken back, and never shown."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.fakes.registry import RunningRegistry

from .program import LONG_S, Ran, command, environment, is_one_message
from .registries import Author, published


@pytest.fixture
def user(registry: RunningRegistry, tmp_path: Path) -> Author:
    """Somebody with no key in the environment."""
    return Author(tmp_path / "user", registry.env())


def log_in(user: Author, key: str) -> Ran:
    done = subprocess.run(
        command("login"),
        cwd=user.place,
        env=environment(user.env),
        input=f"{key}\n".encode(),
        capture_output=True,
        timeout=LONG_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_key_is_kept_used_and_deleted(user: Author, registry: RunningRegistry) -> None:
    key = registry.key_of("acme")
    ran = log_in(user, key)
    assert (ran.code, ran.out, ran.err) == (0, f"The key for {registry.url} is kept: acme.\n", "")
    (kept,) = (user.place / ".config" / "perstack" / "registries").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    who = user("whoami")
    assert who.code == 0
    assert who.out.splitlines()[0] == "acme"
    assert key not in who.out
    told = json.loads(user("whoami", "--json").out)
    assert told["organization"]["name"] == "acme"
    assert "key" not in told["key"]
    user.writes(published("@acme/reader"))
    assert user("publish").code == 0
    assert user("logout").out == f"The key for {registry.url} is deleted.\n"
    assert not kept.exists()
    assert user("logout").out == f"There was no key for {registry.url}.\n"
    without = user("whoami")
    assert (without.code, is_one_message(without.err)) == (1, True)
    assert "perstack login" in without.err


def test_a_key_that_nobody_knows_is_not_kept(user: Author, registry: RunningRegistry) -> None:
    for key in ("psk_" + "x" * 49, "two words", ""):
        ran = log_in(user, key)
        assert (ran.code, ran.out, is_one_message(ran.err)) == (1, "", True)
        assert not key or key not in ran.err
    assert not (user.place / ".config").exists()


def test_a_key_for_one_registry_is_not_sent_to_another(
    user: Author, registry: RunningRegistry
) -> None:
    assert log_in(user, registry.key_of("acme")).code == 0
    other = user("whoami", "--registry", registry.url.replace("127.0.0.1", "localhost"))
    assert (other.code, "There is no key" in other.err) == (1, True)


def test_keys_are_made_listed_and_revoked(user: Author, registry: RunningRegistry) -> None:
    assert log_in(user, registry.key_of("makers")).code == 0
    made = user("key", "create", "ci", "--scope", "read", "--pattern", "@makers/*", "--days", "7")
    assert made.code == 0
    secret = made.out.strip()
    assert secret.startswith("psk_")
    assert "shown this once" in made.err
    listed = json.loads(user("key", "list", "--json").out)["keys"]
    (ci,) = [each for each in listed if each["name"] == "ci"]
    assert (ci["scopes"], ci["patterns"]) == (["read"], ["@makers/*"])
    text = user("key", "list").out
    assert text.startswith("PREFIX")
    assert secret not in text
    assert log_in(user, secret).code == 0
    assert user("key", "create", "more").code == 1  # it may only read
    assert log_in(user, registry.key_of("makers")).code == 0
    gone = user("key", "revoke", ci["prefix"])
    assert (gone.code, gone.out) == (0, f"Revoked {ci['prefix']}... (ci)\n")
    assert log_in(user, secret).code == 1
    again = user("key", "revoke", ci["id"])
    assert (again.code, is_one_message(again.err)) == (1, True)
    assert "revoked" in user("key", "list").out


def test_logging_out_can_take_the_key_back(user: Author, registry: RunningRegistry) -> None:
    key = registry.key_of("leavers")
    assert log_in(user, key).code == 0
    left = user("logout", "--revoke", "--json")
    assert json.loads(left.out) == {"registry": registry.url, "deleted": True}
    assert log_in(user, key).code == 1
