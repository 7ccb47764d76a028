"""The first picture of the workbench, drawn with plain escape codes while what draws the others is loaded.

It stands on the alternate screen until the workbench takes that over. What is typed or pasted meanwhile is not
shown; it stays in the terminal until the workbench reads it. If nobody takes over, because of an error, Ctrl-C or
a signal, the terminal is put back as it was.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import get_terminal_size
from types import FrameType
from typing import Any, NoReturn

try:
    import fcntl
    import termios
except ImportError:  # another kind of terminal; the workbench draws its own first picture there
    fcntl = termios = None

ENTER = "\x1b[?1049h"
LEAVE = "\x1b[0m\x1b[?2004l\x1b[?25h\x1b[?1049l"
PASTE = "\x1b[?2004h"
"""From here on the terminal says where pasted text begins and ends, so that its lines are not taken for Enter."""

DARK = {
    "background": ("#0f1318", 16),
    "panel": ("#1d242d", 16),
    "surface": ("#161b22", 16),
    "primary": ("#7db8f5", 111),
    "muted": ("#83888f", 244),
}
LIGHT = {
    "background": ("#fcfbf8", 231),
    "panel": ("#eae7df", 188),
    "surface": ("#f4f2ec", 231),
    "primary": ("#0b61a4", 25),
    "muted": ("#7d8082", 243),
}
"""The colours of the themes: as they are, and the nearest of 256."""


class Opening:
    """A picture on the terminal.

    early: bytes that were typed before it was drawn. The terminal gives Enter as a line feed there.
    """

    def __init__(self, descriptor: int, picture: str) -> None:
        assert termios is not None
        self._descriptor = descriptor
        self._attributes: list[Any] = termios.tcgetattr(descriptor)
        self._picture = picture
        self.taken = False
        self.early = 0

    def draw(self) -> None:
        assert termios is not None
        assert fcntl is not None
        quiet = _quiet(termios.tcgetattr(self._descriptor))
        termios.tcsetattr(self._descriptor, termios.TCSANOW, quiet)
        count = fcntl.ioctl(self._descriptor, termios.FIONREAD, bytes(4))
        self.early = int.from_bytes(count, sys.byteorder)
        _write(ENTER + PASTE + self._picture)

    def hand_over(self) -> list[Any]:
        """Whoever calls this puts the terminal back from now on, to these attributes."""
        self.taken = True
        return self._attributes

    def close(self) -> None:
        if self.taken or termios is None:
            return
        self.taken = True
        _write(LEAVE)
        termios.tcsetattr(self._descriptor, termios.TCSANOW, self._attributes)


@contextmanager
def opening(workspace: Path, env: Mapping[str, str]) -> Generator[Opening | None]:
    """The first picture, None on a terminal that can not show it."""
    if not _can_show(env):
        yield None
        return
    picture = Opening(sys.stdin.fileno(), picture_of(str(workspace), get_terminal_size(), env))
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _end)
        picture.draw()
        yield picture
    finally:
        picture.close()


def picture_of(workspace: str, size: tuple[int, int], env: Mapping[str, str]) -> str:
    """What the workbench shows first, as it shows it."""
    width, height = size
    here = workspace if workspace.isascii() and workspace.isprintable() else ""
    room = width - len(" perstack") - len(" ")
    here = f"{here if len(here) < room - 1 else '':>{max(room, 0)}}"
    tones = _tones(env)

    def ink(front: str, back: str) -> str:
        return f"\x1b[0;{tones[front]};{tones[back].replace('38', '48', 1)}m" if tones else ""

    lines = {
        1: f"{ink('primary', 'panel')}\x1b[1m perstack{ink('muted', 'panel')}\x1b[22m{here} ",
        3: f"{ink('muted', 'background')} {ink('muted', 'surface')}"
        f"{' Filter Experts and jobs':<{max(width - 2, 0)}}",
        5: f"{ink('muted', 'background')}  reading the Experts …",
    }
    blank = f"\x1b[?25l{ink('muted', 'background')}\x1b[2J"
    return blank + "".join(
        f"\x1b[{row};1H{line}" for row, line in lines.items() if row <= height and width >= 40
    )


def _tones(env: Mapping[str, str]) -> dict[str, str]:
    """Parameters that set the colour of letters; none for a terminal without colours, or who wants none."""
    theme = LIGHT if env.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15") else DARK
    if env.get("NO_COLOR"):
        return {}
    if env.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return {name: f"38;2;{_parts(colour)}" for name, (colour, _) in theme.items()}
    if env.get("TERM", "").rpartition("-")[2] in ("256color", "kitty"):
        return {name: f"38;5;{nearest}" for name, (_, nearest) in theme.items()}
    return {}


def _parts(colour: str) -> str:
    return ";".join(str(part) for part in bytes.fromhex(colour[1:]))


def _can_show(env: Mapping[str, str]) -> bool:
    terminals = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    plain = env.get("TERM", "") in ("", "dumb", "unknown")
    return termios is not None and terminals and not plain and "TEXTUAL_DRIVER" not in env


def _quiet(attributes: list[Any]) -> list[Any]:
    """Keys are not shown, and come as they were typed; Ctrl-C ends the program."""
    assert termios is not None
    attributes[0] &= ~(termios.IXON | termios.IXOFF | termios.ICRNL | termios.INLCR | termios.IGNCR)
    attributes[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    for key in (termios.VSUSP, termios.VQUIT):
        attributes[6][key] = b"\0"
    return attributes


def _write(text: str) -> None:
    os.write(sys.stderr.fileno(), text.encode())


def _end(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
