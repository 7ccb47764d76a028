"""Experts run by a Python program: `perstack.run`, `run_sync` and `start`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import anyio
import pytest

import perstack
from perstack.errors import (
    JobBusy,
    MissingEnv,
    ModelError,
    StoreError,
    UnknownExpert,
    UserError,
)
from perstack.job import Job, fold
from perstack.models import Reply, Request
from perstack.store import FileStore
from perstack.testing import MemoryStore, ScriptedModel, calls, says
from tests.behaviour.register import proves
from tests.dialect.check import check_stream

pytestmark = pytest.mark.anyio

TOML = """
[experts.worker]
instruction = "Work."
[experts.asker]
instruction = "Ask."
[experts.asker.skills.human]
type = "interactiveSkill"
[experts.asker.skills.human.tools.askUser]
inputJsonSchema = '{"type": "object"}'
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "perstack.toml").write_text(TOML)
    return tmp_path


def answer(job: Job) -> str:
    assert job.done is not None
    assert job.done.outcome == "completed"
    return job.done.text


class Gate:
    """A model that waits in each reply until it is let on."""

    def __init__(self, *turns: Reply) -> None:
        self.asked = anyio.Event()
        self.open = anyio.Event()
        self.model = ScriptedModel(*turns, each=self._wait)

    async def _wait(self, _: Request) -> None:
        self.asked.set()
        await self.open.wait()


# run and run_sync -----------------------------------------------------------------------------------------


@proves("embed.run")
async def test_run_gives_the_job_as_it_ended(workspace: Path):
    model = ScriptedModel(calls(("listDirectory", {"path": "."})), says("Two files."))
    events: list[dict[str, Any]] = []
    job = await perstack.run(
        "worker", "Look around", workspace=workspace, model=model, listener=events.append
    )
    assert answer(job) == "Two files."
    assert job.usage.total_tokens == 240
    assert check_stream(events, False)[-2]["text"] == "Two files."
    stored = await FileStore(workspace / "perstack").read(job.id)
    assert fold(stored).done == job.done


async def test_events_with_whole_histories(workspace: Path):
    events: list[dict[str, Any]] = []
    await perstack.run(
        *("worker", "Hi"),
        workspace=workspace,
        model=ScriptedModel(says("Hello")),
        listener=events.append,
        full_events=True,
    )
    check_stream(events, True)


async def test_the_history_may_lie_elsewhere(workspace: Path):
    store = MemoryStore()
    job = await perstack.run(
        "worker", "Hi", workspace=workspace, model=ScriptedModel(says("Hello")), store=store
    )
    assert await store.jobs() == (job.id,)
    assert not (workspace / "perstack").exists()


@proves("embed.going-on")
async def test_a_job_is_answered_and_goes_on(workspace: Path):
    model = ScriptedModel(calls(("askUser", {"q": "Which?"})), says("b it is."), says("Bye."))
    where: dict[str, Any] = {"workspace": workspace, "model": model}
    waits = await perstack.run("asker", "Help me", **where)
    assert waits.done is None
    assert [call.tool for _, call in waits.questions] == ["askUser"]
    with pytest.raises(UserError, match="waits for an answer"):
        await perstack.run("asker", "b", continue_job=waits.id, **where)
    done = await perstack.run("asker", "b", continue_job=waits.id, answer=True, **where)
    assert answer(done) == "b it is."
    more = await perstack.run("asker", "Thanks", continue_job=waits.id, **where)
    assert (more.id, answer(more)) == (waits.id, "Bye.")


def test_run_sync_is_for_programs_without_an_event_loop(workspace: Path):
    model = ScriptedModel(says("Hello"))
    assert answer(perstack.run_sync("worker", "Hi", workspace=workspace, model=model)) == "Hello"


