"""Ranges against node-semver: a table of our own, and a large generated one that node's `semver` answers too.

The reference for the meaning of a range is the npm package `semver`, not loose. npm brings a copy of it along, so
where node and npm are installed nothing is downloaded.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.definition import Version, best, parse_range, parse_version, selects
from perstack.errors import UserError

TABLE: dict[str, tuple[str, str]] = {
    # range: (versions it selects, versions it does not)
    "^1.2.3": ("1.2.3 1.9.0 1.2.4+build", "1.2.2 2.0.0 2.0.0-a 1.2.3-a 1.3.0-a"),
    "^0.2.3": ("0.2.3 0.2.9", "0.2.2 0.3.0 0.3.0-a"),
    "^0.0.3": ("0.0.3", "0.0.2 0.0.4"),
    "^1.2": ("1.2.0 1.9.9", "1.1.9 2.0.0"),
    "^1": ("1.0.0 1.9.9", "0.9.9 2.0.0"),
    "^0": ("0.0.0 0.9.9", "1.0.0"),
    "^0.0": ("0.0.0 0.0.9", "0.1.0"),
    "^1.2.3-beta.2": (
        "1.2.3-beta.2 1.2.3-beta.10 1.2.3 1.4.0",
        "1.2.3-beta.1 1.2.4-beta.3 2.0.0-a",
    ),
    "~1.2.3": ("1.2.3 1.2.9", "1.2.2 1.3.0 1.3.0-a"),
    "~1.2": ("1.2.0 1.2.9", "1.3.0"),
    "~1": ("1.0.0 1.9.9", "2.0.0"),
    "~> 1.2": ("1.2.0", "1.3.0"),
    "1": ("1.0.0 1.9.9", "2.0.0 0.9.9"),
    "1.2": ("1.2.0 1.2.9", "1.3.0"),
    "1.2.x": ("1.2.0 1.2.9", "1.3.0 1.2.0-a"),
    "1.x": ("1.0.0 1.9.9", "2.0.0"),
    "*": ("0.0.0 9.9.9", "1.0.0-a"),
    ">=1.2 <2": ("1.2.0 1.9.9", "1.1.9 2.0.0"),
    ">1": ("2.0.0 3.0.0", "1.9.9"),
    ">1.2": ("1.3.0", "1.2.9 1.3.0-a"),
    "<=3.1": ("3.1.9 0.0.0", "3.2.0"),
    "<1.2.3": ("1.2.2", "1.2.3 1.2.3-a"),
    "=1.2.3": ("1.2.3 1.2.3+other", "1.2.4"),
    ">x": ("", "0.0.0 0.0.0-0 9.9.9"),
    ">=x": ("0.0.0 9.9.9", ""),
    "1.2.3 - 2.3": ("1.2.3 2.3.9", "1.2.2 2.4.0 2.4.0-a"),
    "1.2 - 2.3.4": ("1.2.0 2.3.4", "2.3.5 1.1.9"),
    "^1 || ^3": ("1.5.0 3.5.0", "2.0.0"),
    ">=1.0.0-a || 3": ("1.0.0-b 1.0.0 2.0.0 3.0.0", "2.0.0-b 1.0.0-0"),
}


@pytest.mark.parametrize("text", TABLE)
def test_a_range_selects_what_it_should_and_nothing_else(text: str):
    taken, left = (
        [parse_version(version) for version in versions.split()] for versions in TABLE[text]
    )
    assert [str(version) for version in taken if not selects(text, version)] == []
    assert [str(version) for version in left if selects(text, version)] == []


@pytest.mark.parametrize(
    "text",
    [
        "v1",
        "^v1",
        "01.2.3",
        "1.2.3.4",
        "latest",
        "^",
        "1 -",
        "^1.2.3-01",
        "1.2.3beta",
        "1.x.3",
        "x.2",
    ],
)
def test_what_is_no_range_is_refused(text: str):
    with pytest.raises(UserError, match="no range"):
        parse_range(text)


@pytest.mark.parametrize(
    "text",
    ["1" * 129, " || ".join("123456789"), " ".join(["<9"] * 17)],
    ids=["long", "sets", "bounds"],
)
def test_a_range_has_limits(text: str):
    with pytest.raises(UserError, match="are allowed"):
        parse_range(text)


def test_the_best_is_the_highest_that_is_selected():
    versions = [parse_version(text) for text in ("1.10.0", "1.9.0", "2.0.0", "1.11.0-a")]
    assert str(best("^1", versions)) == "1.10.0"
    assert best("^3", versions) is None


def test_a_loose_prerelease_below_all_others_is_beyond_the_end_of_a_range():
    assert not selects("^1.2.3", parse_version("2.0.0-."))


_SMALL = st.integers(0, 3).map(str)
_PRE = st.sampled_from(["", "-0", "-a", "-a.1", "-."])
_RELEASES = st.tuples(_SMALL, _SMALL, _SMALL).map(".".join)
_VERSIONS = st.tuples(_RELEASES, _PRE).map("".join).map(parse_version)
_OPS = st.sampled_from(["^", "~", ">", "<", ">=", "<=", "="])
_TAILS = st.sampled_from(["", ".x", ".1", ".2-a"])
_RANGES = st.tuples(_OPS, _SMALL, st.just("."), _SMALL, _TAILS).map("".join)


@given(_RANGES, _RANGES, _VERSIONS)
def test_a_union_selects_what_one_of_its_parts_selects(a: str, b: str, version: Version):
    assert selects(f"{a} || {b}", version) == (selects(a, version) or selects(b, version))


@given(st.lists(_RANGES, min_size=1, max_size=3), st.lists(_VERSIONS, max_size=12))
def test_the_best_does_not_depend_on_the_order(parts: list[str], versions: list[Version]):
    text = " || ".join(parts)
    found = best(text, versions)
    assert found == best(text, reversed(versions))
    if found is not None:
        assert selects(text, found)
        assert not any(selects(text, version) and version > found for version in versions)


# Against node -----------------------------------------------------------------------------------------------

_ASK = """
const semver = require(process.argv[1]);
const {ranges, versions} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const told = ranges.map((text) => semver.validRange(text) === null
  ? null : versions.map((version) => semver.satisfies(version, text) ? "1" : "0").join(""));
