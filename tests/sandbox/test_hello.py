"""What is read of a ClientHello, and of names: the same however it comes, and nothing else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.sandbox.connect import BadRequest, wanted_in
from perstack.sandbox.hello import RECORDS_MAX, Hello, NotTls, hello_in
from perstack.sandbox.names import NotAName, Rule, name_of, rules_of

from .outside import hello

LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


def records(body: bytes, cuts: list[int]) -> bytes:
    """A handshake message in records that end at `cuts`."""
    places = sorted({0, len(body), *(cut % len(body) for cut in cuts)})
    pieces = [body[a:b] for a, b in itertools.pairwise(places)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2) + piece for piece in pieces)


@given(NAMES, st.lists(st.integers(0, 10_000), max_size=6))
def test_a_hello_names_the_same_server_in_however_many_records(name: str, cuts: list[int]):
    body = hello(name)[5:]
    assert hello_in(records(body, cuts)) == Hello(name, encrypted=False)


def test_a_hello_in_a_flood_of_records_is_refused_before_it_ends():
    body = hello("api.example")[5:]
    assert hello_in(records(body, list(range(1, RECORDS_MAX)))) == Hello(
        "api.example", encrypted=False
    )
    with pytest.raises(NotTls, match="too many pieces"):
        hello_in(records(body, list(range(1, RECORDS_MAX + 2)))[: 6 * (RECORDS_MAX + 1)])


@given(NAMES, st.integers(0, 10_000))
def test_a_hello_that_is_not_all_there_waits_for_more(name: str, at: int):
    whole = hello(name)
    assert hello_in(whole[: at % len(whole)]) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_no_hello_or_part_of_one(data: bytes):
    try:
        found = hello_in(b"\x16\x03\x01" + data)
    except NotTls:
        return
    assert found is None or isinstance(found, Hello)


@given(NAMES, st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_hello_never_names_another_server_by_accident(name: str, at: int, byte: int):
    whole = bytearray(hello(name))
    whole[at % len(whole)] = byte
    try:
        found = hello_in(bytes(whole))
    except NotTls:
        return
    if found is not None and found.name != name:
        differing = [a for a, b in zip(found.name, name, strict=False) if a != b]
        assert len(found.name) != len(name) or len(differing) == 1 or not found.name


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2) + len(content).to_bytes(2) + content


def with_extensions(*extensions: bytes) -> bytes:
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    joined = b"".join(extensions)
    body += len(joined).to_bytes(2) + joined
    return records(b"\x01" + len(body).to_bytes(3) + body, [])


def server_name(*names: bytes, kind: int = 0) -> bytes:
    entries = b"".join(bytes([kind]) + len(name).to_bytes(2) + name for name in names)
    return extension(0, len(entries).to_bytes(2) + entries)


def test_an_encrypted_part_is_noticed():
    made = with_extensions(server_name(b"a.example"), extension(0xFE0D, b"\x00" * 40))
    assert hello_in(made) == Hello("a.example", encrypted=True)


@pytest.mark.parametrize(
    "made",
    [
        with_extensions(server_name(b"a.example"), server_name(b"b.example")),
        with_extensions(server_name(b"a.example", b"b.example")),
        with_extensions(server_name(b"a.example", kind=1)),
        with_extensions(server_name(b"a.example") + b"\x00"),
        with_extensions(server_name("ä.example".encode())),
        with_extensions(extension(0, b"\x00\x20\x00\x00\x09a.example")),
    ],
)
def test_a_hello_that_could_be_read_in_two_ways_is_none(made: bytes):
    with pytest.raises(NotTls):
        hello_in(made)


@given(NAMES.filter(lambda name: not name.rpartition(".")[2].startswith("0x")))
def test_a_name_is_the_same_in_capitals_and_with_a_dot(name: str):
    assert name_of(name) == name_of(name.upper()) == name_of(f"{name}.") == name


@given(st.ip_addresses())
def test_an_address_is_no_name(address: object):
    for text in (str(address), f"[{address}]", f"{address}."):
        with pytest.raises(NotAName):
            name_of(text)


@given(NAMES, NAMES)
def test_a_rule_covers_its_name_and_a_wildcard_what_is_below(name: str, below: str):
    exact, wild = rules_of((name, f"*.{name}"))
    assert exact.covers(name, 443)
    assert not exact.covers(f"{below}.{name}", 443)
    assert wild.covers(name, 443)
    assert wild.covers(f"{below}.{name}", 443)
    assert not wild.covers(f"{below}{name}", 443) or f"{below}{name}".endswith(f".{name}")
    assert not exact.covers(name, 80)


def test_only_what_the_user_chose_is_trusted():
    assert rules_of(("a.example", "b.example"), ("b.example",)) == (
        Rule("a.example"),
        Rule("b.example", trusted=True),
    )


@given(st.binary(max_size=100))
def test_any_bytes_are_a_request_or_refused(data: bytes):
    try:
        wanted = wanted_in(b"CONNECT " + data)
    except BadRequest:
        return
    assert 0 < wanted.port < 65536
    assert "\r" not in wanted.host
    assert "\n" not in wanted.host