async def test_the_environment_of_the_process_is_not_looked_at(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-the-process")
    with pytest.raises(MissingEnv) as raised:
        await perstack.run("worker", "Hi", workspace=workspace, env={})
    assert raised.value.names == ("ANTHROPIC_API_KEY",)
    assert "ANTHROPIC_API_KEY" in os.environ


# start ----------------------------------------------------------------------------------------------------


@proves("embed.start")
async def test_start_gives_each_event_as_it_happens(workspace: Path):
    gate = Gate(says("Hello"))
    types: list[str] = []
    async with perstack.start("worker", "Hi", workspace=workspace, model=gate.model) as running:
        async for event in running:
            types.append(event["type"])
            if event["type"] == "startGeneration":
                gate.open.set()  # so the events before came while the model was thinking
        assert answer(running.job) == "Hello"
    assert types[0] == "initializeRuntime"
    assert "completeRun" in types


@proves("embed.start")
async def test_waiting_for_the_end_without_looking_at_events(workspace: Path):
    model = ScriptedModel(says("Hello"))
    async with perstack.start("worker", "Hi", workspace=workspace, model=model) as running:
        job = await running.wait()
    assert answer(job) == "Hello"
    assert running.job == job
    running.say("too late")
    running.cancel()
    running.stop()


@proves("embed.cancel")
async def test_cancel_ends_the_job_unfinished(workspace: Path):
    gate = Gate(says("Hello"))
    async with perstack.start("worker", "Hi", workspace=workspace, model=gate.model) as running:
        await gate.asked.wait()
        running.cancel()
        job = await running.wait()
    assert job.done is not None
    assert job.done.outcome == "cancelled"


@proves("embed.stop")
async def test_stop_puts_the_job_down_and_it_can_be_taken_up(workspace: Path):
    gate = Gate(says("Hello"))
    async with perstack.start("worker", "Hi", workspace=workspace, model=gate.model) as running:
        await gate.asked.wait()
        running.stop()
        job = await running.wait()
    assert job.done is None
    assert job.stopped is not None
    assert job.stopped.reason == "interrupted"
    again = await perstack.run(
        *("worker", ""),
        workspace=workspace,
        model=ScriptedModel(says("Here I am.")),
        continue_job=job.id,
    )
    assert answer(again) == "Here I am."


@proves("embed.say")
async def test_a_word_reaches_the_model_with_its_next_request(workspace: Path):
    gate = Gate(calls(("listDirectory", {"path": "."})), says("In short: yes."))
    async with perstack.start("worker", "Hi", workspace=workspace, model=gate.model) as running:
        await gate.asked.wait()
        running.say("Be brief")
        gate.open.set()
        job = await running.wait()
    assert answer(job) == "In short: yes."
    assert "Be brief" in str(gate.model.requests[-1].history[-1])


class Unrelated(Exception):
    """Something else in the user's program."""


@proves("embed.left-early")
@pytest.mark.parametrize("how", ["end", "break", "exception"])
async def test_leaving_the_block_puts_the_job_down(how: str, workspace: Path):
    gate = Gate(says("Hello"))

    async def leave() -> None:
        async with perstack.start(
            "worker", "Hi", workspace=workspace, model=gate.model, job_id="job"
        ) as running:
            await gate.asked.wait()
            if how == "break":
                async for _ in running:
                    break
            if how == "exception":
                raise Unrelated

    if how == "exception":
        with pytest.raises(Unrelated):  # as it was raised, in no group
            await leave()
    else:
        await leave()
    stopped = fold(await FileStore(workspace / "perstack").read("job"))
    assert stopped.stopped is not None
    assert stopped.stopped.what == "stopped by the program"
    again = await perstack.run(
        "worker", workspace=workspace, model=ScriptedModel(says("Hello")), continue_job="job"
    )
    assert answer(again) == "Hello"


@proves("embed.left-early")
async def test_a_cancelled_block_leaves_a_job_that_can_be_taken_up(workspace: Path):
    gate = Gate(says("Hello"))
    with anyio.CancelScope() as scope:
        async with perstack.start(
            "worker", "Hi", workspace=workspace, model=gate.model, job_id="job"
        ) as running:
            await gate.asked.wait()
            scope.cancel()
            await running.wait()
    assert scope.cancelled_caught
    again = await perstack.run(
        "worker", workspace=workspace, model=ScriptedModel(says("Hello")), continue_job="job"
    )
    assert answer(again) == "Hello"


# Errors ---------------------------------------------------------------------------------------------------


async def test_what_the_user_can_put_right_is_raised_before_anything_is_written(workspace: Path):
    with pytest.raises(UnknownExpert) as raised:
        await perstack.run("wroker", "Hi", workspace=workspace, model=ScriptedModel())
    assert raised.value.close_matches == ("worker",)
    with pytest.raises(UserError, match="Give a query"):
        await perstack.run("worker", workspace=workspace, model=ScriptedModel())
    with pytest.raises(UserError, match="continue_job"):
        await perstack.run("worker", "Hi", workspace=workspace, checkpoint="c")
    assert not (workspace / "perstack").exists()


async def test_options_are_checked(workspace: Path):
    nonsense: dict[str, Any] = {"workspaces": workspace}
    with pytest.raises(TypeError, match=r"'workspaces'.*did you mean 'workspace'"):
        await perstack.run("worker", "Hi", **nonsense)
    listener: dict[str, Any] = {"listener": print}
    with pytest.raises(TypeError, match="iterate"):
        async with perstack.start("worker", "Hi", workspace=workspace, **listener):
            pass


@proves("embed.errors-bare")
async def test_the_failure_of_a_started_job_is_raised_by_wait_and_on_leaving(workspace: Path):
    (workspace / "perstack").write_text("in the way")
    model = ScriptedModel(says("Hello"))

    async def caught_within() -> None:
        async with perstack.start("worker", "Hi", workspace=workspace, model=model) as running:
            with pytest.raises(StoreError):
                await running.wait()

    async def not_caught() -> None:
        async with perstack.start("worker", "Hi", workspace=workspace, model=model) as running:
            await running.wait()

    with pytest.raises(StoreError):
        await caught_within()
    with pytest.raises(StoreError):
        await not_caught()
    with pytest.raises(StoreError):
        await perstack.run("worker", "Hi", workspace=workspace, model=model)


async def test_a_model_that_fails_is_the_end_of_the_job_and_no_exception(workspace: Path):
    model = ScriptedModel(ModelError("no such model", name="NotFound", status=404))
    job = await perstack.run("worker", "Hi", workspace=workspace, model=model)
    assert job.done is not None
    assert job.done.outcome == "failed"
    assert job.done.failure is not None
    assert (job.done.failure.name, job.done.failure.status) == ("NotFound", 404)


@proves("embed.errors-bare")
@pytest.mark.parametrize("where", ["listener", "model"])
async def test_a_bug_comes_out_as_it_is_and_the_log_is_whole(where: str, workspace: Path):
    def bug(_: object) -> Reply:
        raise Unrelated("of the program's own making")

    options: dict[str, Any] = {"workspace": workspace, "job_id": "job"}
    if where == "listener":
        options |= {"listener": bug, "model": ScriptedModel(says("Hello"))}
    else:
        options |= {"model": ScriptedModel(bug)}
    with pytest.raises(Unrelated):
        await perstack.run("worker", "Hi", **options)
    job = fold(await FileStore(workspace / "perstack").read("job"))
    if job.stopped is not None:
        assert job.stopped.reason == "bug"
    again = await perstack.run(
        "worker", "Hi", workspace=workspace, model=ScriptedModel(says("Ok")), continue_job="job"
    )
    assert answer(again) == "Ok"


async def test_one_job_runs_once_at_a_time(workspace: Path):
    gate = Gate(says("Hello"))
    async with perstack.start(
        "worker", "Hi", workspace=workspace, model=gate.model, job_id="job"
    ) as running:
        await gate.asked.wait()
        with pytest.raises(JobBusy):
            await perstack.run(
                "worker", "Me too", workspace=workspace, model=gate.model, continue_job="job"
            )
        gate.open.set()
        assert answer(await running.wait()) == "Hello"


# Many -----------------------------------------------------------------------------------------------------


@proves("embed.many-jobs")
async def test_two_hundred_jobs_side_by_side_do_not_mix(tmp_path: Path):
    """Each with a workspace, a model and a todo list of its own; all of them at work before one ends."""
    count = 200
    arrived = 0
    together = anyio.Event()
    jobs: dict[int, Job] = {}

    async def meet(request: Request) -> None:
        nonlocal arrived
        if request.step == 1:
            arrived += 1
            if arrived == count:
                together.set()
            await together.wait()

    async def one(number: int) -> None:
        workspace = tmp_path / str(number)
        workspace.mkdir()
        (workspace / "perstack.toml").write_text(f'[experts.e{number}]\ninstruction = "Be."\n')
        model = ScriptedModel(
            calls(
                ("writeTextFile", {"path": "own.txt", "text": f"I am {number}"}),
                ("todo", {"newTodos": [f"be {number}"]}),
            ),
            calls(("readTextFile", {"path": "own.txt"}), ("todo", {"completedTodos": [0]})),
            says(f"I was {number}"),
            each=meet,
        )
        seen: list[dict[str, Any]] = []
        jobs[number] = await perstack.run(
            f"e{number}", f"Be {number}", workspace=workspace, model=model, listener=seen.append
        )
        assert {event["jobId"] for event in seen} == {jobs[number].id}
        last = str(model.requests[-1].history)
        assert f"I am {number}" in last
        assert f"be {number}" in last
        assert f"Be {number}" in str(model.requests[-1].history[0])

    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(one, number)
    assert len({job.id for job in jobs.values()}) == count
    for number, job in jobs.items():
        assert answer(job) == f"I was {number}"
        assert job.steps == 3
        assert (tmp_path / str(number) / "own.txt").read_text() == f"I am {number}"
        (stored,) = (tmp_path / str(number) / "perstack" / "jobs").iterdir()
        assert stored.name == job.id


async def test_nothing_is_left_open(workspace: Path):
    """What was opened is closed when the job ends: a stream that is not says so as a warning."""
    import gc

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ScriptedModel(says("Hello"))
        async with perstack.start("worker", "Hi", workspace=workspace, model=model) as running:
            pass
        del running
        gc.collect()
