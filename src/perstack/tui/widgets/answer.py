"""What a person is asked, as a form: fields from the schema of the answer, proposed answers, or allow and deny."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from textual import on
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import (
    Button,
    Checkbox,
    Input,
    OptionList,
    RadioButton,
    RadioSet,
    Select,
    Static,
)
from textual.widgets import SelectionList as Selections
from textual.widgets.option_list import Option

from perstack.job import Call, Run

from ..blocks import arguments
from ..forms import Field, Form, filled, form_of
from ..prose import prose
from ..tones import content_of
from ..wrap import one_line

MOST_RADIOS = 5


class Answer(Vertical):
    """Hidden while nothing is asked that needs more than words."""

    class Given(Message):
        """text: the answer as it is sent."""

        def __init__(self, run: Run, call: Call, text: str) -> None:
            super().__init__()
            self.run = run
            self.call = call
            self.text = text

    def __init__(self) -> None:
        super().__init__(id="answer")
        self._question: tuple[Run, Call] | None = None
        self._form: Form | None = None

    @property
    def form(self) -> Form | None:
        return self._form

    def ask(self, question: tuple[Run, Call] | None) -> bool:
        """Show the form for `question`; whether it is another one than before."""
        before = self._question
        if _name(question) == _name(before):
            self._question = question
            return False
        self._question = question
        self._form = form_of(question[1]) if question is not None else None
        form = self._form
        self.display = form is not None and bool(
            form.fields or form.choices or form.approval or form.can_decline
        )
        self.call_after_refresh(self._rebuild)
        return True

    async def _rebuild(self) -> None:
        await self.remove_children()
        if self._form is not None and self._question is not None and self.display:
            await self.mount(*self._widgets(self._form, self._question))
            self._focus_first()

    def _focus_first(self) -> None:
        """The field to begin with, unless somebody is writing just now."""
        writing = self.screen.focused
        if isinstance(writing, Input) or getattr(writing, "text", ""):
            return
        first = self.query("#deny").first() if self._form and self._form.approval else None
        for widget in self.query("Input, RadioSet, Select, SelectionList, Checkbox, OptionList"):
            first = first or widget
        if first is not None:
            first.focus()

    def _widgets(self, form: Form, question: tuple[Run, Call]) -> Iterator[Widget]:
        run, _ = question
        who = one_line(run.expert)
        if form.approval:
            head = (
                (f"? {who} wants to use ", ""),
                (form.title, "title"),
                ("  ", ""),
                (f"rule {form.rule}", "muted"),
            )
            yield Static(content_of([head]), classes="question")
            yield VerticalScroll(Static(content_of(arguments(form.arguments))), classes="arguments")
            yield Input(placeholder="Words for the model, if you like", id="words", compact=True)
            yield Horizontal(
                Button("Deny", id="deny", variant="error", compact=True),
                Button("Allow", id="allow", variant="success", compact=True),
                classes="buttons",
            )
            return
        message = list(prose(form.message)) if form.message else []
        yield Static(
            content_of([((f"? {who} asks", "title"), (f"  {form.title}", "muted")), *message]),
            classes="question",
        )
        if form.choices:
            yield OptionList(
                *(
                    Option(f"{n}  {one_line(choice)}", id=str(n))
                    for n, choice in enumerate(form.choices, 1)
                ),
                id="choices",
                compact=True,
            )
            yield Static("Or write another answer below.", classes="hint")
            return
        for field in form.fields:
            yield from _field(field)
        yield Static("", id="fault")
        yield Horizontal(
            Button("Send", id="send", variant="primary", compact=True),
            Button("Decline", id="decline", compact=True),
            classes="buttons",
        )

    # What is given ----------------------------------------------------------------------------------------

    @on(OptionList.OptionSelected, "#choices")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if self._form is not None:
            self._give(self._form.choices[event.option_index])

    @on(Button.Pressed, "#allow")
    def _allowed(self) -> None:
        self._approve(True)

    @on(Button.Pressed, "#deny")
    def _denied(self) -> None:
        self._approve(False)

    @on(Button.Pressed, "#decline")
    def _declined(self) -> None:
        self._give("null")

    @on(Button.Pressed, "#send")
    def _sent(self) -> None:
        if self._form is None:
            return
        given = {field.name: self._value(field) for field in self._form.fields}
        try:
            answer = filled(self._form.fields, given)
        except ValueError as error:
            self.query_one("#fault", Static).update(content_of([((str(error), "bad"),)]))
            return
        self._give(msgspec.json.encode(answer).decode())

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()

    def key_a(self) -> None:
        self._press(True)

    def key_d(self) -> None:
        self._press(False)

    def _press(self, approve: bool) -> None:
        """A letter means a button only where no text is written."""
        asks = self._form is not None and self._form.approval
        if asks and isinstance(self.screen.focused, Button):
            self._approve(approve)

    def key_right(self) -> None:
        if isinstance(self.screen.focused, Button):
            self.screen.focus_next(Button)

    def key_left(self) -> None:
        if isinstance(self.screen.focused, Button):
            self.screen.focus_previous(Button)

    def _approve(self, approve: bool) -> None:
        words = self.query_one("#words", Input).value.strip()
        said = {"approve": approve, **({"text": words} if words else {})}
        self._give(msgspec.json.encode(said).decode())

    def _give(self, text: str) -> None:
        if self._question is not None:
            run, call = self._question
            self.post_message(self.Given(run, call, text))

    def _value(self, field: Field) -> str | tuple[str, ...]:
        widget = self.query_one(f"#{_id(field)}")
        match widget:
            case Checkbox():
                return "true" if widget.value else "false"
            case RadioSet():
                place = widget.pressed_index
                return field.choices[place][0] if place >= 0 else ""
            case Selections():
                return tuple(str(value) for value in widget.selected)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType, reportUnknownMemberType]  # of str
            case Select():
                value = widget.value  # pyright: ignore[reportUnknownVariableType]  # of str
                return value if isinstance(value, str) else ""
            case Input():
                return widget.value
            case _:
                return ""


def _name(question: tuple[Run, Call] | None) -> tuple[str, str, int, str]:
    """What tells one question from another."""
    if question is None:
        return "", "", 0, ""
    run, call = question
    return run.id, call.id, run.step, msgspec.json.encode(call.args).decode()


def _id(field: Field) -> str:
    return f"field-{field.name.encode().hex()}"


def _field(field: Field) -> Iterator[Widget]:
    help = f"  {one_line(field.help)}" if field.help else ""
    mark = "" if field.required else "  (may be left out)"
    if field.kind != "boolean":
        yield Static(
            content_of([((one_line(field.label), "title"), (f"{help}{mark}", "muted"))]),
            classes="label",
        )
    match field.kind:
        case "boolean":
            yield Checkbox(
                f"{one_line(field.label)}{help}",
                value=field.default == "true",
                id=_id(field),
                compact=True,
            )
        case "choice" if len(field.choices) <= MOST_RADIOS:
            yield RadioSet(
                *(
                    RadioButton(one_line(shown), value=value == field.default)
                    for value, shown in field.choices
                ),
                id=_id(field),
                compact=True,
            )
        case "choice":
            options = [(one_line(shown), value) for value, shown in field.choices]
            if field.default:
                yield Select(options, id=_id(field), value=field.default, compact=True)
            else:
                yield Select(options, id=_id(field), compact=True)
        case "many":
            yield Selections[str](
                *((one_line(shown), value) for value, shown in field.choices),
                id=_id(field),
                compact=True,
            )
        case _:
            kind = field.kind if field.kind in ("integer", "number") else "text"
            yield Input(field.default, type=kind, id=_id(field), compact=True)
