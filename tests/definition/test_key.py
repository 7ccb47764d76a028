"""Keys, versions, and what a delegate entry asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.definition import (
    DIGEST,
    EXPERT_KEY,
    EXPERT_NAME,
    EXPERT_VERSION,
    ORGANIZATION,
    PACKAGE,
    RANGE,
    TAG,
    ExpertKey,
    SpecKind,
    parse_delegate,
    parse_key,
    parse_version,
    scope_of,
    short_of,
)
from perstack.errors import UserError

HEX = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("x", ExpertKey(name="x")),
        ("my-expert", ExpertKey(name="my-expert")),
        ("a.b_c", ExpertKey(name="a.b_c")),
        ("0", ExpertKey(name="0")),
        ("@acme/reader", ExpertKey(name="@acme/reader")),
        ("@a.b/c.d", ExpertKey(name="@a.b/c.d")),
        ("x@1.0.0", ExpertKey(name="x", version="1.0.0")),
        ("x@1.0.0-beta.1+build.5", ExpertKey(name="x", version="1.0.0-beta.1+build.5")),
        ("x@1.0.0-_", ExpertKey(name="x", version="1.0.0-_")),
        ("@acme/reader@2.0.1", ExpertKey(name="@acme/reader", version="2.0.1")),
        ("x@latest", ExpertKey(name="x", tag="latest")),
        ("x@1.0", ExpertKey(name="x", tag="1.0")),
        ("x@01.0.0", ExpertKey(name="x", tag="01.0.0")),
        ("x@1.x", ExpertKey(name="x", tag="1.x")),
    ],
)
def test_a_key_has_a_name_and_at_most_a_version_or_a_tag(text: str, key: ExpertKey):
    assert parse_key(text) == key
    assert str(key) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@invalid",
        "A",
        "x@",
        "x@_a",
        "my expert",
        "x\n",
        "x@1.0.0\n",
        "@a/b/c",
        "a/b",
        "@/b",
        "_x",
        "-x",
        "é",
        "x@٣.0.0",
        "x@^1.2",
        "x@1.0.0@2.0.0",
    ],
)
def test_what_is_no_key_is_refused(text: str):
    with pytest.raises(UserError, match=r"^Invalid expert key format"):
        parse_key(text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "my-expert"),
        ("@invalid", "@invalid/my-expert"),
        ("My-Expert@1.0.0", "write my-expert@1.0.0"),
        ("x@", "leave the @ out"),
        ("x@^1.2", "1.2.0"),
        ("a/b", "@scope/my-expert"),
        ("my expert", "lower-case letters"),
    ],
)
def test_a_refused_key_is_told_what_to_write_instead(text: str, advice: str):
    with pytest.raises(UserError, match=advice):
        parse_key(text)


def test_parts_of_a_key_have_limits():
    assert parse_key("x" * 255 + "@" + "y" * 255).tag == "y" * 255
    for text in ("x" * 256, "x@" + "y" * 256, "x@1.0.0-" + "1" * 250):
        with pytest.raises(UserError, match="255 are allowed"):
            parse_key(text)


def test_scope_and_short_name_are_read_off_the_name():
    key = parse_key("@acme/reader@1.0.0")
    assert (key.scope, key.short) == ("@acme", "reader")
    assert (scope_of("reader"), short_of("reader")) == (None, "reader")


PATTERNS = {
    "name": (
        EXPERT_NAME,
        ["a", "a-b_c", "@a/b", "@a_b/c-d", "0"],
        ["", "a.b", "@a.b/c", "@a", "A", "a\n", "a@1.0.0", "é"],
    ),
    "version": (
        EXPERT_VERSION,
        ["0.0.0", "1.2.3", "1.2.3-a", "1.2.3-a.1+b", "1.2.3+b", "1.2.3-01", "1.2.3-.", "1.2.3-a_b"],
        ["", "1", "1.2", "01.2.3", "1.2.3-", "1.2.3+", "v1.2.3", "1.2.3\n", "1.2.3-é", "٣.0.0"],
    ),
    "tag": (TAG, ["latest", "1", "v1", "a_b-c"], ["", "1.0", "_a", "A", "a b", "a\n"]),
    "package": (
        PACKAGE,
        ["mcp-fetch", "@a/b", "@a/b@1.0.0", "a@latest", "a.b@1.x"],
        ["", "@a", "A", "a@", "a@^1", "git+https://x", "a\n"],
    ),
    "organization": (ORGANIZATION, ["acme", "a.b", "0-_"], ["", "@acme", ".a", "A", "a\n"]),
    "digest": (DIGEST, [HEX], ["", "sha256:0a", HEX.upper(), HEX + "0", HEX + "\n"]),
    "range": (
        RANGE,
        [
            "^1.2.3",
            "~1.2",
            "1",
            "1.x",
            "1.2.*",
            "*",
            ">=1.2 <2",
            "> 1",
            "<=3.1",
            "=1.2.3",
            "1.2.3 - 2.3",
            "^1 || ^2",
            "1||2",
            "~>1.2",
            "^1.2.3-beta.1",
        ],
        [
            "",
            "^",
            "v1",
            "^v1",
            "01.2.3",
            "beta.1",
            "1.2.3.4",
            "^1 ||",
            "|| 1",
            "1 - ",
            "latest",
            "^1\n",
        ],
    ),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_takes_what_it_should_and_nothing_else(name: str):
    pattern, good, bad = PATTERNS[name]
    assert [text for text in good if not pattern.fullmatch(text)] == []
    assert [text for text in bad if pattern.fullmatch(text)] == []


def test_the_key_pattern_is_wider_than_name_and_tag():
    assert EXPERT_KEY.fullmatch("a.b@1.x")
    assert not EXPERT_NAME.fullmatch("a.b")
    assert not TAG.fullmatch("1.x")


@pytest.mark.parametrize(
    "text", ["1" + "  1" * 80 + "!", "1 - " * 60, "1.1.1-" + "a." * 120, "<" * 250]
)
def test_a_long_range_that_is_none_is_refused_at_once(text: str):
    assert RANGE.fullmatch(text) is None  # a pattern that backtracks would not come back from here


@pytest.mark.parametrize(
    ("text", "kind", "selector"),
    [
        ("@a/b", "latest", None),
        ("@a/b@1.2.0", "version", "1.2.0"),
        ("@a/b@1.2.0-rc.1", "version", "1.2.0-rc.1"),
        (f"@a/b@{HEX}", "digest", HEX),
        ("@a/b@beta", "tag", "beta"),
        ("b@v1", "tag", "v1"),
        ("b@x", "tag", "x"),
        ("b@1", "number", "1"),
        ("b@1.2", "range", "1.2"),
        ("b@1.x", "range", "1.x"),
        ("b@^1.2", "range", "^1.2"),
        ("b@*", "range", "*"),
        ("b@>=1 <2 || ^3", "range", ">=1 <2 || ^3"),
    ],
)
def test_a_delegate_entry_says_how_its_version_is_chosen(
    text: str, kind: SpecKind, selector: str | None
):
    spec = parse_delegate(text)
    assert (spec.kind, spec.selector, str(spec)) == (kind, selector, text)
    assert short_of(spec.name) == "b"


@pytest.mark.parametrize(
    "text", ["", "@a", "b@", "b@01.2.3", "b@beta.1", "b@sha256:00", "B@^1", "b@^1@2"]
)
def test_a_delegate_entry_that_means_nothing_is_refused(text: str):
    with pytest.raises(UserError, match="Invalid delegate"):
        parse_delegate(text)


PRECEDENCE = [
    "0.0.1",
    "0.9.0",
    "1.0.0-.",
    "1.0.0-1",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1-0",
    "1.2.0",
    "1.10.0",
    "2.0.0",
]


def test_versions_sort_by_precedence_and_not_by_letters():
    assert [str(v) for v in sorted(parse_version(t) for t in reversed(PRECEDENCE))] == PRECEDENCE


def test_build_metadata_and_leading_zeros_make_no_other_version():
    assert parse_version("1.0.0+a") == parse_version("1.0.0+b") == parse_version("1.0.0")
    assert parse_version("1.0.0-01") == parse_version("1.0.0-1")
    assert str(parse_version("1.0.0-01+x")) == "1.0.0-01+x"
    assert parse_version("1.0.0-1+x").is_prerelease
    assert not parse_version("1.0.0+x-y").is_prerelease


@pytest.mark.parametrize("text", ["", "1", "1.2", "v1.0.0", "01.0.0", "1.0.0-" + "1" * 250])
def test_what_is_no_version_is_refused(text: str):
    with pytest.raises(UserError, match="Invalid version"):
        parse_version(text)


_names = st.from_regex(r"(@[a-z0-9][a-z0-9_.-]{0,8}/)?[a-z0-9][a-z0-9_.-]{0,8}", fullmatch=True)
_pres = st.from_regex(r"(-[0-9a-zA-Z_.-]{1,6})?(\+[0-9a-zA-Z_.-]{1,4})?", fullmatch=True)
_numbers = st.integers(0, 12)
_versions = st.builds("{}.{}.{}{}".format, _numbers, _numbers, _numbers, _pres)
_tags = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,8}", fullmatch=True)
_keys = st.one_of(_names, st.builds("{}@{}".format, _names, st.one_of(_versions, _tags)))


@given(_keys)
def test_a_key_is_written_as_it_was_read(text: str):
    key = parse_key(text)
    assert str(key) == text
    assert parse_key(str(key)) == key
    assert not (key.version and key.tag)


@given(_versions, _versions, _versions)
def test_versions_are_in_one_total_order(a: str, b: str, c: str):
    x, y, z = parse_version(a), parse_version(b), parse_version(c)
    assert (x < y) + (x == y) + (x > y) == 1
    assert x <= z or not (x <= y <= z)
    assert (x == y) == (not x < y and not y < x)
    if x == y:
        assert hash(x) == hash(y)


@given(_versions)
def test_a_stable_version_comes_after_its_prereleases(text: str):
    version = parse_version(text)
    stable = parse_version(f"{version.major}.{version.minor}.{version.patch}")
    assert version < stable if version.is_prerelease else version == stable


@given(st.text(max_size=30))
def test_any_text_is_a_key_or_a_user_error(text: str):
    try:
        assert str(parse_key(text)) == text
    except UserError:
        pass
    try:
        assert str(parse_delegate(text)) == text
    except UserError:
        pass
