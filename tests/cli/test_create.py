"""Building an Expert: by a scripted model, on a terminal and without one."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from perstack.definition import parse_project
from tests.behaviour.register import proves
from tests.fakes import vendor_streams
from tests.fakes.modelserver import Calls, ModelServer, Says, Seen
from tests.fakes.vendor_cli import install

from .program import LONG_S, command, environment, is_one_message, keys, perstack

POET = """
[experts."poet"]
description = "Writes a haiku about a thing; give it the thing"
instruction = "Write a haiku about the thing in the query."

[experts."poet".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
pick = ["attemptCompletion", "writeTextFile"]
"""
TESTS = """
[[test]]
name = "writes about rain"
query = "Rain"
contains = ["rain"]
creates = ["haiku.txt"]
"""
HAIKU = {"path": "haiku.txt", "text": "Rain on the old roof"}
CREATE = ("create", "poet", "--description", "Writes haiku", "--yes")
Turns = Sequence[Calls | Says]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    return place


class Builder:
    """A model that drafts as told, one draft a round, and plays the Expert that it drafted."""

    def __init__(self, *drafts: tuple[str, str], answers: Sequence[str] = ()) -> None:
        self.drafts = list(drafts)
        self.answers = list(answers)
        self.queries: list[str] = []

    def __call__(self, seen: Seen) -> Calls | Says:
        last = seen.messages[-1]
        building = "You write Experts for Perstack" in seen.system
        if last.role == "user" and not last.results:
            if building:
                self.queries.append(last.text)
                text, tests = self.drafts.pop(0)
                write = [
                    ("writeTextFile", {"path": "perstack.toml", "text": text}),
                    ("writeTextFile", {"path": "tests.toml", "text": tests}),
                ]
                calls = [call for call in write if call[1]["text"]]
                return Calls(calls) if calls else Says("It is done, and all tests pass.")
            return Calls([("writeTextFile", HAIKU)])
        if building:
            return Says("It is drafted.")
        return Says(self.answers.pop(0) if self.answers else "Rain, again.")


def top(text: str) -> str:
    return 'model = "claude-sonnet-4-5"\n\n[provider]\nproviderName = "anthropic"\n' + text


def run(place: Path, model: Callable[[Seen], Calls | Says], *args: str, **env: str):
    with ModelServer(model) as server:
        more = {"TMPDIR": str(place.parent), **env}
        return perstack(*args, cwd=place, env={**keys(server), **more})


def experts(place: Path):
    text = (place / "perstack.toml").read_text()
    return parse_project(text, "perstack.toml").project.experts


@pytest.fixture(autouse=True)
def project(place: Path) -> None:
    (place / "perstack.toml").write_text(top(""))


def test_an_expert_is_drafted_checked_tried_and_written(place: Path):
    builder = Builder((top(POET), TESTS))
    ran = run(place, builder, *CREATE)
    assert ran.code == 0, ran.err
    assert experts(place)["poet"].instruction == "Write a haiku about the thing in the query."
    assert "✓ test 1: writes about rain" in ran.err
    assert str(place / "perstack.toml") in ran.out
    assert not (place / "haiku.txt").exists()
    assert 'Create the Expert "poet"' in builder.queries[0]
    assert "Writes haiku" in builder.queries[0]
    jobs = [path.name for path in (place / "perstack" / "jobs").iterdir()]
    assert len(jobs) == 2
    agents = (place / "AGENTS.md").read_text()
    assert "registry.modelcontextprotocol.io" in agents
    assert "{" + "provider" + "}" not in agents
    assert ".env" in (place / ".gitignore").read_text().splitlines()
    again = run(place, Builder(), "create", "--setup-only", "--yes")
    assert (again.code, again.out) == (0, "")


BROKEN = top(POET.replace('instruction = "', "instruction = 3 # "))
OTHER = top(POET).replace("claude-sonnet-4-5", "claude-opus-4-5")
DEFECTS = {
    "no TOML": (top("[experts"), TESTS, "Invalid TOML document"),
    "a faulty definition": (BROKEN, TESTS, "experts.poet.instruction"),
    "another name": (top(POET.replace('"poet"', '"bard"')), TESTS, '[experts."poet"]'),
    "no tests": (top(POET), "", "tests.toml is missing"),
    "tests that check nothing": (
        top(POET),
        '[[test]]\nname = "x"\nquery = "Rain"\n',
        "checks nothing",
    ),
    "no test": (top(POET), "test = []\n", "one to 5 tables"),
    "tests of another form": (top(POET), '[[test]]\nname = "x"\nasks = 3\n', "tests.toml: "),
    "files that cannot be": (
        top(POET),
        f'{TESTS}files = {{ "a" = "x", "a/b" = "y" }}\n',
        "'a/b' cannot be a file",
    ),
    "files elsewhere": (
        top(POET),
        TESTS.replace("haiku.txt", "../haiku.txt"),
        "outside of the workspace",
    ),
    "another model": (OTHER, TESTS, "leave what is outside of [experts] as it was"),
    "a failing test": (top(POET), TESTS.replace('"rain"', '"snow"'), "does not contain 'snow'"),
    "a missing file": (top(POET), TESTS.replace("haiku.txt", "x.txt"), "there is no file x.txt"),
}


@proves("create.checked-by-the-runtime")
@pytest.mark.parametrize("defect", DEFECTS)
def test_what_the_runtime_finds_goes_back_to_the_builder(place: Path, defect: str):
    text, tests, said = DEFECTS[defect]
    builder = Builder((text, tests), (top(POET), TESTS))
    ran = run(place, builder, *CREATE)
    assert ran.code == 0, ran.err
    assert len(builder.queries) == 2
    assert said in builder.queries[1]
    assert "poet" in experts(place)


def test_an_expert_that_never_passes_is_not_written(place: Path):
    tests = TESTS.replace('"rain"', '"snow"')
    before = (place / "perstack.toml").read_bytes()
    ran = run(place, Builder(*[(top(POET), tests)] * 2), *CREATE, "--rounds", "2")
    assert ran.code == 1
    assert "does not contain 'snow'" in ran.err
    assert "Nothing was written." in ran.err
    assert (place / "perstack.toml").read_bytes() == before


@proves("create.checked-by-the-runtime")
def test_the_word_of_the_model_does_not_count(place: Path):
    """It says that all is done, and has written nothing."""
    ran = run(place, Builder(("", ""), ("", "")), *CREATE, "--rounds", "2")
    assert ran.code == 1
    assert '[experts."poet"]' in ran.err


def test_faults_of_the_project_are_told_before_a_key_is_asked_for(place: Path):
    (place / "perstack.toml").write_text(BROKEN)
    ran = perstack("create", "bard", "--yes", "--description", "x", cwd=place)
    assert ran.code == 1
    fault, asked = ran.err.splitlines()
    assert fault.startswith("warning: perstack.toml: experts.poet.instruction: ")
    assert "set ANTHROPIC_API_KEY" in asked


def test_a_project_file_may_begin_with_a_mark_of_its_encoding(place: Path):
    (place / "perstack.toml").write_text(top(""), encoding="utf-8-sig")
    ran = run(place, Builder((top(POET), TESTS)), *CREATE)
    assert ran.code == 0, ran.err
    assert "poet" in experts(place)


def test_other_experts_stay_as_they_were(place: Path):
    there = '\n[experts.clerk]\ninstruction = "File it."\n'
    (place / "perstack.toml").write_text(top(there))
    changed = there.replace("File it.", "Burn it.")
    builder = Builder((top(changed + POET), TESTS), (top(there + POET), TESTS))
    ran = run(place, builder, *CREATE)
    assert ran.code == 0, ran.err
    assert 'leave [experts."clerk"] as it was' in builder.queries[1]
    assert experts(place)["clerk"].instruction == "File it."


def test_an_improved_expert_is_shown_with_what_it_may_besides(place: Path):
    (place / "perstack.toml").write_text(top(POET))
    better = POET.replace('"writeTextFile"]', '"writeTextFile", "exec"]')
    builder = Builder((top(better), TESTS))
    ran = run(place, builder, "create", "poet", "Let it count syllables", "--yes")
    assert ran.code == 0, ran.err
    assert 'Improve the Expert "poet"' in builder.queries[0]
    assert "+ may run programs, with exec of @perstack/base" in ran.err
    assert '"poet" may do more than before.' in ran.err
    assert '+pick = ["attemptCompletion", "writeTextFile", "exec"]' in ran.err


def test_what_new_delegates_may_is_shown_as_well(place: Path):
    helper = POET.replace("poet", "helper").replace('"writeTextFile"]', '"exec"]')
    text = POET.replace("instruction =", 'delegates = ["helper"]\ninstruction =')
    ran = run(place, Builder((top(text + helper), TESTS)), *CREATE)
    assert ran.code == 0, ran.err
    assert "+ may delegate to helper" in ran.err
    assert "+ may run programs, with exec of @perstack/base" in ran.err


def test_a_rule_that_is_lifted_is_a_widening(place: Path):
    ruled = POET.replace('[experts."poet"]\n', '[experts."poet"]\ndeny = ["exec"]\n')
    (place / "perstack.toml").write_text(top(ruled))
    ran = run(place, Builder((top(POET), TESTS)), "create", "poet", "Freer", "--yes")
    assert ran.code == 0, ran.err
    assert "+ is no longer denied exec" in ran.err
    assert "may do more than before" in ran.err


def test_recordings_play_again_without_a_model(place: Path, tmp_path: Path):
    tapes = tmp_path / "tapes"
    first = run(place, Builder((top(POET), TESTS)), *CREATE, "--record", str(tapes))
    assert first.code == 0, first.err
    assert sorted(path.name for path in tapes.iterdir()) == ["01.jsonl", "02.jsonl"]
    (place / "perstack.toml").write_text(top(""))
    again = perstack(*CREATE, "--cassette", str(tapes), cwd=place)
    assert again.code == 0, again.err
    assert "poet" in experts(place)


def test_a_new_project_gets_its_files_from_what_is_set(place: Path):
    (place / "perstack.toml").unlink()
    ran = perstack("create", "--setup-only", "--yes", cwd=place, env={"OPENAI_API_KEY": "sk-x"})
    assert ran.code == 0, ran.err
    project = parse_project((place / "perstack.toml").read_text(), "perstack.toml").project
    assert project.provider is not None
    assert project.provider.provider_name == "openai"
    assert not (place / ".env").exists()
    assert "| Provider | openai |" in (place / "AGENTS.md").read_text()


def test_a_program_of_another_vendor_is_found_and_used(place: Path, tmp_path: Path):
    (place / "perstack.toml").unlink()
    bin = install(tmp_path / "bin", "claude", vendor_streams.claude())
    path = f"{bin}:{os.environ['PATH']}"
    ran = perstack("create", "--setup-only", "--yes", cwd=place, env={"PATH": path})
    assert ran.code == 0, ran.err
    assert "Found claude-code: 2.0.0 (fake)" in ran.err
    assert (place / "perstack.toml").read_text() == 'runtime = "claude-code"\n'
    assert "| Model | the own one of claude-code |" in (place / "AGENTS.md").read_text()


def test_a_program_of_another_vendor_builds_too(place: Path, tmp_path: Path):
    (place / "perstack.toml").write_text('runtime = "claude-code"\n')
    tests = TESTS.replace('"rain"', '"hello"')
    draft = f'runtime = "claude-code"\n{POET}'
    made = {"perstack.toml": draft, "tests.toml": tests, "haiku.txt": "Rain"}
    bin = install(tmp_path / "bin", "claude", vendor_streams.claude(), writes=made)
    ran = perstack(*CREATE, cwd=place, env={"PATH": f"{bin}:{os.environ['PATH']}"})
    assert ran.code == 0, ran.err
    assert "poet" in experts(place)


def test_without_a_terminal_nothing_is_asked_and_nothing_guessed(place: Path):
    for args, said in (
        (("create",), "add --yes, and say what the Expert is for"),
        (("create", "--yes"), "give --description"),
        (("create", "Bad Name", "--yes"), "is no name of an Expert"),
    ):
        ran = perstack(*args, cwd=place, env={"ANTHROPIC_API_KEY": "sk-x"})
        assert (ran.code, ran.out.count("perstack.toml")) == (1, 0)
        assert is_one_message(ran.err)
        assert said in ran.err
    (place / "perstack.toml").unlink()
    ran = perstack("create", "--yes", "--description", "x", cwd=place)
    assert ran.code == 1
    assert "No provider is set up" in ran.err
    ran = perstack(*("create", "--yes", "--description", "x", "--provider", "openai"), cwd=place)
    assert "set OPENAI_API_KEY" in ran.err


def at_terminal(
    place: Path, *args: str, env: dict[str, str], answers: dict[str, str]
) -> tuple[int, str]:
    """One command line at a terminal. answers: what is typed when these words are shown."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        command(*args),
        cwd=place,
        env=environment({"TERM": "dumb", "TMPDIR": str(place.parent), **env}),
        stdin=other,
        stdout=other,
        stderr=other,
    )
    os.close(other)
    shown, left = b"", list(answers.items())
    while True:
        try:
            piece = os.read(main, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
        if left and left[0][0].encode() in shown:
            os.write(main, left.pop(0)[1].encode() + b"\n")
    code = process.wait(LONG_S)
    os.close(main)
    assert left == [], shown.decode()
    return code, shown.decode()


@proves("create.keys-unseen")
def test_a_key_is_asked_for_hidden_and_kept_for_the_owner_alone(place: Path):
    (place / "perstack.toml").unlink()
    (place / ".env").write_text("OTHER=another-secret\n")
    answers = {
        "Which": "1",
        "ANTHROPIC_API_KEY": "sk-ant-very-secret",
        "Change .env": "y",
        "Write .gitignore": "y",
        "Write AGENTS.md": "n",
        "Write perstack.toml": "y",
    }
    code, shown = at_terminal(place, "create", "--setup-only", env={}, answers=answers)
    assert code == 0
    assert "sk-ant-very-secret" not in shown
    assert "another-secret" not in shown
    env = place / ".env"
    assert env.read_text() == "OTHER=another-secret\nANTHROPIC_API_KEY=sk-ant-very-secret\n"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert not (place / "AGENTS.md").exists()


AGAIN = "something has to be said; Ctrl+C ends this.\r\n"


def test_what_cannot_be_is_asked_again(place: Path):
    """A number that is none, a blank key, a blank description."""
    (place / "perstack.toml").unlink()
    answers = {
        "ollama (does not run here)": "zzz",
        "give a number from 1 to": "1",
        "ANTHROPIC_API_KEY (not shown)": "  ",
        f"{AGAIN}ANTHROPIC_API_KEY (not shown)": "sk-ant-very-secret",
        "Write .env": "y",
        "Write .gitignore": "n",
        "Write AGENTS.md": "n",
        "What is the Expert for?": " ",
        f"{AGAIN}What is the Expert for?": "\x04",
    }
    code, _ = at_terminal(place, "create", env={}, answers=answers)
    assert code == 130
    assert (place / ".env").read_text() == "ANTHROPIC_API_KEY=sk-ant-very-secret\n"
    assert not (place / "perstack.toml").exists()


@proves("create.nothing-unseen")
def test_what_is_there_is_changed_only_after_its_diff_and_a_yes(place: Path):
    (place / "AGENTS.md").write_text("Mine.\n")
    answers = {"Write .gitignore": "n", "Change AGENTS.md": "n"}
    code, shown = at_terminal(
        place, "create", "--setup-only", env={"ANTHROPIC_API_KEY": "k"}, answers=answers
    )
    assert code == 0
    assert "-Mine." in shown
    assert (place / "AGENTS.md").read_text() == "Mine.\n"


def test_a_draft_is_tried_only_after_a_yes_and_written_after_another(place: Path):
    (place / "AGENTS.md").write_text("")
    builder = Builder((top(POET), TESTS))
    with ModelServer(builder) as server:
        answers = {"gitignore": "n", "AGENTS.md like": "n", "May it be tried?": "n"}
        args = ("create", "poet", "Writes haiku")
        code, shown = at_terminal(place, *args, env=keys(server), answers=answers)
    assert code == 1
    assert "may use the tool writeTextFile of @perstack/base" in shown
    assert "It was not tried." in shown
    assert "poet" not in experts(place)


def test_who_leaves_instead_of_a_yes_is_told_where_the_draft_lies(place: Path):
    with ModelServer(Builder((top(POET), TESTS))) as server:
        answers = {"gitignore": "n", "Write AGENTS.md": "n", "May it be tried?": "\x04"}
        args = ("create", "poet", "Writes haiku")
        code, shown = at_terminal(place, *args, env=keys(server), answers=answers)
    assert code == 130
    (folder,) = place.parent.glob("perstack-create-*")
    assert f"What there is of it lies in {folder}" in shown
    assert (folder / "draft" / "tests.toml").read_text() == TESTS


def test_a_model_that_fails_ends_it_with_its_reason(place: Path):
    def refusing(seen: Seen) -> Says:
        return Says("No.", finish="refusal")

    ran = run(place, refusing, *CREATE)
    assert ran.code == 1
    assert "create-expert did not come to its end" in ran.err
    assert json.dumps(dict(experts(place))) == "{}"
