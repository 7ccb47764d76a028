"""What is written into a lock file is named in its reference."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from perstack.cli.commands.install import install

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "lock-file.md"
GOLDEN = Path(__file__).parents[1] / "golden" / "locks" / "0.1.0.lock"


def test_every_member_is_in_the_reference() -> None:
    named = set(re.findall(r"[`.]([A-Za-z]+)(?:\[\])?(?=[`.])", DOCS.read_text(encoding="utf-8")))
    file = tomllib.loads(GOLDEN.read_text(encoding="utf-8"))
    entries = file["experts"].values()
    members = {*file, *(member for entry in entries for member in entry)}
    members |= {member for e in entries for row in e["toolDefinitions"] for member in row}
    assert members - named == set()


def test_every_option_is_in_the_reference() -> None:
    text = DOCS.read_text(encoding="utf-8")
    options = {name for param in install.params for name in param.opts}
    assert {name for name in options if f"`{name}" not in text} == set()
