"""The program itself in a real terminal, driven by keys and read off the screen."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from shlex import join

import psutil
import pytest

from tests.behaviour.register import proves
from tests.cli.program import environment, folded, keys
from tests.fakes.modelserver import Calls, Hangs, ModelServer, Says

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

PATIENCE_S = 60

GREYS = {0, 7, 8, 15, 16, 59, 102, 145, 188, 231, *range(232, 256)}
"""Of the 256 colours of a terminal."""


class Terminal:
    """A tmux server of its own, with one window that runs one program."""

    def __init__(self, socket: Path, size: tuple[int, int], cwd: Path, env: dict[str, str]) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(socket)]
        program = join([sys.executable, "-m", "perstack.cli.main", "start"])
        self._env = {**env, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        given = join(f"{name}={value}" for name, value in self._env.items())
        width, height = map(str, size)
        self._run(
            *("-u", "new-session", "-d", "-x", width, "-y", height, "-c", str(cwd)),
            f"env -i {given} {program}; echo ended with $?; exec cat",
        )

    def _run(self, *args: str) -> str:
        done = subprocess.run(
            [*self._tmux, *args],
            env=self._env,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout

    def press(self, *names: str) -> None:
        self._run("send-keys", *names)

    def type(self, text: str) -> None:
        self._run("send-keys", "-l", text)

    @property
    def screen(self) -> str:
        return self._run("capture-pane", "-p")

    def shows(self, *texts: str) -> str:
        """The screen, once all of `texts` are on it."""
        deadline = time.monotonic() + PATIENCE_S
        while not all(text in (screen := self.screen) for text in texts):
            if time.monotonic() > deadline:
                pytest.fail(f"{texts} did not appear on:\n{screen}")
            time.sleep(0.05)  # between two looks; nothing tells us of a screen that changed
        return screen

    @property
    def coloured(self) -> str:
        """The screen with its escape sequences."""
        return self._run("capture-pane", "-p", "-e")

    def terminate(self) -> None:
        """SIGTERM to the program in the window."""
        shell = int(self._run("display-message", "-p", "#{pane_pid}"))
        [program] = psutil.Process(shell).children()
        program.terminate()

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], env=self._env, check=False, timeout=30)


@pytest.fixture(params=[(80, 24), (200, 50)], ids=["80x24", "200x50"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


@pytest.fixture
def server() -> Generator[ModelServer]:
    script = [
        Calls([("readTextFile", {"path": "notes.md"})]),
        Says("There are two notes."),
        Says("Gladly."),
    ]
    with ModelServer(script) as server:
        yield server


@proves("workbench.to-the-end")
def test_an_expert_is_chosen_followed_and_spoken_to(
    size: tuple[int, int], server: ModelServer, workspace: Path, tmp_path: Path
):
    env = environment(keys(server))
    terminal = Terminal(tmp_path / "tmux", size, workspace, env)
    try:
        terminal.shows("EXPERTS", "editor", "What should editor do?")
        terminal.press("Enter")
        terminal.type("How many notes are there?")
        terminal.press("Enter")
        terminal.shows(
            "> How many notes are there?", "Read notes.md", "There are two notes.", "completed"
        )
        terminal.type("Thanks")
        terminal.press("Enter")
        terminal.shows("> Thanks", "Gladly.")
        terminal.press("Escape")
        terminal.press("Escape")
        terminal.shows("JOBS", "How many notes are there?")
        terminal.press("C-q")
        terminal.shows("ended with 0")
    finally:
        terminal.close()
    [job] = (path.name for path in (workspace / "perstack" / "jobs").iterdir() if path.is_dir())
    done = folded(workspace, job).done
    assert done is not None
    assert done.text == "Gladly."


def test_a_definition_is_edited_and_its_faults_are_shown(
    size: tuple[int, int], workspace: Path, tmp_path: Path
):
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho \'[experts."spoilt"]\' >> "$1"\n')
    editor.chmod(0o755)
    terminal = Terminal(tmp_path / "tmux", size, workspace, environment({"EDITOR": str(editor)}))
    try:
        terminal.shows("EXPERTS", "researcher")
        terminal.press("e")
        terminal.shows("perstack.toml has 1 fault", "spoilt")
        terminal.press("C-q")
        terminal.shows("ended with 0")
    finally:
        terminal.close()


def test_without_colours_every_state_can_be_told(
    size: tuple[int, int], server: ModelServer, workspace: Path, tmp_path: Path
):
    env = environment({**keys(server), "NO_COLOR": "1"})
    terminal = Terminal(tmp_path / "tmux", size, workspace, env)
    try:
        terminal.shows("EXPERTS", "What should editor do?")
        terminal.press("Enter")
        terminal.type("Go")
        terminal.press("Enter")
        terminal.shows("✔ completed")
        used = {int(number) for number in re.findall(r"[34]8;5;(\d+)", terminal.coloured)}
        assert used <= GREYS
    finally:
        terminal.close()


@proves("workbench.nothing-lost")
def test_a_signal_ends_it_in_good_order(workspace: Path, tmp_path: Path):
    with ModelServer([Hangs()]) as server:
        terminal = Terminal(tmp_path / "tmux", (80, 24), workspace, environment(keys(server)))
        try:
            terminal.shows("EXPERTS", "What should editor do?")
            terminal.press("Enter")
            terminal.type("Go")
            terminal.press("Enter")
            terminal.shows("at work", "Thinking")
            terminal.terminate()
            terminal.shows("ended with 143")
        finally:
            terminal.close()
    [job] = (path.name for path in (workspace / "perstack" / "jobs").iterdir() if path.is_dir())
    assert folded(workspace, job).stopped is not None


@proves("workbench.no-key")
def test_without_a_key_the_demo_is_played(size: tuple[int, int], workspace: Path, tmp_path: Path):
    env = environment({"TMPDIR": str(tmp_path)})
    terminal = Terminal(tmp_path / "tmux", size, workspace, env)
    try:
        terminal.shows("ANTHROPIC_API_KEY is not set", "plays a demo")
        terminal.press("d")
        terminal.shows("fitness-assistant", "completed")
        terminal.press("C-c")
        terminal.shows("ended with 0")
    finally:
        terminal.close()
