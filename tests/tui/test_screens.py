"""The workbench as somebody uses it: keys in, screens out, jobs behind."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace
from textual.events import Key, Paste
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from perstack.job import UserMessage
from perstack.models import Hear, Reply, Request
from perstack.models.model import Delta
from perstack.ops.history.jobs import JobSummary
from perstack.ops.running.order import Order
from perstack.store import Status
from perstack.testing import MemoryStore, ScriptedModel, calls, says
from perstack.tui import Beginning, Desk, Entry, Workbench
from perstack.tui.screens.checkpoints import Checkpoints
from perstack.tui.screens.follow import Follow
from perstack.tui.screens.home import Home
from perstack.tui.screens.sheets import KeySheet
from perstack.tui.widgets.answer import Answer
from perstack.tui.widgets.prompt import Prompt
from perstack.tui.widgets.timeline import Timeline
from tests.behaviour.register import proves

from .desks import QUERY, desk_in, opened, order_in, play, until

pytestmark = pytest.mark.anyio


def text_of(follow: Follow) -> str:
    """Its rows, "" before there are any."""
    return "".join(timeline.shown_text for timeline in follow.query("#timeline").results(Timeline))


def begin(desk: Desk, query: str = QUERY) -> Beginning:
    return Beginning(order=desk.new_job("editor", query))


def following(bench: object) -> Follow:
    screen = getattr(bench, "screen", None)
    assert isinstance(screen, Follow)
    return screen


async def reopened(desk: Desk, bench: Workbench, pilot: Pilot[int]) -> Follow:
    """The screen that follows the one job there is."""
    [job] = await desk.jobs()
    bench.open_job(job)
    await until(pilot, lambda: isinstance(bench.screen, Follow))
    return following(bench)


# Choosing -------------------------------------------------------------------------------------------------


async def test_experts_and_jobs_are_listed_and_the_first_is_shown(workspace: Path):
    desk = desk_in(workspace)
    await play(desk)
    async with opened(desk) as (bench, pilot):
        rows = bench.screen.query_one("#list", OptionList)
        await until(pilot, lambda: "job:plan" in [option.id for option in rows.options])
        ids = [option.id for option in rows.options if option.id]
        assert ids[:2] == ["expert:project:editor", "expert:project:researcher"]
        assert "expert:shipped:tic-tac-toe" in ids
        assert ids[-1] == "job:plan"
        assert "Keeps notes in order" in str(bench.screen.query_one("#details", Static).content)


async def test_the_filter_looks_through_experts_and_jobs(workspace: Path):
    desk = desk_in(workspace)
    await play(desk)
    async with opened(desk) as (bench, pilot):
        rows = bench.screen.query_one("#list", OptionList)
        await until(pilot, lambda: "job:plan" in [option.id for option in rows.options])
        await pilot.press("slash", *"plan")
        await pilot.pause()
        ids = [option.id for option in rows.options if option.id]
        assert ids == ["expert:shipped:fitness-assistant", "job:plan"]


async def test_an_expert_is_chosen_told_what_to_do_and_followed(workspace: Path):
    async with opened(desk_in(workspace)) as (bench, pilot):
        rows = bench.screen.query_one("#list", OptionList)
        await until(pilot, lambda: rows.highlighted is not None)
        await pilot.press("enter", *"Plan", "enter")
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        await until(pilot, lambda: follow.session.question is not None)
        assert follow.session.expert == "editor"
        assert "> Plan" in text_of(follow)


async def test_without_a_key_it_says_how_to_set_one_and_plays_the_demo(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(workspace.parent))
    order = Order(expert="", cwd=workspace, workspace=workspace, env={"PATH": "/usr/bin:/bin"})
    async with opened(Desk(order)) as (bench, pilot):
        banner = bench.screen.query_one("#banner", Static)
        await until(pilot, lambda: "ANTHROPIC_API_KEY" in str(banner.content))
        assert "demo" in str(banner.content)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        await until(pilot, lambda: follow.session.job.done is not None)
        assert follow.session.job.expert == "fitness-assistant"


async def test_a_demo_that_is_over_says_that_nobody_hears_more(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(workspace.parent))
    order = Order(expert="", cwd=workspace, workspace=workspace, env={"PATH": "/usr/bin:/bin"})
    async with opened(Desk(order)) as (bench, pilot):
        bench.play_demo("tic-tac-toe")
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        await until(pilot, lambda: follow.session.is_over)
        await until(pilot, lambda: "recording" in str(follow.query_one(Prompt).placeholder))
        events = follow.session.job.seq
        await pilot.press(*"b2", "enter")
        await pilot.pause()
        assert not follow.session.at_work
        assert follow.session.job.seq == events
        assert follow.query_one(Prompt).text == "b2"


async def test_faults_of_the_file_are_shown_where_one_chooses(workspace: Path):
    (workspace / "perstack.toml").write_text('[experts."broken"]\nversion = "x"\n')
    async with opened(desk_in(workspace)) as (bench, pilot):
        banner = bench.screen.query_one("#banner", Static)
        await until(
            pilot, lambda: "faults" in str(banner.content) or "fault" in str(banner.content)
        )
        assert "broken" in str(banner.content)


async def test_a_registry_is_searched_when_somebody_asks(workspace: Path):
    asked: list[str] = []

    async def search(words: str) -> list[Entry]:
        asked.append(words)
        return [Entry(key="@acme/reader", origin="registry", about="Reads things")]

    desk = Desk(order_in(workspace, ScriptedModel()), search)
    async with opened(desk) as (bench, pilot):
        rows = bench.screen.query_one("#list", OptionList)
        await until(pilot, lambda: rows.highlighted is not None)
        await pilot.press("slash", *"reader")
        assert not asked
        await pilot.press("enter", "end", "enter")
        await until(pilot, lambda: "expert:registry:@acme/reader" in [o.id for o in rows.options])
        assert asked == ["reader"]


async def test_any_key_can_be_typed(workspace: Path):
    desk = desk_in(workspace, ScriptedModel(says("Your move.")))
    async with opened(desk) as (bench, pilot):
        rows = bench.screen.query_one("#list", OptionList)
        await until(pilot, lambda: rows.highlighted is not None)
        await pilot.press("i", *"tic-tac-toe", "enter")
        await until(pilot, lambda: isinstance(bench.focused, Prompt))
        await pilot.press(*"Hello", "enter")
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        assert following(bench).session.expert == "tic-tac-toe"


async def test_a_key_that_is_half_typed_is_left_only_with_escape(workspace: Path):
    async with opened(desk_in(workspace)) as (bench, pilot):
        rows = bench.screen.query_one("#list", OptionList)
        await until(pilot, lambda: rows.highlighted is not None)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(bench.screen, KeySheet))
        await pilot.press(*"@acme", "question_mark", "f1", *"/x")
        await until(pilot, lambda: bench.screen.query_one(Input).value == "@acme?/x")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(bench.screen, Home))


async def test_what_cannot_begin_says_why(workspace: Path):
    (workspace / "perstack.toml").write_text('[experts."broken"]\nversion = "x"\n')
    desk = desk_in(workspace)
    async with opened(desk, Beginning(order=desk.new_job("broken", "Go"))) as (bench, pilot):
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        await until(pilot, lambda: follow.session.account.failure is not None)
        await until(
            pilot, lambda: "instruction" in str(follow.query_one("#banner", Static).content)
        )


# Keys that come together ----------------------------------------------------------------------------------


def type_at_once(bench: Workbench, *keys: str) -> None:
    """As a terminal hands over what was typed while nobody read."""
    characters = {"enter": "\r", "slash": "/", "escape": "\x1b"}
    for key in keys:
        bench.post_message(Key(key, key if len(key) == 1 else characters.get(key)))


class Slow(MemoryStore):
    """A store that takes its time to say which jobs there are."""

    def __init__(self) -> None:
        super().__init__()
        self.let = anyio.Event()

    async def summaries(self) -> tuple[JobSummary, ...]:
        await self.let.wait()
        return await super().summaries()


async def test_what_is_typed_before_the_list_is_there_reaches_it(workspace: Path):
    store = Slow()
    desk = desk_in(workspace, ScriptedModel(says("Well.")), store)
    async with opened(desk) as (bench, pilot):
        type_at_once(bench, "down", "enter")
        bench.post_message(Paste("Plan\nall of it"))
        type_at_once(bench, "enter")
        await until(pilot, lambda: bench.screen.query_one("#list", OptionList).option_count > 1)
        await pilot.pause()
        assert isinstance(bench.screen, Home)
        store.let.set()
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        await until(pilot, lambda: follow.session.job.done is not None)
        assert follow.session.expert == "researcher"
        assert follow.session.account.root is not None
        assert follow.session.account.root.query == "Plan\nall of it"


async def test_leaving_does_not_wait_for_the_list(workspace: Path):
    async with opened(desk_in(workspace, store=Slow())) as (bench, pilot):
        type_at_once(bench, "down", "ctrl+q")
        await until(pilot, lambda: bench.return_code == 0)


async def test_each_key_is_taken_after_what_the_one_before_it_opens(workspace: Path):
    desk = desk_in(workspace)
    await play(desk, "plan", "No")
    async with opened(desk) as (bench, pilot):
        type_at_once(bench, "slash", *"editor", "enter", "h", "enter", "end", "escape", "home", "b")
        type_at_once(bench, *"Anew", "enter")
        await until(
            pilot,
            lambda: isinstance(bench.screen, Follow) and following(bench).session.id != "plan",
        )
        branch = following(bench).session
        await until(pilot, lambda: branch.account.root and branch.account.root.rows[1:])
        assert branch.account.root is not None
        assert "Anew" in [getattr(row, "text", "") for row in branch.account.root.rows]


# Following ------------------------------------------------------------------------------------------------


async def test_a_job_is_followed_to_its_question_answered_and_continued(workspace: Path):
    desk = desk_in(workspace)
    async with opened(desk, begin(desk)) as (bench, pilot):
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        answer = follow.query_one(Answer)
        await until(pilot, lambda: answer.query("#choices"))
        choices = answer.query_one("#choices", OptionList)
        await until(pilot, lambda: follow.focused is choices)
        await pilot.press("down", "enter")
        await until(pilot, lambda: follow.session.job.done is not None)
        await until(pilot, lambda: "Write tests that can fail" in text_of(follow))
        assert "> Only the done ones" in text_of(follow)
        follow.query_one(Prompt).focus()
        await pilot.press(*"Thanks", "enter")
        await until(pilot, lambda: "As you say." in text_of(follow))
        assert follow.session.job.steps == 10


async def test_delegates_unfold_into_their_runs(workspace: Path):
    desk = desk_in(workspace)
    await play(desk, "plan", "No")
    async with opened(desk) as (bench, pilot):
        follow = await reopened(desk, bench, pilot)
        await until(pilot, lambda: "▸ Ask researcher" in text_of(follow))
        assert "List ." not in text_of(follow)
        timeline = follow.query_one("#timeline", Timeline)
        timeline.focus()
        await pilot.press("home")
        while "Ask" not in (timeline.cursor_text or ""):
            await pilot.press("down")
        await pilot.press("enter")
        await pilot.pause()
        assert "▾ Ask researcher" in text_of(follow)
        assert "│ ○ List ." in text_of(follow)
        await pilot.press("down", "left", "left")
        assert "│ ○ List ." not in text_of(follow)


async def test_parallel_runs_stand_side_by_side(workspace: Path):
    desk = desk_in(workspace)
    await play(desk, "plan", "No")
    async with opened(desk, size=(160, 40)) as (bench, pilot):
        follow = await reopened(desk, bench, pilot)
        await pilot.press("escape", "p")
        await until(pilot, lambda: len(follow.query(".lane")) == 2)
        lanes = list(follow.query(".lane Timeline").results(Timeline))
        await until(pilot, lambda: all(lane.shown_text for lane in lanes))
        assert ["seven days" in lane.shown_text for lane in lanes] == [True, False]
        await pilot.press("p")
        await until(pilot, lambda: not follow.query(".lane"))
        assert follow.query_one("#timeline").display


class Talking:
    """A model that says some words, and then the rest when it is let."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def reply(self, request: Request, hear: Hear) -> Reply:
        self.requests.append(request)
        last = request.history[-1]
        if isinstance(last, UserMessage) and last.text == "Quick, please":
            return says("Quick it is.")
        hear(Delta(kind="thought", text="Let me think about "))
        hear(Delta(kind="thought", text="that"))
        await anyio.sleep_forever()
        raise AssertionError


