"""The first picture of `perstack start`, and what becomes of the terminal it stands on."""

from __future__ import annotations

import errno
import os
import pty
import signal
import sys
import termios
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from select import select

import pytest
from rich.color import Color as Seen
from rich.color import ColorSystem
from textual.color import Color
from textual.theme import Theme

from perstack.cli import opening
from perstack.cli.opening import ENTER, LEAVE, PASTE, picture_of
from perstack.tui import takeover
from perstack.tui.app import DARK, LIGHT
from tests.fakes.modelserver import ModelServer, Says

from .program import LONG_S, command, environment, facts, keys

COLOURED = {"TERM": "xterm-256color"}
SIZE = (80, 24)


class Terminal:
    """A program on a pseudo-terminal of its own. seen: what it wrote so far."""

    def __init__(self, program: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execve(program[0], list(program), environment(env))
        self.before = termios.tcgetattr(self.descriptor)
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def shows(self, text: str) -> None:
        deadline = time.monotonic() + LONG_S
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, self.seen
            assert self._reads(), self.seen

    def ends(self) -> int:
        """Its exit code, negative for a signal."""
        while self._reads():
            pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def _reads(self) -> bool:
        assert select([self.descriptor], [], [], LONG_S)[0], self.seen
        try:
            more = os.read(self.descriptor, 65_536)
        except OSError as error:
            if error.errno != errno.EIO:  # which is how the end is told
                raise
            more = b""
        self.seen += more
        return bool(more)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)


@contextmanager
def running(program: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Generator[Terminal]:
    terminal = Terminal(program, cwd, env)
    try:
        yield terminal
    finally:
        terminal.close()


def showing(statement: str) -> list[str]:
    """A program that shows the first picture, does `statement`, and never gets further."""
    code = (
        "import os, signal, sys; from pathlib import Path; from perstack.cli.opening import opening\n"
        f"with opening(Path('here'), os.environ): {statement}"
    )
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + signal.SIGHUP)]
)
def test_a_signal_puts_the_terminal_back(tmp_path: Path, how: signal.Signals, code: int):
    with running(showing("signal.pause()"), tmp_path, COLOURED) as terminal:
        terminal.shows("reading")
        os.kill(terminal.pid, how)
        assert terminal.ends() == code
        assert terminal.seen.endswith(LEAVE.encode())
        assert termios.tcgetattr(terminal.descriptor) == terminal.before


def test_ctrl_c_puts_the_terminal_back(tmp_path: Path):
    with running(showing("signal.pause()"), tmp_path, COLOURED) as terminal:
        terminal.shows("reading")
        terminal.type("\x03")
        assert terminal.ends() == -signal.SIGINT
        assert LEAVE.encode() in terminal.seen
        assert termios.tcgetattr(terminal.descriptor) == terminal.before


def test_an_error_is_told_on_the_screen_there_was_before(tmp_path: Path):
    with running(showing("sys.exit('out of order')"), tmp_path, COLOURED) as terminal:
        assert terminal.ends() == 1
        assert terminal.seen.partition(LEAVE.encode())[2].strip() == b"out of order"


def test_a_dumb_terminal_gets_no_escape_codes(tmp_path: Path):
    with running(showing("print('shown')"), tmp_path, {"TERM": "dumb"}) as terminal:
        assert terminal.ends() == 0
        assert terminal.seen.strip() == b"shown"


def test_on_a_dumb_terminal_the_workbench_says_what_to_do_instead(workspace: Path):
    with running(command("start"), workspace, {"TERM": "dumb"}) as terminal:
        assert terminal.ends() == 1
        assert b"--output text" in terminal.seen
        assert b"\x1b" not in terminal.seen


def test_the_workbench_takes_the_screen_over_and_puts_it_back(workspace: Path):
    with running(command("start"), workspace, COLOURED) as terminal:
        terminal.shows("EXPERTS")
        terminal.type("\x11")
        assert terminal.ends() == 0
        assert terminal.seen.count(ENTER.encode()) == 1
        assert terminal.seen.count(b"\x1b[?1049l") == 1
        assert termios.tcgetattr(terminal.descriptor) == terminal.before


PASTED = "\x1b[200~First\nthen\x1b[201~"


@pytest.mark.parametrize(
    ("seen", "typed", "query"),
    [("", "\x1b[B\x1b[AFirst", "First"), ("reading", PASTED, "First\nthen")],
    ids=["before the first picture", "while the first picture stands"],
)
def test_what_is_typed_early_reaches_the_workbench(
    workspace: Path, seen: str, typed: str, query: str
):
    with ModelServer([Says("Well.")]) as server:
        env = {**COLOURED, **keys(server)}
        with running(command("start", "worker"), workspace, env) as terminal:
            terminal.shows(seen)
            terminal.type(f"{typed}\r")
            terminal.shows("completed")
            assert PASTE.encode() in terminal.seen.partition(b"reading")[0]
            terminal.type("\x11")
            assert terminal.ends() == 0
    [job] = (path.name for path in (workspace / "perstack" / "jobs").iterdir() if path.is_dir())
    assert [fact["query"] for fact in facts(workspace, job) if fact["type"] == "runStarted"] == [
        query
    ]


@pytest.mark.parametrize(
    ("theme", "colours"), [(DARK, opening.DARK), (LIGHT, opening.LIGHT)], ids=["dark", "light"]
)
def test_its_colours_are_those_of_the_workbench(theme: Theme, colours: dict[str, tuple[str, int]]):
    front, back = Color.parse(theme.foreground or ""), Color.parse(theme.background or "")
    muted = front.blend(back, 0.42).hex.lower()
    assert {name: colour for name, (colour, _) in colours.items()} == {
        "background": theme.background,
        "panel": theme.panel,
        "surface": theme.surface,
        "primary": theme.primary,
        "muted": muted,
    }
    for colour, nearest in colours.values():
        assert Seen.parse(colour).downgrade(ColorSystem.EIGHT_BIT).number == nearest


def test_both_enter_the_screen_with_the_same_code():
    assert takeover.ENTER == ENTER


@pytest.mark.parametrize("env", [{**COLOURED, "NO_COLOR": "1"}, {"TERM": "vt100"}])
def test_without_colours_none_is_set(env: dict[str, str]):
    assert "38;" not in picture_of("/home/you", SIZE, env)
    assert "38;" in picture_of("/home/you", SIZE, COLOURED)


@pytest.mark.parametrize("place", ["/x\x1b[2J", "/文", "/" + "x" * 100])
def test_a_place_that_is_hard_to_show_is_left_to_the_workbench(place: str):
    assert place not in picture_of(place, SIZE, COLOURED)


@pytest.mark.parametrize("size", [(1, 1), (9, 3), (39, 2)])
def test_it_is_drawn_in_any_size(size: tuple[int, int]):
    assert "perstack" not in picture_of("/home/you", size, COLOURED)
