"""A program that stands between the runtime and one server, so that nothing outlives either of them.

    python -I -S guard.py LINK GRACE PROGRAM [ARGUMENT]...

LINK is the number of an inherited socket whose other end the runtime holds; the guard says `started`,
`failed ERRNO` or `exited CODE` on it. When that other end is closed, because the runtime is done with the
server or because it was killed, the guard ends the server and all that came of it: SIGTERM, GRACE seconds,
SIGKILL. Then it ends itself.

Why a process of its own. A signal on the parent's death (PR_SET_PDEATHSIG) reaches one process only, and
`npx` starts a shell that starts node; a process group loses whoever calls setsid. On Linux the guard adopts
orphans (PR_SET_CHILD_SUBREAPER), so all descendants, in whatever session, stay below it and are found. On
other systems it ends its process group. It costs some 10 MB of mostly shared memory and 20 ms at start.

It runs without site-packages and imports nothing of Perstack: it is started once per server.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

POLL_S = 0.02
_PR_SET_CHILD_SUBREAPER = 36
_RESET = (signal.SIGPIPE, signal.SIGXFSZ)  # what Python ignores, and a child would inherit


def main(arguments: list[str]) -> None:
    """Run one server. arguments: those of the program."""
    link, grace_s, argv = int(arguments[0]), float(arguments[1]), arguments[2:]
    os.set_inheritable(link, False)
    _adopt_orphans()
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _noted)
    try:
        server = os.posix_spawnp(argv[0], argv, os.environ, setsigdef=_RESET)
    except OSError as error:
        os.write(link, f"failed {error.errno}\n".encode())
        return
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # else the runtime would never see the server's pipes end
        os.dup2(null, stream)
    try:
        os.write(link, b"started\n")
        _watch(link, woken, server)
    except OSError:  # the runtime is gone
        pass
    _end_all(grace_s)


def _noted(number: int, _: object) -> None:
    """Does nothing; the wake-up pipe has the signal's number."""


def _watch(link: int, woken: int, server: int) -> None:
    """Return when the runtime lets go, or when somebody asks the guard to end."""
    poll = select.poll()
    for source in (link, woken):
        poll.register(source, select.POLLIN)
    while True:
        ready = {source for source, _ in poll.poll()}
        if woken in ready:
            signals = os.read(woken, 4096)
            for pid, code in _reaped():
                if pid == server:
                    os.write(link, f"exited {code}\n".encode())
            if set(signals) - {signal.SIGCHLD}:
                return
        if link in ready:
            return


def _reaped() -> list[tuple[int, int]]:
    """The children that have ended, with their exit codes; a signal is negative."""
    ended: list[tuple[int, int]] = []
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            ended.append((pid, os.waitstatus_to_exitcode(status)))
    except ChildProcessError:
        pass
    return ended


def _end_all(grace_s: float) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        told: set[int] = set()
        until = time.monotonic() + grace_s
        while time.monotonic() < until:
            _reaped()
            left = _descendants()
            if left is None:
                _end_group(number, until)
                break
            if not left:
                return
            for pid in left - told:
                _send(pid, number)
            told |= left
            time.sleep(POLL_S)


def _end_group(number: int, until: float) -> None:
    """Where descendants cannot be found. The last signal ends the guard as well."""
    os.killpg(0, number)
    while time.monotonic() < until:
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        time.sleep(POLL_S)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _descendants() -> set[int] | None:
    """All live processes below this one, None where the system does not tell."""
    children: dict[int, list[int]] = {}
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return None
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in (b"Z", b"X"):
            children.setdefault(int(parent), []).append(pid)
    found: set[int] = set()
    todo = [os.getpid()]
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        import ctypes  # here, since it is a fifth of the start and only Linux needs it

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
