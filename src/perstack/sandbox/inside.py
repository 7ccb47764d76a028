"""The second stage of a sandbox: what runs inside, before the payload, and then becomes it.

    python -I -S inside.py DOOR STRICT LANDLOCK LIMITS WRITABLE PINNED PROGRAM [ARGUMENT]...

bubblewrap has built the namespaces by now, and nobody's code has run in them. In this order:

- the proxy outside gets a socket that listens here (DOOR: its Unix socket, "" if there is no way out);
- what is pinned is looked at: PINNED has `DEVICE:INODE PATH` lines. The workspace can be written by others while
  it is being mounted, who could put a link in the place of a file; then nothing runs;
- limits are set (LIMITS: `NUMBER=VALUE` by comma);
- Landlock, if LANDLOCK, the version to use, is not 0: writing below the WRITABLE lines only, no signals and no
  abstract sockets out of here. It also keeps the payload from tracing the first process of the sandbox;
- the strict filter is read from descriptor STRICT and put on;
- PROGRAM takes over.

If any of it fails nothing runs: exit code 126, and a line on standard error. 127: there is no such program.

This file is a script: the standard library only, and little of it, since it is started for each program.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_HERE = "/run/perstack"
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_SIGPIPE, _SIGXFSZ = 13, 25  # what Python ignores, and a child would inherit
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2

# Landlock's rights, those that change something, with the version that knows them first
_WRITING = {
    1: 1 << 1  # write to a file
    | 1 << 4  # remove a directory
    | 1 << 5  # remove a file
    | 0b111_1111 << 6,  # make devices, directories, files, sockets, pipes, links
    2: 1 << 13,  # move to another directory
    3: 1 << 14,  # truncate
}
_FOR_FILES = 1 << 1 | 1 << 14

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("directory", ctypes.c_int32))


def main(arguments: list[str]) -> None:
    """Become the payload. arguments: as above."""
    door, strict, landlock, limits, writable, pinned, *argv = arguments
    try:
        if door:
            sys.path.insert(0, _HERE)
            from listener import hand_over  # pyright: ignore  # only inside is it beside us

            hand_over(door)
        _check(pinned.splitlines())
        for limit in limits.split(","):
            number, value = (int(part) for part in limit.split("="))
            hard = resource.getrlimit(number)[1]
            lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (lower, lower))
        if int(landlock):
            _restrict(int(landlock), writable.splitlines())
        for number in (_SIGPIPE, _SIGXFSZ):
            _libc.signal(number, None)
        _filter(int(strict))
    except OSError as error:
        _end(126, f"The sandbox could not be finished: {error}")
    try:
        os.execvp(argv[0], argv)
    except (OSError, ValueError) as error:
        _end(127, f"{argv[0]} could not be started in the sandbox: {error}")


def _end(code: int, why: str) -> None:
    os.write(2, f"perstack: {why}\n".encode(errors="replace"))
    os._exit(code)


def _check(pinned: list[str]) -> None:
    """Raises OSError unless all is what it was when it was asked for."""
    for line in pinned:
        identity, _, path = line.partition(" ")
        found = os.lstat(path)
        if identity != f"{found.st_dev}:{found.st_ino}":
            raise OSError(f"{path} was replaced while the walls were built")


def _restrict(version: int, writable: list[str]) -> None:
    """No more than `writable` can be written to, and nobody outside this sandbox be signalled or traced."""
    rights = sum(bits for since, bits in _WRITING.items() if since <= version)
    scoped = _ABSTRACT_SOCKETS | _SIGNALS if version >= 6 else 0
    rules = _Ruleset(rights, 0, scoped)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    for path in writable:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        allowed = rights if os.path.isdir(path) else rights & _FOR_FILES
        rule = _Beneath(allowed, place)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        os.close(place)
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _filter(descriptor: int) -> None:
    instructions = b""
    while chunk := os.read(descriptor, 65536):
        instructions += chunk
    os.close(descriptor)
    program = _Program(len(instructions) // 8, instructions)
    if _libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        raise _fault()


def _call(*arguments: object) -> int:
    result = int(_libc.syscall(*arguments))
    if result < 0:
        raise _fault()
    return result


def _fault() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
