"""The program behind the screens: jobs at work, a clock, the project file under watch, commands by name.

Jobs go on in threads of their own whatever screen is shown; thirty times a second the program takes over what
they told and draws it, so a thousand events are one picture. A job that is at work when the program ends is put
down in good order, and one whose program was killed is taken up from its log like any other.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from msgspec.structs import replace
from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.events import Event, Key, Paste
from textual.screen import Screen
from textual.theme import Theme
from textual.widget import Widget

from perstack.definition import PROVIDERS
from perstack.errors import Fault, PerstackError
from perstack.job import Usage
from perstack.ops.history.jobs import JobSummary
from perstack.ops.running.order import Order

from .desk import Desk
from .screens.bench import OPENING, Bench
from .screens.home import Home
from .takeover import Opening, taking_over
from .typed import Passed, Typed

if TYPE_CHECKING:
    from .screens.follow import Follow
    from .session import Session

FRAMES = 30
"""Pictures a second, at most."""

IDLE_FRAMES = 8
"""Of these, those on which something moves though nothing was told: a clock, a mark that turns."""

DARK = Theme(
    name="perstack-dark",
    primary="#7db8f5",
    secondary="#c3a6f7",
    accent="#f0a868",
    success="#7fcf8d",
    warning="#edc35f",
    error="#f47c7c",
    foreground="#d8dee6",
    background="#0f1318",
    surface="#161b22",
    panel="#1d242d",
    dark=True,
)
LIGHT = Theme(
    name="perstack-light",
    primary="#0b61a4",
    secondary="#6f42c1",
    accent="#a8500a",
    success="#1a7f37",
    warning="#8f6200",
    error="#c4232f",
    foreground="#22272e",
    background="#fcfbf8",
    surface="#f4f2ec",
    panel="#eae7df",
    dark=False,
)


class Beginning(NamedTuple):
    """What is shown first: an order to carry out, a job to open, else the choice. expert: chosen there."""

    order: Order | None = None
    expert: str = ""


class Workbench(App[int]):
    """desk: what there is to work with. now: seconds since 1970. watch: whether the project file is looked at.

    opening: a picture that is on the terminal already.
    """

    CSS_PATH = "style.tcss"
    TITLE = "perstack"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012  # as Textual has it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "Stop", show=False, priority=True),
        Binding("ctrl+q", "leave", "Leave", show=False, priority=True),
        Binding("f1,question_mark", "help", "Help", key_display="F1"),
        Binding("ctrl+p", "command_palette", "Commands", priority=True),
    ]

    def __init__(
        self,
        desk: Desk,
        beginning: Beginning = Beginning(),  # noqa: B008  # a value, and nothing changes it
        *,
        now: Callable[[], float] = time.time,
        watch: bool = True,
        opening: Opening | None = None,
    ) -> None:
        super().__init__(driver_class=taking_over(opening) if opening is not None else None)
        self.desk = desk
        self.now = now
        self.faults: Sequence[Fault] = ()
        self._beginning = beginning
        self._watches = watch
        self._stamp = 0.0
        self._sessions: list[Session] = []
        self._costs: dict[tuple[str, Usage], int | None] = {}
        self._windows: dict[str, int | None] = {}
        self._asked: set[object] = set()
        self._learned = False
        self._frame = 0
        self._typed = Typed(self._listener, super().on_event)
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = LIGHT.name if _is_light(os.environ.get("COLORFGBG", "")) else DARK.name
        self._colours = self.get_css_variables()
        self.stylesheet.set_variables(self._colours)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What our style sheet needs of any theme: a colour for what matters less."""
        theme = self.current_theme
        dark = theme.dark
        front = Color.parse(theme.foreground or ("#e0e0e0" if dark else "#202020"))
        back = Color.parse(theme.background or ("#121212" if dark else "#f0f0f0"))
        return {"muted": front.blend(back, 0.42).hex}

    def refresh_css(self, animate: bool = True) -> None:
        """Reads the style sheet anew for other colours; not, as Textual would, for those it began with."""
        colours = self.get_css_variables()
        if colours == self._colours:
            self.stylesheet.update(self, animate=animate)
        else:
            self._colours = colours
            super().refresh_css(animate=animate)

    def get_default_screen(self) -> Screen[Any]:
        return Home(self._beginning.expert)

    @property
    def following(self) -> Follow | None:
        """The screen, if it shows a job."""
        screen = self.screen if self.screen_stack else None
        return cast("Follow", screen) if isinstance(screen, Bench) and screen.follows else None

    def on_mount(self) -> None:
        if self._beginning.order is not None:
            self._carry_out(self._beginning.order)
        self.call_after_refresh(self._warm_up)
        self.set_interval(1 / FRAMES, self._beat)
        if self._watches:
            self.set_interval(1.0, self._look)

    @work(thread=True, group="facts")
    def _warm_up(self) -> None:
        """Load what following a job takes while somebody reads what there is to choose."""
        import_module("perstack.tui.screens.follow")

    # Keys -------------------------------------------------------------------------------------------------

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key | Paste) and not event.is_forwarded:
            await self._typed.take(event)
        else:
            await super().on_event(event)

    async def on_passed(self, message: Passed) -> None:
        await self._typed.passed(message)

    def _listener(self) -> Widget | None:
        """Who gets the next key; None while a screen is on its way, or has nothing to choose from yet."""
        screen = self.screen if self.screen_stack else None
        if screen is None or not screen.is_mounted:
            return None
        if isinstance(screen, Home) and not screen.is_there:
            return None
        if any(worker.group == OPENING and not worker.is_finished for worker in self.workers):
            return None
        return self.focused or screen

    # The beat ---------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        await self._typed.beat()
        self._draw_beat()

    def _draw_beat(self) -> None:
        self._frame += 1
        moved = {id(session) for session in self._sessions if session.pump()}
        screen = self.following
        if screen is None:
            return
        session = screen.session
        live = session.at_work or session.elsewhere
        learned, self._learned = self._learned, False
        if id(session) in moved or learned or (live and self._frame % (FRAMES // IDLE_FRAMES) == 0):
            screen.draw()
        if id(session) in moved:
            screen.refresh_bindings()

    def woken(self) -> None:
        """Something was said: show what follows at once."""
        self._draw_beat()
        if (screen := self.following) is not None:
            screen.draw()

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        """Whether the project file was written to."""
        stamp = await self.desk.stamp()
        before, self._stamp = self._stamp, stamp
        if before and stamp != before:
            await self.reloaded()

    async def reloaded(self) -> None:
        """The project file says something else now."""
        shelf = await self.desk.shelf()
        broken = [fault for entry in shelf.entries for fault in entry.faults]
        self.faults = (*shelf.faults, *broken)
        if isinstance(self.screen, Home):
            self.screen.load()
        elif (screen := self.following) is not None:
            screen.draw()
            if not self.faults:
                self.notify("The definitions changed. n runs the query with them.", timeout=4)

    # What a screen wants to know --------------------------------------------------------------------------

    def window_of(self, session: Session) -> int | None:
        """Tokens the model of a job can take in, None while that is not known."""
        model = session.job.model
        key = f"{model.provider}/{model.model}"
        if key not in self._windows and model.model and key not in self._asked:
            self._asked.add(key)
            self._ask_window(session)
        return self._windows.get(key)

    @work(thread=True, group="facts")
    def _ask_window(self, session: Session) -> None:
        from perstack.ops.history.telling import context_window

        model = session.job.model
        self._windows[f"{model.provider}/{model.model}"] = context_window(model)
        self._learned = True

    def cost_of(self, session: Session) -> int | None:
        """What a job cost so far in millionths of a US dollar, about; None while that is not known."""
        job = session.job
        if job.cost or not job.usage.total_tokens:
            return job.cost or None
        key = (f"{job.model.provider}/{job.model.model}", job.usage)
        if key not in self._costs and key not in self._asked:
            self._asked.add(key)
            self._ask_cost(session)
        known = [cost for (_, usage), cost in self._costs.items() if usage == job.usage]
        return known[0] if known else session.last_cost

    @work(thread=True, group="facts")
    def _ask_cost(self, session: Session) -> None:
        from perstack.ops.history.telling import cost_so_far

        job = session.job
        cost = cost_so_far(job)
        session.last_cost = cost
        self._costs[f"{job.model.provider}/{job.model.model}", job.usage] = cost
        self._learned = True

    # Going from one screen to another ---------------------------------------------------------------------

    def begin(self, expert: str, query: str) -> None:
        """A new job."""
        self._carry_out(self.desk.new_job(expert, query))

    def _carry_out(self, order: Order, desk: Desk | None = None) -> None:
        from .session import Session

        self.follow(Session.new(desk or self.desk, order))

    def play_demo(self, expert: str) -> None:
        from perstack.ops.running.run import as_demo

        order = replace(
            self.desk.order, expert=expert, query="", config=None, go_on=None, model=None
        )
        try:
            demo = as_demo(order)
        except PerstackError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        self._carry_out(demo, Desk(replace(demo, expert="", query="")))

    def follow(self, session: Session, *, checkpoints: bool = False) -> None:
        from .screens.follow import Follow

        if session not in self._sessions:
            self._sessions.append(session)
        screen = Follow(session, checkpoints=checkpoints)
        if self.following is not None:
            self.switch_screen(screen)  # pyright: ignore[reportUnknownMemberType]  # of any result
        else:
            self.push_screen(screen)

    def home(self) -> None:
        """The job goes on; it is in the list."""
        self.pop_screen()

    @work(exclusive=True, group=OPENING)
    async def open_job(self, job: JobSummary, *, checkpoints: bool = False) -> None:
        """A job of the list: the one that is at work here, or the one its log tells of."""
        from .session import Session

        here = next((one for one in self._sessions if one.id == job.job and one.at_work), None)
        if here is None:
            try:
                here = await Session.kept(self.desk, job.job, follow=job.status == "running")
            except PerstackError as error:
                self.notify(str(error), severity="error", markup=False)
                return
        self.follow(here, checkpoints=checkpoints)

    @work(exclusive=True, group=OPENING)
    async def branch(self, session: Session, place: str, query: str) -> None:
        """A new job that begins as `session`'s did up to `place`."""
        try:
            branch = await session.branch(place, query)
        except PerstackError as error:
            self.notify(str(error), title="It cannot branch there", severity="error", markup=False)
            return
        self.follow(branch)
        self.notify(f"A branch of job {session.id}. That one is as it was.", timeout=4)

    def switch_model(self, name: str | None) -> None:
        if not name:
            return
        provider, _, model = name.partition("/")
        flags = self.desk.order.flags
        known = next((one for one in PROVIDERS if one == provider), None)
        if known is not None and model:
            flags = replace(flags, provider=known, model=model)
        else:
            flags = replace(flags, model=name)
        self.desk.switch_model(flags)
        if (screen := self.following) is not None:
            screen.session.desk.switch_model(flags)
        self.notify(f"{name} is asked from the next time a job begins or goes on.", markup=False)

    def export(self, session: Session) -> None:
        """The account as a file in the workspace."""
        from .export import markdown_of

        path = self.desk.order.workspace / f"perstack-{session.id}.md"
        try:
            path.write_text(markdown_of(session.account), encoding="utf-8")
        except OSError as error:
            self.notify(
                f"{path} cannot be written: {error.strerror}.", severity="error", markup=False
            )
            return
        self.notify(f"Written to {path}", markup=False)

    # What can be done everywhere --------------------------------------------------------------------------

    @work(exclusive=True, group="edit")
    async def action_edit(self) -> None:
        """The project file, in the editor of the environment; then what it says now."""
        path = (await self.desk.shelf()).path
        if path is None:
            self.notify("There is no perstack.toml to edit here.", severity="warning")
            return
        env = self.desk.order.env
        editor = env.get("VISUAL") or env.get("EDITOR") or "vi"
        try:
            command = shlex.split(editor)
            with self.suspend():
                subprocess.run([*command, str(path)], check=False)  # noqa: ASYNC221  # the screen is the editor's
        except (OSError, ValueError) as error:  # ValueError: a quote without its end
            why = error.strerror if isinstance(error, OSError) else error
            self.notify(
                f"{editor} cannot be started: {why}. Set EDITOR.", severity="error", markup=False
            )
            return
        self.refresh()
        await self.reloaded()

    def action_help(self) -> None:
        from .screens.sheets import HelpSheet

        self.push_screen(HelpSheet())

    def action_interrupt(self) -> None:
        """The job on the screen is put down; with none at work, the program ends."""
        screen = self.following
        if screen is not None and screen.session.at_work:
            screen.session.stop()
            self.notify("Put down. Enter goes on; or say something first.", timeout=4)
        else:
            self.action_leave()

    def action_leave(self) -> None:
        self.exit(0)

    def close(self) -> None:
        """Puts down what is at work. After `run`, however it ended."""
        for session in self._sessions:
            session.close()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        yield SystemCommand("Help", "What every key does", self.action_help)
        if isinstance(screen, Bench):
            yield from screen.offers()
        yield SystemCommand(
            "Edit the definitions", "perstack.toml in your editor", self.action_edit
        )
        yield SystemCommand("Light or dark", "The other one", self.action_light)
        yield SystemCommand("Theme", "Other colours", self.action_change_theme)
        yield SystemCommand("Leave", "Jobs at work are put down", self.action_leave)

    def action_light(self) -> None:
        self.theme = DARK.name if self.theme == LIGHT.name else LIGHT.name


def _is_light(colours: str) -> bool:
    """Whether a terminal says its background is light, as COLORFGBG has it: "0;15"."""
    last = colours.rpartition(";")[2]
    return last in ("7", "15")
