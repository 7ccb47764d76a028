"""What walls cost: `python -m bench.walls [--rounds N]`.

Programs and servers are started with walls and without, in turns, so what slows the machine slows both. A program
is `true`; a server is one line of Python that answers one line. The time is from asking for it to its end, or to
its first answer. Aims: a program 50 ms over, a server 60 ms over. The lowest of many rounds is what walls cost
when nobody else needs the machine; the median is what was seen.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

import anyio

from perstack.definition import StdioSkill
from perstack.sandbox import NativeWalls, Place
from perstack.skills import Wrap, unwrapped
from perstack.skills.launch import Murmur, open_process

AIMS_MS = {"a program": 50.0, "a server": 60.0}
ANSWERS = ("python3", "-I", "-S", "-c", "print(input(), flush=True); input()")


def program(wrap: Wrap, workspace: Path, env: dict[str, str]) -> None:
    """Starts a program and waits for its end."""
    with wrap(("true",), env, str(workspace)) as launch:
        process = subprocess.Popen(
            launch.argv, env=dict(launch.env), pass_fds=tuple(launch.fds), cwd=workspace
        )
    if process.wait() != 0:
        raise RuntimeError(f"true ended with {process.returncode}")


async def server(wrap: Wrap, workspace: Path, env: dict[str, str]) -> float:
    """Milliseconds from asking for a server to its first answer."""
    began = perf_counter()
    murmur = Murmur(lambda _: None)
    async with open_process("bench", ANSWERS, env, workspace, murmur, wrap=wrap) as process:
        await process.write(b"hello\n")
        if await process.line() != b"hello":
            raise RuntimeError(f"no answer: {murmur.tail}")
        took = (perf_counter() - began) * 1000
        await process.write(b"bye\n")
    return took


async def measured(rounds: int, env: dict[str, str]) -> dict[str, tuple[list[float], list[float]]]:
    """Milliseconds without and with walls."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in AIMS_MS}
    skill = StdioSkill(command="python3", args=("-",))

    def told(_: object) -> None:
        pass

    with ExitStack() as stack:
        workspace = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        walls = NativeWalls(Place(workspace=str(workspace)), env)
        async with (
            walls.around_programs(skill, told) as around_program,
            walls.around_server("bench", skill, told) as around_server,
        ):
            for at in range(rounds + 1):  # the first warms up
                for side, (one, two) in enumerate(
                    ((unwrapped, unwrapped), (around_program, around_server))
                ):
                    began = perf_counter()
                    program(one, workspace, env)
                    took = (perf_counter() - began) * 1000
                    answered = await server(two, workspace, env)
                    if at:
                        found["a program"][side].append(took)
                        found["a server"][side].append(answered)
    return found


def table_of(found: dict[str, tuple[list[float], list[float]]]) -> str:
    lines = [
        "| | without walls | with walls | over | over, at best | aim |",
        "|---|---|---|---|---|---|",
    ]
    for name, (bare, walled) in found.items():
        over = median(two - one for one, two in zip(bare, walled, strict=True))
        best = min(walled) - min(bare)
        lines.append(
            f"| {name} | {median(bare):.1f} ms | {median(walled):.1f} ms | {over:.1f} ms | {best:.1f} ms "
            f"| {AIMS_MS[name]:.0f} ms |"
        )
    return "\n".join(lines)


def main(say: Callable[[str], object] = print) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.walls", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    import os

    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    say(table_of(anyio.run(measured, given.rounds, env)))


if __name__ == "__main__":
    main()
