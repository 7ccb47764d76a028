"""The file tools, as a model meets them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from perstack.errors import SkillUnavailable
from perstack.skills.base import kernel
from perstack.skills.base.files import LISTING_MAX, get_file_info, list_directory
from perstack.skills.base.paths import Workspace

from .told import base_over

pytestmark = pytest.mark.anyio


async def test_a_file_is_read_whole_or_by_lines(tmp_path: Path):
    (tmp_path / "f.txt").write_bytes(b"one\ntwo\r\nthree\n")
    async with base_over(tmp_path) as base:
        whole = await base.result("readTextFile", path="f.txt")
        assert whole == {"path": "f.txt", "content": "one\ntwo\r\nthree\n", "from": 0, "to": 4}
        window = await base.result("readTextFile", path="f.txt", from_=1, to=2)
        assert window == {"path": "f.txt", "content": "two\r", "from": 1, "to": 2}
        last = await base.result("readTextFile", path="f.txt", from_=-2, to=99)
        assert last == {"path": "f.txt", "content": "three\n", "from": -2, "to": 99}


async def test_an_empty_file_has_one_empty_line(tmp_path: Path):
    (tmp_path / "f.txt").touch()
    async with base_over(tmp_path) as base:
        told = await base.result("readTextFile", path="f.txt")
        assert told == {"path": "f.txt", "content": "", "from": 0, "to": 1}


async def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path):
    (tmp_path / "f.txt").write_bytes(b"a\xffb")
    async with base_over(tmp_path) as base:
        assert (await base.result("readTextFile", path="f.txt"))["content"] == "a\ufffdb"


async def test_a_missing_file_is_named_as_it_was_asked_for(tmp_path: Path):
    async with base_over(tmp_path) as base:
        for tool in ("readTextFile", "readImageFile", "readPdfFile", "deleteFile"):
            assert await base.fault(tool, path="./no.txt") == "File ./no.txt does not exist."
        told = await base.fault("appendTextFile", path="no.txt", text="x")
        assert told == "File no.txt does not exist."
        told = await base.fault("editTextFile", path="no.txt", oldText="x", newText="y")
        assert told == "File no.txt does not exist."
        told = await base.fault("readTextFile", path="no/f")
        assert told == f"Parent directory does not exist: {tmp_path}/no"


async def test_a_directory_is_not_read_or_written_as_a_file(tmp_path: Path):
    (tmp_path / "d").mkdir()
    async with base_over(tmp_path) as base:
        assert await base.fault("readTextFile", path="d") == "Path d is a directory."
        assert await base.fault("writeTextFile", path="d", text="") == "Path d is a directory."
        assert await base.fault("writeTextFile", path="", text="") == "Path  is a directory."


async def test_a_file_is_written_and_replaced(tmp_path: Path):
    async with base_over(tmp_path) as base:
        told = await base.result("writeTextFile", path="f.txt", text="größe\n")
        assert told == {"path": str(tmp_path / "f.txt"), "text": "größe\n"}
        assert (tmp_path / "f.txt").read_bytes() == "größe\n".encode()
        await base.result("writeTextFile", path="f.txt", text="")
        assert (tmp_path / "f.txt").read_bytes() == b""
        assert os.listdir(tmp_path) == ["f.txt"]  # nothing temporary is left


async def test_a_new_file_is_for_its_owner_to_write(tmp_path: Path):
    async with base_over(tmp_path) as base:
        await base.result("writeTextFile", path="f.txt", text="x")
        mode = stat.S_IMODE((tmp_path / "f.txt").stat().st_mode)
        assert mode & 0o600 == 0o600
        assert not mode & 0o133


async def test_a_replaced_file_keeps_its_mode(tmp_path: Path):
    script = tmp_path / "run.sh"
    script.write_text("old", encoding="utf-8")
    script.chmod(0o751)
    async with base_over(tmp_path) as base:
        await base.result("writeTextFile", path="run.sh", text="new")
        await base.result("editTextFile", path="run.sh", oldText="new", newText="newer")
    assert (script.read_text(encoding="utf-8"), script.stat().st_mode & 0o777) == ("newer", 0o751)


async def test_whoever_reads_during_a_write_sees_the_old_file_whole(tmp_path: Path):
    file = tmp_path / "f.txt"
    file.write_text("old", encoding="utf-8")
    with file.open(encoding="utf-8") as reader:
        async with base_over(tmp_path) as base:
            await base.result("writeTextFile", path="f.txt", text="new")
        assert reader.read() == "old"


async def test_a_write_goes_to_the_name_and_not_to_its_other_hard_links(tmp_path: Path):
    (tmp_path / "outside").write_text("mine", encoding="utf-8")
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "link").hardlink_to(tmp_path / "outside")
    async with base_over(tmp_path / "ws") as base:
        await base.result("writeTextFile", path="link", text="theirs")
    assert (tmp_path / "outside").read_text(encoding="utf-8") == "mine"


IN_PLACE = """
import os, sys
from pathlib import Path
from perstack.skills.base.files import write_text_file
from perstack.skills.base.paths import Workspace
with Workspace(Path("ws")) as workspace:
    write_text_file(workspace, "f", "new")
    print(Path("ws/f").read_text(), os.listdir("ws"))
