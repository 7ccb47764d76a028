"""Writers in processes of their own, to be killed."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Awaitable, Callable

import anyio


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def fork_writers(write: Callable[[str], Awaitable[None]]) -> None:
    """For each line of standard input a process that says its pid and lets `write` have the line; then "dead"."""
    # One thread only, and everything imported: forking is quick, and safe.
    anyio.run(anyio.lowlevel.checkpoint)
    assert threading.active_count() == 1
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            say(f"{os.getpid()}")
            anyio.run(write, line.strip())
            os._exit(1)
        os.waitpid(child, 0)
        say("dead")
