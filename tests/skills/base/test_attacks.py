"""Attempts to get out of the workspace. Each test looks at what the attacker got, not at what was said."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from perstack.errors import ToolError
from perstack.job import Text
from perstack.skills.base import kernel
from perstack.skills.base.files import (
    append_text_file,
    create_directory,
    delete_directory,
    delete_file,
    edit_text_file,
    get_file_info,
    list_directory,
    move_file,
    read_image_file,
    read_text_file,
    write_text_file,
)
from perstack.skills.base.paths import Workspace
from perstack.skills.skill import Outcome

from .test_media import picture
from .told import Asked, base_over

SECRET = "SECRET-7319"
ROUNDS = 400


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace, and secrets outside and in its history."""
    root = tmp_path / "ws"
    (root / "perstack" / "jobs").mkdir(parents=True)
    for directory in (tmp_path / "out", root / "perstack" / "jobs"):
        directory.mkdir(exist_ok=True)
        (directory / "secret.txt").write_text(SECRET, encoding="utf-8")
        (directory / "secret.png").write_bytes(picture("image/png", comment=SECRET.encode()))
        (directory / "empty").mkdir()
    return root


def state_of(*directories: Path) -> dict[str, bytes | None]:
    """All that is below, files with their bytes."""
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for directory in directories
        for path in sorted(directory.rglob("*"))
    }


def leaked(outcome: Outcome, secret: bytes) -> bool:
    shown = "".join(part.text if isinstance(part, Text) else part.data for part in outcome.parts)
    return SECRET in shown or len(outcome.parts) > 1 or str(len(secret)) in shown


async def attempts(base: Asked, path: str) -> list[Outcome]:
    """Every tool that takes a path, tried on `path`. What could not be taken in any case is only read."""
    tried: list[tuple[str, dict[str, Any]]] = [
        ("readTextFile", {"path": path}),
        ("readImageFile", {"path": path}),
        ("readPdfFile", {"path": path}),
        ("getFileInfo", {"path": path}),
        ("listDirectory", {"path": path}),
        ("writeTextFile", {"path": path, "text": "owned"}),
        ("appendTextFile", {"path": path, "text": "owned"}),
        ("editTextFile", {"path": path, "oldText": SECRET, "newText": "owned"}),
        ("moveFile", {"source": path, "destination": "stolen"}),
        ("moveFile", {"source": "bait", "destination": path}),
        ("moveFile", {"source": "bait", "destination": path + "/bait"}),
        ("createDirectory", {"path": path + "/new"}),
        ("deleteFile", {"path": path}),
        ("deleteDirectory", {"path": path, "recursive": True}),
    ]
    return [await base.use(tool, **args) for tool, args in tried]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    [
        "{out}/secret.txt",
        "{out}",
        "../out/secret.txt",
        "../out",
        "..",
        "link.txt",
        "link.png",
        "link",
        "link/secret.txt",
        "link/secret.png",
        "link/empty",
        "two/../../out/secret.txt",
        "far",
        "far/secret.png",
        "perstack",
        "perstack/jobs/secret.txt",
        "PERSTACK/jobs/secret.txt",
        "alias",
        "alias/jobs/secret.txt",
        "alias/jobs/secret.png",
        "alias/jobs",
        "alias/jobs/empty",
        "alias.png",
        "self/perstack/jobs/secret.txt",
        "self/self/Perstack",
        "~",
        "~/secret.txt",
        "/proc/self/environ",
        "/proc/self/cwd",
    ],
)
async def test_no_tool_reaches_outside_or_into_the_history(root: Path, path: str):
    out = root.parent / "out"
    links = {
        "link.txt": "../out/secret.txt",
        "link.png": str(out / "secret.png"),
        "link": "../out",
        "two": "perstack/jobs",
        "far": "two/../../../out",
        "alias": "perstack",
        "alias.png": "perstack/jobs/secret.png",
        "self": ".",
    }
    for name, text in links.items():
        (root / name).symlink_to(text)
    (root / "bait").write_text("bait", encoding="utf-8")
    before = state_of(out, root / "perstack")
    async with base_over(root, {"HOME": str(out), "KEY": SECRET}) as base:
        outcomes = await attempts(base, path.format(out=out))
        outcomes += [await base.use("listDirectory", path=".")]
    assert not [outcome for outcome in outcomes[:-1] if not outcome.is_error]
    assert not [o for o in outcomes if leaked(o, (out / "secret.png").read_bytes())]
    assert state_of(out, root / "perstack") == before
    assert {name: os.readlink(root / name) for name in links} == links