console.log(JSON.stringify(told));
"""


def _semver() -> Path | None:
    """The `semver` package that npm brings along."""
    if not (shutil.which("node") and (npm := shutil.which("npm"))):
        return None
    root = subprocess.run(
        [npm, "root", "-g"], capture_output=True, text=True, timeout=60, check=False
    ).stdout.strip()
    place = Path(root) / "npm" / "node_modules" / "semver"
    return place if (place / "package.json").exists() else None


def _many() -> tuple[list[str], list[str]]:
    """Ranges of every form, whole and broken, and versions around their ends."""
    draw = random.Random(20260)
    numbers = [".".join(row) for row in itertools.product("012", repeat=3)] + ["1.10.0", "10.2.1"]
    versions = numbers + [
        f"{n}-{pre}" for n in numbers[::2] for pre in ("0", "a", "a.1", "a.10", "b")
    ]
    partials = [
        "*",
        "x",
        "0",
        "1",
        "2",
        "0.0",
        "0.1",
        "1.x",
        "1.2",
        "1.X.1",
        "0.*.*",
        "2.0.x",
        "1.2.x-a",
    ]
    partials += [*numbers, *versions[-40::3], "1.2.1+b", "1.2.1-a+b.c", "1.2.0-01", "1.2.a", "v1.2"]
    ops = ["", "^", "~", "~>", ">", "<", ">=", "<=", "=", ">= ", "^ ", "<  ", "=>", "^^"]
    ranges = [op + partial for op in ops for partial in partials]
    ranges += [f"{a} - {b}" for a in partials[::2] for b in partials[::3]]
    for _ in range(1500):
        parts = [draw.choice(ops) + draw.choice(partials) for _ in range(draw.randint(2, 3))]
        ranges.append(draw.choice([" ", "  ", " || ", "||"]).join(parts))
    return [text for text in ranges if "v" not in text], versions


def test_ranges_mean_what_they_mean_to_node():
    semver = _semver()
    if semver is None:
        pytest.skip("node and npm are not installed; npm brings the package to compare with")
    ranges, versions = _many()
    asked = json.dumps({"ranges": ranges, "versions": versions})
    done = subprocess.run(
        ["node", "-e", _ASK, str(semver)],
        input=asked,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    parsed = [parse_version(version) for version in versions]
    wrong: list[str] = []
    for text, told in zip(ranges, json.loads(done.stdout), strict=True):
        try:
            found = parse_range(text)
        except UserError:
            ours = None
        else:
            ours = "".join("1" if found.selects(version) else "0" for version in parsed)
        if ours != told:
            wrong.append(text)
    assert wrong[:10] == []
