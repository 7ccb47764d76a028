"""The workspace wall, with the kernel's path walk and with ours: both must say the same."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from pathlib import Path
from typing import get_args

import pytest

from perstack.errors import ToolError
from perstack.skills.base import kernel
from perstack.skills.base.paths import Deed, Workspace


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with a secret beside it."""
    (tmp_path / "secret.txt").write_text("SECRET", encoding="utf-8")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("SECRET", encoding="utf-8")
    root = tmp_path / "ws"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "f.txt").write_text("inside", encoding="utf-8")
    return root


@pytest.fixture(params=["kernel", "walk"])
def workspace(request: pytest.FixtureRequest, root: Path) -> Generator[Workspace]:
    if request.param == "kernel" and not kernel.has_open_beneath():
        pytest.skip("openat2 is not available here")
    with Workspace(root, home=str(root / "a"), kernel_walk=request.param == "kernel") as opened:
        yield opened


def read(workspace: Workspace, operand: str, *, deed: Deed = "look") -> str:
    """The text at `operand`."""
    with workspace.at(operand, deed) as place, open(place.open(os.O_RDONLY), "rb") as file:
        return file.read().decode()


def refusal(workspace: Workspace, operand: str, *, deed: Deed = "look") -> str:
    with pytest.raises(ToolError) as caught, workspace.at(operand, deed):
        pass
    return str(caught.value)


@pytest.mark.parametrize(
    "operand",
    ["a/b/f.txt", "./a/b/f.txt", "a//b/f.txt", "a/../a/b/f.txt", "~/b/f.txt", "x/../a/b/f.txt"],
)
def test_a_path_inside_is_found_however_it_is_spelled(workspace: Workspace, operand: str):
    assert read(workspace, operand) == "inside"


def test_an_absolute_path_inside_is_found(workspace: Workspace, root: Path):
    assert read(workspace, str(root / "a" / "b" / "f.txt")) == "inside"
    assert read(workspace, "/" + str(root / "a" / "b" / "f.txt")) == "inside"


def test_a_root_given_through_a_link_may_be_spelled_both_ways(tmp_path: Path, root: Path):
    (tmp_path / "alias").symlink_to(root)
    with Workspace(tmp_path / "alias") as workspace:
        assert workspace.root == str(root)
        assert read(workspace, str(tmp_path / "alias" / "a" / "b" / "f.txt")) == "inside"
        assert read(workspace, str(root / "a" / "b" / "f.txt")) == "inside"


@pytest.mark.parametrize("operand", ["", ".", "a/..", "~/.."])
def test_the_root_itself_can_be_named(workspace: Workspace, operand: str):
    with workspace.at(operand) as place:
        assert (place.is_root, place.is_directory, place.path) == (True, True, workspace.root)


def test_what_is_missing_has_a_place_in_its_parent(workspace: Workspace, root: Path):
    with workspace.at("a/new.txt") as place:
        assert (place.stat, place.path) == (None, str(root / "a" / "new.txt"))


@pytest.mark.parametrize("operand", ["no/such/f", "no/f", "a/b/f.txt/x"])
def test_a_missing_parent_is_named(workspace: Workspace, root: Path, operand: str):
    parent = root / operand
    assert refusal(workspace, operand) == f"Parent directory does not exist: {parent.parent}"


@pytest.mark.parametrize(
    ("operand", "meant"),
    [
        ("/etc/passwd", "/etc/passwd"),
        ("../secret.txt", "{outside}/secret.txt"),
        ("a/../../secret.txt", "{outside}/secret.txt"),
        ("../../../../../../../../../etc/passwd", "/etc/passwd"),
        ("../ws-evil/f", "{outside}/ws-evil/f"),
        ("~/../../secret.txt", "{outside}/secret.txt"),
        ("//etc/passwd", "/etc/passwd"),
        ("/proc/self/root/etc/passwd", "/proc/self/root/etc/passwd"),
    ],
)
def test_a_path_outside_is_refused(workspace: Workspace, root: Path, operand: str, meant: str):
    absolute = meant.format(outside=root.parent)
    expected = f"Access denied - path outside allowed directories: {absolute} not in {root}"
    assert refusal(workspace, operand) == expected


def test_a_sibling_whose_name_begins_alike_is_outside(workspace: Workspace, root: Path):
    evil = root.parent / "ws-evil"
    evil.mkdir()
    (evil / "f").write_text("SECRET", encoding="utf-8")
    assert refusal(workspace, str(evil / "f")).startswith("Access denied - path outside")


@pytest.mark.parametrize("operand", ["a\0b", "a/\ud800"])
def test_text_that_no_path_can_hold_is_refused(workspace: Workspace, operand: str):
    assert refusal(workspace, operand).startswith("Path must ")


@pytest.mark.parametrize("text", ["b/f.txt", "../a/b/f.txt", "../a/./b//f.txt", "{root}/a/b/f.txt"])
def test_a_link_inside_is_followed(workspace: Workspace, root: Path, text: str):
    (root / "a" / "link").symlink_to(text.format(root=root))
    assert read(workspace, "a/link") == "inside"
    with workspace.at("a/link") as place:
        assert place.path == str(root / "a" / "b" / "f.txt")


