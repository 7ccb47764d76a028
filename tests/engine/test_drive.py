"""Jobs driven from first fact to last, with real tools and a scripted model."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from perstack.definition import Limits
from perstack.engine import Inbox
from perstack.errors import StoreError
from perstack.job import (
    CancelRequested,
    Done,
    Event,
    Json,
    Replied,
    RunFinished,
    Stopped,
    Text,
    ToolCalled,
    ToolReturned,
    Waiting,
    fold,
)
from perstack.job import (
    Heard as HeardDelta,
)
from perstack.models import Request
from perstack.testing import Meeting, MemoryStore, ScriptedModel, calls, fails, says

from .helpers import Heard, play, start

pytestmark = pytest.mark.anyio


async def test_words_alone_complete_a_job(tmp_path: Path) -> None:
    store, heard = MemoryStore(), Heard()
    job = await play(start(tmp_path), ScriptedModel(says("Hello.\nBye.")), store, heard=heard)
    assert job.done == Done(outcome="completed", text="Hello.\nBye.")
    assert job == fold(await store.read("job"))
    deltas = [n.text for n in heard.notices if isinstance(n, HeardDelta)]
    assert deltas == ["Hello.\n", "Bye."]


async def test_a_file_is_written_and_read_back(tmp_path: Path) -> None:
    model = ScriptedModel(
        calls(("writeTextFile", {"path": "a.txt", "text": "one"})),
        calls(("readTextFile", {"path": "a.txt"}), ("todo", {"newTodos": ["x"]})),
        calls(("attemptCompletion", {})),
        calls(("todo", {"completedTodos": [0]})),
        calls(("attemptCompletion", {})),
        says("It says one."),
    )
    job = await play(start(tmp_path), model, MemoryStore())
    assert job.done is not None
    assert job.done.text == "It says one."
    assert (tmp_path / "a.txt").read_text() == "one"
    read, todo = model.requests[2].history[-2:]
    assert '"content":"one"' in read.text
    assert todo.text == '{"todos":[{"id":0,"title":"x","completed":false}]}'
    assert '"remainingTodos"' in model.requests[3].history[-1].text
    assert model.requests[-1].concluding


async def test_delegates_run_side_by_side(tmp_path: Path) -> None:
    both = Meeting(2)

    async def each(request: Request) -> None:
        if request.path:
            await both.arrive()

    model = ScriptedModel(
        {
            ("", 1): calls(("a", {"query": "qa"}), ("b", {"query": "qb"})),
            ("/1.1", 1): says("from a"),
            ("/1.2", 1): says("from b"),
            ("", 2): says("done"),
        },
        each=each,
    )
    with anyio.fail_after(5):
        job = await play(start(tmp_path), model, MemoryStore())
    assert job.done is not None
    last = model.requests[-1].history
    assert [message.text for message in last[-2:]] == ["from a", "from b"]
    assert list(job.runs) == ["root"]


async def test_no_text_of_the_parent_reaches_the_child(tmp_path: Path) -> None:
    model = ScriptedModel(
        {
            ("", 1): calls(("a", {"query": "only this"}), text="PARENT SECRET"),
            ("/1.1", 1): says("ok"),
            ("", 2): says("done"),
        }
    )
    await play(start(tmp_path, query="PARENT QUERY"), model, MemoryStore())
    child = next(request for request in model.requests if request.path)
    assert [message.text for message in child.history] == ["only this"]
    assert "PARENT" not in child.instruction
    assert "You lead." not in child.instruction


async def test_a_failed_delegate_is_a_result_the_parent_can_act_on(tmp_path: Path) -> None:
    model = ScriptedModel(
        {
            ("", 1): calls(("a", {"query": "q"}), ("b", {"query": "q"})),
            ("/1.1", 1): fails("Unauthorized", retryable=False, message="no key"),
            ("/1.2", 1): says("fine"),
            ("", 2): says("done"),
        }
    )
    job = await play(start(tmp_path), model, MemoryStore())
    assert job.done is not None
    assert job.done.outcome == "completed"
    texts = [message.text for message in model.requests[-1].history[-2:]]
    assert texts == ["Delegation failed: no key", "fine"]


async def test_odd_calls_are_told_to_the_model(tmp_path: Path) -> None:
    model = ScriptedModel(
        calls(("nothing", {}), ("a", {}), ("readTextFile", {"path": 3}), ("todo", {"newTodos": 1})),
        says("done"),
    )
    job = await play(start(tmp_path), model, MemoryStore())
    assert job.done is not None
    results = model.requests[-1].history[-4:]
    assert all(getattr(message, "is_error", False) for message in results)
    assert "There is no tool 'nothing'" in results[0].text
    assert "`query` is required" in results[1].text


async def test_a_retryable_failure_is_tried_again_after_a_while(tmp_path: Path) -> None:
    heard = Heard()
    model = ScriptedModel({("", 1): (fails("Overloaded", retry_after_s=0.01), says("at last"))})
    job = await play(start(tmp_path), model, MemoryStore(), heard=heard)
    assert job.done is not None
    assert job.done.text == "at last"
    (waited,) = [n for n in heard.notices if isinstance(n, Waiting)]
    assert waited.attempt == 2
    assert len(model.requests[1].history) == 1  # no error text in the history


async def test_a_failure_that_cannot_be_retried_ends_the_job(tmp_path: Path) -> None:
    model = ScriptedModel(fails("Unauthorized", retryable=False, status=401, message="bad key"))
    job = await play(start(tmp_path), model, MemoryStore())
    assert job.done is not None
    assert (job.done.outcome, job.done.text) == ("failed", "bad key")
    assert job.done.failure is not None
    assert job.done.failure.status == 401


async def test_a_reply_that_takes_too_long_is_a_failure(tmp_path: Path) -> None:
    async def hang(request: Request) -> None:
        await anyio.sleep_forever()

    limits = Limits(timeout_s=0.01, max_retries=0)
    model = ScriptedModel(says("never"), each=hang)
    job = await play(start(tmp_path, limits=limits), model, MemoryStore())
    assert job.done is not None
    assert job.done.failure is not None
    assert job.done.failure.name == "Timeout"


async def test_a_question_parks_the_job_and_an_answer_takes_it_on(tmp_path: Path) -> None:
    store = MemoryStore()
    model = ScriptedModel(calls(("askUser", {"q": "colour?"})), says("Blue it is."))
    job = await play(start(tmp_path), model, store)
    assert job.done is None
    ((run, call),) = job.questions
    answer = ToolReturned(run=run.id, call=call.id, parts=(Text(text="blue"),))
    plan = start(tmp_path)
    job = await play(
        type(plan)(job=plan.job, before=plan.before, after=lambda _: (answer,)), model, store
    )
    assert job.done == Done(outcome="completed", text="Blue it is.")
    assert model.requests[-1].history[-1].text == "blue"


async def test_max_steps_parks_the_job(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request: calls(("todo", {}), text=f"{request.step}"))
    job = await play(start(tmp_path, limits=Limits(max_steps=3)), model, MemoryStore())
    assert job.done is None
    assert job.stopped is not None
    assert (job.stopped.reason, job.steps) == ("limit", 3)


async def test_time_at_work_is_a_limit_that_parks_the_job(tmp_path: Path) -> None:
    async def hang(request: Request) -> None:
        await anyio.sleep_forever()

    model = ScriptedModel(says("never"), each=hang)
    with anyio.fail_after(5):
        job = await play(start(tmp_path, limits=Limits(max_duration_s=0.02)), model, MemoryStore())
    assert job.stopped is not None
    assert (job.stopped.reason, job.stopped.what) == ("limit", "maxDuration 0.02 s")


async def test_a_cancelled_job_ends_and_its_tool_is_cancelled(tmp_path: Path) -> None:
    inbox, heard = Inbox(), Heard()
    sleep: dict[str, Json] = {
        "command": "sleep",
        "args": ["30"],
        "env": {},
        "cwd": ".",
        "stdout": True,
        "stderr": True,
    }
    model = ScriptedModel(calls(("exec", sleep)))

    async def cancel_when_called() -> None:
        while not any(isinstance(event, ToolCalled) for event in heard.facts):
            await anyio.lowlevel.checkpoint()
        inbox.say(CancelRequested())

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_when_called)
            await play(start(tmp_path), model, MemoryStore(), heard=heard, inbox=inbox)
    assert heard.last is not None
    assert heard.last.done == Done(outcome="cancelled", text="cancelled")


async def test_an_interruption_is_written_down_and_can_be_undone(tmp_path: Path) -> None:
    store, inbox = MemoryStore(), Inbox()
    arrived = anyio.Event()

    async def hang_once(request: Request) -> None:
        if not arrived.is_set():
            arrived.set()
            inbox.say(Stopped(reason="interrupted", what="SIGINT"))
            await anyio.sleep_forever()

    model = ScriptedModel({("", 1): says("hello")}, each=hang_once)
    with anyio.fail_after(5):
        job = await play(start(tmp_path), model, store, inbox=inbox)
        assert job.stopped is not None
        job = await play(start(tmp_path), model, store)
    assert job.done == Done(outcome="completed", text="hello")


async def test_a_word_from_outside_that_cannot_follow_is_dropped(tmp_path: Path) -> None:
    inbox = Inbox()
    inbox.say(ToolReturned(run="root", call="never", parts=()))
    job = await play(start(tmp_path), ScriptedModel(says("hi")), MemoryStore(), inbox=inbox)
    assert job.done is not None


async def test_a_bug_is_written_down_and_comes_out(tmp_path: Path) -> None:
    store = MemoryStore()
    with pytest.raises(BaseExceptionGroup) as caught:
        await play(start(tmp_path), ScriptedModel(), store)
    assert caught.group_contains(AssertionError)
    last = (await store.read("job"))[-1]
    assert isinstance(last, Stopped)
    assert last.reason == "bug"
    job = await play(start(tmp_path), ScriptedModel(says("now")), store)
    assert job.done is not None


async def test_a_log_that_takes_no_more_ends_the_job_with_its_own_error(tmp_path: Path) -> None:
    class Full(MemoryStore):
        def write(self, job: str, event: Event) -> Event:
            if isinstance(event, Replied):
                raise StoreError("No space left on device")
            return super().write(job, event)

    store = Full()
    with pytest.raises(StoreError):
        await play(start(tmp_path), ScriptedModel(says("hi")), store)
    assert not any(isinstance(e, Replied | RunFinished) for e in await store.read("job"))
