"""Which registry a name is of, as the rules say it."""

from __future__ import annotations

import pytest

from perstack.errors import UserError
from perstack.server.mirrors.upstreams import Upstream, keys_of, rules_of

ACME, PUBLIC = (
    Upstream(url="https://registry.acme.example"),
    Upstream(url="https://api.example:8443"),
)
RULES = "@acme=https://registry.acme.example/ @mine=local @no=blocked _=local\n *=https://api.example:8443"


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("@acme/reader", ACME),
        ("@acme/reader@^1.0.0", ACME),
        ("@mine/reader", "local"),
        ("@no/reader@1.0.0", "blocked"),
        ("reader", "local"),
        ("reader@latest", "local"),
        ("@acme-2/reader", PUBLIC),
        ("@else/reader", PUBLIC),
    ],
)
def test_each_name_has_the_rule_of_its_scope(name: str, where: object):
    assert rules_of(RULES).of(name) == where


def test_without_rules_all_names_are_local():
    rules = rules_of("")
    assert (rules.of("@acme/x"), rules.of("x"), rules.upstreams) == ("local", "local", ())
    assert rules_of("@acme=https://a.example").of("@other/x") == "local"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@acme", "is no rule"),
        ("acme=local", "is no rule"),
        ("@Acme=local", "is no rule"),
        ("@acme/x=local", "is no rule"),
        ("@acme=local @acme=blocked", "two rules"),
        ("* *=local", "is no rule"),
        ("@acme=http://registry.example", "https"),
        ("@acme=https://a.example/?x", "no base URL"),
        ("@acme=elsewhere", "URL"),
        ("@a=https://x.example/one @b=https://x.example/two", "told apart"),
        ("@a=https://a-b.example @b=https://a.b.example", "told apart"),
    ],
)
def test_rules_that_mean_nothing_are_refused(text: str, said: str):
    with pytest.raises(UserError, match=said):
        rules_of(text)


def test_each_upstream_has_a_key_of_its_own():
    environ = {
        "PERSTACK_REGISTRY_UPSTREAM_KEY_API_EXAMPLE_8443": " psk_public\n",
        "PERSTACK_REGISTRY_UPSTREAM_KEY_OTHER_EXAMPLE": "psk_other",
        "PERSTACK_API_KEY": "psk_user",
    }
    assert keys_of(rules_of(RULES), environ) == {PUBLIC.url: "psk_public"}


def test_what_is_mirrored_is_told_by_scope():
    told = {"@acme": ACME.url, "@mine": "", "@no": "", "_": "", "*": PUBLIC.url}
    assert rules_of(RULES).mirrored == told
    assert rules_of("@acme=https://a.example @mine=local").mirrored == {
        "@acme": "https://a.example"
    }
    assert rules_of("@mine=local").mirrored == {}