@pytest.mark.parametrize("text", ["a/b", "./a/../a/b", "{root}/a/b"])
def test_a_linked_directory_on_the_way_is_followed(workspace: Workspace, root: Path, text: str):
    (root / "dir").symlink_to(text.format(root=root))
    assert read(workspace, "dir/f.txt") == "inside"
    with workspace.at("dir/f.txt") as place:
        assert place.path == str(root / "a" / "b" / "f.txt")


def test_dots_in_a_link_are_steps_from_where_it_stands(workspace: Workspace, root: Path):
    (root / "deep").symlink_to("a/b")
    (root / "a" / "b" / "up").symlink_to("..")
    (root / "a" / "b" / "beside").symlink_to("../top.txt")
    (root / "a" / "top.txt").write_text("one up", encoding="utf-8")
    assert read(workspace, "deep/beside") == "one up"
    assert read(workspace, "deep/up/top.txt") == "one up"
    with workspace.at("deep/up") as place:
        assert (place.path, place.is_directory) == (str(root / "a"), True)


def test_links_to_links_are_followed(workspace: Workspace, root: Path):
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("a/three")
    (root / "a" / "three").symlink_to(root / "a" / "b" / "f.txt")
    assert read(workspace, "one") == "inside"


def test_links_in_a_circle_lead_nowhere(workspace: Workspace, root: Path):
    (root / "ping").symlink_to("pong")
    (root / "pong").symlink_to("ping")
    with workspace.at("ping") as place:
        assert place.stat is None
    assert refusal(workspace, "ping/f") == f"Parent directory does not exist: {root}/ping"


def test_a_dangling_link_leads_nowhere_but_is_there_itself(workspace: Workspace, root: Path):
    (root / "dangling").symlink_to("a/gone/f")
    with workspace.at("dangling") as place:
        assert place.stat is None
    with workspace.at("dangling", "change") as place:
        assert place.is_link


@pytest.mark.parametrize(
    "text", ["../secret.txt", "{out}/secret.txt", "{out}", "..", "a/../../secret.txt", "/"]
)
@pytest.mark.parametrize("deed", ["look", "change"])
def test_a_link_to_outside_is_refused(workspace: Workspace, root: Path, text: str, deed: Deed):
    (root / "link").symlink_to(text.format(out=root.parent))
    told = refusal(workspace, "link", deed=deed)
    assert told == f"Access denied - path outside allowed directories: {root}/link not in {root}"


def test_a_link_to_a_link_to_outside_is_refused(workspace: Workspace, root: Path):
    (root / "a" / "out").symlink_to("../../outside")
    (root / "link").symlink_to("a/out")
    assert refusal(workspace, "link").startswith("Access denied")
    (root / "link2").symlink_to("a/out/secret.txt")
    assert refusal(workspace, "link2").startswith("Access denied")


@pytest.mark.parametrize("text", ["../outside", "{out}/outside"])
def test_nothing_is_reached_through_a_linked_directory_outside(
    workspace: Workspace, root: Path, text: str
):
    (root / "link").symlink_to(text.format(out=root.parent))
    for operand in ("link/secret.txt", "link/new.txt"):
        assert refusal(workspace, operand) == f"Parent directory does not exist: {root}/link"


@pytest.fixture
def history(root: Path) -> Path:
    (root / "perstack" / "jobs").mkdir(parents=True)
    (root / "perstack" / "jobs" / "log").write_text("SECRET", encoding="utf-8")
    return root / "perstack"


@pytest.mark.parametrize(
    "operand",
    ["perstack", "PERSTACK/jobs", "Perstack/jobs/log", "a/../perstack/jobs/log", "perstack/"],
)
@pytest.mark.usefixtures("history")
def test_the_reserved_directory_is_refused_in_any_case(workspace: Workspace, operand: str):
    assert refusal(workspace, operand) == "Access denied - perstack directory is not allowed"


@pytest.mark.usefixtures("history")
def test_the_reserved_directory_is_refused_by_its_absolute_path(workspace: Workspace, root: Path):
    told = refusal(workspace, str(root / "perstack" / "jobs" / "log"))
    assert told == "Access denied - perstack directory is not allowed"


@pytest.mark.parametrize(
    ("link", "text", "operand"),
    [
        ("alias", "perstack", "alias"),
        ("alias", "perstack", "alias/jobs"),
        ("alias", "perstack", "alias/jobs/log"),
        ("alias", "{root}/perstack", "alias/jobs/log"),
        ("alias", "perstack/jobs", "alias/log"),
        ("alias", "perstack/jobs/log", "alias"),
        ("alias.png", "perstack/jobs/log", "alias.png"),
        ("alias", ".", "alias/perstack"),
        ("alias", ".", "alias/perstack/jobs/log"),
        ("alias", ".", "alias/PERSTACK"),
    ],
)
@pytest.mark.usefixtures("history")
def test_the_reserved_directory_is_refused_under_another_name(
    workspace: Workspace, root: Path, link: str, text: str, operand: str
):
    (root / link).symlink_to(text.format(root=root))
    told = refusal(workspace, operand)
    assert told == "Access denied - perstack directory is not allowed"


