"""Desks for tests: a project, a scripted model, logs in memory, and a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from msgspec.structs import replace
from textual.pilot import Pilot

from perstack.engine import NOBODY, Inbox
from perstack.models import Model
from perstack.ops.project import Flags
from perstack.ops.running.order import Order
from perstack.ops.running.run import carry_out, prepare
from perstack.store import Store
from perstack.testing import MemoryStore, ScriptedModel, calls, says
from perstack.tui import Beginning, Desk, Workbench

PROJECT = Path(__file__).parent / "project"

NOON = 1_767_225_600.0 + 60
"""A minute after the clock of `MemoryStore` begins."""

QUERY = "Make a plan out of my notes"

STORY = {
    ("", 1): calls(
        ("todo", {"newTodos": ["Read the notes", "Ask for facts", "Write the plan"]}),
        ("readTextFile", {"path": "notes.md"}),
        thought="The user wants a plan. The notes first, then the facts that are missing.",
    ),
    ("", 2): calls(
        ("researcher", {"query": "How long does milk keep?"}),
        ("researcher", {"query": "What is a good test?"}),
        ("todo", {"completedTodos": [0]}),
    ),
    ("/2.1", 1): calls(("listDirectory", {"path": "."})),
    ("/2.1", 2): says("About **seven days** once opened."),
    ("/2.2", 1): calls(("getFileInfo", {"path": "notes.md"})),
    ("/2.2", 2): says("One that can fail."),
    ("", 3): calls(
        ("writeTextFile", {"path": "plan.md", "text": "# Plan\n\n1. Milk\n2. Tests\n"}),
        (
            "editTextFile",
            {"path": "notes.md", "oldText": "- buy milk", "newText": "- buy milk (seven days)"},
        ),
        ("todo", {"completedTodos": [1, 2]}),
    ),
    ("", 4): calls(
        (
            "askUser",
            {
                "question": "Shall I **delete** the old notes?",
                "options": ["Yes, all of them", "Only the done ones", "No"],
            },
        )
    ),
    ("", 5): says(
        "# The plan\n\nIt is in `plan.md`:\n\n1. Buy milk, it keeps **seven days**\n"
        "2. Write tests that can fail\n"
    ),
    ("", 6): says("As you say."),
}
"""A job with two delegates side by side, edits, a question and an answer."""


def order_in(workspace: Path, model: Model | None = None, store: Store | None = None) -> Order:
    return Order(
        expert="",
        cwd=workspace,
        workspace=workspace,
        env={"ANTHROPIC_API_KEY": "sk-test-1234", "PATH": "/usr/bin:/bin"},
        flags=Flags(runtime="local"),
        model=model,
        store=store or MemoryStore(),
    )


def desk_in(workspace: Path, model: Model | None = None, store: Store | None = None) -> Desk:
    return Desk(order_in(workspace, model or ScriptedModel(STORY), store))


async def play(desk: Desk, job: str = "plan", *answers: str) -> None:
    """Let the story happen, up to its question, and on with the answers to it."""
    order = desk.new_job("editor", QUERY)
    await _carry_out(order, job)
    for answer in answers:
        await _carry_out(desk.going_on("editor", job, answer, answer=True), None)


async def _carry_out(order: Order, job: str | None) -> None:
    prepared = await prepare(replace(order, job=job))
    inbox = Inbox()
    try:
        await carry_out(prepared, inbox, NOBODY)
    finally:
        inbox.close()


def bench_of(desk: Desk, beginning: Beginning | None = None) -> Workbench:
    return Workbench(desk, beginning or Beginning(), now=lambda: NOON, watch=False)


@asynccontextmanager
async def opened(
    desk: Desk, beginning: Beginning | None = None, size: tuple[int, int] = (120, 36)
) -> AsyncGenerator[tuple[Workbench, Pilot[int]]]:
    """The workbench without a terminal; what it has at work is put down at the end."""
    bench = bench_of(desk, beginning)
    try:
        async with bench.run_test(size=size) as pilot:
            yield bench, pilot
    finally:
        bench.close()


async def until(pilot: Pilot[int], condition: Callable[[], object]) -> None:
    """Let the program run until `condition` holds."""
    with anyio.fail_after(90):
        while not condition():
            await pilot.pause(0.01)
