"""`exec`: one program, run without a shell, and all that it started ended with it.

The program gets a clean environment, nothing to read, and a session of its own, so that it and its children
are one process group that can be ended together: when it takes too long or writes too much, when the caller is
cancelled, and when it leaves children behind. A child that moves to yet another session is out of our reach;
only a sandbox with a process namespace holds that one.

The pipes and the end of the process are waited for here, and not by the event loop's own subprocess support:
one backend's `wait` also waits for the pipes, which a grandchild may keep open for ever.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from perstack.errors import ToolError
from perstack.job import Json

from ..environment import clean_env
from ..wrapping import Launch, Wrap
from .paths import Place, Workspace

OUTPUT_MAX = 10 * 1024 * 1024
"""Bytes kept of one stream; a program that writes more is ended."""

GRACE_S = 0.5
"""What a process group gets between SIGTERM and SIGKILL, and pipes that stay open after the program ended."""

_POLL_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended.

    code: as the system has it, negative for a signal; None if it could not be ended. cut: why we ended it.
    """

    stdout: bytes
    stderr: bytes
    code: int | None
    cut: str = ""


async def execute(
    workspace: Workspace,
    process_env: Mapping[str, str],
    wrap: Wrap,
    *,
    command: str,
    args: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    stdout: bool,
    stderr: bool,
    timeout_ms: float,
) -> dict[str, Json]:
    """The result object of one call; has "error" if the program did not end well. timeout_ms: 0 for none."""
    child_env = clean_env(process_env, env)
    try:
        with workspace.at(cwd) as place, wrap((command, *args), child_env, place.path) as launch:
            process = _started(launch, place)
    except (OSError, ValueError) as fault:
        return {"error": f"spawn {command} {_code(fault)}"}
    except ToolError as fault:
        return {"error": str(fault)}
    ended = await _ended(process, timeout_ms / 1000 if timeout_ms else None)

    streams: dict[str, Json] = {}
    if stdout and ended.stdout:
        streams["stdout"] = ended.stdout.decode(errors="replace")
    if stderr and ended.stderr:
        streams["stderr"] = ended.stderr.decode(errors="replace")
    if ended.cut == "timeout":
        return {"error": f"Command timed out after {timeout_ms}ms.", **streams}
    if ended.cut:
        return {"error": f"{ended.cut} maxBuffer length exceeded", **streams}
    if ended.code != 0:
        told = ended.stderr.decode(errors="replace")
        failed = {"error": f"Command failed: {' '.join((command, *args))}\n{told}", **streams}
        return failed | _exit(ended.code)
    output = "".join(streams.values())
    return {"output": output if output.strip() else _SILENT}


_SILENT = "Command executed successfully, but produced no output."


def _exit(code: int | None) -> dict[str, Json]:
    if code is None or code >= 0:
        return {"exitCode": code}
    with suppress(ValueError):
        return {"signal": signal.Signals(-code).name}
    return {"signal": str(-code)}


def _code(fault: OSError | ValueError) -> str:
    """The system's name for it. ValueError: a null byte, which no argument can hold."""
    number = fault.errno if isinstance(fault, OSError) else errno.EINVAL
    return errno.errorcode.get(number or 0, "EIO")


def _started(launch: Launch, cwd: Place) -> subprocess.Popen[bytes]:
    """The running program. Raises OSError, ValueError if it cannot be started."""
    if cwd.stat is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), cwd.path)
    directory = cwd.open(getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
    try:
        # The child goes to the directory we hold open, by its descriptor: it still has our descriptors when it
        # changes directory. Without /proc (not Linux) by name, the only wall here that is then not airtight.
        held = f"/proc/self/fd/{directory}"
        return subprocess.Popen(
            list(launch.argv),
            env=dict(launch.env),
            cwd=held if Path(held).exists() else cwd.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=launch.fds,
            start_new_session=True,
        )
    finally:
        os.close(directory)


async def _ended(process: subprocess.Popen[bytes], timeout_s: float | None) -> Ended:
    """Wait for the end of a program, at most `timeout_s`; when this returns or raises, its group has ended."""
    kept = {"stdout": bytearray(), "stderr": bytearray()}
    cut = ""
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with anyio.move_on_after(timeout_s) as clock:
            async with anyio.create_task_group() as tasks:

                async def drain(name: str, fd: int) -> None:
                    nonlocal cut
                    if not await _drained(fd, kept[name]) and not cut:
                        cut = name
                        tasks.cancel_scope.cancel()

                tasks.start_soon(drain, "stdout", process.stdout.fileno())
                tasks.start_soon(drain, "stderr", process.stderr.fileno())
                await _exited(process)
                # What it wrote is in the pipes; only children of its own can still hold them open.
                tasks.cancel_scope.deadline = anyio.current_time() + GRACE_S
        if clock.cancelled_caught:
            cut = "timeout"
    finally:
        with anyio.CancelScope(shield=True):
            await _end_group(process)
        process.stdout.close()
        process.stderr.close()
    return Ended(
        stdout=bytes(kept["stdout"]), stderr=bytes(kept["stderr"]), code=process.returncode, cut=cut
    )


async def _drained(fd: int, kept: bytearray) -> bool:
    """Read to the end of a pipe into `kept`. False as soon as it holds more than OUTPUT_MAX, which are kept."""
    os.set_blocking(fd, False)
    while True:
        await anyio.wait_readable(fd)
        try:
            chunk = os.read(fd, 65_536)
        except BlockingIOError:
            continue
        if not chunk:
            return True
        kept += chunk
        if len(kept) > OUTPUT_MAX:
            del kept[OUTPUT_MAX:]
            return False


async def _exited(process: subprocess.Popen[bytes]) -> None:
    """Return when the program has ended, whatever its children do."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or before 5.3
        await _until(lambda: process.poll() is not None)
        return
    try:
        await anyio.wait_readable(pidfd)
    finally:
        os.close(pidfd)


async def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the program's group: SIGTERM, a moment, SIGKILL. Takes at most 2 * GRACE_S."""
    for final in (signal.SIGTERM, signal.SIGKILL):
        if _gone(process):
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, final)
        with anyio.move_on_after(GRACE_S):
            await _until(lambda: _gone(process))


async def _until(happened: Callable[[], bool]) -> None:
    """For what only answers when asked: a process group has no descriptor to wait on."""
    while not happened():  # noqa: ASYNC110  # nobody sets an event for us
        await anyio.sleep(_POLL_S)


def _gone(process: subprocess.Popen[bytes]) -> bool:
    """Whether program and group have ended. Its number is not given to others while a member lives."""
    if process.poll() is None:
        return False
    with suppress(ChildProcessError):
        while os.waitpid(-process.pid, os.WNOHANG)[0]:
            pass  # orphans that came to us, because we are the first process of a container
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # a member that is not ours to end
        return False
    return False
