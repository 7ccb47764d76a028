"""Stands in for another vendor's program: says what a scenario says, and notes how it was asked.

    python vendor_cli.py DIRECTORY [ARGUMENT]...

`scenario.json` in DIRECTORY says what it does; what it was given is kept in `seen.json` there. `install` puts one
into a directory under the name of the real program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def install(
    directory: Path,
    program: str,
    lines: Iterable[Mapping[str, Any] | str] = (),
    *,
    version: str = "2.0.0 (fake)",
    exit: int = 0,
    stderr: str = "",
    torn: bool = False,
    hangs: bool = False,
    child: bool = False,
    bad_version: int = 0,
    writes: Mapping[str, str] | None = None,
) -> Path:
    """A directory for PATH with the fake `program` in it.

    lines: what it prints, an object as JSON. torn: the last line has no end. hangs: it never ends by itself.
    child: it leaves a process behind that holds its output open. writes: files it makes where it works.
    """
    directory.mkdir(exist_ok=True)
    told = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    scenario = {
        "version": version,
        "lines": told,
        "exit": exit,
        "stderr": stderr,
        "torn": torn,
        "hangs": hangs,
        "child": child,
        "badVersion": bad_version,
        "writes": dict(writes or {}),
    }
    (directory / "scenario.json").write_text(json.dumps(scenario))
    path = directory / program
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{__file__}" "{directory}" "$@"\n')
    path.chmod(0o755)
    return directory


def seen(directory: Path) -> dict[str, Any]:
    """How the program was asked: `argv`, `stdin`, `env`, `cwd`."""
    return json.loads((directory / "seen.json").read_text())


def main(directory: Path, args: list[str]) -> int:
    scenario = json.loads((directory / "scenario.json").read_text())
    if args == ["--version"]:
        sys.stdout.write(f"{scenario['version']}\n")
        return scenario["badVersion"]
    asked = {"argv": args, "stdin": sys.stdin.read(), "env": dict(os.environ), "cwd": os.getcwd()}
    (directory / "seen.json").write_text(json.dumps(asked))
    for name, text in scenario["writes"].items():
        Path(name).write_text(text)
    if scenario["child"]:
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (directory / "child.pid").write_text(str(sleeper.pid))
    text = "".join(f"{line}\n" for line in scenario["lines"])
    sys.stdout.write(text[:-1] if scenario["torn"] else text)
    sys.stdout.flush()
    sys.stderr.write(scenario["stderr"])
    sys.stderr.flush()
    (directory / "said.pid").write_text(str(os.getpid()))
    while scenario["hangs"]:
        time.sleep(600)
    return scenario["exit"]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
