"""`--output text`: the account for people, in a pipe and in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.register import proves
from tests.fakes.modelserver import Calls, Fails, Hangs, ModelServer, Says

from .conftest import Here
from .program import LONG_S, asking, command, environment, keys, perstack

TURNS = {"\x1b", "\x07", "\x9b", "\r", "\u202e", "\u2066"}
TEXT = ("--output", "text")
DEMO = ("run", "fitness-assistant", "--demo", *TEXT)
SAYS_HI: tuple[str, dict[str, Any]] = (
    "exec",
    {
        "command": "sh",
        "args": ["-c", "echo hi\necho there"],
        "cwd": ".",
        "env": {},
        "stdout": True,
        "stderr": True,
    },
)
ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def in_terminal(*args: str, cwd: Path, env: dict[str, str]) -> tuple[int, str]:
    """The exit code, and all that was written to a terminal of 80 by 24."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        command(*args),
        cwd=cwd,
        env=environment({"TERM": "xterm-256color", **env}),
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # how Linux says that the other end was closed
        pass
    finally:
        os.close(ours)
    return process.wait(LONG_S), written.decode()


@proves("text.pipe-is-plain")
def test_a_pipe_gets_whole_lines_and_no_escape_codes(tmp_path: Path):
    ran = perstack(*DEMO, cwd=tmp_path, env={"TERM": "xterm-256color", "TMPDIR": str(tmp_path)})
    assert ran.code == 0
    assert "\x1b" not in ran.out + ran.err
    assert "\r" not in ran.out
    assert "… " not in ran.out.replace("… 3 more lines", "")  # what is waited for is not told
    lines = ran.out.splitlines()
    assert lines[0] == "● fitness-assistant query"
    assert "● fitness-assistant asks pro-trainer" in lines
    assert "  ● pro-trainer answer" in lines
    assert lines[-2] == "● fitness-assistant answer"


@proves("text.terminal", "text.no-color")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_colours_unless_it_wants_none(no_color: str, tmp_path: Path):
    code, written = in_terminal(
        *DEMO, cwd=tmp_path, env={"NO_COLOR": no_color, "TMPDIR": str(tmp_path)}
    )
    assert code == 0
    colours = [code for code in ESCAPE.findall(written) if code.endswith("m")]
    assert (colours == []) == bool(no_color)
    assert ("\x1b[2K" in written) == ("fitness-assistant thinking" in written)
    pipe = perstack(*DEMO, cwd=tmp_path, env={"TMPDIR": str(tmp_path)})
    assert "".join(f"{line}\n" for line in lines_left_by(written)) == pipe.out


def lines_left_by(written: str) -> list[str]:
    """What a terminal shows in the end, where a line may be cleared and written anew."""
    shown = [
        ESCAPE.sub("", line.split("\x1b[2K")[-1]).split("\r")[-1]
        for line in written.replace("\r\n", "\n").split("\n")
    ]
    assert shown.pop() == ""  # nothing is left of what was waited for
    return shown


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path):
    code, written = in_terminal(
        *DEMO, cwd=tmp_path, env={"TERM": "dumb", "NO_COLOR": "1", "TMPDIR": str(tmp_path)}
    )
    assert code == 0
    assert "\x1b" not in written


@proves("text.no-injection")
def test_what_others_say_does_not_move_the_cursor(here: Here, workspace: Path):
    evil = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m\rover\u202ereverof\u2066"
    (workspace / "evil.txt").write_text(evil)
    turns = [
        Calls(
            [
                ("readTextFile", {"path": "evil.txt"}),
                ("readTextFile", {"path": f"no{evil}"}),
                ("writeTextFile", {"path": "a.txt", "text": evil}),
                ("nosuchtool", {"x": evil}),
            ],
            text=evil,
        ),
        Fails(429, f"Slow down {evil}", headers={"retry-after": "0"}),
        Says(evil),
    ]
    with ModelServer(turns) as server:
        ran = here("run", "worker", evil, *TEXT, env=keys(server))
    assert ran.code == 0
    assert not set(ran.out + ran.err) & TURNS
    assert r"\x1b[2J" in ran.out
    assert r"\u202ereverof" in ran.out
    with ModelServer([Fails(404, f"no model {evil}")]) as server:
        ran = here("run", "worker", "Go", env=keys(server))
    assert ran.code == 1
    assert not set(ran.err) & TURNS


