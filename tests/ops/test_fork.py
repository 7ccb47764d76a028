"""Forks: a shared beginning, another end, and the other job untouched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import perstack
from perstack.errors import UserError
from perstack.job import ToolReturned, fold
from perstack.models import Model
from perstack.ops.embed import order_of
from perstack.ops.running.fork import Change, fork, parse_place
from perstack.ops.running.run import Order
from perstack.store import FileStore
from perstack.testing import ScriptedModel, calls, says

pytestmark = pytest.mark.anyio

CONFIG = """
[experts.lead]
instruction = "Lead."
delegates = ["helper"]

[experts.helper]
description = "Helps"
instruction = "Help."
"""

STORY = {
    ("", 1): calls(("writeTextFile", {"path": "a.txt", "text": "one"})),
    ("", 2): calls(("helper", {"query": "dig"})),
    ("/2.1", 1): calls(("readTextFile", {"path": "a.txt"})),
    ("/2.1", 2): says("dug"),
    ("", 3): says("first end"),
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "perstack.toml").write_text(CONFIG)
    return tmp_path


async def original(workspace: Path, events: list[dict[str, Any]] | None = None) -> perstack.Job:
    return await perstack.run(
        "lead",
        "go",
        workspace=workspace,
        config=workspace / "perstack.toml",
        model=ScriptedModel(STORY),
        listener=(events if events is not None else []).append,
    )


async def forked(
    workspace: Path,
    source: perstack.Job,
    place: str | None,
    model: Model,
    change: Change | None = None,
    query: str = "",
) -> perstack.Job:
    store = FileStore(workspace / "perstack")
    order = order_of("", query, {"workspace": workspace, "model": model})
    ready = await fork(order, source.id, place, change or Change(), store)
    return await carried_out(ready)


async def carried_out(order: Order) -> perstack.Job:
    from perstack.engine import NOBODY, Inbox
    from perstack.ops.running.run import carry_out, prepare

    inbox = Inbox()
    try:
        return await carry_out(await prepare(order), inbox, NOBODY)
    finally:
        inbox.close()


async def test_a_fork_shares_the_beginning_and_goes_its_own_way(workspace: Path) -> None:
    events: list[dict[str, Any]] = []
    source = await original(workspace, events)
    (checkpoint,) = [
        e["checkpoint"]["id"]
        for e in events
        if e["type"] == "continueToNextStep" and e["stepNumber"] == 1
    ]
    store = FileStore(workspace / "perstack")
    before = await store.read(source.id)
    model = ScriptedModel({("", 2): says("second end")})
    job = await forked(workspace, source, str(checkpoint), model)
    assert job.done is not None
    assert job.done.text == "second end"
    assert await store.read(source.id) == before
    new = await store.read(job.id)
    assert [type(e) for e in new[: len(new) - 3]] == [type(e) for e in before[: len(new) - 3]]
    assert [e.at for e in new[1:4]] == [e.at for e in before[1:4]]
    assert fold(new) == job


async def test_words_at_a_delegates_place_go_to_the_delegate(workspace: Path) -> None:
    source = await original(workspace)
    events = await FileStore(workspace / "perstack").read(source.id)
    finished = next(e.seq for e in events if type(e).__name__ == "RunFinished")
    model = ScriptedModel({("/2.1", 3): says("dug deeper"), ("", 3): says("another end")})
    job = await forked(workspace, source, str(finished), model, query="deeper, please")
    assert job.done is not None
    assert job.done.text == "another end"
    child, parent = model.requests
    assert child.path == "/2.1"
    assert child.history[-1].text == "deeper, please"
    assert parent.history[-1].text == "dug deeper"


async def test_another_tool_result_is_what_the_model_sees(workspace: Path) -> None:
    source = await original(workspace)
    events = await FileStore(workspace / "perstack").read(source.id)
    call = next(e.call for e in events if isinstance(e, ToolReturned))
    assert call == "c1"
    change = Change(tool_result=("c1", "the disk is on fire"))
    model = ScriptedModel(lambda request: says(f"seen: {request.history[-1].text}"))
    first = next(e.seq for e in events if isinstance(e, ToolReturned))
    job = await forked(workspace, source, str(first), model, change)
    assert job.done is not None
    assert job.done.text == "seen: the disk is on fire"


async def test_another_instruction_is_in_the_system_text_and_in_the_lock(workspace: Path) -> None:
    source = await original(workspace)
    events = await FileStore(workspace / "perstack").read(source.id)
    asked = next(e.seq for e in events if type(e).__name__ == "Replied") - 1
    model = ScriptedModel(lambda request: says(request.instruction))
    change = Change(instruction="Lead gently.")
    job = await forked(workspace, source, str(asked), model, change)
    assert job.done is not None
    assert "Lead gently." in job.done.text
    assert "Lead.\n" not in job.done.text
    assert job.lock.expert("lead").instruction == "Lead gently."
    assert source.lock.experts["lead"].integrity != job.lock.experts["lead"].integrity


@pytest.mark.parametrize(
    ("place", "change", "said"),
    [
        ("999", Change(), "there is no event 999"),
        ("nosuchcheckpoint", Change(), "Checkpoint nosuchcheckpoint not found"),
        (None, Change(), "nothing left to do"),
        (None, Change(tool_result=("zzz", "x")), "no result of a call zzz"),
    ],
)
async def test_what_cannot_be_forked_says_why(
    workspace: Path, place: str | None, change: Change, said: str
) -> None:
    source = await original(workspace)
    with pytest.raises(UserError, match=said):
        await forked(workspace, source, place, ScriptedModel(), change)
    jobs = await FileStore(workspace / "perstack").jobs()
    assert jobs == (source.id,)


def test_a_place_is_a_job_and_a_checkpoint_or_an_event() -> None:
    assert parse_place("job") == ("job", None)
    assert parse_place("job@12") == ("job", "12")
    for wrong in ("", "@x", "job@"):
        with pytest.raises(UserError):
            parse_place(wrong)


def test_the_command_forks_and_runs(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from perstack.cli.main import cli

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    job = perstack.run_sync("tic-tac-toe", demo=True, job_id="game")
    cassette = Path(perstack.__file__).parent / "shipped/demos/tic-tac-toe/cassette.jsonl"
    done = CliRunner().invoke(
        cli,
        [
            "fork",
            "game@2",
            "--workspace",
            job.workspace,
            "--cassette",
            str(cassette),
            "--job-id",
            "two",
        ],
        standalone_mode=False,
    )
    assert done.return_value == 0, done.output
    last = json.loads(done.stdout.splitlines()[-2])
    assert (last["type"], last["jobId"]) == ("completeRun", "two")
