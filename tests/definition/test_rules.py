"""What a single value must be."""

from __future__ import annotations

import pytest

from perstack.definition import (
    DOMAIN,
    ENV_NAME,
    PUNYCODE,
    TOOL_NAME,
    URL_SAFE,
    domain_fault,
    endpoint_fault,
    env_name_fault,
    https_fault,
    is_private_host,
    utf16_length,
)

PATTERNS = {
    "env-name": (
        ENV_NAME,
        ["GH_TOKEN", "a", "9A", "A-B"],
        ["", "_A", "-A", "A B", "A.B", "A\n", "É"],
    ),
    "tool-name": (
        TOOL_NAME,
        ["ask", "askUser", "a-b_c", "1"],
        ["", "_a", "a.b", "a b", "a\n", "é"],
    ),
    "url-safe": (URL_SAFE, ["a", "a-b_c", "0"], ["", "A", "a.b", "_a", "a\n"]),
    "domain": (
        DOMAIN,
        ["localhost", "1.2.3.4", "*.com", "a.b.c", "*.example.com", "A-b.Com", "x"],
        [
            "",
            "*",
            "a.*.com",
            "example.com.",
            "a_b.com",
            "https://a.com",
            "a.com:443",
            "a.com/x",
            "-a.com",
            "a-.com",
            "a..com",
            "**.com",
            "a.com\n",
            "münchen.de",
        ],
    ),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_takes_what_it_should_and_nothing_else(name: str):
    pattern, good, bad = PATTERNS[name]
    assert [text for text in good if not pattern.fullmatch(text)] == []
    assert [text for text in bad if pattern.fullmatch(text)] == []


@pytest.mark.parametrize("text", ["xn--80ak6aa92e.com", "a.XN--p1ai", "*.xn--p1ai"])
def test_punycode_is_found_anywhere_in_a_domain(text: str):
    assert PUNYCODE.search(text)
    assert domain_fault(text) is not None


def test_letters_that_only_look_like_punycode_are_fine():
    assert domain_fault("axn--b.com") is None


def test_length_counts_utf16_units():
    assert utf16_length("aé€") == 3
    assert utf16_length("🙂") == 2
    assert utf16_length("\ud83d") == 1


def test_names_of_variables_have_a_limit():
    assert env_name_fault("A" * 255) is None
    assert env_name_fault("A" * 256) is not None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "127.0.0.1",
        "127.255.255.255",
        "0.0.0.0",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.255.255",
        "169.254.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "[::1]",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::ffff:192.168.1.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0x7f000001",
        "0",
        "metadata.google.internal",
        "",
    ],
)
def test_a_private_host_is_known_in_every_spelling(host: str):
    assert is_private_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "172.15.0.1",
        "172.32.0.1",
        "8.8.8.8",
        "1.1.1.1",
        "203.0.113.1",
        "::ffff:8.8.8.8",
        "2606:4700::1111",
        "example.com",
        "localhost.example.com",
        "fd.example.com",
        "10.example.com",
        "134744072",
        "256.1.1.1.1",
        "1_0.0.0.1",
    ],
)
def test_a_public_host_is_not_taken_for_a_private_one(host: str):
    assert not is_private_host(host)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://",
        "https:///x",
        "example.com",
        "",
        "https://a b.com",
        "https://a.com\n",
        "https://a.com:99999",
        "https://a.com:x",
        "https://[::1",
        "ftp://a.com",
    ],
)
def test_an_address_must_be_an_https_url(url: str):
    assert https_fault(url) is not None
    assert endpoint_fault(url) is not None


def test_only_an_endpoint_must_be_public():
    private = "https://[::1]:8443/sse"
    assert https_fault(private) is None
    assert "public HTTPS URL" in (endpoint_fault(private) or "")
    assert endpoint_fault("https://mcp.example.com:8443/sse?x=1") is None
    assert endpoint_fault("https://mcp.example.com/" + "x" * 2048) is not None
