"""An activity as it is drawn: a head of one line, and a body that can be unfolded. Pure.

Tones are names; what colour they have is the style sheet's business. A tool's output is cut to its first lines
until somebody wants more; what people and models say to each other is always whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from pathlib import PurePosixPath
from shlex import join
from typing import assert_never

import msgspec

from perstack._value import Value
from perstack.job import Activity, Call, Image, Json, Text, activity

from .prose import prose
from .wrap import Spans, clean, one_line

PREVIEW = 4
"""Lines of a body that are shown while it is folded."""

LONGEST = 400
"""Lines of a body that can be unfolded. The rest can be copied."""

PATH_LENGTH = 60


class Block(Value, frozen=True, kw_only=True):
    """One activity.

    glyph, title, tone: what was done; subject: to what. Without a title the body begins on its line. meta: a word
    or two at the right edge. thoughts: the
    reasoning before it. body: its lines, not yet broken to a width; more: how many there are beyond them.
    whole: it is not folded. spaced: it stands apart from what is above it.
    """

    glyph: str
    title: str
    tone: str = "tool"
    subject: str = ""
    meta: str = ""
    thoughts: str = ""
    body: tuple[Spans, ...] = ()
    more: int = 0
    whole: bool = False
    spaced: bool = False

    @property
    def folds(self) -> bool:
        """Whether there is more to see than `PREVIEW` lines."""
        return not self.whole and (len(self.body) > PREVIEW or bool(self.thoughts))


def block_of(row: Activity) -> Block:
    """How `row` is drawn. It never fails: a row that has less shows less."""
    block = _block(row)
    error = getattr(row, "error", None)
    if error and not isinstance(row, activity.Error | activity.Retry):
        body, more = _lines(str(error), "bad")
        block = msgspec.structs.replace(
            block, glyph="✗", tone="bad", meta="failed", body=body, more=more
        )
    if row.reasoning:
        block = msgspec.structs.replace(block, thoughts=clean(row.reasoning).strip(), spaced=True)
    return block


def _block(row: Activity) -> Block:
    match row:
        case activity.Query(text=text):
            return Block(
                glyph=">",
                title="" if row.delegated_by is None else "Told",
                tone="user",
                body=tuple(prose(text.strip())),
                whole=True,
                spaced=True,
            )
        case activity.Complete(text=text):
            return Block(
                glyph="✔",
                title="Answer",
                tone="good",
                body=tuple(prose(text.strip())),
                whole=True,
                spaced=True,
            )
        case activity.Error(error=error, error_name=name):
            body, more = _lines(error or "", "")
            return Block(
                glyph="■",
                title="Stopped",
                tone="warn" if row.is_retryable else "bad",
                subject=name or "",
                body=body,
                more=more,
                whole=True,
                spaced=True,
            )
        case activity.Retry(error=error, message=message):
            return _told("↻", "Retry", error, message, tone="warn")
        case activity.Delegate(delegate_expert_key=key, query=query):
            return Block(
                glyph="◆",
                title="Ask",
                tone="delegate",
                subject=key,
                body=tuple(prose(query.strip(), "muted")),
            )
        case activity.DelegationComplete(count=count):
            return Block(
                glyph="◇", title=f"{count} answer{'s' if count != 1 else ''} back", tone="muted"
            )
        case activity.InteractiveTool(tool_name=tool, args=args):
            return Block(
                glyph="?",
                title="Asks you",
                tone="warn",
                subject=tool,
                body=tuple(asked(args)),
                whole=True,
                spaced=True,
            )
        case activity.ReadTextFile(path=path, content=content, first=first, last=last):
            part = f"#{first}-{last}" if first and last is not None else ""
            lines = (content or "").count("\n") + bool(content)
            return _told(
                "○", "Read", short_path(path) + part, content or "", meta=_count(lines, "line")
            )
        case activity.ReadImageFile(path=path) | activity.ReadPdfFile(path=path):
            kind = "image" if isinstance(row, activity.ReadImageFile) else "PDF"
            size = f"{row.mime_type or kind}, {bytes_of(row.size)}" if row.size else kind
            return Block(glyph="○", title="Look at", subject=short_path(path), meta=size)
        case (
            activity.WriteTextFile(path=path, text=text)
            | activity.AppendTextFile(path=path, text=text)
        ):
            return _told(
                "●",
                "Write" if isinstance(row, activity.WriteTextFile) else "Append",
                short_path(path),
                text,
                tone="change",
                meta=_count(_height(text), "line"),
                mark="+",
            )
        case activity.EditTextFile(path=path, old_text=old, new_text=new):
            lines = tuple(changed(old, new))
            plus = sum(1 for line in lines if line[0][1] == "add")
            minus = sum(1 for line in lines if line[0][1] == "del")
            return Block(
                glyph="●",
                title="Edit",
                tone="change",
                subject=short_path(path),
                meta=f"+{plus} -{minus}",
                body=lines[:LONGEST],
                more=max(len(lines) - LONGEST, 0),
            )
        case activity.DeleteFile(path=path) | activity.DeleteDirectory(path=path):
            return Block(glyph="●", title="Delete", tone="change", subject=short_path(path))
        case activity.CreateDirectory(path=path):
            return Block(glyph="●", title="Make directory", tone="change", subject=short_path(path))
        case activity.MoveFile(source=source, destination=destination):
            return Block(
                glyph="●",
                title="Move",
                tone="change",
                subject=f"{short_path(source)} → {short_path(destination)}",
            )
        case activity.GetFileInfo(path=path, info=info):
            size = info.size_formatted if info is not None else ""
            return Block(glyph="○", title="Look at", subject=short_path(path), meta=size)
        case activity.ListDirectory(path=path, items=items):
            names = "\n".join(
                f"{i.name}{'/' if i.type == 'directory' else ''}" for i in items or ()
            )
            return _told(
                "○",
                "List",
                short_path(path),
                names,
                meta=_count(len(items or ()), "entry", "entries"),
            )
        case activity.Exec(command=command, args=args, output=output, stdout=out, stderr=err):
            text = output or "\n".join(filter(None, (out, err)))
            return _told("$", "Run", " ".join((command, *args)), text.strip("\n"), tone="change")
        case activity.Todo(todos=todos, new_todos=new, completed_todos=completed):
            done = sum(todo.completed for todo in todos)
            named = set(new or ())
            told = [t for t in todos if t.title in named or t.id in (completed or ())] or todos
            return Block(
                glyph="≡",
                title="Todo",
                meta=f"{done} of {len(todos)} done",
                body=tuple(todo_line(todo.title, todo.completed) for todo in told[:LONGEST]),
                more=max(len(told) - LONGEST, 0),
            )
        case activity.ClearTodo():
            return Block(glyph="≡", title="Todo cleared")
        case activity.AttemptCompletion(remaining_todos=left):
            if left:
                return Block(
                    glyph="◌",
                    title="Not done yet",
                    tone="warn",
                    meta=f"{len(left)} open",
                    body=tuple(todo_line(todo.title, False) for todo in left),
                )
            return Block(glyph="◌", title="Says it is done", tone="muted")
        case activity.GeneralTool(skill_name=skill, tool_name=tool, args=args, result=result):
            texts = "\n".join(part.text for part in result or () if isinstance(part, Text))
            others = [
                f"[{part.mime_type}, {bytes_of(len(part.data) * 3 // 4)}]"
                for part in result or ()
                if not isinstance(part, Text)
            ]
            images = sum(isinstance(part, Image) for part in result or ())
            body, more = _lines("\n".join(filter(None, (*others, texts))), "muted")
            return Block(
                glyph="○",
                title=tool,
                subject=brief(args),
                meta=_count(images, "image") if images else skill,
                body=body,
                more=more,
            )
        case _:
            assert_never(row)


def block_of_call(call: Call) -> Block:
    """A call that is on its way."""
    args = call.args
    path = args.get("path")
    match call.tool:
        case "exec" if isinstance(args.get("command"), str):
            words = [str(args["command"]), *(str(word) for word in args.get("args") or ())]
            title, subject = "Run", " ".join(words)
        case _ if isinstance(path, str) and call.skill.startswith("@perstack/base"):
            title, subject = call.tool, short_path(path)
        case _:
            title, subject = call.tool, brief(args)
    return Block(glyph="◐", title=title, tone="live", subject=one_line(subject))


def asked(args: dict[str, Json]) -> Iterator[Spans]:
    """What a person is asked, one argument after the other. The schema of the answer is left for the form."""
    for name, value in args.items():
        match value:
            case _ if name == "requestedSchema":
                pass
            case {**inner} if name == "arguments" and "rule" in args:
                yield from arguments(inner)
            case str() if name in ("question", "message", "prompt", "text", "what"):
                yield from prose(value)
            case str():
                yield (f"{name}: ", "muted"), (clean(value), "")
            case list():
                yield ((f"{name}:", "muted"),)
                yield from (((f"  • {_scalar(item)}", ""),) for item in value)  # pyright: ignore[reportUnknownVariableType]  # JSON
            case _:
                yield (f"{name}: ", "muted"), (_scalar(value), "")


def arguments(args: dict[str, Json]) -> Iterator[Spans]:
    """All the arguments of a call that is to be allowed: a command as it would be typed, and the others."""
    rest = dict(args)
    if isinstance(rest.get("command"), str) and isinstance(rest.get("args", []), list):
        words = [str(rest.pop("command")), *(str(word) for word in rest.pop("args", []))]
        yield (("$ ", "muted"), (clean(join(words)), "title"))
    for name, value in rest.items():
        yield from _argument(name, clean(_scalar(value)))


def _argument(name: str, text: str) -> Iterator[Spans]:
    first, *others = text.split("\n")
    yield (f"{name}: ", "muted"), (first, "")
    yield from (((f"  {line}", ""),) for line in others)


def changed(old: str, new: str) -> Iterator[Spans]:
    """What an edit changed, line by line, with what stands around it."""
    before, after = clean(old).split("\n"), clean(new).split("\n")
    if len(before) * len(after) > 250_000:  # too long to look for what is the same
        yield from (((f"- {line}", "del"),) for line in before)
        yield from (((f"+ {line}", "add"),) for line in after)
        return
    for kind, i, j, k, n in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from (((f"  {line}", "muted"),) for line in before[i:j])
        else:
            yield from (((f"- {line}", "del"),) for line in before[i:j])
            yield from (((f"+ {line}", "add"),) for line in after[k:n])


def todo_line(title: str, done: bool) -> Spans:
    return (
        ("☑ " if done else "☐ ", "good" if done else "muted"),
        (one_line(title), "done" if done else ""),
    )


def brief(args: dict[str, Json]) -> str:
    """Arguments in one line: the only one by itself, others with their names."""
    if len(args) == 1:
        return one_line(_scalar(next(iter(args.values())))[:400])
    return one_line(", ".join(f"{name}: {_scalar(value)[:120]}" for name, value in args.items()))


def short_path(path: str) -> str:
    path = one_line(path)
    return path if len(path) <= PATH_LENGTH else f"…/{'/'.join(PurePosixPath(path).parts[-2:])}"


def bytes_of(size: int) -> str:
    """A size for people: "812 B", "4.2 kB"."""
    for unit, one in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size} B"


def _told(
    glyph: str,
    title: str,
    subject: str,
    text: str,
    *,
    tone: str = "tool",
    meta: str = "",
    mark: str = "",
) -> Block:
    body, more = _lines(text, "add" if mark else "muted", f"{mark} " if mark else "")
    return Block(
        glyph=glyph,
        title=title,
        tone=tone,
        subject=one_line(subject),
        meta=meta,
        body=body,
        more=more,
    )


def _lines(text: str, tone: str, mark: str = "") -> tuple[tuple[Spans, ...], int]:
    """The first lines of `text`, and how many there are beyond."""
    if not text:
        return (), 0
    first = text.rstrip("\n").split("\n", LONGEST)
    more = first.pop().count("\n") + 1 if len(first) > LONGEST else 0
    return tuple(((f"{mark}{clean(line.rstrip(chr(13)))}", tone),) for line in first), more


def _height(text: str) -> int:
    return text.rstrip("\n").count("\n") + 1 if text else 0


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}" if number else ""


def _scalar(value: Json) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def text_of(row: Activity) -> str:
    """The whole of a row as plain text, to be copied."""
    block = block_of(row)
    head = " ".join(filter(None, (block.title, block.subject)))
    match row:
        case activity.Query(text=text) | activity.Complete(text=text):
            return text
        case activity.WriteTextFile(text=text) | activity.AppendTextFile(text=text):
            return text
        case activity.ReadTextFile(content=str() as content):
            return content
        case activity.Exec(output=output, stdout=out, stderr=err):
            return "\n".join(
                filter(None, (f"$ {block.subject}", output or out, err if not output else None))
            )
        case activity.GeneralTool(result=result) if result:
            return "\n".join(part.text for part in result if isinstance(part, Text)) or head
        case _:
            return "\n".join((head, *plain_lines(block.body)))


def plain_lines(lines: Iterable[Spans]) -> Iterator[str]:
    return ("".join(words for words, _ in line) for line in lines)
