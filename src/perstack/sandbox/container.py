"""The first process of a container: hands the way out over, starts the payload, and ends with it.

    python3 -I -S container.py PINNED DOOR PROGRAM [ARGUMENT]...

The payload is started by way of `inside.py`, which looks at what is PINNED (the daemon mounted it by name, and a
link may have stood there at that moment) and puts the system call filter on, with the variables that were given
for it and no others; those come under names that begin with PERSTACK_GIVEN_.

DOOR is the Unix socket of the proxy outside; the link to it stays open for as long as the container lives. When
it ends, because the runtime closed the way out or was killed, so does everything in here. The payload gets our
streams, and nothing else of ours: it cannot read our memory, and does not inherit the link.

As the first of its process namespace it is the parent of all orphans, and when it ends, the system ends all that
is left. It runs on the container's own Python, 3.9 or later, and imports the standard library only.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import select
import signal
import sys
import time

GRACE_S = 2.0
"""What the payload gets after SIGTERM, before it is ended."""

_NO_DOOR = 125
_HERE = os.path.dirname(os.path.abspath(__file__))
_GIVEN = "PERSTACK_GIVEN_"
_SCOPES = 6
"""The version of Landlock that keeps signals in."""

_PR_SET_DUMPABLE = 4
_RESET = (signal.SIGPIPE, signal.SIGXFSZ)  # what Python ignores, and a child would inherit


def main(arguments: list[str]) -> int:
    """Run one program. Gives its exit code, as a shell would."""
    sys.path.insert(0, _HERE)
    listener = importlib.import_module("listener")  # beside this file, which is in no package here
    pinned, door, *argv = arguments
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        link: int = listener.hand_over_and_stay(door).detach()
    except OSError as error:
        os.write(2, f"perstack: the way out could not be handed over: {error}\n".encode())
        return _NO_DOOR
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _noted)
    return _watch(link, woken, _started(pinned, argv))


def _started(pinned: str, argv: list[str]) -> int:
    """The payload's process id."""
    strict = os.open(f"{_HERE}/strict", os.O_RDONLY)
    os.set_inheritable(strict, True)
    given = {n[len(_GIVEN) :]: v for n, v in os.environ.items() if n.startswith(_GIVEN)}
    landlock = _landlock_version()
    stage = [sys.executable, "-I", "-S", f"{_HERE}/inside.py", "", str(strict)]
    # Landlock, for signals only: where something may be written is what the mounts say.
    stage += [str(landlock if landlock >= _SCOPES else 0), f"{resource.RLIMIT_CORE}=0", "/", pinned]
    try:
        return os.posix_spawn(sys.executable, stage + argv, given, setsigdef=_RESET, setsid=True)
    finally:
        os.close(strict)


def _landlock_version() -> int:
    """The version of Landlock that may be used in here; 0 for none."""
    return max(0, int(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)))


def _noted(number: int, _: object) -> None:
    """Does nothing; the wake-up pipe has the signal's number."""


def _watch(link: int, woken: int, payload: int) -> int:
    """Return when the payload has ended, or had to."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    poll.register(woken, select.POLLIN)
    until: float | None = None
    while until is None or time.monotonic() < until:
        ready = {fd for fd, _ in poll.poll(None if until is None else 100)}
        signals: set[int] = set()
        if woken in ready:
            signals = set(os.read(woken, 4096))
            code = _reaped(payload)
            if code is not None:
                return code
        if link in ready:
            poll.unregister(link)
        if until is None and (link in ready or signals - {signal.SIGCHLD}):
            until = time.monotonic() + GRACE_S
            os.kill(-1, signal.SIGTERM)  # all in here but ourselves
    return 128 + signal.SIGKILL


def _reaped(payload: int) -> int | None:
    """The payload's exit code if it has ended; orphans are laid to rest as well."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return None
            if pid == payload:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
    except ChildProcessError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