@pytest.fixture(params=["kernel", "walk"])
def workspace(request: pytest.FixtureRequest, root: Path) -> Generator[Workspace]:
    if request.param == "kernel" and not kernel.has_open_beneath():
        pytest.skip("openat2 is not available here")
    with Workspace(root, kernel_walk=request.param == "kernel") as opened:
        yield opened


@contextmanager
def flipping(flip: Callable[[int], None]) -> Generator[Callable[[], bool]]:
    """Somebody who swaps things in a loop meanwhile. Gives whether they still do."""

    def swap() -> None:
        for number in range(ROUNDS):
            flip(number)

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        yield attacker.is_alive
    finally:
        attacker.join()


def tried(call: Callable[..., Any], *args: Any) -> str:
    """What the tool gave, or nothing: a race may end in any refusal."""
    with suppress(ToolError, OSError):
        return repr(call(*args))
    return ""


def swap_file(name: Path, target: Path) -> Callable[[int], None]:
    """Turns `name` into a link to `target` and back into a file, each in one step."""

    def flip(number: int) -> None:
        other = name.with_name(f"other-{number}")
        if number % 2:
            other.write_bytes(b"inside")
        else:
            other.symlink_to(target)
        other.replace(name)

    return flip


def swap_directory(name: Path, target: Path) -> Callable[[int], None]:
    """Turns the directory `name` into a link to `target` and back."""
    parked = name.with_name("parked")

    def flip(number: int) -> None:
        if number % 2:
            name.unlink()
            parked.rename(name)
        else:
            name.rename(parked)
            name.symlink_to(target)

    return flip


@pytest.mark.parametrize("target", ["out", "ws/perstack/jobs"])
def test_a_file_that_becomes_a_link_gives_nothing_away(
    workspace: Workspace, root: Path, target: str
):
    outside = root.parent / target
    file = root / "f.txt"
    file.write_bytes(b"inside")
    before = state_of(outside)
    seen: set[str] = set()
    with flipping(swap_file(file, outside / "secret.txt")) as goes_on:
        while goes_on():
            seen.add(tried(read_text_file, workspace, "f.txt"))
            seen.add(tried(get_file_info, workspace, "f.txt"))
            tried(write_text_file, workspace, "f.txt", "owned")
            tried(append_text_file, workspace, "f.txt", "owned")
            tried(edit_text_file, workspace, "f.txt", "mine", "owned")
    assert not [told for told in seen if SECRET in told or "secret" in told]
    assert state_of(outside) == before


@pytest.mark.parametrize("target", ["out", "ws/perstack/jobs"])
def test_a_directory_that_becomes_a_link_gives_nothing_away(
    workspace: Workspace, root: Path, target: str
):
    outside = root.parent / target
    directory = root / "d"
    directory.mkdir()
    (directory / "secret.txt").write_bytes(b"inside")
    (directory / "secret.png").write_bytes(picture("image/png"))
    before = state_of(outside)
    image = tried(read_image_file, workspace, "d/secret.png").partition("data=")[2]
    seen: set[str] = set()
    images: set[str] = set()
    with flipping(swap_directory(directory, outside)) as goes_on:
        while goes_on():
            seen.add(tried(read_text_file, workspace, "d/secret.txt"))
            images.add(tried(read_image_file, workspace, "d/secret.png").partition("data=")[2])
            seen.add(tried(list_directory, workspace, "d"))
            tried(write_text_file, workspace, "d/new.txt", "owned")
            tried(append_text_file, workspace, "d/secret.txt", "")
            tried(create_directory, workspace, "d/new")
            tried(delete_directory, workspace, "d/empty")
            tried(delete_directory, workspace, "d/new")
            tried(move_file, workspace, "d/secret.png", "d/moved.png")
            tried(move_file, workspace, "d/moved.png", "d/secret.png")
            tried(delete_file, workspace, "d/new.txt")
    assert not [told for told in seen if SECRET in told or "empty" in told]
    assert images <= {"", image}
    assert state_of(outside) == before


def test_a_listing_does_not_follow_what_becomes_a_link(workspace: Workspace, root: Path):
    (root / "d").mkdir()
    (root / "d" / "f").write_bytes(b"inside")
    size = (root.parent / "out" / "secret.png").stat().st_size
    sizes: set[int] = set()
    with flipping(swap_file(root / "d" / "f", root.parent / "out" / "secret.png")) as goes_on:
        while goes_on():
            told = list_directory(workspace, "d")
            sizes |= {item["size"] for item in told["items"] if item["name"] == "f"}
    assert sizes <= {0, 6}
    assert size not in sizes


