"""One job: what it did and does, how it stands, and what can be said to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Static

from perstack.errors import UserError

from ..account import Line
from ..session import Session
from ..tones import content_of
from ..widgets.answer import Answer
from ..widgets.prompt import Prompt
from ..widgets.status import Status, standing_lines, summary_line
from ..widgets.timeline import Timeline
from ..words import glyph_of_state, standing, tone_of_state
from ..wrap import Spans, one_line
from .bench import Bench
from .checkpoints import Picked

LANE = 44
"""Cells a run needs to stand beside others."""


PARTS = ("#line", "#banner", Timeline, Status, Answer, Prompt)


class Armed(NamedTuple):
    """What the next words are for: to go on from `place`, in the same job or in a branch of it."""

    place: str
    branch: bool
    label: str


class Follow(Bench):
    AUTO_FOCUS = "#prompt"
    follows = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "other", "Prompt", show=False),
        Binding("slash,colon", "write", "Write", show=False),
        Binding("r", "retry", "Retry"),
        Binding("b", "branch", "Branch"),
        Binding("c", "checkpoints", "Checkpoints"),
        Binding("p", "lanes", "Side by side", show=False),
        Binding("s", "aside", "Status", show=False),
        Binding("e", "app.edit", "Edit", show=False),
        Binding("n", "again", "Run anew", show=False),
        Binding("m", "model", "Model", show=False),
        Binding("x", "export", "Export", show=False),
        Binding("Y", "copy_all", "Copy all", show=False),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, session: Session, *, checkpoints: bool = False) -> None:
        super().__init__()
        self.session = session
        self._checkpoints_first = checkpoints
        self._armed: Armed | None = None
        self._lanes: tuple[str, ...] = ()
        self._seen = -1
        self._asks = False

    def compose(self) -> Iterator[Static | Horizontal | Answer | Footer]:
        yield Static(id="line")
        yield Static(id="banner")
        yield Horizontal(
            Timeline(self.session.account, self.app.now, id="timeline"),
            Horizontal(id="lanes", classes="hidden"),
            Status(),
            id="bench",
        )
        yield Answer()
        yield Horizontal(Static("> ", id="mark"), Prompt(id="prompt"), id="asking")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.draw()
        if self._checkpoints_first:
            self.action_checkpoints()

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw)

    # What it looks like -----------------------------------------------------------------------------------

    def draw(self) -> None:
        """Bring all of it up to what is known now. Cheap if nothing happened."""
        session, now = self.session, self.app.now()
        if not (self.is_current and all(self.query(part) for part in PARTS)):
            return  # not yet there, or on its way out
        window, cost = self.app.window_of(session), self.app.cost_of(session)
        line = self.query_one("#line", Static)
        if line.display:
            line.update(content_of([summary_line(session, now, window, cost, self.size.width - 2)]))
        self.query_one(Status).draw(session, now, window, cost)
        self._draw_banner()
        for timeline in self.query(Timeline):
            if timeline.display:
                timeline.draw()
        self._draw_lane_heads()
        if self.query_one(Answer).ask(session.question):
            self._asks = session.question is not None
            if self._asks and not self.app.app_focus:
                self.app.bell()
        self._draw_prompt()

    def _draw_banner(self) -> None:
        lines = list(standing_lines(self.session, self.app.faults))
        banner = self.query_one("#banner", Static)
        banner.set_class(bool(lines), "shown")
        if lines:
            banner.update(content_of(lines))

    def _draw_prompt(self) -> None:
        session, prompt = self.session, self.query_one(Prompt)
        if session.unsaid and not prompt.text:
            prompt.text, session.unsaid = session.unsaid, ""
        form = self.query_one(Answer).form
        if self._armed is not None:
            verb = "Branch at" if self._armed.branch else "Resume at"
            text = f"{verb} {self._armed.label}: say what now, or just Enter (Esc: not)"
        elif session.question is not None and form is not None:
            needs_form = form.fields or form.approval
            text = "Answer above" if needs_form else f"Your answer to {session.question[1].tool}"
        elif session.elsewhere:
            text = "Another process has this job at work"
        elif session.is_over:
            text = "The recording ends here (Esc, then n: once more)"
        elif session.at_work:
            text = "A word to the Expert, heard before its next step"
        elif session.job.stopped is not None:
            text = "Enter goes on; or say something first"
        elif session.job.done is None and session.job.id:
            text = "Interrupted: Enter goes on"
        else:
            text = "What next?"
        if prompt.placeholder != text:
            prompt.placeholder = text

    def _draw_lane_heads(self) -> None:
        for run in self._lanes:
            line = self.session.account.lines.get(run)
            heads = self.query(f"#head-{_css(run)}")
            if line is not None and heads:
                heads.first(Static).update(content_of([_lane_head(line)]))

    # What is said -----------------------------------------------------------------------------------------

    @on(Prompt.Sent)
    def _said(self, event: Prompt.Sent) -> None:
        session, text = self.session, event.text
        try:
            if self._armed is not None:
                armed, self._armed = self._armed, None
                self._go_from(armed, text)
            elif session.elsewhere:
                self.notify("Another process has this job at work; it can only be followed.")
                return
            elif session.is_over:
                self.notify(
                    "This was a recording, and it has no answer to more words. With a key set, choose the Expert "
                    "in the list and say what it should do."
                )
                return
            elif session.question is not None:
                if not self._answered(text):
                    return
            elif text:
                session.speak(text)
            elif not session.at_work and session.job.id and session.job.done is None:
                session.go_on()
            else:
                return
        except UserError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        event.prompt.text = ""
        self.app.woken()

    def _answered(self, text: str) -> bool:
        form, question = self.query_one(Answer).form, self.session.question
        if form is None or question is None or not text:
            return False
        if form.fields or form.approval:
            self.query_one(Answer).query("Input, Button, RadioSet, Checkbox").first().focus()
            return False
        self.session.answer(*question, text)
        return True

    @on(Answer.Given)
    def _given(self, event: Answer.Given) -> None:
        try:
            self.session.answer(event.run, event.call, event.text)
        except UserError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        self.query_one(Prompt).focus()
        self.app.woken()

    def _go_from(self, armed: Armed, text: str) -> None:
        if armed.branch:
            self.app.branch(self.session, armed.place, text)
        else:
            self.session.resume(armed.place, text)

    @on(Timeline.Copied)
    def _copied(self, event: Timeline.Copied) -> None:
        self.app.copy_to_clipboard(event.text)
        self.notify("Copied.", timeout=2)

    # What is done -----------------------------------------------------------------------------------------

    @property
    def timeline(self) -> Timeline:
        """The one with the cursor."""
        focused = self.focused
        return focused if isinstance(focused, Timeline) else self.query_one("#timeline", Timeline)

    def action_other(self) -> None:
        """Between the rows and the prompt; into the form on the way, if there is one."""
        answer = self.query_one(Answer)
        focused = self.focused
        if answer.display and focused is not None and answer in focused.ancestors:
            self.focus_next()
        elif isinstance(focused, Prompt):
            if answer.display and (
                fields := answer.query("Input, Button, RadioSet, OptionList, Checkbox")
            ):
                fields.first().focus()
            else:
                self.timeline.focus()
        else:
            self.query_one(Prompt).focus()

    def action_write(self) -> None:
        self.query_one(Prompt).focus()

    def action_back(self) -> None:
        """Out of the prompt, out of what was armed, out of the screen."""
        if self._armed is not None:
            self._armed = None
            self._draw_prompt()
        elif self.is_written_to:
            self.timeline.focus()
        elif self.has_class("aside"):
            self.remove_class("aside")
        elif self._lanes:
            self.run_worker(self.action_lanes())
        else:
            self.app.home()

    def action_retry(self) -> None:
        """A branch that asks the model again for what the row came of."""
        row = self.timeline.selected
        if row is None or self.session.elsewhere:
            return
        place = self.session.account.place_before(row)
        self.app.branch(self.session, str(place), "")

    def action_branch(self) -> None:
        row = self.timeline.selected
        if row is not None and not self.session.elsewhere:
            self._armed = Armed(str(row.seq), True, "this row")
            self._draw_prompt()
            self.query_one(Prompt).focus()

    def action_checkpoints(self) -> None:
        from .checkpoints import Checkpoints

        def picked(picked: Picked | None) -> None:
            if picked is not None:
                self._armed = Armed(*picked)
                self._draw_prompt()
                self.query_one(Prompt).focus()

        if self.session.id:
            self.app.push_screen(Checkpoints(self.session.id), picked)

    def action_again(self) -> None:
        self.app.follow(self.session.again())

    def action_model(self) -> None:
        from .sheets import ModelSheet

        job = self.session.job
        now = f"{job.model.provider}/{job.model.model}" if job.id else ""
        self.app.push_screen(ModelSheet(now), self.app.switch_model)

    def action_export(self) -> None:
        self.app.export(self.session)

    def action_copy_all(self) -> None:
        self.app.copy_to_clipboard(self.timeline.shown_text)
        self.notify("Copied the whole account.", timeout=2)

    def action_aside(self) -> None:
        """How the job stands: on a wide screen without it, on a narrow one instead of the rows."""
        self.toggle_class("bare" if self.has_class("-wide") else "aside")
        self.call_after_refresh(self.draw)

    # Side by side -----------------------------------------------------------------------------------------

    async def action_lanes(self) -> None:
        """The runs that are at work, or were last, beside each other; and back."""
        lanes = self.query_one("#lanes", Horizontal)
        await lanes.remove_children()
        room = max((self.size.width - (38 if self.has_class("-wide") else 0)) // LANE, 1)
        self._lanes = () if self._lanes else self.session.account.beside(room)
        shown = len(self._lanes) > 1
        if not shown:
            self._lanes = ()
        self.query_one("#timeline").set_class(shown, "hidden")
        lanes.set_class(not shown, "hidden")
        if not shown:
            self.timeline.focus()
            self.call_after_refresh(self.draw)
            return
        await lanes.mount(
            *(
                Vertical(
                    Static(id=f"head-{_css(run)}", classes="lane-head"),
                    Timeline(self.session.account, self.app.now, run=run),
                    classes="lane",
                )
                for run in self._lanes
            )
        )
        lanes.query(Timeline).first().focus()
        self.call_after_refresh(self.draw)

    def offers(self) -> Iterable[SystemCommand]:
        for name, about, action in (
            ("Checkpoints", "Resume or branch at one", self.action_checkpoints),
            ("Retry from the row", "Ask the model again, in a branch", self.action_retry),
            ("Branch at the row", "A new job with other words", self.action_branch),
            ("Run anew", "The same query, by the definitions as they are", self.action_again),
            ("Side by side", "Parallel runs beside each other, and back", self.action_lanes),
            ("Status", "Show or hide how the job stands", self.action_aside),
            ("Another model", "From the next time the job goes on", self.action_model),
            ("Export", "The account as Markdown", self.action_export),
            ("Copy the account", "As it is shown", self.action_copy_all),
            ("Put the job down", "It can be taken up again", self.session.stop),
        ):
            yield SystemCommand(name, about, action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        typing = self.is_written_to
        session = self.session
        match action:
            case "write" | "aside" | "export" | "copy_all" | "edit" | "model" | "again":
                return not typing
            case "retry" | "branch" | "checkpoints":
                return not typing and bool(session.id) and not session.elsewhere
            case "lanes":
                return not typing and (bool(self._lanes) or len(session.account.beside(2)) > 1)
            case _:
                return True


def _css(run: str) -> str:
    return run.encode().hex()


def _lane_head(line: Line) -> Spans:
    return (
        (f"{glyph_of_state(line.state)} ", tone_of_state(line.state)),
        (one_line(line.expert), "title"),
        (f"  {standing(line)}", "muted"),
    )