async def test_words_appear_as_they_come_and_the_run_can_be_steered(workspace: Path):
    desk = desk_in(workspace, Talking())
    async with opened(desk, begin(desk)) as (bench, pilot):
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        await until(pilot, lambda: "Let me think about that" in text_of(follow))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: follow.session.job.stopped is not None)
        await until(pilot, lambda: not follow.session.at_work)
        assert "Let me think" not in text_of(follow)
        await pilot.press(*"Quick, please", "enter")
        await until(pilot, lambda: follow.session.job.done is not None)
        await until(pilot, lambda: "Quick it is." in text_of(follow))


async def test_a_word_while_it_works_reaches_the_run(workspace: Path):
    desk = desk_in(workspace, Talking())
    async with opened(desk, begin(desk)) as (bench, pilot):
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        await until(pilot, lambda: follow.session.account.voices)
        await pilot.press(*"Quick, please", "enter")
        await until(pilot, lambda: follow.session.job.done is not None)


@proves("workbench.nothing-lost")
async def test_a_word_that_comes_too_late_is_what_the_job_goes_on_with(workspace: Path):
    desk = desk_in(workspace, Talking())
    async with opened(desk, begin(desk)) as (bench, pilot):
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        session = following(bench).session
        await until(pilot, lambda: session.account.voices)
        session.stop()
        session.speak("Quick, please")  # the job is on its way to a stop already
        await until(pilot, lambda: session.job.done is not None)
        assert session.job.done is not None
        assert session.job.done.text == "Quick it is."