def test_a_renamed_reserved_directory_is_known_by_what_it_is(workspace: Workspace, root: Path):
    (root / "data" / "jobs").mkdir(parents=True)
    (root / "data" / "jobs" / "log").write_text("SECRET", encoding="utf-8")
    (root / "perstack").symlink_to("data")  # a user may keep the history elsewhere
    told = refusal(workspace, "data/jobs/log")
    assert told == "Access denied - perstack directory is not allowed"


@pytest.mark.usefixtures("history")
def test_only_the_reserved_directory_of_the_root_is_reserved(workspace: Workspace, root: Path):
    (root / "a" / "perstack").mkdir()
    (root / "perstack.md").write_text("notes", encoding="utf-8")
    with workspace.at("a/perstack") as place:
        assert place.is_directory
    assert read(workspace, "perstack.md") == "notes"


@pytest.mark.parametrize(
    "operand",
    [".env", "./.env", ".ENV", ".env.local", "a/../.env", "alias", "a/up/.env", "{root}/.env"],
)
def test_files_that_the_runtime_reads_keys_from_are_refused(
    workspace: Workspace, root: Path, operand: str
):
    (root / ".env").write_text("KEY=SECRET", encoding="utf-8")
    (root / "alias").symlink_to(".env")
    (root / "a" / "up").symlink_to("..")
    told = refusal(workspace, operand.format(root=root))
    assert "SECRET" not in told
    assert "is where the user keeps keys" in told


def test_such_files_elsewhere_and_with_other_names_are_files(workspace: Workspace, root: Path):
    for name in ("a/.env", ".env.example", ".envrc"):
        (root / name).write_text("open", encoding="utf-8")
        assert read(workspace, name) == "open"


def test_a_renamed_root_stays_the_workspace(workspace: Workspace, root: Path):
    root.rename(root.parent / "moved")
    (root / "a" / "b").mkdir(parents=True)  # somebody puts another directory in its place
    (root / "a" / "b" / "f.txt").write_text("SECRET", encoding="utf-8")
    assert read(workspace, "a/b/f.txt") == "inside"
    assert read(workspace, str(root / "a" / "b" / "f.txt")) == "inside"


def test_a_directory_moved_out_while_it_is_open_is_outside(workspace: Workspace, root: Path):
    with workspace.at("a/b/f.txt") as place:
        (root / "a").rename(root.parent / "taken")
        # what was checked is what is used: the same file, wherever its directory went
        with open(place.open(os.O_RDONLY), "rb") as file:
            assert file.read() == b"inside"
    assert refusal(workspace, "a/b/f.txt").startswith("Parent directory does not exist")


def test_the_file_system_root_can_be_a_workspace(tmp_path: Path):
    with Workspace(Path("/")) as workspace:
        with workspace.at(str(tmp_path)) as place:
            assert place.path == str(tmp_path)
        with workspace.at("/") as place:
            assert place.is_root
        told = refusal(workspace, "/perstack/jobs")
        assert told == "Access denied - perstack directory is not allowed"


def test_no_descriptor_stays_open(workspace: Workspace, root: Path):
    (root / "out").symlink_to("..")
    (root / "in").symlink_to(root / "a")
    (root / "gone").symlink_to("nowhere")
    (root / "perstack").mkdir()
    before = set(os.listdir("/dev/fd"))
    for operand in (
        "a/b/f.txt",
        "in/b/f.txt",
        "in",
        "out",
        "out/x",
        "gone",
        "no/f",
        "perstack",
        "/etc",
        "a",
    ):
        for deed in get_args(Deed):
            try:
                with workspace.at(operand, deed):
                    pass
            except ToolError:
                pass
    assert set(os.listdir("/dev/fd")) == before


@pytest.mark.skipif(not kernel.has_open_beneath(), reason="openat2 is not available here")
@pytest.mark.parametrize("path", ["..", "a/../..", "out", "out/secret.txt", "abs/etc", "/etc"])
def test_the_kernel_alone_holds_the_wall(root: Path, path: str):
    (root / "out").symlink_to("../outside")
    (root / "abs").symlink_to("/")
    fd = os.open(root, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="cross-device") as caught:
            kernel.open_beneath(fd, path, os.O_RDONLY)
        assert caught.value.errno == errno.EXDEV
        os.close(kernel.open_beneath(fd, "a/b", os.O_RDONLY))
    finally:
        os.close(fd)


@pytest.mark.skipif(not kernel.has_open_beneath(), reason="openat2 is not available here")
def test_links_that_are_no_text_are_not_followed():
    with Workspace(Path("/")) as workspace:
        told = refusal(workspace, "/proc/self/cwd/pyproject.toml")
        assert told == "Parent directory does not exist: /proc/self/cwd"
