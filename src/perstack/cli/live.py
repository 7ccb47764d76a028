"""A live account of a job for people: what `--output text` prints.

Whole lines only, so it reads the same in a terminal, a pipe and a screen reader. On a terminal there are colours
(unless NO_COLOR is set), and a last line that says what is being waited for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import click
import msgspec

from perstack.engine import Ears
from perstack.job import (
    Acting,
    Activity,
    Concluding,
    Event,
    Heard,
    Job,
    Notice,
    ProxyAccess,
    Thinking,
    Timeline,
    Waiting,
    activity,
    retell,
    tell,
)

from .plain import plain

TEXT_LINES = 12
CLEAR = "\r\x1b[2K"


@contextmanager
def live_account(out: TextIO, on_lost: Callable[[OSError], None]) -> Generator[Ears]:
    """Ears that write to `out`. on_lost: told once when `out` can no longer be written."""
    account = _Account(out, on_lost)
    try:
        yield Ears(past=account.past, fact=account.fact, ready=account.ready, notice=account.notice)
    finally:
        account.status("")


class _Account:
    def __init__(self, out: TextIO, on_lost: Callable[[OSError], None]) -> None:
        self._out = out
        self._encoding = out.encoding or "utf-8"
        self._on_lost = on_lost
        self._lost = False
        self._terminal = out.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._terminal and not os.environ.get("NO_COLOR")
        self._timeline = Timeline()
        self._heard = 0
        self._shown = ""

    def past(self, events: Sequence[Event]) -> None:
        self._timeline, _ = retell(events)

    def fact(self, before: Job, event: Event, after: Job) -> None:
        self._timeline, new = tell(self._timeline, event)
        for row in new:
            self._print(row)
        self._heard = 0
        self.status(_waits_for(after))

    def ready(self, job: Job) -> None:
        self.status(_waits_for(job))

    def notice(self, job: Job, notice: Notice) -> None:
        match notice:
            case Heard():
                self._heard += len(notice.text)
                self.status(f"{_waits_for(job)} ({self._heard} characters)")
            case Waiting():
                self._line(
                    self._style(
                        f"  waiting {notice.seconds:.1f} s before attempt {notice.attempt}: "
                        f"{plain(notice.reason)}",
                        fg="yellow",
                    )
                )
            case ProxyAccess(action="blocked"):
                self._line(self._style(f"  blocked: {plain(notice.text)}", fg="red"))
            case _:
                pass

    def status(self, text: str) -> None:
        """The last line of a terminal: what is being waited for; nothing anywhere else."""
        if not self._terminal or text == self._shown:
            return
        width = shutil.get_terminal_size().columns - 1
        self._write(CLEAR + self._style(text[:width], dim=True))
        self._shown = text

    def _print(self, row: Activity) -> None:
        indent = "  " * _depth(self._timeline.job, row)
        head, body = rendered(row)
        colour = _COLOURS.get(type(row), None)
        if getattr(row, "error", None):
            colour = "red"
        name = self._style(row.expert_key, dim=True)
        head = self._style(plain(head).replace("\n", "\\n"), bold=True)
        self._line(f"{indent}{self._style('●', fg=colour)} {name} {head}")
        for line in body:
            self._line(f"{indent}    {plain(line)}".rstrip())

    def _line(self, text: str) -> None:
        clear = CLEAR if self._terminal and self._shown else ""
        self._shown = ""
        self._write(f"{clear}{text}\n")

    def _write(self, text: str) -> None:
        if self._lost:
            return
        try:
            # A terminal that cannot show a letter shows a question mark.
            self._out.write(text.encode(self._encoding, "replace").decode(self._encoding))
            self._out.flush()
        except OSError as error:
            self._lost = True
            self._on_lost(error)

    def _style(self, text: str, **how: Any) -> str:
        return click.style(text, **how) if self._colour else text


_COLOURS: dict[type, str] = {
    activity.Query: "cyan",
    activity.Retry: "yellow",
    activity.InteractiveTool: "yellow",
    activity.Error: "red",
    activity.Complete: "green",
}


def rendered(row: Activity) -> tuple[str, list[str]]:
    """A heading, and the lines below it."""
    head, body = _rendered(row)
    error = getattr(row, "error", None)
    if error and not isinstance(row, activity.Error | activity.Retry):
        body = _cut(f"failed: {error}")
    return head, body


def _rendered(row: Activity) -> tuple[str, list[str]]:
    match row:
        case activity.Query(text=text):
            return "query", _cut(text)
        case activity.Complete(text=text):
            return "answer", text.splitlines()
        case activity.Error(error=error, error_name=name):
            return f"stopped: {name or 'error'}", _cut(error or "")
        case activity.Retry(error=error, message=message):
            return f"retry: {error}", _cut(message)
        case activity.Delegate(delegate_expert_key=key, query=query):
            return f"asks {key}", _cut(query)
        case activity.DelegationComplete(count=count):
            return f"{count} delegate{'s' if count != 1 else ''} answered", []
        case activity.InteractiveTool(
            tool_name=tool, args={"rule": str() as rule, "arguments": arguments}
        ):
            return f"asks you: may {tool} be called? (rule: {rule})", _cut(_json(arguments))
        case activity.InteractiveTool(tool_name=tool, args=args):
            return f"asks you: {tool}", _cut(_json(args))
        case activity.ReadTextFile(path=path, content=content):
            count = len((content or "").splitlines())
            return f"read {path}", [f"{count} line{'s' if count != 1 else ''}"] if content else []
        case activity.ReadImageFile(path=path) | activity.ReadPdfFile(path=path):
            return f"read {path}", [f"{row.mime_type}, {row.size} bytes"] if row.size else []
        case activity.WriteTextFile(path=path, text=text):
            return f"write {path}", _cut(text)
        case activity.AppendTextFile(path=path, text=text):
            return f"append {path}", _cut(text)
        case activity.EditTextFile(path=path, old_text=old, new_text=new):
            minus = [f"- {line}" for line in old.splitlines()]
            plus = [f"+ {line}" for line in new.splitlines()]
            return f"edit {path}", _first([*minus, *plus])
        case activity.DeleteFile(path=path) | activity.DeleteDirectory(path=path):
            return f"delete {path}", []
        case activity.CreateDirectory(path=path):
            return f"create directory {path}", []
        case activity.MoveFile(source=source, destination=destination):
            return f"move {source} to {destination}", []
        case activity.GetFileInfo(path=path):
            return f"look at {path}", []
        case activity.ListDirectory(path=path, items=items):
            names = [
                f"{item.name}{'/' if item.type == 'directory' else ''}" for item in items or ()
            ]
            return f"list {path}", _first(names)
        case activity.Exec(command=command, args=args, output=output):
            return f"run {' '.join((command, *args))}", _cut(output or "")
        case activity.Todo(todos=todos):
            return "todo", [f"[{'x' if todo.completed else ' '}] {todo.title}" for todo in todos]
        case activity.ClearTodo():
            return "todo cleared", []
        case activity.AttemptCompletion(remaining_todos=left):
            return ("done" if not left else f"not done: {len(left)} todos are open"), []
        case activity.GeneralTool(skill_name=skill, tool_name=tool, args=args):
            return f"{tool} [{skill}]", _cut(_json(args))


def _waits_for(job: Job) -> str:
    thinking: list[str] = []
    acting: list[str] = []
    for run in job.runs.values():
        match run.phase:
            case Thinking() | Concluding():
                thinking.append(run.expert)
            case Acting() as phase:
                acting += [flight.call.tool for flight in phase.open if flight.started]
            case _:
                pass
    parts = [f"{', '.join(thinking)} thinking"] if thinking else []
    parts += [f"running {', '.join(acting)}"] if acting else []
    return "… " + ", ".join(parts) if parts else ""


def _depth(job: Job, row: Activity) -> int:
    run = job.runs.get(row.run_id)
    return run.depth if run is not None else 1 if row.delegated_by else 0


def _cut(text: str) -> list[str]:
    return _first(text.splitlines())


def _first(lines: list[str]) -> list[str]:
    if len(lines) <= TEXT_LINES:
        return lines
    return [*lines[: TEXT_LINES - 1], f"… {len(lines) - TEXT_LINES + 1} more lines"]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