async def test_leaving_the_screen_leaves_the_job_at_work(workspace: Path):
    desk = desk_in(workspace, Talking())
    async with opened(desk, begin(desk)) as (bench, pilot):
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        session = following(bench).session
        await until(pilot, lambda: session.account.voices)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(bench.screen, Home))
        rows = bench.screen.query_one("#list", OptionList)
        await until(pilot, lambda: f"job:{session.id}" in [option.id for option in rows.options])
        assert session.at_work
        await pilot.press("h", "enter")
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        assert following(bench).session is session
    assert not session.at_work
    assert session.job.stopped is not None


async def test_a_job_of_another_process_is_followed(workspace: Path):
    store = MemoryStore()
    desk = desk_in(workspace, store=store)
    await play(desk)
    summaries = await desk.jobs()
    async with store.open("plan"), opened(desk_in(workspace, store=store)) as (bench, pilot):
        running = summaries[0].written_by("another")
        bench.open_job(replace(running, status="running"))
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        assert follow.session.elsewhere
        await pilot.press(*"Hello", "enter")
        await pilot.pause()
        assert not follow.session.at_work


@pytest.mark.parametrize("status", ["completed", "running"])
async def test_a_job_that_is_gone_meanwhile_is_told_and_not_opened(workspace: Path, status: Status):
    desk = desk_in(workspace)
    await play(desk)
    [job] = await desk.jobs()
    async with opened(desk_in(workspace)) as (bench, _):
        await bench.open_job(replace(job, status=status)).wait()
        assert isinstance(bench.screen, Home)


