"""Where one begins: the Experts at hand and the jobs that are kept, in one list with one filter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from perstack.errors import PerstackError
from perstack.ops.history.jobs import JobSummary

from ..desk import Entry, Shelf, has_demo, with_recent
from ..listing import (
    HEADINGS,
    about_expert,
    about_job,
    expert_row,
    faults_and_needs,
    fits,
    heading,
    job_rows,
)
from ..tones import content_of
from ..widgets.prompt import Prompt
from ..wrap import Spans, fit, width_of
from .bench import Bench

JOBS = 200
"""Jobs that are listed; the filter looks through all of them."""

SEARCH = "search"

PARTS = ("#brand", "#banner", "#filter", "#list", "#details", "#prompt")


class Home(Bench):
    """expert: the one to begin with."""

    AUTO_FOCUS = "#list"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter"),
        Binding("n", "section('expert')", "Experts", show=False),
        Binding("h", "section('job')", "Jobs", show=False),
        Binding("i", "key", "Type a key", show=False),
        Binding("c", "checkpoints", "Checkpoints"),
        Binding("e", "app.edit", "Edit"),
        Binding("d", "demo", "Demo"),
        Binding("f5", "reload", "Reload", show=False),
        Binding("escape", "back", "Back", show=False),
    ]

    def __init__(self, expert: str = "") -> None:
        super().__init__()
        self._shelf = Shelf()
        self._jobs: Sequence[JobSummary] | None = None
        self._found: tuple[Entry, ...] = ()
        self._begin_with = expert
        self._chosen = expert
        self._was_at: str | None = None
        self._rows: dict[str, Entry | JobSummary] = {}

    @property
    def is_there(self) -> bool:
        """Whether all there is to choose from has been read."""
        return self._jobs is not None

    def compose(self) -> Iterator[Static | Input | Horizontal | Footer]:
        yield Static(id="brand")
        yield Static(id="banner")
        yield Input(placeholder="Filter Experts and jobs", id="filter", compact=True)
        yield Horizontal(
            OptionList(id="list", compact=True),
            VerticalScroll(Static(id="details"), id="about", can_focus=False),
            id="shelf",
        )
        yield Horizontal(Static("> ", id="mark"), Prompt(id="prompt"), id="asking")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._draw_brand()
        self._draw_prompt()

    # What there is ----------------------------------------------------------------------------------------

    @work(exclusive=True)
    async def load(self) -> None:
        """Read the project, then the jobs: what is there first is shown first."""
        self._shelf = await self.app.desk.shelf()
        self._draw()
        if self._begin_with:
            self._begin_with = ""
            self.set_focus(self.query_one(Prompt))
        try:
            self._jobs = await self.app.desk.jobs()
        except PerstackError as error:
            self._jobs = ()
            self.notify(str(error), title="The jobs cannot be read", severity="error", markup=False)
        self._draw()

    def on_screen_resume(self) -> None:
        self.load()

    def _entries(self) -> list[Entry]:
        return [*with_recent(self._shelf, self._jobs or ()), *self._found]

    def _draw(self) -> None:
        if not all(self.query(part) for part in PARTS):
            return  # on its way out
        self._draw_brand()
        self._draw_banner()
        self._draw_list()
        self._draw_prompt()

    def _draw_brand(self) -> None:
        here = str(self.app.desk.order.workspace)
        model = self._shelf.model
        right = "  ".join(filter(None, (model, here)))
        room = max(self.app.size.width - 14, 10)
        right = right if width_of(right) <= room else fit(here if not model else model, room)
        gap = self.app.size.width - 2 - 8 - width_of(right)
        line: Spans = (("perstack", "brand"), (" " * max(gap, 2), ""), (right, "muted"))
        self.query_one("#brand", Static).update(content_of([line]))

    def on_resize(self) -> None:
        self._draw_brand()
        self._draw_list()

    def _draw_banner(self) -> None:
        lines = list(faults_and_needs(self._shelf))
        banner = self.query_one("#banner", Static)
        banner.set_class(bool(lines), "shown")
        banner.update(content_of(lines))

    def _draw_list(self) -> None:
        options = self.query_one("#list", OptionList)
        at = self._highlighted_id()
        width = max((options.size.width or self.app.size.width) - 4, 20)
        words = self.query_one("#filter", Input).value.lower().split()
        self._rows = {}
        shown: list[Option] = []
        entries = [e for e in self._entries() if fits(words, e.key, e.description)]
        for entry in entries:
            self._rows[f"expert:{entry.origin}:{entry.key}"] = entry
        jobs = [j for j in self._jobs or () if fits(words, j.expert, j.query, j.job, j.status)]
        for job in jobs[:JOBS]:
            self._rows[f"job:{job.job}"] = job
        keys = list(self._rows)
        for place, key in enumerate(keys):
            row = self._rows[key]
            if isinstance(row, Entry):
                if not place or not keys[place - 1].startswith(f"expert:{row.origin}:"):
                    shown.append(heading(HEADINGS[row.origin], first=not place))
                shown.append(Option(content_of([expert_row(row, width)]), id=key))
            else:
                if place == 0 or not keys[place - 1].startswith("job:"):
                    shown.append(heading("JOBS", first=not place))
                shown.append(Option(content_of(job_rows(row, width, self.app.now())), id=key))
        if words and self.app.desk.search is not None:
            text = self.query_one("#filter", Input).value.strip()
            line: Spans = (
                ("⌕ ", "user"),
                (f"Search the registry for “{fit(text, width - 30)}”", ""),
            )
            shown.append(Option(content_of([line]), id=SEARCH))
        if self._jobs is None:
            shown.append(Option(content_of([(("reading the jobs …", "muted"),)]), disabled=True))
        elif not shown:
            shown.append(Option(content_of([(("Nothing fits.", "muted"),)]), disabled=True))
        options.set_options(shown)
        wanted = at if at in self._rows or at == SEARCH else self._first()
        if wanted:
            options.highlighted = options.get_option_index(wanted)
        self._draw_details()

    def _first(self) -> str | None:
        """The Expert that was named, else what stands first."""
        named = (
            key
            for key, row in self._rows.items()
            if isinstance(row, Entry) and row.key == self._chosen
        )
        return next(named, next(iter(self._rows), None))

    def _highlighted_id(self) -> str | None:
        options = self.query_one("#list", OptionList)
        place = options.highlighted
        return options.get_option_at_index(place).id if place is not None else None

    @property
    def highlighted(self) -> Entry | JobSummary | None:
        return self._rows.get(self._highlighted_id() or "")

    def _draw_details(self) -> None:
        row = self.highlighted
        match row:
            case Entry():
                lines = list(about_expert(row, self._shelf, self._jobs or ()))
            case JobSummary():
                lines = list(about_job(row, self.app.now()))
            case None:
                lines = []
        self.query_one("#details", Static).update(content_of(lines))
        self.query_one("#about").scroll_home(animate=False)

    def _draw_prompt(self) -> None:
        prompt = self.query_one(Prompt)
        whom = self._chosen
        prompt.placeholder = f"What should {whom} do?" if whom else "Choose an Expert first"

    # What a person does -----------------------------------------------------------------------------------

    @on(Input.Changed, "#filter")
    def _filtered(self) -> None:
        self._found = ()
        self._draw_list()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.query_one("#list").focus()

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        row, at = self.highlighted, self._highlighted_id()
        if at != self._was_at:  # else the list was only drawn anew
            self._chosen = row.key if isinstance(row, Entry) else ""
        self._was_at = at
        self._draw_details()
        self._draw_prompt()
        self.refresh_bindings()

    @on(OptionList.OptionSelected)
    def _picked(self, event: OptionList.OptionSelected) -> None:
        if event.option_id == SEARCH:
            self._search(self.query_one("#filter", Input).value.strip())
        match self._rows.get(event.option_id or ""):
            case Entry(faults=faults) if faults:
                self.app.action_edit()
            case Entry() as entry:
                self._chosen = entry.key
                self._draw_prompt()
                self.set_focus(self.query_one(Prompt))
            case JobSummary() as job:
                self.app.open_job(job)
            case None:
                pass

    @on(Prompt.Sent)
    def _asked(self, event: Prompt.Sent) -> None:
        if not self._chosen:
            self.query_one("#list").focus()
            self.notify("Choose an Expert in the list first.", severity="warning")
        elif event.text:
            event.prompt.text = ""
            self.app.begin(self._chosen, event.text)

    @work(exclusive=True, group="search")
    async def _search(self, words: str) -> None:
        search = self.app.desk.search
        if search is None or not words:
            return
        try:
            self._found = tuple(await search(words))
        except PerstackError as error:
            self.notify(str(error), title="Registry", severity="error", markup=False)
            return
        if not self._found:
            self.notify(f"No registry knows “{words}”.", markup=False)
        self._draw_list()

    def action_filter(self) -> None:
        self.query_one("#filter").focus()

    def action_section(self, kind: str) -> None:
        options = self.query_one("#list", OptionList)
        first = next((key for key in self._rows if key.startswith(kind)), None)
        if first is not None:
            options.highlighted = options.get_option_index(first)
            options.focus()

    def action_key(self) -> None:
        """Any key, of this file or not."""
        from .sheets import KeySheet

        def typed(key: str | None) -> None:
            if key:
                self._chosen = key
                self._draw_prompt()
                self.query_one(Prompt).focus()

        self.app.push_screen(KeySheet(), typed)

    def action_checkpoints(self) -> None:
        row = self.highlighted
        if isinstance(row, JobSummary):
            self.app.open_job(row, checkpoints=True)

    def action_demo(self) -> None:
        row = self.highlighted
        known = isinstance(row, Entry) and has_demo(row.key)
        self.app.play_demo(row.key if known and isinstance(row, Entry) else "fitness-assistant")

    def action_reload(self) -> None:
        self.load()

    def action_back(self) -> None:
        """From the prompt to the list; from the filter too, which is emptied."""
        field = self.query_one("#filter", Input)
        if self.focused is field and field.value:
            field.value = ""
        self.query_one("#list").focus()

    def offers(self) -> Iterable[SystemCommand]:
        for name, about, action in (
            ("Filter", "Experts and jobs, by words of them", self.action_filter),
            ("To the Experts", "In the list", partial(self.action_section, "expert")),
            ("To the jobs", "In the list", partial(self.action_section, "job")),
            ("Type a key", "Any Expert, by its key", self.action_key),
            ("Checkpoints", "Of the selected job", self.action_checkpoints),
            ("Play a demo", "A recording; no model is asked", self.action_demo),
            ("Reload", "Read the definitions and the jobs again", self.action_reload),
        ):
            yield SystemCommand(name, about, action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        typing = self.is_written_to
        match action:
            case "filter" | "section" | "key" | "edit":
                return not typing
            case "checkpoints":
                return not typing and isinstance(self.highlighted, JobSummary)
            case "demo":
                row = self.highlighted
                return not typing and (
                    bool(self._shelf.missing) or (isinstance(row, Entry) and has_demo(row.key))
                )
            case _:
                return True
