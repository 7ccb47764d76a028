"""What a perstack.toml says of registries."""

from __future__ import annotations

import pytest

from perstack.definition import RegistryPlace, parse_project
from perstack.errors import DefinitionError

WHOLE = """
[registries."@acme"]
url = "https://registry.acme.example/"
keyEnv = "ACME_KEY"
mirror = "https://mirror.example/acme/"

[registries."@here"]
url = "http://127.0.0.1:8080"

[registry]
minReleaseAge = "36h"
minReleaseAgeExclude = ["@acme/*", "helper"]
mirror = "https://mirror.example/perstack/"
preferLocal = false
"""


def test_scopes_have_registries_and_choosing_has_rules():
    parsed = parse_project(WHOLE, "perstack.toml")
    assert parsed.warnings == ()
    assert parsed.project.registries == {
        "@acme": RegistryPlace(
            url="https://registry.acme.example",
            key_env="ACME_KEY",
            mirror="https://mirror.example/acme",
        ),
        "@here": RegistryPlace(url="http://127.0.0.1:8080"),
    }
    rules = parsed.project.registry
    assert rules.min_release_age_s == 36 * 3600
    assert rules.min_release_age_exclude == ("@acme/*", "helper")
    assert rules.mirror == "https://mirror.example/perstack"
    assert not rules.prefer_local


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('[registries.acme]\nurl = "https://a.example"', "registries.acme"),
        ('[registries."@a"]\n', "registries.@a.url"),
        ('[registries."@a"]\nurl = "http://a.example"', "registries.@a.url"),
        ('[registries."@a"]\nurl = "https://key@a.example"', "registries.@a.url"),
        ('[registries."@a"]\nurl = "https://a.example?x=1"', "registries.@a.url"),
        ('[registries."@a"]\nurl = "https://a.example"\nkeyEnv = "A B"', "registries.@a.keyEnv"),
        ('[registries."@a"]\nurl = "https://a.example"\nmirror = "a"', "registries.@a.mirror"),
        ('[registry]\nminReleaseAge = "soon"', "registry.minReleaseAge"),
        ("[registry]\nminReleaseAge = 24", "registry.minReleaseAge"),
        ('[registry]\nminReleaseAgeExclude = ["A*"]', "registry.minReleaseAgeExclude.0"),
        ('[registry]\nrequireAttestations = "publish"', "registry.requireAttestations"),
        ('[registry]\nrequireAttestations = ["publish", "slsa"]', "registry.requireAttestations.1"),
        ('[registry]\nmirror = "ftp://m.example"', "registry.mirror"),
        ('[registry]\npreferLocal = "no"', "registry.preferLocal"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(text: str, path: str):
    with pytest.raises(DefinitionError) as caught:
        parse_project(text, "perstack.toml")
    assert [fault.path for fault in caught.value.faults] == [path]


LOCAL = """
[experts.lead]
instruction = "Lead."
[experts."@acme/helper"]
version = "1.4.0"
instruction = "Help."
"""


@pytest.mark.parametrize(
    ("spec", "is_local"),
    [
        ("@acme/helper", True),
        ("@acme/helper@1.4.0", True),
        ("@acme/helper@1.4.0+build", True),
        ("@acme/helper@^1.2", True),
        ("@acme/helper@1", True),
        ("@acme/helper@*", True),
        ("@acme/helper@1.4.1", False),
        ("@acme/helper@^2", False),
        ("@acme/helper@latest", False),
        ("@acme/helper@x", False),
        ("@acme/help@^1", False),
    ],
)
def test_a_range_around_an_own_expert_means_that(spec: str, is_local: bool):
    found = parse_project(LOCAL, "perstack.toml").find(spec)
    assert (found is not None) == is_local


def test_a_range_means_a_published_expert_where_own_ones_are_not_preferred():
    parsed = parse_project(f"{LOCAL}[registry]\npreferLocal = false", "perstack.toml")
    assert parsed.find("@acme/helper@^1.2") is None
    assert parsed.find("@acme/helper@1.4.0") is not None


def test_a_broken_own_expert_is_broken_under_a_range_too():
    broken = LOCAL.replace('instruction = "Help."', "instruction = 1")
    parsed = parse_project(broken, "perstack.toml")
    for spec in ("@acme/helper", "@acme/helper@1.4.0", "@acme/helper@^1"):
        with pytest.raises(DefinitionError):
            parsed.find(spec)
    assert parsed.find("@acme/helper@^2") is None


def test_a_range_with_a_leading_zero_in_its_prerelease_is_a_fault():
    parsed = parse_project(
        '[experts.lead]\ninstruction = "Go"\ndelegates = ["@a/b@^1.2.3-01"]', "perstack.toml"
    )
    assert [fault.path for fault in parsed.faults] == ["experts.lead.delegates.0"]
