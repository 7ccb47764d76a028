"""Cassettes: replies written down once, and given again without a provider.

A cassette is a JSONL file. Its first line is a header, every other line one reply, with the place in the job it
was given at (path of the run, step, concluding or not) and what was heard there: the Expert, the names of its
tools, and the messages since the reply before. The last line for a place counts, so a new recording may follow
an old one in the same file.

Replaying answers by place and compares what it hears with what was heard then. The instruction is not
compared: it names the time and the directory. Texts are compared without what differs from machine to machine:
times, and the strings the caller names in `scrub`, such as the workspace's path. A recorded reply gets the
caller's strings back in, so that a call names a file of *this* workspace.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec

from perstack._value import Value
from perstack.errors import ModelError, StoreError, UserError
from perstack.job import ExpertMessage, Image, Message, Text, ToolMessage, UserMessage

from .model import Delta, Hear, Model, Reply, Request

FORMAT = 1
CHUNK = 24
"""Letters in one replayed delta."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?")

Place = tuple[str, int, bool]


class Heard(Value, frozen=True):
    """What a reply answered. words: the messages since the reply before, one text each."""

    expert: str
    tools: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


class Header(Value, frozen=True):
    """The first line. cassette: the format's version."""

    cassette: int


class Taken(Value, frozen=True):
    """One reply and where it was given. reply: a Reply as JSON."""

    heard: Heard
    reply: dict[str, Any]
    path: str = ""
    step: int = 1
    concluding: bool = False

    @property
    def place(self) -> Place:
        return (self.path, self.step, self.concluding)


class Cassette:
    """A Model that replays. takes: recorded replies; scrub: strings of this run → what stands for them."""

    def __init__(
        self, name: str, takes: Mapping[Place, Taken], scrub: Mapping[str, str] | None = None
    ) -> None:
        self._name = name
        self._takes = dict(takes)
        self._scrub = dict(scrub or {})

    async def reply(self, request: Request, hear: Hear) -> Reply:
        await anyio.lowlevel.checkpoint()
        place = (request.path, request.step, request.concluding)
        taken = self._takes.get(place)
        heard = _heard(request, self._scrub)
        if taken is None:
            raise self._mismatch(request, "it has no reply for this turn")
        if differing := _difference(taken.heard, heard):
            raise self._mismatch(request, differing)
        reply = msgspec.convert(_map(taken.reply, partial(_restored, scrub=self._scrub)), Reply)
        for delta in _deltas(reply.message):
            hear(delta)
        return reply

    def _mismatch(self, request: Request, what: str) -> ModelError:
        run = f" of run {request.path}" if request.path else ""
        turn = "closing turn" if request.concluding else f"turn {request.step}"
        return ModelError(
            f'Cassette {self._name} does not fit: Expert "{request.expert}", {turn}{run}: {what}\n'
            f"Record it anew with --record {self._name}",
            name="CassetteMismatch",
        )


class Recorder:
    """A Model that passes on what another says, and writes it down. Safe for concurrent runs."""

    def __init__(self, model: Model, file: int, name: str, scrub: Mapping[str, str]) -> None:
        self._model = model
        self._file = file
        self._name = name
        self._scrub = scrub

    async def reply(self, request: Request, hear: Hear) -> Reply:
        reply = await self._model.reply(request, hear)
        taken = Taken(
            path=request.path,
            step=request.step,
            concluding=request.concluding,
            heard=_heard(request, self._scrub),
            reply=_map(msgspec.to_builtins(reply), partial(_scrubbed, scrub=self._scrub)),
        )
        await anyio.to_thread.run_sync(_append, self._file, self._name, taken)
        return reply


def load_cassette(path: str | Path, *, scrub: Mapping[str, str] | None = None) -> Cassette:
    """The cassette at `path`. scrub: strings of this run, such as its workspace's path → what stands for them.

    Raises UserError if there is none, or a line of it cannot be read.
    """
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"The cassette {path} cannot be read: {error.strerror}.") from error
    takes: dict[Place, Taken] = {}
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if number == 1:
                version = msgspec.json.decode(line, type=Header).cassette
                if version != FORMAT:
                    raise UserError(
                        f"The cassette {path} is of format {version}; this version reads {FORMAT}."
                    )
            elif line.strip():
                taken = msgspec.json.decode(line, type=Taken)
                msgspec.convert(taken.reply, Reply)
                takes[taken.place] = taken
    except msgspec.MsgspecError as error:
        raise UserError(f"The cassette {path} cannot be read: line {number}: {error}.") from error
    if not lines:
        raise UserError(f"The cassette {path} is empty. Record it with --record {path}.")
    return Cassette(str(path), takes, scrub)


