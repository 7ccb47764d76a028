"""The program at a terminal: what a person would see, and type."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from .program import LONG_S, Ran, command, environment

LOCAL_FLAGS = 3
"""Their place in what `termios` says of a terminal."""

_CHUNK = 65_536


def typed(*args: str, cwd: Path, env: Mapping[str, str], answers: Sequence[tuple[str, str]]) -> Ran:
    """Run one command line to its end. answers: what to type once this has been shown, in order.

    `err` has all that the terminal showed, `out` is stdout, which is no terminal.
    """
    ours, theirs = pty.openpty()
    # what is typed is not shown, so that it cannot be taken for a question
    attributes = termios.tcgetattr(theirs)
    attributes[LOCAL_FLAGS] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    process = subprocess.Popen(
        command(*args),
        cwd=cwd,
        env=environment(env) | {"TERM": "dumb"},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown, left = "", list(answers)
    looked = 0
    try:
        while True:
            if left and (at := shown.find(left[0][0], looked)) >= 0:
                looked = at + len(left[0][0])
                os.write(ours, f"{left.pop(0)[1]}\n".encode())
                continue
            ready, _, _ = select.select([ours], [], [], LONG_S)
            assert ready, f"{left[:1]} was not asked: {shown}"
            try:
                data = os.read(ours, _CHUNK)
            except OSError:  # nobody has the other end any more
                break
            if not data:
                break
            shown += data.decode().replace("\r\n", "\n")
        assert process.stdout is not None
        out = process.stdout.read().decode()
        code = process.wait(LONG_S)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        os.close(ours)
    assert not left, f"{left[0]} was not asked: {shown}"
    return Ran(code, out, shown)