"""


def test_a_file_that_is_a_mount_point_is_written_in_place(tmp_path: Path):
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "f").touch()
    (tmp_path / "mounted").write_text("much longer than new", encoding="utf-8")
    mount = 'mount --bind mounted ws/f && exec "$0" -c "$1"'
    ran = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount, sys.executable, IN_PLACE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip(f"no mounts without privileges here: {ran.stderr.strip()}")
    assert (ran.stdout, ran.stderr) == ("new ['f']\n", "")
    assert (tmp_path / "mounted").read_text(encoding="utf-8") == "new"


async def test_a_missing_parent_is_not_created(tmp_path: Path):
    async with base_over(tmp_path) as base:
        parent = f"Parent directory does not exist: {tmp_path}/no"
        assert await base.fault("writeTextFile", path="no/f", text="x") == parent
        assert await base.fault("createDirectory", path="no/d") == parent
        (tmp_path / "f").touch()
        assert await base.fault("moveFile", source="f", destination="no/f") == parent
    assert os.listdir(tmp_path) == ["f"]


async def test_a_file_its_owner_may_not_write_is_left_alone(tmp_path: Path):
    (tmp_path / "f").write_text("x", encoding="utf-8")
    (tmp_path / "f").chmod(0o444)
    async with base_over(tmp_path) as base:
        told = "File f is not writable"
        assert await base.fault("writeTextFile", path="f", text="y") == told
        assert await base.fault("appendTextFile", path="f", text="y") == told
        assert await base.fault("editTextFile", path="f", oldText="x", newText="y") == told
        assert await base.fault("deleteFile", path="f") == told
        assert (
            await base.fault("moveFile", source="f", destination="g")
            == "Source file f is not writable"
        )
    assert (tmp_path / "f").read_text(encoding="utf-8") == "x"


async def test_text_is_appended_as_it_is(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"a")
    async with base_over(tmp_path) as base:
        told = await base.result("appendTextFile", path="f", text="b\r\n")
        assert told == {"path": str(tmp_path / "f"), "text": "b\r\n"}
        await base.result("appendTextFile", path="f", text="")
    assert (tmp_path / "f").read_bytes() == b"ab\r\n"


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        ("a b a", "a", "c", "c b a"),
        ("cost: X", "X", "$& $$ $` $' \\1", "cost: $& $$ $` $' \\1"),
        ("a\nb\nc\n", "b\n", "", "a\nc\n"),
        ("a\r\nb\r\nc\r\n", "a\nb", "x\ny\nz", "x\r\ny\r\nz\r\nc\r\n"),
        ("a\r\nb\r\nc\r\n", "\nb\n", "\n", "a\r\nc\r\n"),
        ("a\nb\nc\n", "a\r\nb", "x\r\ny", "x\ny\nc\n"),
        ("a\r\nb\nc\nd", "c", "x\ny", "a\r\nb\nx\ny\nd"),
        ("a\rb\r\nc\n\r\n", "b\nc", "x", "a\rx\n\r\n"),
        ("", "", "", None),
        ("ab", "c", "d", None),
    ],
)
async def test_an_edit_is_literal_and_leaves_the_rest_alone(
    tmp_path: Path, before: str, old: str, new: str, after: str | None
):
    (tmp_path / "f").write_bytes(before.encode())
    async with base_over(tmp_path) as base:
        if after is None:
            await base.fault("editTextFile", path="f", oldText=old, newText=new)
        else:
            told = await base.result("editTextFile", path="f", oldText=old, newText=new)
            assert told == {"path": str(tmp_path / "f"), "newText": new, "oldText": old}
    assert (tmp_path / "f").read_bytes() == (before if after is None else after).encode()


async def test_an_edit_says_why_it_was_not_made(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"abc")
    async with base_over(tmp_path) as base:
        told = await base.fault("editTextFile", path="f", oldText="x", newText="y")
        assert told == f"Could not find exact match for oldText in file {tmp_path}/f"
        told = await base.fault("editTextFile", path="f", oldText="", newText="y")
        assert told == "oldText must not be empty"


async def test_an_edit_keeps_bytes_that_are_no_text(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbf\xff\xfe old \x80")
    async with base_over(tmp_path) as base:
        await base.result("editTextFile", path="f", oldText="old", newText="new")
    assert (tmp_path / "f").read_bytes() == b"\xef\xbb\xbf\xff\xfe new \x80"


async def test_files_and_directories_are_moved(tmp_path: Path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "f").write_text("x", encoding="utf-8")
    async with base_over(tmp_path) as base:
        told = await base.result("moveFile", source="f", destination="d/e/g")
        assert told == {"source": str(tmp_path / "f"), "destination": str(tmp_path / "d/e/g")}
        await base.result("moveFile", source="d/e", destination="e")
    assert (tmp_path / "e" / "g").read_text(encoding="utf-8") == "x"
    assert not (tmp_path / "f").exists()


async def test_nothing_is_moved_onto_what_is_there(tmp_path: Path):
    (tmp_path / "a").write_text("a", encoding="utf-8")
    (tmp_path / "b").write_text("b", encoding="utf-8")
    (tmp_path / "d").mkdir()
    async with base_over(tmp_path) as base:
        for taken in ("b", "d", "."):
            told = await base.fault("moveFile", source="a", destination=taken)
            assert told == f"Destination {taken} already exists."
        assert (
            await base.fault("moveFile", source="c", destination="x")
            == "Source file c does not exist."
        )
        assert (
            await base.fault("moveFile", source="d", destination="d/d")
            == "EINVAL: invalid argument"
        )
        assert await base.fault("moveFile", source="", destination="x") == (
            "Operation denied: this is the workspace itself"
        )
    assert (tmp_path / "b").read_text(encoding="utf-8") == "b"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux promises this here")
def test_a_rename_itself_does_not_overwrite(tmp_path: Path):
    (tmp_path / "a").write_text("a", encoding="utf-8")
    (tmp_path / "b").write_text("b", encoding="utf-8")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            kernel.rename_new("a", fd, "b", fd)
        kernel.rename_new("a", fd, "c", fd)
    finally:
        os.close(fd)
    assert (tmp_path / "b").read_text(encoding="utf-8") == "b"
    assert (tmp_path / "c").read_text(encoding="utf-8") == "a"


async def test_a_file_is_deleted_and_a_directory_is_not(tmp_path: Path):
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    async with base_over(tmp_path) as base:
        assert await base.result("deleteFile", path="f") == {"path": str(tmp_path / "f")}
        told = await base.fault("deleteFile", path="d")
        assert told == "Path d is a directory. Use delete directory tool instead."
    assert os.listdir(tmp_path) == ["d"]


async def test_a_link_is_deleted_or_moved_itself(tmp_path: Path):
    (tmp_path / "f").write_text("x", encoding="utf-8")
    (tmp_path / "d").mkdir()
    (tmp_path / "to-file").symlink_to("f")
    (tmp_path / "to-dir").symlink_to("d")
    (tmp_path / "gone").symlink_to("nowhere")
    async with base_over(tmp_path) as base:
        await base.result("moveFile", source="to-dir", destination="moved")
        for link in ("to-file", "gone", "moved"):
            assert await base.result("deleteFile", path=link) == {"path": str(tmp_path / link)}
    assert sorted(os.listdir(tmp_path)) == ["d", "f"]


async def test_directories_are_created_and_deleted(tmp_path: Path):
    async with base_over(tmp_path) as base:
        assert await base.result("createDirectory", path="d") == {"path": str(tmp_path / "d")}
        assert await base.fault("createDirectory", path="d") == "Directory d already exists"
        (tmp_path / "f").touch()
        assert await base.fault("createDirectory", path="f") == "Directory f already exists"
        (tmp_path / "d" / "x").mkdir()
        told = await base.fault("deleteDirectory", path="d")
        assert told == "ENOTEMPTY: directory not empty"
        assert await base.result("deleteDirectory", path="d", recursive=True) == {
            "path": str(tmp_path / "d")
        }
        told = await base.fault("deleteDirectory", path="f")
        assert told == "Path f is not a directory. Use deleteFile tool instead."
        assert await base.fault("deleteDirectory", path="d") == "Directory d does not exist."


async def test_the_workspace_itself_is_not_deleted(tmp_path: Path):
    async with base_over(tmp_path) as base:
        for path in ("", ".", str(tmp_path)):
            told = await base.fault("deleteDirectory", path=path, recursive=True)
            assert told == "Operation denied: this is the workspace itself"
    assert os.listdir(tmp_path) == []


async def test_directories_their_owner_may_not_write_stay_as_they_are(tmp_path: Path):
    (tmp_path / "d").mkdir(mode=0o555)
    async with base_over(tmp_path) as base:
        told = await base.fault("createDirectory", path="d/e")
        assert told == f"Parent directory {tmp_path}/d is not writable"
        assert await base.fault("deleteDirectory", path="d") == "Directory d is not writable"


async def test_deleting_a_directory_follows_no_link_in_it(tmp_path: Path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").touch()
    (tmp_path / "ws" / "d").mkdir(parents=True)
    (tmp_path / "ws" / "d" / "link").symlink_to(tmp_path / "outside")
    async with base_over(tmp_path / "ws") as base:
        await base.result("deleteDirectory", path="d", recursive=True)
    assert (tmp_path / "outside" / "f").exists()
    assert os.listdir(tmp_path / "ws") == []


async def test_a_listing_is_sorted_and_complete(tmp_path: Path):
    for name in ("b.txt", "a.txt", ".hidden", "Z", "\uff5e", "\U0001f600"):
        (tmp_path / name).write_text("12345", encoding="utf-8")
    (tmp_path / "dir").mkdir()
    (tmp_path / "perstack").mkdir()
    os.utime(tmp_path / "a.txt", (1_700_000_000, 1_700_000_000.25))
    async with base_over(tmp_path) as base:
        told = await base.result("listDirectory", path="")
        assert (await base.result("listDirectory", path="."))["items"] == told["items"]
    assert told["path"] == str(tmp_path)
    # by UTF-16 code unit: the emoji's first half sorts before U+FF5E
    assert [item["name"] for item in told["items"]] == [
        ".hidden",
        "Z",
        "a.txt",
        "b.txt",
        "dir",
        "\U0001f600",
        "\uff5e",
    ]
    assert told["items"][2] == {
        "name": "a.txt",
        "path": "a.txt",
        "type": "file",
        "size": 5,
        "modified": "2023-11-14T22:13:20.250Z",
    }
    assert told["items"][4]["type"] == "directory"


async def test_a_listing_tells_links_by_what_they_lead_to(tmp_path: Path):
    (tmp_path / "ws" / "d").mkdir(parents=True)
    (tmp_path / "secret").write_text("x" * 77, encoding="utf-8")
    (tmp_path / "ws" / "perstack").mkdir()
    (tmp_path / "ws" / "f").write_text("123", encoding="utf-8")
    links = {
        "l1-file": "f",
        "l2-dir": "d",
        "l3-dangling": "nowhere",
        "l4-outside": "../secret",
        "l5-outside-dir": "..",
        "l6-history": "perstack",
        "l7-circle": "l7-circle",
    }
    for name, text in links.items():
        (tmp_path / "ws" / name).symlink_to(text)
    os.mkfifo(tmp_path / "ws" / "l8-pipe")
    async with base_over(tmp_path / "ws") as base:
        items = (await base.result("listDirectory", path="."))["items"]
    told = {item["name"]: (item["type"], item["size"]) for item in items if item["name"] in links}
    assert told.pop("l2-dir")[0] == "directory"
    assert told.pop("l1-file") == ("file", 3)
    assert set(told.values()) == {("file", 0)}
    assert len(items) == len(links) + 3  # and the file, the directory, the pipe; not the history


async def test_a_name_that_is_no_text_does_not_stop_a_listing(tmp_path: Path):
    (tmp_path / os.fsdecode(b"bad\xff")).touch()
    async with base_over(tmp_path) as base:
        items = (await base.result("listDirectory", path="."))["items"]
    assert [item["name"] for item in items] == ["bad\ufffd"]


def test_a_very_large_directory_is_listed_in_part(tmp_path: Path):
    for number in range(LISTING_MAX + 3):
        os.close(os.open(tmp_path / f"{number:05}", os.O_CREAT | os.O_WRONLY))
    with Workspace(tmp_path) as workspace:
        told = list_directory(workspace, ".")
    assert (len(told["items"]), told["omitted"]) == (LISTING_MAX, 3)


@pytest.mark.parametrize(
    ("seconds", "year"), [(1e12, "9999"), (-1e12, "0001")], ids=["after", "before"]
)
def test_a_time_that_no_calendar_has_is_told_as_the_nearest(seconds: float, year: str):
    try:
        made = tempfile.TemporaryDirectory(dir="/dev/shm")
    except OSError as error:
        pytest.skip(f"there is no file system in memory here: {error}")
    with made as folder, Workspace(Path(folder).resolve()) as workspace:
        path = Path(folder, "f")
        path.touch()
        os.utime(path, (seconds, seconds))
        if path.stat().st_mtime != seconds:
            pytest.skip("this file system keeps no such times")
        [item] = list_directory(workspace, ".")["items"]
        assert item["modified"].startswith(year)
        assert get_file_info(workspace, "f")["accessed"].startswith(year)


async def test_what_cannot_be_listed_is_named(tmp_path: Path):
    (tmp_path / "f").touch()
    async with base_over(tmp_path) as base:
        assert await base.fault("listDirectory", path="no") == "Directory no does not exist."
        assert await base.fault("listDirectory", path="f") == "Path f is not a directory."


async def test_file_info_tells_all_there_is(tmp_path: Path):
    (tmp_path / "f.txt").write_text("hello, world\n", encoding="utf-8")
    (tmp_path / "f.txt").chmod(0o644)
    os.utime(tmp_path / "f.txt", (1_700_000_000, 1_700_000_001))
    (tmp_path / "link").symlink_to("f.txt")
    async with base_over(tmp_path) as base:
        told = await base.result("getFileInfo", path="f.txt")
        assert (await base.result("getFileInfo", path="link")) == told
    created = told.pop("created")
    assert created.endswith("Z")
    assert created > "2024"
    assert told == {
        "exists": True,
        "path": str(tmp_path / "f.txt"),
        "absolutePath": str(tmp_path / "f.txt"),
        "name": "f.txt",
        "directory": str(tmp_path),
        "extension": ".txt",
        "type": "file",
        "mimeType": "text/plain",
        "size": 13,
        "sizeFormatted": "13.00 B",
        "modified": "2023-11-14T22:13:21.000Z",
        "accessed": "2023-11-14T22:13:20.000Z",
        "permissions": {"readable": True, "writable": True, "executable": False},
    }
    assert list(told)[:3] == ["exists", "path", "absolutePath"]


async def test_file_info_of_directories_and_of_nothing(tmp_path: Path):
    (tmp_path / "d").mkdir()
    async with base_over(tmp_path) as base:
        told = await base.result("getFileInfo", path="d")
        assert (told["type"], told["extension"], told["mimeType"]) == ("directory", None, None)
        told = await base.fault("getFileInfo", path="no")
        assert told == "File or directory no does not exist"


@pytest.mark.parametrize(
    ("size", "spelled"),
    [
        (0, "0 B"),
        (1023, "1023.00 B"),
        (1536, "1.50 KB"),
        (1 << 20, "1.00 MB"),
        (5 << 30, "5.00 GB"),
    ],
)
async def test_sizes_are_spelled_for_people(tmp_path: Path, size: int, spelled: str):
    with (tmp_path / "f").open("wb") as file:
        file.truncate(size)
    async with base_over(tmp_path) as base:
        assert (await base.result("getFileInfo", path="f"))["sizeFormatted"] == spelled


@pytest.mark.parametrize(
    ("name", "extension", "media_type"),
    [
        ("a.JSON", ".JSON", "application/json"),
        ("a.tar.gz", ".gz", "application/gzip"),
        ("a.webp", ".webp", "image/webp"),
        ("a.toml", ".toml", "application/toml"),
        ("a.md", ".md", "text/markdown"),
        ("Makefile", "", "application/octet-stream"),
        (".envrc", "", "application/octet-stream"),
        ("a.unheard", ".unheard", "application/octet-stream"),
    ],
)
async def test_a_name_stands_for_a_media_type(
    tmp_path: Path, name: str, extension: str, media_type: str
):
    (tmp_path / name).touch()
    async with base_over(tmp_path) as base:
        told = await base.result("getFileInfo", path=name)
    assert (told["extension"], told["mimeType"]) == (extension, media_type)


async def test_the_health_check_speaks_of_this_process(tmp_path: Path):
    async with base_over(tmp_path) as base:
        told = await base.result("healthCheck")
    assert told["pid"] == os.getpid()
    assert told["workspace"] == str(tmp_path)
    assert told["status"] == "ok"
    assert told["uptime"].endswith("s")
    assert set(told["memory"]) == {"heapUsed", "heapTotal"}
    assert int(told["memory"]["heapUsed"].removesuffix("MB")) > 0


async def test_the_todo_list_belongs_to_the_open_skill(tmp_path: Path):
    async with base_over(tmp_path) as base:
        told = await base.result("todo", newTodos=["a", "b"], completedTodos=[0, 7])
        assert told["todos"] == [
            {"id": 0, "title": "a", "completed": True},
            {"id": 1, "title": "b", "completed": False},
        ]
        assert await base.result("attemptCompletion") == {
            "remainingTodos": [{"id": 1, "title": "b", "completed": False}]
        }
        assert await base.result("clearTodo") == {"todos": []}
        assert await base.result("attemptCompletion") == {}
    async with base_over(tmp_path) as base:
        assert await base.result("todo") == {"todos": []}


@pytest.mark.parametrize("workspace", ["no/such", "file"])
async def test_a_workspace_that_is_no_directory_is_unavailable(tmp_path: Path, workspace: str):
    (tmp_path / "file").touch()
    with pytest.raises(SkillUnavailable):
        async with base_over(tmp_path / workspace):
            pass
