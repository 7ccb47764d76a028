"""Keys of registries are kept for their owner alone, and given to nobody but their registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.errors import UserError
from perstack.ops.packages.credentials import (
    Credential,
    forget,
    keep,
    kept_credential,
    kept_key,
    origin_of,
)

HOST = "https://registry.example"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Registry.Example/", HOST),
        ("HTTPS://registry.example:443/api", HOST),
        ("https://registry.example:8443", "https://registry.example:8443"),
        ("http://127.0.0.1:80/x", "http://127.0.0.1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_origin_has_one_spelling(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_a_key_is_kept_for_its_registry_and_no_other(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert kept_key(HOST, env) is None
    path = keep(Credential(origin=HOST, key="psk_one", organization="acme"), env)
    assert path.is_relative_to(tmp_path)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert kept_key(f"{HOST}:443/api/", env) == "psk_one"
    for other in ("http://registry.example", f"{HOST}:8443", "https://registry.example.evil"):
        assert kept_key(other, env) is None
    keep(Credential(origin=HOST, key="psk_two"), env)
    assert kept_key(HOST, env) == "psk_two"
    assert forget(HOST, env)
    assert not forget(HOST, env)
    assert kept_key(HOST, env) is None
    assert list(path.parent.iterdir()) == []


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    path = keep(Credential(origin=HOST, key="psk_secret"), env)
    assert path.is_relative_to(tmp_path / ".config")
    path.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600") as caught:
        kept_key(HOST, env)
    assert "psk_secret" not in str(caught.value)


def test_a_file_that_is_none_of_ours_says_what_to_do(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    path = keep(Credential(origin=HOST, key="psk_secret"), env)
    path.write_text('{"key": "psk_secret"')
    with pytest.raises(UserError, match="perstack login") as caught:
        kept_credential(HOST, env)
    assert "psk_secret" not in str(caught.value)


def test_a_key_is_not_shown_by_accident() -> None:
    credential = Credential(origin=HOST, key="psk_secret", organization="acme")
    assert "psk_secret" not in f"{credential} {credential!r}"