def test_every_kind_of_thing_is_told(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(asking())
    (workspace / "a.txt").write_text("one\ntwo\n")
    turns = [
        Calls(
            [
                ("todo", {"newTodos": ["first", "second"]}),
                ("readTextFile", {"path": "a.txt"}),
                ("editTextFile", {"path": "a.txt", "oldText": "one", "newText": "1"}),
                SAYS_HI,
                ("readTextFile", {"path": "none.txt"}),
                ("writeTextFile", {"path": "b.txt", "text": "x\n" * 30}),
            ]
        ),
        Fails(503, "Overloaded", headers={"retry-after": "0"}),
        Calls([("askUser", {"question": "Which?"})]),
    ]
    with ModelServer(turns) as server:
        ran = here("run", "worker", "Go", *TEXT, env=keys(server))
    assert ran.code == 0
    for line in (
        "● worker query\n    Go\n",
        "● worker todo\n    [ ] first\n    [ ] second\n",
        "● worker read a.txt\n    2 lines\n",
        "● worker edit a.txt\n    - one\n    + 1\n",
        r"● worker run sh -c echo hi\necho there" + "\n    hi\n    there\n",
        "● worker read none.txt\n    failed: ",
        "    … 19 more lines\n",
        "waiting 0.0 s before attempt 2: ",
        "● worker asks you: askUser\n",
    ):
        assert line in ran.out, ran.out


def test_letters_that_the_terminal_does_not_have(tmp_path: Path):
    env = {"PYTHONIOENCODING": "ascii", "TMPDIR": str(tmp_path)}
    ran = perstack(*DEMO, cwd=tmp_path, env=env)
    assert ran.code == 0
    assert ran.out.startswith("? fitness-assistant query\n")


# A whole terminal -----------------------------------------------------------------------------------------


class Tmux:
    """One terminal of 80 by 24."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)

    def __call__(self, *args: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *args],
            capture_output=True,
            text=True,
            timeout=LONG_S,
            env=environment({"TERM": "xterm-256color", "LANG": "C.UTF-8"}),
            check=True,
        )
        return done.stdout

    def begin(self, *args: str, cwd: Path, env: dict[str, str]) -> None:
        """Run the program; `ended` waits for it."""
        told = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
        line = f"{told} {shlex.join(command(*args))}; echo exit $?; tmux -S {self._socket} wait-for -S ended; cat"
        self("new-session", "-d", "-x", "80", "-y", "24", "-c", str(cwd), line)
        self("set-option", "-g", "history-limit", "5000")

    def ended(self) -> str:
        """The screen, and what has scrolled off it."""
        self("wait-for", "ended")
        return self("capture-pane", "-p", "-S", "-")


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    # A path of a socket is short, and that of a test is not.
    socket = Path(f"/tmp/perstack-{os.getpid()}-{abs(hash(tmp_path)) % 10**6}")
    terminal = Tmux(socket)
    try:
        yield terminal
    finally:
        subprocess.run(["tmux", "-S", str(socket), "kill-server"], capture_output=True, check=False)
        socket.unlink(missing_ok=True)


@proves("text.terminal")
def test_a_demo_in_a_real_terminal(tmux: Tmux, tmp_path: Path):
    tmux.begin(*DEMO, cwd=tmp_path, env={"TMPDIR": str(tmp_path)})
    screen = tmux.ended().splitlines()
    assert "exit 0" in screen
    assert "● fitness-assistant answer" in screen
    assert not any("thinking" in line for line in screen)  # the line of what is waited for is gone
    assert max(len(line) for line in screen) <= 80


@proves("text.terminal", "run.interrupt-exit-codes")
def test_ctrl_c_in_a_real_terminal(tmux: Tmux, workspace: Path):
    with ModelServer([Hangs(3, of=Says("some words"))]) as server:
        tmux.begin("run", "worker", "Go", *TEXT, cwd=workspace, env=keys(server))
        server.wait_until(lambda s: len(s.requests) == 1, LONG_S)
        tmux("send-keys", "C-c")
        screen = " ".join(tmux.ended().split())
    assert "Stopped: SIGINT. Go on with: perstack run worker --continue-job" in screen
    assert "exit 130" in screen
    assert "Traceback" not in screen
