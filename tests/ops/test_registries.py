"""Which registry a name has, and which key it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.definition import parse_project
from perstack.errors import UserError
from perstack.ops.packages.credentials import Credential, keep
from perstack.ops.packages.registries import key_variable, registries_of
from perstack.ops.packages.sources import Sources

PROJECT = parse_project(
    """
perstackApiBaseUrl = "https://file.example/"
[registries."@acme"]
url = "https://acme.example"
keyEnv = "NAMED"
[registries."@same"]
url = "https://file.example/second"
""",
    "perstack.toml",
).project
AWAY = {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}


@pytest.mark.parametrize(
    ("flag", "env", "url"),
    [
        (None, {}, "https://file.example"),
        (None, {"PERSTACK_API_BASE_URL": "https://env.example"}, "https://env.example"),
        (
            "http://localhost:80/",
            {"PERSTACK_API_BASE_URL": "https://env.example"},
            "http://localhost:80",
        ),
    ],
)
def test_the_default_registry_is_the_one_named_nearest(
    flag: str | None, env: dict[str, str], url: str
) -> None:
    found = registries_of(PROJECT, {**AWAY, **env}, Sources(registry=flag))
    assert found.default.url == url
    assert found.of("helper").url == found.of("@other/helper@^1").url == url
    assert found.of("@acme/helper@^1").url == "https://acme.example"


def test_without_a_project_there_is_a_registry_too() -> None:
    assert registries_of(None, AWAY).default.url == "https://api.perstack.ai"


@pytest.mark.parametrize(
    "url", ["http://registry.example", "registry.example", "https://a@b.example"]
)
def test_a_registry_is_reached_over_https(url: str) -> None:
    with pytest.raises(UserError, match="PERSTACK_API_BASE_URL"):
        registries_of(PROJECT, {**AWAY, "PERSTACK_API_BASE_URL": url})
    with pytest.raises(UserError, match="--registry"):
        registries_of(PROJECT, AWAY, Sources(registry=url))


def test_a_key_is_for_one_registry() -> None:
    env = {**AWAY, "PERSTACK_API_KEY": "default"}
    found = registries_of(PROJECT, env)
    assert found.default.key == "default"
    assert found.scopes["@acme"].key is None
    assert found.scopes["@same"].key == "default"  # it is the same server
    by_scope = registries_of(PROJECT, {**env, "PERSTACK_API_KEY_ACME": "scope"})
    assert by_scope.scopes["@acme"].key == "scope"
    named = registries_of(PROJECT, {**env, "PERSTACK_API_KEY_ACME": "scope", "NAMED": "named"})
    assert named.scopes["@acme"].key == "named"
    assert named.default.key == "default"


def test_a_kept_key_is_the_last_choice(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    keep(Credential(origin="https://acme.example", key="kept"), env)
    found = registries_of(PROJECT, env)
    assert found.scopes["@acme"].key == "kept"
    assert found.default.key is None
    assert registries_of(PROJECT, {**env, "NAMED": "named"}).scopes["@acme"].key == "named"


def test_variables_are_named_after_scopes() -> None:
    assert key_variable("@acme") == "PERSTACK_API_KEY_ACME"
    assert key_variable("@my-team_2") == "PERSTACK_API_KEY_MY_TEAM_2"


MIRRORED = parse_project(
    """
perstackApiBaseUrl = "https://api.example"
[registry]
mirror = "https://own.example/upstream/api.example"
[registries."@acme"]
url = "https://acme.example"
mirror = "https://elsewhere.example"
[registries."@own"]
url = "https://own.example"
keyEnv = "OWN_KEY"
""",
    "perstack.toml",
).project


def test_a_mirror_gets_the_key_of_its_own_origin_and_no_other(tmp_path: Path) -> None:
    env = {
        "XDG_CONFIG_HOME": str(tmp_path),
        "OWN_KEY": "psk_own",
        "PERSTACK_API_KEY": "psk_default",
        "PERSTACK_API_KEY_ACME": "psk_acme",
    }
    found = registries_of(MIRRORED, env)
    assert (found.default.key, found.default.asked_with) == ("psk_default", "psk_own")
    acme = found.of("@acme/x")
    assert (acme.key, acme.asked_with) == ("psk_acme", None)
    keep(Credential(origin="https://elsewhere.example", key="psk_kept"), env)
    assert registries_of(MIRRORED, env).of("@acme/x").asked_with == "psk_kept"
    assert found.of("@own/x").asked_with == "psk_own"
