"""A container image made of this machine's own files: a Python, a shell and a few tools, and what they load.

No registry is asked. It takes a few seconds and some 100 MB.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path

TOOLS = (
    *("sh", "bash", "bwrap", "cat", "chmod", "curl", "dd", "env", "false", "id", "kill", "ln", "ls", "mkdir"),
    *("mount", "mv", "ps", "rm", "sleep", "touch", "true", "uname", "unshare"),
)  # fmt: skip
LIBRARIES = tuple(
    f"lib{name}"
    for name in ("dl.so.2", "gcc_s.so.1", "pthread.so.0", "rt.so.1", "stdc++.so.6", "util.so.1")
)
"""What packages with code of their own expect beside the C library."""

STAND_INS = ("git", "node", "npm", "uv")
"""Programs that an image of ours is given if it has none; in here they are there, and do nothing."""

_LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "test",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
)


def python() -> tuple[Path, Path]:
    """The Python that runs the tests, outside of its virtual environment, and its library."""
    interpreter = getattr(sys, "_base_executable", sys.executable)
    return Path(os.path.realpath(interpreter)), Path(sysconfig.get_path("stdlib"))


def _needed(programs: Iterable[Path]) -> set[Path]:
    """The libraries that `programs` load."""
    found: set[Path] = set()
    for program in programs:
        told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for line in told.splitlines():
            words = [word for word in line.split() if word.startswith("/")]
            found.update(Path(word) for word in words[:1])
    return found


def write_image(out: Path) -> None:
    """The root filesystem as a tar file for `docker import`."""
    interpreter, library = python()
    tools = [Path(found) for name in TOOLS if (found := shutil.which(name))]
    modules = list((library / "lib-dynload").glob("*.so"))
    files = {interpreter, interpreter.resolve(), *tools, *(tool.resolve() for tool in tools)}
    files |= _needed([interpreter, *tools, *modules])
    files.discard(Path("/usr/bin/python3"))
    for library_of_c in [file for file in files if file.name == "libc.so.6"]:
        beside = (library_of_c.with_name(name) for name in LIBRARIES)
        files |= {file for file in beside if file.exists()}
    places: set[Path] = set()
    for file in files:
        place = Path(os.path.realpath(file.parent), file.name)
        places |= {place, Path(os.path.realpath(place))}
    with tarfile.open(out, "w") as tar:
        for name in ("tmp", "var/tmp", "run", "etc", "proc", "sys", "dev", "home", "root"):
            _folder(tar, name)
        for name in ("bin", "lib", "lib64", "sbin"):
            if Path("/", name).is_symlink():
                _link(tar, name, f"usr/{name}")
        for place in sorted(places):
            if library not in place.parents:
                tar.add(place, arcname=str(place), recursive=False, filter=_plain)
        tar.add(library, arcname=str(library), filter=_plain)
        _link(tar, "usr/bin/python3", str(interpreter))
        for name in STAND_INS:
            _file(tar, f"usr/bin/{name}", b"#!/bin/sh\nexit 0\n", 0o755)
        _file(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        _file(tar, "etc/group", b"root:x:0:\n")
        _file(tar, "etc/shadow", b"root:$6$secret-of-the-image:19000:0:99999:7:::\n", 0o000)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if any(part in _LEFT_OUT for part in Path(member.name).parts):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _folder(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
    tar.addfile(member)


def _link(tar: tarfile.TarFile, name: str, to: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, to
    tar.addfile(member)


def _file(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))
