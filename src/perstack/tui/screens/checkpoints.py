"""The checkpoints of a job: where it can be resumed, or a branch begun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from anyio import to_thread
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from perstack.dialect import Checkpoint
from perstack.errors import PerstackError
from perstack.job import Event
from perstack.ops.history.jobs import History

from ..tones import content_of
from ..words import counted, short_number
from ..wrap import Spans, fit, one_line
from .bench import OPENING

if TYPE_CHECKING:
    from ..app import Workbench


class Picked(NamedTuple):
    """What to do with a checkpoint. label: how to call it."""

    checkpoint: str
    branch: bool
    label: str


class Checkpoints(Screen[Picked | None]):
    AUTO_FOCUS = "#list"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "pick(False)", "Resume here"),
        Binding("f", "pick(True)", "Branch here"),
        Binding("escape,b", "back", "Back"),
    ]

    app: Workbench  # pyright: ignore[reportIncompatibleMethodOverride]  # it is always ours

    def __init__(self, job: str) -> None:
        super().__init__()
        self._job = job
        self._points: Sequence[Checkpoint] = ()

    def compose(self) -> Iterator[Static | Horizontal | Footer]:
        yield Static(
            content_of([(("Checkpoints", "brand"), (f"  of job {self._job}", "muted"))]), id="brand"
        )
        yield Horizontal(
            OptionList(_note("reading the checkpoints …"), id="list", compact=True),
            VerticalScroll(Static(id="details"), id="about", can_focus=False),
            id="shelf",
        )
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._load()

    @work(exclusive=True, group=OPENING)
    async def _load(self) -> None:
        try:
            events = await self.app.desk.events(self._job)
            points = await to_thread.run_sync(_checkpoints, events, self._job)
        except PerstackError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        self._points = points[::-1]
        rows = [
            Option(content_of([_row(point, self.app.size.width - 6)]), id=str(place))
            for place, point in enumerate(self._points)
        ]
        if not self.query("#list"):
            return  # on its way out
        options = self.query_one("#list", OptionList)
        options.set_options(rows or [_note("There are none yet.")])
        if self._points:
            options.highlighted = 0

    @property
    def _point(self) -> Checkpoint | None:
        place = self.query_one("#list", OptionList).highlighted
        return self._points[place] if place is not None and place < len(self._points) else None

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        if (point := self._point) is not None:
            self.query_one("#details", Static).update(content_of(_details(point)))

    @on(OptionList.OptionSelected)
    def _selected(self) -> None:
        self.action_pick(False)

    def action_pick(self, branch: bool) -> None:
        if (point := self._point) is not None:
            self.dismiss(Picked(point.id, branch, f"step {point.step_number}"))

    def action_back(self) -> None:
        self.dismiss(None)


def _note(text: str) -> Option:
    """A line that is nothing to choose."""
    return Option(content_of([((text, "muted"),)]), disabled=True)


def _checkpoints(events: Sequence[Event], job: str) -> Sequence[Checkpoint]:
    return History(events, job).checkpoints() if events else []


def _row(point: Checkpoint, width: int) -> Spans:
    tone = {"completed": "good", "stoppedByError": "bad"}.get(point.status, "muted")
    words = f"{point.expert.key}  {point.status}"
    return ((f"Step {point.step_number:<4} ", "title"), (fit(one_line(words), width - 12), tone))


def _details(point: Checkpoint) -> Iterator[Spans]:
    yield ((f"Step {point.step_number}", "title"),)
    yield ()
    for name, value in (
        ("Expert", point.expert.key),
        ("Status", point.status),
        ("Id", point.id),
        (
            "Tokens",
            f"{short_number(point.usage.input_tokens)} in · {short_number(point.usage.output_tokens)} out",
        ),
        ("Calls", counted(len(point.pending_tool_calls or ()), "open call")),
    ):
        yield ((f"{name:<8}", "muted"), (one_line(value), ""))
    yield ()
    yield (("Enter", "key"), (" resumes the same job here", "muted"))
    yield (("f", "key"), ("     begins a new job here and leaves this one as it is", "muted"))
