"""A log once written can always be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perstack.job import Event, decode_events

from .write import HERE, end_of

LOGS = sorted(HERE.glob("*/*.jsonl"))


@pytest.mark.parametrize("path", LOGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_log_once_written_can_always_be_read(path: Path):
    end = json.loads(path.with_suffix(".end.json").read_text(encoding="utf-8"))
    assert end_of(path.read_bytes()) == end


def test_every_kind_of_fact_is_in_some_golden_log():
    events = [event for path in LOGS for event in decode_events(path.read_bytes().splitlines())[0]]
    assert {type(event) for event in events} == set(Event.__args__)
