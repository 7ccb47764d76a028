"""What the screens look like. A change is to be looked at; `pytest tests/tui --snapshot-update` accepts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets._footer import FooterKey

from perstack.models import Delta, Hear, Reply, Request
from perstack.ops.project import Flags
from perstack.ops.running.order import Order
from perstack.testing import MemoryStore, ScriptedModel, calls, says
from perstack.tui import Beginning, Desk, Workbench
from perstack.tui.screens.follow import Follow
from perstack.tui.screens.sheets import HelpSheet
from perstack.tui.widgets.answer import Answer
from perstack.tui.widgets.prompt import Prompt
from perstack.tui.widgets.timeline import Timeline

from .desks import PROJECT, STORY, bench_of, order_in, play, until

Compare = Callable[..., bool]
Before = Callable[[Pilot[int]], Awaitable[None]]

HOME = Path("/home/you/notes")


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLORFGBG", "TEXTUAL_THEME", "TEXTUAL_ANIMATIONS"):
        monkeypatch.delenv(name, raising=False)


def still(order: Order, workspace: Path = HOME) -> Desk:
    """A desk whose screens say where somebody might be."""
    return Desk(replace(order, cwd=PROJECT, workspace=workspace))


def kept(workspace: Path, *answers: str) -> Desk:
    """A desk on which the story happened."""
    order = order_in(workspace, ScriptedModel(STORY), MemoryStore())
    anyio.run(play, Desk(order), "plan", *answers)
    return still(order)


async def settled(pilot: Pilot[int]) -> None:
    """All is shown that will be, with a cursor that does not blink."""
    for prompt in pilot.app.screen.query(Prompt):
        prompt.cursor_blink = False
    await until(pilot, lambda: is_known(pilot.app) and is_footed(pilot.app.screen))
    await pilot.pause()


def is_known(app: App[int]) -> bool:
    """Whether nothing is being looked up any more, to be shown once it is known."""
    return all(worker.is_finished for worker in app.workers)


def is_footed(screen: Screen[object]) -> bool:
    """Whether the line of keys has those that do something now. It is made anew some time after they change."""
    active = [each.binding for each in screen.active_bindings.values() if each.binding.show]
    shown = {key.description for key in screen.query(FooterKey)}
    return not screen.query(Footer) or shown == {binding.description for binding in active}


def home() -> Before:
    async def before(pilot: Pilot[int]) -> None:
        await until(pilot, lambda: pilot.app.screen.query("#list"))
        rows = pilot.app.screen.query_one("#list", OptionList)
        await until(pilot, lambda: "job:plan" in [option.id for option in rows.options])
        await pilot.press("slash", *"notes", "enter")  # what comes with Perstack may change
        await until(pilot, lambda: pilot.app.focused is rows)
        await settled(pilot)

    return before


def job(*keys: str) -> Before:
    async def before(pilot: Pilot[int]) -> None:
        bench = pilot.app
        assert isinstance(bench, Workbench)
        [summary] = await bench.desk.jobs()
        bench.open_job(summary)
        await until(
            pilot,
            lambda: isinstance(bench.screen, Follow) and bench.screen.session.at_work is False,
        )
        await until(pilot, lambda: bench.screen.query("#timeline"))
        shown = bench.screen.query_one("#timeline", Timeline)
        await until(pilot, lambda: shown.shown_text)
        await until(pilot, lambda: bench.focused is not None)
        await settled(pilot)
        await pilot.press(*keys)
        await settled(pilot)

    return before


def test_choosing(snap_compare: Compare, workspace: Path):
    bench = bench_of(kept(workspace, "No"))
    assert snap_compare(bench, terminal_size=(120, 30), run_before=home())


def test_choosing_on_a_small_light_screen_without_a_key(snap_compare: Compare, workspace: Path):
    desk = kept(workspace, "No")
    desk.order = replace(desk.order, model=None, env={})
    bench = bench_of(desk)
    bench.theme = "perstack-light"
    assert snap_compare(bench, terminal_size=(80, 24), run_before=home())


def test_a_job_that_is_done(snap_compare: Compare, workspace: Path):
    assert snap_compare(bench_of(kept(workspace, "No")), terminal_size=(120, 48), run_before=job())


def test_a_job_on_a_small_screen_with_a_row_selected(snap_compare: Compare, workspace: Path):
    bench = bench_of(kept(workspace, "No"))
    assert snap_compare(bench, terminal_size=(80, 24), run_before=job("escape", "up", "up"))


def test_a_question_with_answers_to_choose(snap_compare: Compare, workspace: Path):
    def before() -> Before:
        opened = job()

        async def waits(pilot: Pilot[int]) -> None:
            await opened(pilot)
            await until(pilot, lambda: pilot.app.screen.query("#choices"))
            await until(pilot, lambda: isinstance(pilot.app.focused, OptionList))
            await settled(pilot)

        return waits

    bench = bench_of(kept(workspace))
    assert snap_compare(bench, terminal_size=(120, 36), run_before=before())


def test_side_by_side(snap_compare: Compare, workspace: Path):
    async def before(pilot: Pilot[int]) -> None:
        await job("escape", "p")(pilot)
        await until(pilot, lambda: len(pilot.app.screen.query(".lane")) == 2)
        lanes = pilot.app.screen.query(".lane Timeline").results(Timeline)
        await until(pilot, lambda lanes=tuple(lanes): all(lane.shown_text for lane in lanes))
        await until(pilot, lambda: getattr(pilot.app.focused, "cursor_text", ""))
        heads = pilot.app.screen.query(".lane-head").results(Static)
        await until(pilot, lambda heads=tuple(heads): all(str(head.content) for head in heads))
        await settled(pilot)

    bench = bench_of(kept(workspace, "No"))
    assert snap_compare(bench, terminal_size=(160, 30), run_before=before)


def test_checkpoints(snap_compare: Compare, workspace: Path):
    async def before(pilot: Pilot[int]) -> None:
        await job("escape", "c")(pilot)
        await until(pilot, lambda: pilot.app.screen.query("#list") and "Step" in shown(pilot))
        details = pilot.app.screen.query_one("#details", Static)
        await until(pilot, lambda: str(details.content))
        await settled(pilot)

    def shown(pilot: Pilot[int]) -> str:
        return str(
            [option.prompt for option in pilot.app.screen.query_one("#list", OptionList).options]
        )

    bench = bench_of(kept(workspace, "No"))
    assert snap_compare(bench, terminal_size=(120, 20), run_before=before)


def test_help(snap_compare: Compare, workspace: Path):
    async def before(pilot: Pilot[int]) -> None:
        await home()(pilot)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpSheet))
        await settled(pilot)

    bench = bench_of(kept(workspace, "No"))
    assert snap_compare(bench, terminal_size=(100, 40), run_before=before)


class Working:
    """A model in the middle of a reply, while two delegates are at work."""

    async def reply(self, request: Request, hear: Hear) -> Reply:
        if request.path == "" and request.step == 1:
            return calls(
                ("todo", {"newTodos": ["Ask for facts", "Write the plan"]}),
                ("researcher", {"query": "How long does milk keep?"}),
                ("researcher", {"query": "What is a good test?"}),
            )
        if request.path == "/1.2":
            hear(Delta(kind="text", text="About **seven days** once opened, if it is kept "))
        else:
            hear(Delta(kind="thought", text="A test is good if it can fail. So I should"))
        await anyio.sleep_forever()
        return says("")


def test_delegates_at_work(snap_compare: Compare, workspace: Path):
    desk = still(order_in(workspace, Working(), MemoryStore()), workspace)
    beginning = replace(desk.new_job("editor", "Make a plan out of my notes"), job="plan")

    async def before(pilot: Pilot[int]) -> None:
        await until(pilot, lambda: isinstance(pilot.app.screen, Follow))
        screen = pilot.app.screen
        assert isinstance(screen, Follow)
        await until(pilot, lambda: len(screen.session.account.voices) == 2)
        screen.session.account.notes.clear()
        screen.draw()
        await settled(pilot)

    bench = bench_of(desk, Beginning(order=beginning))
    try:
        assert snap_compare(bench, terminal_size=(120, 30), run_before=before)
    finally:
        bench.close()


def test_a_call_to_be_allowed(snap_compare: Compare, workspace: Path):
    push = {"command": "git", "args": ["push", "origin", "main"], "cwd": "."}
    script = calls(("exec", {**push, "env": {}, "stdout": True, "stderr": True}))
    order = order_in(workspace, ScriptedModel(script), MemoryStore())
    desk = still(replace(order, flags=Flags(runtime="local", approve=("exec",))), workspace)
    beginning = replace(desk.new_job("editor", "Publish it"), job="plan")

    async def before(pilot: Pilot[int]) -> None:
        await until(
            pilot, lambda: pilot.app.screen.query(Answer) and pilot.app.screen.query("#deny")
        )
        await until(pilot, lambda: getattr(pilot.app.focused, "id", "") == "deny")
        await settled(pilot)

    bench = bench_of(desk, Beginning(order=beginning))
    try:
        assert snap_compare(bench, terminal_size=(100, 28), run_before=before)
    finally:
        bench.close()
