"""Disks that are full, closed or not ours: one clear message, and nothing that was written is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.register import proves
from tests.fakes.modelserver import ModelServer

from .program import (
    LONG_S,
    Ran,
    command,
    environment,
    expert,
    facts,
    folded,
    is_one_message,
    keys,
    log_of,
    perstack,
)

RUN = ("run", "worker", "Go", "--job-id", "job")
GO_ON = ("run", "worker", "--continue-job", "job")


def first(statements: str) -> list[str]:
    """The beginning of a command line that does something to its process, and then becomes the rest."""
    code = f"import ctypes, os, resource, sys; {statements}; os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", code]


def limited(server: ModelServer, workspace: Path, size_bytes: int, *args: str) -> Ran:
    """A run that may write no file larger than so many bytes."""
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size_bytes}, {size_bytes}))"
    done = subprocess.run(
        [*first(limit), *command(*args)],
        cwd=workspace,
        env=environment(keys(server)) | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=LONG_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


@proves("run.full-disk")
@pytest.mark.parametrize("size_bytes", [12_000, 13_000, 14_333, 20_000])
def test_a_log_that_may_not_grow(size_bytes: int, workspace: Path):
    (workspace / "note.txt").write_text("a note\n")
    with ModelServer("steps:30") as server:
        ran = limited(server, workspace, size_bytes, *RUN)
        assert ran.code == 1
        assert is_one_message(ran.err)
        assert (
            "it may not grow any larger here. Everything up to the last event is kept." in ran.err
        )
        assert "--continue-job job" in ran.err
        told = [event["type"] for event in ran.events]
        assert len(told) > 3
        before = log_of(workspace, "job").read_bytes()
        assert before.endswith(b"\n")
        assert len(before) <= size_bytes
        folded(workspace, "job")
        again = perstack(*GO_ON, cwd=workspace, env=keys(server))
    assert again.code == 0
    assert log_of(workspace, "job").read_bytes().startswith(before)


def test_a_log_that_may_not_begin(workspace: Path):
    with ModelServer("steps:1") as server:
        ran = limited(server, workspace, 100, *RUN)
    assert (ran.code, ran.out) == (1, "")
    assert is_one_message(ran.err)
    assert "Raise the limit (see `ulimit -f`), then try again." in ran.err
    assert "--continue-job" not in ran.err  # there is no job to go on with
    assert log_of(workspace, "job").read_bytes() == b""


def test_where_no_temporary_directory_can_be_made(workspace: Path):
    with ModelServer("steps:1") as server:
        ran = limited(server, workspace, 0, "run", "fitness-assistant", "--demo")
    assert (ran.code, ran.out) == (1, "")
    assert is_one_message(ran.err)
    assert "No temporary directory can be made: " in ran.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"file systems may not be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@proves("run.full-disk")
def test_a_disk_that_is_full(small_disk: Path):
    (small_disk / "perstack.toml").write_text(expert())
    (small_disk / "note.txt").write_text("a note\n" * 500)
    with ModelServer("steps:80") as server:
        ran = perstack(*RUN, cwd=small_disk, env=keys(server))
        assert ran.code == 1
        assert is_one_message(ran.err)
        assert "no space is left for it. Everything up to the last event is kept." in ran.err
        before = log_of(small_disk, "job").read_bytes()
        folded(small_disk, "job")
        still = perstack(*GO_ON, cwd=small_disk, env=keys(server))
        assert still.code == 1
        assert is_one_message(still.err)
        subprocess.run(
            ["mount", "-o", "remount,size=8m", str(small_disk)], check=True, capture_output=True
        )
        again = perstack(*GO_ON, cwd=small_disk, env=keys(server))
    assert again.code == 0
    assert log_of(small_disk, "job").read_bytes().startswith(before.rstrip(b"\0"))


@proves("run.read-only")
def test_a_disk_that_is_read_only(small_disk: Path):
    (small_disk / "perstack.toml").write_text(expert())
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with ModelServer("steps:1") as server:
        ran = perstack(*RUN, cwd=small_disk, env=keys(server))
        assert len(server.requests) == 0
    assert (ran.code, ran.out) == (1, "")
    assert is_one_message(ran.err)
    assert "its file system is read-only. Make it writable" in ran.err


# Linux: PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH. From the next exec on, root too may do only
# what the modes of files say.
WITHOUT_RIGHTS_OF_ROOT = "; ".join(
    ("drop = ctypes.CDLL(None).prctl", "assert drop(24, 1, 0, 0, 0) == drop(24, 2, 0, 0, 0) == 0")
)


@proves("run.read-only")
def test_a_workspace_that_cannot_be_written(workspace: Path):
    root = os.geteuid() == 0
    if root and sys.platform != "linux":
        pytest.skip("root may write everywhere")
    workspace.chmod(0o555)
    try:
        with ModelServer("steps:1") as server:
            done = subprocess.run(
                [*(first(WITHOUT_RIGHTS_OF_ROOT) if root else []), *command(*RUN)],
                cwd=workspace,
                env=environment(keys(server)),
                capture_output=True,
                timeout=LONG_S,
                check=False,
            )
            assert len(server.requests) == 0
    finally:
        workspace.chmod(0o755)
    assert (done.returncode, done.stdout) == (1, b"")
    err = done.stderr.decode()
    assert is_one_message(err)
    assert f"{workspace}/perstack" in err
    assert "permission denied. Give this user the right to use it" in err


def test_a_recording_that_cannot_be_written(workspace: Path):
    (workspace / "tape").mkdir()
    with ModelServer("steps:1") as server:
        ran = perstack(*RUN, "--record", "perstack.toml/x", cwd=workspace, env=keys(server))
    assert ran.code == 1
    assert is_one_message(ran.err)
    assert "The cassette perstack.toml/x cannot be written" in ran.err
    with ModelServer("steps:1") as server:
        again = perstack(*GO_ON, "Go", cwd=workspace, env=keys(server))
    assert again.code == 0
    assert facts(workspace, "job")[-1]["type"] == "runFinished"