@pytest.mark.anyio
async def test_a_pipe_or_a_device_is_neither_waited_for_nor_fed(root: Path):
    os.mkfifo(root / "pipe.png")
    (root / "link").symlink_to("pipe.png")
    names = ["pipe.png", "link"]
    with suppress(PermissionError):  # only root may make a device
        os.mknod(root / "zero", 0o666 | 0o020000, os.makedev(1, 5))
        names.append("zero")
    with anyio.fail_after(10):
        async with base_over(root) as base:
            for name in names:
                for tool in (
                    "readTextFile",
                    "readImageFile",
                    "readPdfFile",
                    "getFileInfo",
                    "listDirectory",
                ):
                    assert (await base.use(tool, path=name)).is_error
                for tool in ("writeTextFile", "appendTextFile"):
                    assert (await base.use(tool, path=name, text="x")).is_error
                assert (
                    await base.use("editTextFile", path=name, oldText="a", newText="b")
                ).is_error
    assert (root / "pipe.png").is_fifo()


def test_a_file_that_becomes_a_pipe_is_not_waited_for(workspace: Workspace, root: Path):
    (root / "f.txt").write_bytes(b"inside")

    def flip(number: int) -> None:
        other = root / f"other-{number}"
        if number % 2:
            other.write_bytes(b"inside")
        else:
            os.mkfifo(other)
        other.replace(root / "f.txt")

    seen: set[str] = set()

    def read() -> None:
        with flipping(flip) as goes_on:
            while goes_on():
                seen.add(tried(read_text_file, workspace, "f.txt"))
                tried(append_text_file, workspace, "f.txt", "x")

    # A daemon, so that a reader that hangs ends with the tests
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(60)
    assert not reader.is_alive()
    assert not [told for told in seen if "'content': ''" in told]  # what reading a pipe would give


@pytest.mark.anyio
async def test_a_huge_sparse_file_is_not_read(root: Path):
    for name in ("f.txt", "f.png", "f.pdf"):
        with (root / name).open("wb") as file:
            file.truncate(1 << 40)
    async with base_over(root) as base:
        for tool, name in (
            ("readTextFile", "f.txt"),
            ("readImageFile", "f.png"),
            ("readPdfFile", "f.pdf"),
        ):
            assert "too large (1048576.0MB)" in await base.fault(tool, path=name)
        told = await base.fault("editTextFile", path="f.txt", oldText="a", newText="b")
        assert "too large" in told
        assert (await base.result("getFileInfo", path="f.txt"))["size"] == 1 << 40


@pytest.mark.anyio
async def test_text_at_the_limit_is_read_and_a_byte_more_is_not(root: Path):
    limit = 10 * 1024 * 1024
    (root / "f.txt").write_bytes(b"x" * limit)
    async with base_over(root) as base:
        assert len((await base.result("readTextFile", path="f.txt"))["content"]) == limit
        await base.result("appendTextFile", path="f.txt", text="x")
        assert "too large" in await base.fault("readTextFile", path="f.txt")


@pytest.mark.anyio
async def test_a_hard_link_made_by_others_is_only_a_file_here(root: Path):
    """No path leads through it, so nothing can be told; but a write does not reach the other name."""
    (root / "hard").hardlink_to(root.parent / "out" / "secret.txt")
    async with base_over(root) as base:
        assert (await base.result("readTextFile", path="hard"))["content"] == SECRET
        await base.result("writeTextFile", path="hard", text="owned")
    assert (root.parent / "out" / "secret.txt").read_text(encoding="utf-8") == SECRET


@pytest.mark.anyio
async def test_the_history_is_not_listed_but_its_place_is_kept(root: Path):
    async with base_over(root) as base:
        names = [item["name"] for item in (await base.result("listDirectory", path="."))["items"]]
        assert names == []
        (root / "self").symlink_to(".")
        listed = (await base.result("listDirectory", path="self"))["items"]
        assert [item["name"] for item in listed] == ["self"]


@pytest.mark.anyio
async def test_a_history_that_is_not_there_yet_cannot_be_made(tmp_path: Path):
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "d").mkdir()
    async with base_over(tmp_path) as base:
        for path in ("perstack", "PerStack", "self/perstack"):
            await base.fault("createDirectory", path=path)
            await base.fault("writeTextFile", path=path, text="x")
            await base.fault("moveFile", source="d", destination=path)
    assert sorted(os.listdir(tmp_path)) == ["d", "self"]
