"""What lies above a screen for a moment: help, another model, a key, a question before leaving."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from ..tones import content_of
from ..wrap import Spans

HELP = {
    "Everywhere": (
        ("Ctrl+P", "all commands, by name"),
        ("F1  ?", "this help"),
        ("Tab", "from the list to the prompt, and back"),
        ("Esc", "one step back"),
        ("Ctrl+C", "put the job down; with none at work, leave"),
        ("Ctrl+Q", "leave; jobs at work can be taken up again"),
    ),
    "Choosing": (
        ("/  n  h", "filter · to the Experts · to the jobs"),
        ("Enter", "choose the Expert, open the job"),
        ("i  c  d", "type a key · checkpoints of the job · demo"),
        ("e  F5", "edit the definitions · read all of it again"),
    ),
    "Following": (
        ("Enter  Space", "unfold a row, or a delegate's run; and fold it"),
        ("→ ←  l h", "unfold · fold, or out to the delegate's row"),
        ("↑ ↓  k j", "a row up · down"),
        ("PgUp  PgDn", "a page up · down"),
        ("Home End  g G", "the first · the latest, and follow what comes"),
        ("y  Y", "copy the row · copy the whole account"),
        ("p  s", "runs side by side · how the job stands"),
    ),
    "Acting": (
        ("r  b", "try again from the row · branch with other words"),
        ("c", "the checkpoints"),
        ("e  n", "edit the definitions · run the query anew"),
        ("m  x", "another model · export the account"),
        ("/  :", "to the prompt"),
    ),
    "Checkpoints": (
        ("Enter  f", "resume the job there · begin a branch there"),
        ("b", "back to the job"),
    ),
    "Writing": (
        ("Enter", "send; while it works, before its next step"),
        ("Ctrl+J", "new line"),
        ("↑ ↓", "what was sent before"),
    ),
    "Answering": (
        ("Tab", "from field to field, and to the prompt"),
        ("a  d", "on the buttons: allow · deny"),
    ),
}
"""Keys and what they do, by where."""


class Sheet(ModalScreen[str | None]):
    """Closed with Esc, giving nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,question_mark", "close", "Close")]

    def action_close(self) -> None:
        self.dismiss(None)


class HelpSheet(Sheet):
    """All keys; it scrolls where they do not fit."""

    def compose(self) -> Iterator[VerticalScroll]:
        lines: list[Spans] = []
        for name, rows in HELP.items():
            lines += [(), ((name.upper(), "section"),)]
            lines += (((f"  {keys:<15}", "key"), (about, "")) for keys, about in rows)
        yield VerticalScroll(Static(content_of(lines[1:])), classes="sheet")


class AskSheet(Sheet, inherit_bindings=False):
    """One line of text, or nothing. What closes another sheet would lose what was typed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close")]

    def __init__(self, title: str, about: str, value: str = "") -> None:
        super().__init__()
        self._head = title
        self._about = about
        self._value = value

    def compose(self) -> Iterator[Vertical]:
        head: Spans = ((self._head, "title"),)
        yield Vertical(
            Static(content_of([head, ((self._about, "muted"),)])),
            Input(self._value, compact=True),
            classes="sheet",
        )

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())


class KeySheet(AskSheet):
    def __init__(self) -> None:
        super().__init__(
            "Which Expert?", "A key: of your perstack.toml, shipped, or @scope/name of a registry."
        )


class ModelSheet(AskSheet):
    def __init__(self, now: str) -> None:
        super().__init__(
            "Which model?",
            "provider/model, or only the model's name. It is asked from the next time the job goes on.",
            now,
        )