@proves("workbench.asked-first")
@pytest.mark.parametrize(("key", "made"), [("a", True), ("enter", False)])
async def test_a_call_is_made_only_if_it_is_allowed(workspace: Path, key: str, made: bool):
    """Enter means no, since it may have been meant for something else."""
    touch = {"command": "touch", "args": ["made"], "cwd": str(workspace)}
    push = calls(("exec", {**touch, "env": {}, "stdout": True, "stderr": True}))
    order = order_in(workspace, ScriptedModel(push, says("Well.")))
    desk = Desk(replace(order, flags=replace(order.flags, approve=("exec",))))
    async with opened(desk, begin(desk)) as (bench, pilot):
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        await until(pilot, lambda: getattr(bench.focused, "id", "") == "deny")
        assert "$ touch made" in text_of(follow)
        await pilot.press(key)
        await until(pilot, lambda: follow.session.job.done is not None)
        assert (workspace / "made").exists() == made
        assert ("> Allowed" if made else "> Denied") in text_of(follow)


# Going back -----------------------------------------------------------------------------------------------


async def test_a_checkpoint_is_resumed_in_the_same_job(workspace: Path):
    desk = desk_in(workspace)
    await play(desk, "plan", "No")
    async with opened(desk) as (bench, pilot):
        [job] = await desk.jobs()
        bench.open_job(job, checkpoints=True)
        await until(pilot, lambda: isinstance(bench.screen, Checkpoints))
        rows = bench.screen.query_one("#list", OptionList)
        await until(pilot, lambda: rows.highlighted == 0)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        await until(pilot, lambda: "Resume at" in str(follow.query_one(Prompt).placeholder))
        await pilot.press(*"Once more", "enter")
        await until(pilot, lambda: "As you say." in text_of(follow))
        assert follow.session.id == "plan"
        assert [summary.job for summary in await desk.jobs()] == ["plan"]


