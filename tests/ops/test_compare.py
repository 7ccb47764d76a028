"""Two jobs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import anyio
import pytest

from perstack.ops.history.compare import Comparison, FileWritten, SideDeed, calls_by_tool, compare
from perstack.ops.history.jobs import History, need_history, store_at
from perstack.testing import Turn, calls, fails, says

from .test_jobs_story import STORY, run, tell_story, workspace_in

Changes = Mapping[tuple[str, int], Turn | tuple[Turn, ...]]


def history_of(workspace: Path, job: str) -> History:
    root = workspace / "perstack"
    return anyio.run(need_history, store_at(root), root, job)


def stories(tmp_path: Path, changes: Changes) -> Comparison:
    """The story beside the story with other turns, each in a workspace of its own."""
    sides: list[History] = []
    for name, script in (("one", STORY), ("other", {**STORY, **changes})):
        place = tmp_path / name
        place.mkdir()
        workspace = workspace_in(place)
        tell_story(workspace, name, script)
        sides.append(history_of(workspace, name))
    return compare(*sides)


def test_the_same_work_in_other_workspaces_at_other_times_is_alike(tmp_path: Path):
    told = stories(tmp_path, {})
    assert (told.alike, told.parting, told.differences) == (True, None, 0)
    assert told.a.job != told.b.job
    assert told.a.files == told.b.files
    assert told.a.outcome == "completed"
    assert told.a.steps == 6
    assert told.a.spent["@acme/helper"]["totalTokens"] == 240


def test_two_jobs_part_at_the_first_reply_that_differs(tmp_path: Path):
    other = calls(("appendTextFile", {"path": "plan.txt", "text": "three\n"}))
    told = stories(tmp_path, {("/2.1", 1): other})
    parting = told.parting
    assert parting is not None
    assert (parting.path, parting.step, parting.expert) == ("/2.1", 1, "@acme/helper")

    def reply(text: str) -> SideDeed:
        args = {"path": "plan.txt", "text": text}
        said = {"calls": [{"tool": "appendTextFile", "args": args}]}
        return SideDeed(seq=10, kind="reply", said=said)

    assert (parting.a, parting.b) == (reply("two\n"), reply("three\n"))
    assert told.differences == 2  # the reply, and the result that repeats it
    assert [file.path for file in told.a.files] == ["plan.txt"]
    assert told.a.files != told.b.files
    assert told.a.files == (FileWritten(path="plan.txt", digest=digest("one\ntwo\n"), by="text"),)


def test_a_retry_that_only_one_of_them_needed_is_where_they_part(tmp_path: Path):
    told = stories(tmp_path, {("", 2): calls(("helper", {"query": "Add two\nto the plan"}))})
    assert told.parting is not None
    assert told.parting.b is None
    assert told.parting.a is not None
    assert (told.parting.a.kind, told.parting.a.said["failure"]) == ("failure", "Overloaded")
    assert told.differences == 1


def test_only_the_answer_differs(tmp_path: Path):
    told = stories(tmp_path, {("", 4): says("It is all done.")})
    assert told.parting is not None
    assert told.parting.a == SideDeed(seq=19, kind="reply", said={"text": "All is done."})
    assert told.parting.b == SideDeed(seq=19, kind="reply", said={"text": "It is all done."})
    assert told.differences == 2  # the reply, and the outcome that is made of it
    assert calls_by_tool(told.a) == calls_by_tool(told.b)


def test_another_model_or_limit_is_shown_and_does_not_make_jobs_differ(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    run(workspace, says("Hi."), job_id="a", max_steps=3)
    run(workspace, says("Hi."), job_id="b", max_steps=4, reasoning="high")
    told = compare(history_of(workspace, "a"), history_of(workspace, "b"))
    assert told.alike
    assert (told.a.reasoning, told.b.reasoning) == ("low", "high")
    assert told.a.limits != told.b.limits


def test_a_job_that_was_put_down_parts_where_the_other_went_on(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    turns = (calls(("todo", {"newTodos": ["x"]})), says("Done."))
    run(workspace, *turns, job_id="a")
    run(workspace, *turns, job_id="b", max_steps=1)
    told = compare(history_of(workspace, "a"), history_of(workspace, "b"))
    assert told.parting is not None
    assert (told.a.outcome, told.b.outcome) == ("completed", "")
    assert told.parting.step == 2
    assert told.parting.a is not None
    assert told.parting.b is not None
    assert (told.parting.a.kind, told.parting.b.kind) == ("reply", "stop")
    assert told.parting.a.said["text"] == "Done."
    assert told.parting.b.said == {"reason": "limit", "what": "maxSteps 1"}


def test_delegates_side_by_side_are_aligned_by_who_called_them(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    both = calls(("helper", {"query": "x"}), ("helper", {"query": "y"}))
    slow = calls(("todo", {"newTodos": ["x"]}))
    one = {("", 1): both, ("/1.1", 1): says("x"), ("/1.2", 1): says("y"), ("", 2): says("z")}
    run(workspace, one, job_id="a")
    run(workspace, {**one, ("/1.1", 1): slow, ("/1.1", 2): says("x")}, job_id="b")
    told = compare(history_of(workspace, "a"), history_of(workspace, "b"))
    assert told.parting is not None
    assert (told.parting.path, told.parting.step) == ("/1.1", 1)
    assert all(call.path in ("", "/1.1") for call in told.b.calls)


def digest(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}"


@pytest.mark.parametrize(
    ("deeds", "files"),
    [
        ([("writeTextFile", "a", "x")], {"a": "x"}),
        ([("writeTextFile", "a", "x"), ("writeTextFile", "./b/../a", "y")], {"a": "y"}),
        ([("writeTextFile", "a", "x"), ("appendTextFile", "a", "y")], {"a": "xy"}),
        ([("writeTextFile", "a", "xyx"), ("editTextFile", "a", "x", "z")], {"a": "zyx"}),
        ([("writeTextFile", "a", "x"), ("deleteFile", "a")], {"a": None}),
        ([("writeTextFile", "a", "x"), ("moveFile", "a", "b")], {"a": None, "b": "x"}),
        (
            [
                ("createDirectory", "d"),
                ("writeTextFile", "d/a", "x"),
                ("moveFile", "d", "e"),
                ("appendTextFile", "e/a", "y"),
            ],
            {"d": None, "d/a": None, "e/a": "xy"},
        ),
        (
            [
                ("createDirectory", "d"),
                ("writeTextFile", "d/a", "x"),
                ("deleteDirectory", "d"),
            ],
            {"d/a": None},
        ),
        ([("readTextFile", "a")], {}),
        ([("appendTextFile", "a", "x")], {}),  # it fails: there is no such file
    ],
)
def test_files_are_what_the_base_tools_left_behind(
    tmp_path: Path, deeds: list[tuple[str, ...]], files: dict[str, str | None]
):
    names = {
        "writeTextFile": ("path", "text"),
        "appendTextFile": ("path", "text"),
        "editTextFile": ("path", "oldText", "newText"),
        "moveFile": ("source", "destination"),
    }
    turns: list[Turn] = []
    for tool, *values in deeds:
        args: dict[str, object] = dict(zip(names.get(tool, ("path",)), values, strict=True))
        if tool == "deleteDirectory":
            args["recursive"] = True
        turns.append(calls((tool, args)))
    workspace = workspace_in(tmp_path)
    run(workspace, *turns, says("done"), job_id="j")
    history = history_of(workspace, "j")
    written = compare(history, history).a.files
    assert {file.path: file.digest for file in written} == {
        path: None if text is None else digest(text) for path, text in files.items()
    }
    for path, text in files.items():  # and so it is on the disk
        if text is not None:
            assert (workspace / path).read_text() == text


def test_changes_to_a_file_whose_text_is_not_in_the_log_are_compared_as_changes(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    path = workspace / "a.txt"
    for job, text in (("a", "new"), ("b", "new"), ("c", "other")):
        path.write_text("old")
        run(
            workspace,
            calls(("editTextFile", {"path": str(path), "oldText": "old", "newText": text})),
            says("done"),
            job_id=job,
        )
    a, b, c = (history_of(workspace, job) for job in "abc")
    same = compare(a, b)
    assert same.alike
    assert [(file.path, file.by) for file in same.a.files] == [("a.txt", "changes")]
    assert same.a.files == same.b.files
    assert compare(a, c).a.files != compare(a, c).b.files


def test_a_failed_run_has_its_outcome(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    run(workspace, fails("Forbidden", retryable=False), job_id="a")
    run(workspace, says("Hi."), job_id="b")
    told = compare(history_of(workspace, "a"), history_of(workspace, "b"))
    assert (told.a.outcome, told.b.outcome) == ("failed", "completed")
    assert told.parting is not None
    assert told.parting.a is not None
    assert told.parting.b is not None
    assert (told.parting.a.kind, told.parting.b.kind) == ("failure", "reply")
