"""Which version a delegate string selects."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.definition import parse_delegate, parse_range, parse_version
from perstack.lock import Candidate, Choosing, Listing, NoVersion, select
from perstack.lock.select import Status

DAY = 86400.0
NOW = 9.5 * DAY
AGE = Choosing(now_s=NOW, min_age_s=DAY)


def version(text: str, status: Status = "available", *, day: int = 1) -> Candidate:
    at = f"1970-01-{day + 1:02}T00:00:00.000Z"
    return Candidate(version=text, digest=f"sha256:{text}", status=status, published_at=at)


def listing(*versions: Candidate, **tags: str) -> Listing:
    return Listing(name="@a/b", versions=versions, tags=tags)


def chosen(
    spec: str, of: Listing, choosing: Choosing | None = None, locked: str | None = None
) -> tuple[str, int]:
    """(version, how many warnings)."""
    choice = select(parse_delegate(spec), of, choosing or Choosing(), locked)
    return choice.candidate.version, len(choice.warnings)


MANY = listing(
    version("1.0.0"),
    version("1.2.0"),
    version("1.10.0"),
    version("2.0.0-beta.1"),
    version("2.0.0"),
    latest="1.10.0",
    beta="2.0.0-beta.1",
)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("@a/b", "1.10.0"),
        ("@a/b@latest", "1.10.0"),
        ("@a/b@beta", "2.0.0-beta.1"),
        ("@a/b@1.2.0", "1.2.0"),
        ("@a/b@1.2.0+other", "1.2.0"),
        ("@a/b@^1", "1.10.0"),
        ("@a/b@~1.2", "1.2.0"),
        ("@a/b@*", "2.0.0"),
        ("@a/b@>=2.0.0-beta", "2.0.0"),
        ("@a/b@1", "1.10.0"),
    ],
)
def test_the_highest_that_is_meant_is_selected(spec: str, expected: str):
    assert chosen(spec, MANY) == (expected, 0)


def test_a_digest_selects_its_version():
    digest = f"sha256:{'0' * 64}"
    other = Candidate(version="1.5.0", digest=digest)
    assert chosen(f"@a/b@{digest}", listing(version("1.0.0"), other)) == ("1.5.0", 0)


def test_a_number_is_a_tag_if_there_is_one_of_that_name():
    assert chosen("@a/b@1", listing(version("1.0.0"), version("3.0.0"), **{"1": "3.0.0"})) == (
        "3.0.0",
        0,
    )


@pytest.mark.parametrize(
    "spec", ["@a/b@3.0.0", "@a/b@^3", "@a/b@gamma", f"@a/b@sha256:{'1' * 64}", "@a/b@~1.5"]
)
def test_what_is_not_there_cannot_be_selected(spec: str):
    with pytest.raises(NoVersion) as caught:
        chosen(spec, MANY)
    assert [text for text, _ in caught.value.refused][:2] == ["2.0.0", "2.0.0-beta.1"]


def test_deprecated_versions_are_the_last_choice_and_warned_of():
    of = listing(version("1.0.0"), version("1.5.0", "deprecated"), latest="1.5.0")
    assert chosen("@a/b@^1", of) == ("1.0.0", 0)
    assert chosen("@a/b@^1.2", of) == ("1.5.0", 1)
    assert chosen("@a/b@1.5.0", of) == ("1.5.0", 1)
    assert chosen("@a/b", of) == ("1.5.0", 1)


def test_a_disabled_version_takes_no_new_users():
    of = listing(version("1.0.0"), version("1.5.0", "disabled"), old="1.5.0", latest="1.5.0")
    assert chosen("@a/b@^1", of) == ("1.0.0", 0)
    assert chosen("@a/b", of) == ("1.0.0", 0)
    for spec in ("@a/b@1.5.0", "@a/b@old", "@a/b@^1.2"):
        with pytest.raises(NoVersion, match="disabled"):
            chosen(spec, of)


def test_who_names_a_disabled_version_may_insist():
    of = listing(version("1.0.0"), version("1.5.0", "disabled"), old="1.5.0")
    insist = Choosing(allow_disabled=True)
    assert chosen("@a/b@1.5.0", of, insist) == ("1.5.0", 1)
    assert chosen("@a/b@old", of, insist) == ("1.5.0", 1)
    assert chosen("@a/b@^1", of, insist) == ("1.0.0", 0)


def test_what_is_locked_stays_while_it_is_meant():
    assert chosen("@a/b@^1", MANY, locked="1.2.0") == ("1.2.0", 0)
    assert chosen("@a/b", MANY, locked="1.0.0") == ("1.0.0", 0)
    assert chosen("@a/b@^1", MANY, locked="2.0.0") == ("1.10.0", 0)
    assert chosen("@a/b@^1", MANY, locked="1.1.0") == ("1.10.0", 0)


def test_what_is_locked_stays_though_it_was_disabled_and_is_warned_of():
    of = listing(version("1.0.0"), version("1.5.0", "disabled"))
    assert chosen("@a/b@^1", of, locked="1.5.0") == ("1.5.0", 1)


YOUNG = listing(version("1.0.0"), version("1.1.0", day=9), latest="1.1.0", new="1.1.0")


def test_young_versions_are_passed_over():
    assert chosen("@a/b@^1", YOUNG, AGE) == ("1.0.0", 0)
    assert chosen("@a/b", YOUNG, AGE) == ("1.0.0", 0)
    assert chosen("@a/b@^1", YOUNG) == ("1.1.0", 0)


def test_who_names_a_young_version_or_has_it_in_the_lock_is_warned():
    assert chosen("@a/b@1.1.0", YOUNG, AGE) == ("1.1.0", 1)
    assert chosen("@a/b@^1", YOUNG, AGE, locked="1.1.0") == ("1.1.0", 1)


def test_nothing_old_enough_is_an_error():
    for spec in ("@a/b@new", "@a/b@^1.1"):
        with pytest.raises(NoVersion, match="minimum release age"):
            chosen(spec, YOUNG, AGE)


@pytest.mark.parametrize("exempt", ["@a/b", "@a/*", "*"])
def test_some_names_need_no_age(exempt: str):
    choosing = Choosing(now_s=NOW, min_age_s=DAY, exempt=("@c/*", exempt))
    assert chosen("@a/b@^1", YOUNG, choosing) == ("1.1.0", 0)


def test_a_version_of_unknown_age_is_young():
    of = listing(version("1.0.0"), Candidate(version="1.1.0", digest=""))
    assert chosen("@a/b@^1", of, AGE) == ("1.0.0", 0)


_NUMBERS = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2))
_STATUS = st.sampled_from(("available", "deprecated", "disabled"))
_SELECTORS = st.sampled_from(["^0.1", "^1", "~1.2", ">=1", "*", "<2", "^1 || ^0"])


@given(st.dictionaries(_NUMBERS, _STATUS, max_size=12), _SELECTORS, st.randoms())
def test_the_choice_is_the_best_and_no_order_matters(
    given_: dict[tuple[int, int, int], Status], selector: str, draw: random.Random
):
    versions = [version(".".join(map(str, n)), status) for n, status in given_.items()]
    spec = parse_delegate(f"@a/b@{selector}")

    def choice(of: list[Candidate]) -> Candidate | None:
        try:
            return select(spec, listing(*of), Choosing()).candidate
        except NoVersion:
            return None

    found = choice(versions)
    draw.shuffle(versions)
    assert choice(versions) == found
    meant = [c for c in versions if parse_range(selector).selects(parse_version(c.version))]
    usable = [c for c in meant if c.status == "available"] or [
        c for c in meant if c.status == "deprecated"
    ]
    best = max(usable, key=lambda c: parse_version(c.version), default=None)
    assert found == best
