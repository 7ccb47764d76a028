"""The guides are true: their commands and programs run, as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour.register import proves
from tests.fakes.modelserver import Calls, ModelServer, Says, Seen, Turn

from .program import LONG_S, environment, keys

GUIDES = Path(__file__).parents[2] / "docs" / "guides"


def model(seen: Seen) -> Turn:
    """Reads notes.md, and writes summary.md if it is to; asks how to travel."""
    if "Plan trips" in seen.system:
        return (
            Says("Take the night train.")
            if seen.replies
            else Calls([("askUser", {"question": "How?"})])
        )
    writes = "summary.md" in seen.system
    turns: list[Turn] = [Calls([("readTextFile", {"path": "notes.md"})])]
    if writes:
        turns.append(Calls([("writeTextFile", {"path": "summary.md", "text": "Friday it is.\n"})]))
    turns.append(Says("It is about Friday."))
    return turns[min(seen.replies, len(turns) - 1)]


def blocks(guide: str, language: str) -> list[str]:
    text = (GUIDES / f"{guide}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def project(guide: str, place: Path) -> None:
    (place / "perstack.toml").write_text("\n".join(blocks(guide, "toml")))
    (place / "notes.md").write_text("We meet on Friday.\n")


def shell(script: str, place: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env=environment(env | {"PATH": path}),
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )


@proves("docs.guides-run")
def test_the_guide_to_cassettes(tmp_path: Path):
    project("cassettes", tmp_path)
    with ModelServer(model) as server:
        record, play = blocks("cassettes", "sh")
        done = shell(record, tmp_path, keys(server))
        assert done.returncode == 0, done.stderr
    done = shell(play, tmp_path, {})  # no key, no server
    assert done.returncode == 0, done.stderr
    for program in blocks("cassettes", "python"):
        first, _, rest = program.partition("\n")
        (tmp_path / first.removeprefix("# ")).write_text(rest)
    done = shell("python -m pytest -q -p no:cacheprovider tests", tmp_path, {})
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout

    (tmp_path / "work" / "notes.md").write_text("We meet on Monday.\n")
    differs = shell(play.splitlines()[-1], tmp_path, {})
    assert differs.returncode == 1
    shown = next(b for b in blocks("cassettes", "") if b.startswith("error: Cassette"))
    assert differs.stderr.startswith(shown)


@proves("docs.guides-run")
def test_the_guide_to_ci(tmp_path: Path):
    (tmp_path / "perstack.toml").write_text("\n".join(blocks("cassettes", "toml")))
    for name in ("first", "second", "."):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "notes.md").write_text("We meet on Friday.\n")
    if shell("command -v jq", tmp_path, {}).returncode != 0:
        pytest.skip("jq is not installed")
    script, go_on, record_and_play = blocks("ci", "sh")
    with ModelServer(model) as server:
        done = shell(script, tmp_path, keys(server))
        assert (done.returncode, done.stdout) == (0, "It is about Friday.\n"), done.stderr
        assert shell(go_on, tmp_path, keys(server)).returncode == 0
        assert shell(record_and_play, tmp_path, keys(server)).returncode == 0
    (workflow,) = blocks("ci", "yaml")
    options = re.findall(r"(--[a-z-]+)", " ".join(re.findall(r"- run: perstack .*", workflow)))
    told = shell("perstack run --help", tmp_path, {}).stdout
    assert options
    assert all(option in told for option in options)


PROGRAMS = blocks("embedding", "python")
SAID = ["It is about Friday.", "It is about Friday.", "Take the night train.", "Please set"]


@proves("docs.guides-run")
@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs_of_the_guide_to_embedding(number: int, tmp_path: Path):
    project("embedding", tmp_path)
    (tmp_path / "program.py").write_text(PROGRAMS[number])
    with ModelServer(model) as server:
        done = shell("python program.py", tmp_path, keys(server))
    assert (done.returncode, done.stderr) == (0, "")
    expected = [*SAID, "It is about Friday.\n" * 10, "Polly\n"][number]
    assert expected in done.stdout
    if number == 1:
        assert done.stdout.startswith("['readTextFile']\n")
        assert "Be brief." in str(server.requests[-1].messages)


def test_the_guide_to_embedding_names_every_option():
    from perstack.ops.embed import Options

    text = (GUIDES / "embedding.md").read_text(encoding="utf-8")
    table = text.partition("| Argument |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert described == Options.__optional_keys__