async def test_a_row_is_tried_again_in_a_branch(workspace: Path):
    desk = desk_in(workspace)
    await play(desk, "plan", "No")
    async with opened(desk) as (bench, pilot):
        first = await reopened(desk, bench, pilot)
        await until(pilot, lambda: "Write tests" in text_of(first))
        await pilot.press("escape", "end", "r")
        await until(pilot, lambda: bench.screen is not first and isinstance(bench.screen, Follow))
        branch = following(bench)
        await until(pilot, lambda: branch.session.job.done is not None)
        assert branch.session.id != "plan"
        assert len(await desk.jobs()) == 2


async def test_what_was_interrupted_goes_on_with_enter(workspace: Path):
    desk = desk_in(workspace, Talking())
    async with opened(desk, begin(desk)) as (bench, pilot):
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        session = following(bench).session
        await until(pilot, lambda: session.account.voices)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not session.at_work)
        await pilot.press("enter")
        await until(pilot, lambda: session.at_work and session.account.voices)
        assert session.job.stopped is None


# Around it ------------------------------------------------------------------------------------------------


async def test_the_account_is_exported_into_the_workspace(workspace: Path):
    desk = desk_in(workspace)
    await play(desk, "plan", "No")
    async with opened(desk) as (bench, pilot):
        await reopened(desk, bench, pilot)
        await pilot.press("escape", "x")
        await until(pilot, (workspace / "perstack-plan.md").exists)


async def test_another_model_is_asked_from_the_next_time(workspace: Path):
    async with opened(desk_in(workspace)) as (bench, pilot):
        bench.switch_model("openai/gpt-5")
        assert (bench.desk.order.flags.provider, bench.desk.order.flags.model) == (
            "openai",
            "gpt-5",
        )
        bench.switch_model("llama3:8b")
        assert (bench.desk.order.flags.provider, bench.desk.order.flags.model) == (
            "openai",
            "llama3:8b",
        )
        await pilot.pause()


async def test_help_and_the_list_of_commands_open_everywhere(workspace: Path):
    async with opened(desk_in(workspace), size=(80, 24)) as (bench, pilot):
        await pilot.press("f1")
        assert "CHOOSING" in str(bench.screen.query_one(".sheet Static", Static).content)
        await pilot.press("escape")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: type(bench.screen).__name__ == "CommandPalette")
        await pilot.press("escape")


async def test_a_file_that_is_saved_is_read_again(workspace: Path):
    async with opened(desk_in(workspace)) as (bench, pilot):
        rows = bench.screen.query_one("#list", OptionList)
        await until(pilot, lambda: rows.highlighted is not None)
        with (workspace / "perstack.toml").open("a") as file:
            file.write('\n[experts."newcomer"]\ninstruction = "Be new."\n')
        await bench.reloaded()
        await until(
            pilot, lambda: "expert:project:newcomer" in [option.id for option in rows.options]
        )


async def test_an_editor_that_is_no_command_is_told(workspace: Path):
    order = order_in(workspace, ScriptedModel({}))
    async with opened(Desk(replace(order, env={**order.env, "EDITOR": "vi '"}))) as (bench, _):
        await bench.action_edit().wait()
        assert isinstance(bench.screen, Home)


async def test_typing_goes_to_the_field_that_has_it(workspace: Path):
    """Letters are commands only where nothing is written."""
    async with opened(desk_in(workspace)) as (bench, pilot):
        await until(
            pilot, lambda: bench.screen.query_one("#list", OptionList).highlighted is not None
        )
        await pilot.press("slash", *"decline")
        assert isinstance(bench.screen, Home)
        assert bench.screen.query_one("#filter", Input).value == "decline"


async def test_what_is_sent_comes_back_with_up(workspace: Path):
    desk = desk_in(workspace, ScriptedModel(says("One"), says("Two"), calls(("todo", {}))))
    async with opened(desk, begin(desk)) as (bench, pilot):
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = following(bench)
        await until(
            pilot, lambda: follow.session.job.done is not None and not follow.session.at_work
        )
        await pilot.press(*"More", "ctrl+j", *"please", "enter")
        await until(pilot, lambda: "Two" in text_of(follow))
        prompt = follow.query_one(Prompt)
        assert prompt.text == ""
        await pilot.press("up")
        assert prompt.text == "More\nplease"