@asynccontextmanager
async def open_recorder(
    model: Model, path: str | Path, *, scrub: Mapping[str, str] | None = None
) -> AsyncGenerator[Recorder]:
    """`model`, recorded to `path`; an existing cassette is continued. `model` stays the caller's to close.

    Raises StoreError if the file cannot be written, UserError if it is there and no cassette.
    """
    file = await anyio.to_thread.run_sync(_opened, path)
    try:
        yield Recorder(model, file, str(path), dict(scrub or {}))
    finally:
        os.close(file)


def _opened(path: str | Path) -> int:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"The cassette {path} cannot be written: {error.strerror}.") from error
    begins = os.pread(file, 1024, 0)
    if not begins:
        _append(file, str(path), Header(cassette=FORMAT))
    elif not _is_ours(begins):
        os.close(file)
        raise UserError(f"{path} is no cassette. Record to a new file, or delete this one.")
    return file


def _is_ours(begins: bytes) -> bool:
    """Whether a file that begins so is a cassette we can continue, and not something else of the user's."""
    try:
        return msgspec.json.decode(begins.partition(b"\n")[0], type=Header).cassette == FORMAT
    except msgspec.MsgspecError:
        return False


def _append(file: int, name: str, line: Value) -> None:
    """Write one whole line. One write to a file opened for appending, so lines never mix."""
    data = msgspec.json.encode(line) + b"\n"
    try:
        written = os.write(file, data)
    except OSError as error:
        raise StoreError(f"The cassette {name} cannot be written: {error.strerror}.") from error
    if written != len(data):
        raise StoreError(f"The cassette {name} cannot be written: the disk is full.")


# --- what was heard


def _heard(request: Request, scrub: Mapping[str, str]) -> Heard:
    return Heard(
        expert=request.expert,
        tools=(
            *sorted(tool.name for tool in request.tools),
            *sorted(f"provider/{name}" for name in request.provided.names),
            *sorted(f"provider/skill/{name}" for name in request.provided.skills),
        ),
        words=tuple(
            _TIME.sub("<time>", _scrubbed(_told(message), scrub))
            for message in _since_reply(request)
        ),
    )


def _since_reply(request: Request) -> list[Message]:
    """The messages after the last reply, in order."""
    history = request.history
    new: list[Message] = []
    for place in range(len(history) - 1, -1, -1):
        message = history[place]
        if isinstance(message, ExpertMessage):
            break
        new.append(message)
    return new[::-1]


def _told(message: Message) -> str:
    """A message as one text; files by their digest."""
    match message:
        case UserMessage():
            head, parts = "user", message.parts
        case ToolMessage():
            head, parts = f"{message.tool}{' failed' if message.is_error else ''}", message.parts
        case ExpertMessage():
            head, parts = "expert", message.texts
    texts = (
        part.text
        if isinstance(part, Text)
        else f"<{'image' if isinstance(part, Image) else 'file'} {part.mime_type} "
        f"{sha256(part.data.encode()).hexdigest()[:16]}>"
        for part in parts
    )
    return f"{head}: " + "\n".join(texts)


def _difference(then: Heard, now: Heard) -> str:
    """What differs, in a few lines; empty if nothing does."""
    if then.expert != now.expert:
        return f'it was recorded with Expert "{then.expert}"'
    if then.tools != now.tools:
        gone = [f"-{name}" for name in then.tools if name not in now.tools]
        come = [f"+{name}" for name in now.tools if name not in then.tools]
        return f"its tools are others ({', '.join(gone + come)})"
    if then.words == now.words:
        return ""
    from difflib import unified_diff

    lines = unified_diff(
        "\n".join(then.words).splitlines(),
        "\n".join(now.words).splitlines(),
        "recorded",
        "now",
        n=1,
        lineterm="",
    )
    shown = [line if len(line) <= 160 else line[:160] + "…" for line in lines]
    more = [f"… and {len(shown) - 20} lines more"] if len(shown) > 20 else []
    return "\n".join(("what it heard differs:", *shown[:20], *more))


# --- strings that differ from machine to machine


def _scrubbed(text: str, scrub: Mapping[str, str]) -> str:
    for ours in sorted(scrub, key=len, reverse=True):
        if ours:
            text = text.replace(ours, scrub[ours])
    return text


def _restored(text: str, scrub: Mapping[str, str]) -> str:
    for ours, theirs in scrub.items():
        if theirs:
            text = text.replace(theirs, ours)
    return text


def _map(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with every string in it changed."""
    match value:
        case str():
            return change(value)
        case dict():
            return {key: _map(inner, change) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]  # JSON
        case list() | tuple():
            return [_map(inner, change) for inner in value]  # pyright: ignore[reportUnknownVariableType]  # JSON
        case _:
            return value


def _deltas(message: ExpertMessage) -> Iterator[Delta]:
    for thought in message.thoughts:
        for start in range(0, len(thought.text), CHUNK):
            yield Delta("thought", thought.text[start : start + CHUNK])
    for start in range(0, len(message.text), CHUNK):
        yield Delta("text", message.text[start : start + CHUNK])
