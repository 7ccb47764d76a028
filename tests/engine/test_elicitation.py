"""A tool whose server asks a person, among other tools, on the stage."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from perstack.definition import StdioSkill
from perstack.engine import Plan
from perstack.errors import sole
from perstack.job import AskAnswered, Event, Job, JobStarted, wanted
from perstack.testing import Crash, MemoryStore, ScriptedModel, calls, says

from .helpers import LEAD, lock, play, start

pytestmark = pytest.mark.anyio

ASKING = Path(__file__).parents[1] / "fakes" / "mcp_asking.py"


def plan(workspace: Path, *after: Event) -> Plan:
    """As `start`, for a lead who can also book tables."""
    plain = start(workspace)
    tables = StdioSkill(command=sys.executable, args=(str(ASKING),))
    lead = replace(LEAD["lead"], skills={**LEAD["lead"].skills, "tables": tables})

    def before(events: Sequence[Event]) -> Iterable[Event]:
        for event in plain.before(events):
            lead_lock = lock({**LEAD, "lead": lead})
            yield replace(event, lock=lead_lock) if isinstance(event, JobStarted) else event

    return Plan(job=plain.job, before=before, after=lambda job: after or plain.after(job))


def model() -> ScriptedModel:
    note = ("writeTextFile", {"path": "a.txt", "text": "one"})
    return ScriptedModel(calls(("book", {"table": 1}), note), says("Done."))


def answer(job: Job, **content: object) -> AskAnswered:
    ((run, call),) = job.questions
    return AskAnswered(run=run.id, call=call.id, content=dict(content))


async def test_a_question_parks_the_job_once_the_other_tools_are_back(tmp_path: Path) -> None:
    store, script = MemoryStore(), model()
    job = await play(plan(tmp_path), script, store, env=os.environ)
    assert wanted(job) == ()
    assert (tmp_path / "a.txt").read_text() == "one"
    job = await play(plan(tmp_path, answer(job, day="Monday")), script, store, env=os.environ)
    job = await play(plan(tmp_path, answer(job, sure=True)), script, store, env=os.environ)
    assert job.done is not None
    assert job.done.text == "Done."
    booked, _ = script.requests[-1].history[-2:]
    assert booked.text == "Table 1 is yours on Monday"
    kinds = [type(event).__name__ for event in await store.read("job")]
    assert kinds.count("ToolCalled") == 4


async def test_a_process_that_ends_before_the_question_is_written_leaves_the_call_in_doubt(
    tmp_path: Path,
) -> None:
    script = ScriptedModel(calls(("book", {"table": 1})), says("I see."))
    store = MemoryStore(crash_at=5)
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # a Crash, alone or in groups
        await play(plan(tmp_path), script, store, env=os.environ)
    assert isinstance(sole(caught.value), Crash)
    job = await play(plan(tmp_path), script, store, env=os.environ)
    assert job.done is not None
    assert "unknown" in script.requests[-1].history[-1].text
