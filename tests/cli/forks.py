"""The program `perstack`, ready to begin: `python -m tests.cli.forks` has everything imported and forks.

Each command line runs in a process of its own, which can be killed at any instant; it only begins some 150 ms
sooner. One JSON object a line on stdin asks for a process (`Wish`), one on stdout tells how it ended.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Self

from .program import Ran, environment


@dataclass(frozen=True, kw_only=True)
class Wish:
    """args: the command line. kill_after_s: when to kill it with -9, None for never. out, err: files."""

    args: list[str]
    cwd: str
    env: dict[str, str]
    out: str
    err: str
    kill_after_s: float | None


class Forks:
    """The one who asks. Not for two threads at once."""

    def __init__(self, scratch: Path) -> None:
        self._out = scratch / "stdout"
        self._err = scratch / "stderr"
        scratch.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forks"],
            cwd=Path(__file__).parents[2],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def run(
        self, *args: str, cwd: Path, env: Mapping[str, str], kill_after_s: float | None = None
    ) -> Ran:
        """As `program.perstack`. The code is -9 if it was killed; its last line may then be torn."""
        for path in (self._out, self._err):
            path.write_bytes(b"")  # a process that is killed at once has not opened them
        wish = Wish(
            args=list(args),
            cwd=str(cwd),
            env=environment(env),
            out=str(self._out),
            err=str(self._err),
            kill_after_s=kill_after_s,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(wish)) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        out = self._out.read_bytes()
        whole = out[: out.rfind(b"\n") + 1] if code < 0 else out
        return Ran(code, whole.decode(), self._err.read_text(errors="replace"))


READY = (
    "anyio._backends._asyncio",
    "dotenv",
    "perstack.cli.commands.run",
    "perstack.models.http",
    "perstack.models.wires.anthropic",
    "perstack.skills.base",
)
"""What a run imports on its way."""


def _become(wish: Wish) -> int:
    """What the child does: be the program."""
    from perstack.cli.main import status_of

    os.chdir(wish.cwd)
    os.environ.clear()
    os.environ.update(wish.env)
    for path, descriptor in (("/dev/null", 0), (wish.out, 1), (wish.err, 2)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    code = status_of(wish.args)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _perform(wish: Wish) -> int:
    # The child holds the other end; it is closed when the child ends, however it ends.
    ends, alive = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.close(ends)
            code = _become(wish)
        finally:
            os._exit(code)
    os.close(alive)
    if not select.select([ends], [], [], wish.kill_after_s)[0]:
        os.kill(pid, signal.SIGKILL)
    os.close(ends)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    for name in READY:
        import_module(name)
    for line in sys.stdin:
        sys.stdout.write(f"{_perform(Wish(**json.loads(line)))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
