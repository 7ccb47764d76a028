"""What this version promises, by id, and the word a test says when it proves one.

The promises stand in `promises.toml`, grouped by what they are about: `run.exit-codes` is `exit-codes` in the
table `run`. A test that proves some says `@proves("run.exit-codes", ...)`; `test_register.py` holds both sides to
each other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., Any])

REGISTER = Path(__file__).with_name("promises.toml")


def proves(*promises: str) -> Callable[[Test], Test]:
    """Marks a test as the proof of `promises`. It does nothing to the test."""

    def marked(test: Test) -> Test:
        return test

    assert promises
    return marked


def promises() -> dict[str, str]:
    """Every promise, id to sentence."""
    tables = tomllib.loads(REGISTER.read_text(encoding="utf-8"))
    return {
        f"{about}.{name}": sentence
        for about, table in tables.items()
        for name, sentence in table.items()
    }
