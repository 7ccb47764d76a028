"""`docs/concepts/history.md` says what is so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import get_args

import anyio

from perstack.job import decode_events
from perstack.store import FileStore, Status

from .facts import spoken, started, texts, written

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "history.md"


def _block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    assert found is not None
    return found[1]


def test_the_lines_shown_are_lines_of_a_log():
    events, _ = decode_events(_block("jsonl").encode().splitlines())
    assert texts(events) == ["Shorter, please"]


def test_every_status_is_told():
    named = set(re.findall(r"`([a-z]+)`", PAGE.read_text("utf-8")))
    assert set(get_args(Status)) <= named


def test_every_file_is_told(tmp_path: Path):
    async def files() -> set[str]:
        async with FileStore(tmp_path / "perstack").open("a") as (log, _):
            await log.append(started("a")[0])
            during = _names(tmp_path)
        return during | _names(tmp_path)

    drawn = set(re.findall(r"[a-z.]+\.(?:jsonl?)|\.gitignore", _block("")))
    assert anyio.run(files) == drawn


def _names(path: Path) -> set[str]:
    return {file.name for file in path.rglob("*") if file.is_file()}


def test_a_damaged_log_is_taken_up_as_shown(tmp_path: Path):
    store = FileStore(tmp_path / "perstack")
    anyio.run(written, store, "a", (*started("a"), *spoken(*map(str, range(60)))))
    folder = tmp_path / "perstack" / "jobs" / "a"
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    lines[56] = lines[56].replace(b"userSpoke", b"userSpake")
    (folder / "log.jsonl").write_bytes(b"".join(lines))
    subprocess.run(["sh", "-ec", _block("sh")], cwd=folder, check=True)
    anyio.run(written, store, "a", spoken("on"))
    assert texts(anyio.run(store.read, "a")) == [*map(str, range(54)), "on"]
