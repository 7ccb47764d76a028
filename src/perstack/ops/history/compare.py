"""Two jobs side by side: where they part, what each called, wrote and spent.

Theory of operation
-------------------
Each job is reduced to its *deeds*: what was asked, replied, returned and answered on the branch its log ends on. A
deed has a place that does not depend on ids or on time: the path of its run in the tree of runs, the step, and its
turn in that step. So two jobs are aligned even if they ran at other times, in other workspaces (whose paths are
told as `<workspace>`), or with their delegates interleaved in another order.

What a job was set up with (model, limits, Definitions) and what it cost are shown, but do not make jobs differ:
the same work by another model is alike.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, cast

import msgspec

from perstack._value import Value
from perstack.definition import BASE_SKILL
from perstack.job import (
    Acting,
    Call,
    ExpertMessage,
    File,
    Image,
    Job,
    Json,
    Replied,
    ReplyFailed,
    ResultPart,
    RunFinished,
    RunStarted,
    Stopped,
    Text,
    ToolReturned,
    Usage,
    UserSpoke,
)

from .jobs import History, usage_json

Kind = Literal["query", "words", "failure", "reply", "result", "stop", "outcome"]
_TURNS: tuple[Kind, ...] = ("query", "words", "failure", "reply", "result", "stop", "outcome")


class Place(NamedTuple):
    """Where a deed stands: path of its run, step, turn in the step, and which of several there."""

    path: tuple[tuple[int, int], ...]
    step: int
    turn: int
    number: int

    @property
    def kind(self) -> Kind:
        return _TURNS[self.turn]


class Deed(NamedTuple):
    """seq: of its fact. said: what it says, by the name of each thing that can differ."""

    seq: int
    expert: str
    said: Mapping[str, Json]


class CallMade(Value, frozen=True, omit_defaults=False):
    """One call that came back. path, step: of the run that made it."""

    seq: int
    path: str
    step: int
    expert: str
    skill: str
    tool: str
    args: dict[str, Json]
    is_error: bool


class FileWritten(Value, frozen=True, omit_defaults=False):
    """What the base tools did to one file.

    digest: SHA-256 of its text, or of the changes if the text before them is not in the log; None if it was
    deleted. by: "text" or "changes", what the digest is of, or "deleted".
    """

    path: str
    digest: str | None
    by: Literal["text", "changes", "deleted"]


class Side(Value, frozen=True, omit_defaults=False):
    """One of the two jobs. spent: tokens by Expert key. outcome: "" while the job has not ended."""

    job: str
    expert: str
    model: str
    reasoning: Json
    limits: Json
    definitions: dict[str, str]
    steps: int
    usage: dict[str, int]
    spent: dict[str, dict[str, int]]
    outcome: str
    text: str
    calls: tuple[CallMade, ...]
    files: tuple[FileWritten, ...]


class SideDeed(Value, frozen=True, omit_defaults=False):
    """What one job did. seq: of the fact. said: what it says; if both did the same kind of thing, what differs."""

    seq: int
    kind: Kind
    said: dict[str, Json]


class Parting(Value, frozen=True, omit_defaults=False):
    """The first place where the jobs differ. path, expert: of the run. a, b: None if one did nothing there."""

    path: str
    step: int
    expert: str
    a: SideDeed | None
    b: SideDeed | None


class Comparison(Value, frozen=True, omit_defaults=False):
    """parting: the first place where they differ, None if nowhere. differences: how many places differ."""

    alike: bool
    parting: Parting | None
    differences: int
    a: Side
    b: Side


def compare(a: History, b: History) -> Comparison:
    """Where two jobs part, and what each did."""
    deeds_a, deeds_b = _deeds(a), _deeds(b)
    apart = [
        place for place in deeds_a.keys() | deeds_b.keys() if not _same(deeds_a, deeds_b, place)
    ]
    return Comparison(
        alike=not apart,
        parting=_parting(deeds_a, deeds_b, apart) if apart else None,
        differences=len(apart),
        a=_side(a),
        b=_side(b),
    )


def calls_by_tool(side: Side) -> Counter[str]:
    """How often each tool was called."""
    return Counter(call.tool for call in side.calls)


Deeds = dict[Place, Deed]


def _same(a: Deeds, b: Deeds, place: Place) -> bool:
    here, there = a.get(place), b.get(place)
    return here is not None and there is not None and here.said == there.said


def _parting(a: Deeds, b: Deeds, apart: Sequence[Place]) -> Parting:
    def when(place: Place) -> tuple[int, Place]:
        return min(deeds[place].seq for deeds in (a, b) if place in deeds), place

    first = min(apart, key=when)
    here, there = (_instead(deeds, first, apart) for deeds in (a, b))
    return Parting(
        path=_spelled(first.path),
        step=first.step,
        expert=(a.get(first) or b[first]).expert,
        a=_side_deed(here, there),
        b=_side_deed(there, here),
    )


Known = tuple[Place, Deed] | None


def _instead(deeds: Deeds, place: Place, apart: Sequence[Place]) -> Known:
    """What one job did at `place`, or else the first thing that it alone did in that step."""
    if place not in deeds:
        others = [p for p in apart if p in deeds and (p.path, p.step) == (place.path, place.step)]
        if not others:
            return None
        place = min(others, key=lambda p: deeds[p].seq)
    return place, deeds[place]


def _side_deed(known: Known, other: Known) -> SideDeed | None:
    if known is None:
        return None
    place, deed = known
    said = dict(deed.said)
    if other is not None and other[0].turn == place.turn:
        said = {name: value for name, value in said.items() if other[1].said.get(name) != value}
    return SideDeed(seq=deed.seq, kind=place.kind, said=said)


# Deeds ----------------------------------------------------------------------------------------------------


def _deeds(history: History) -> Deeds:
    deeds: Deeds = {}
    counts: Counter[tuple[object, ...]] = Counter()

    def add(
        job: Job, run: str, step: int, kind: Kind, said: dict[str, Json], number: int = -1
    ) -> None:
        path, turn = _numbers(job.runs[run].path), _TURNS.index(kind)
        if number < 0:
            number = counts[path, step, turn]
            counts[path, step, turn] += 1
        expert = job.lock.key_of(job.runs[run].expert)
        deeds[Place(path, step, turn, number)] = Deed(
            job.seq, expert, _scrubbed(said, job.workspace)
        )

    for before, event, job, _, _ in history.moments():
        match event:
            case RunStarted(run=run, query=query):
                said = {"expert": job.lock.key_of(event.expert), "query": query}
                add(job, run, 1, "query", said)
            case UserSpoke(text=text):
                add(job, job.root, job.runs[job.root].step, "words", {"text": text})
            case ReplyFailed(run=run, failure=why):
                said = {"failure": why.name, "message": why.message}
                add(job, run, before.runs[run].step, "failure", said)
            case Replied(run=run, message=message, cut=cut):
                add(job, run, before.runs[run].step, "reply", {**_reply(message), "cut": cut})
            case ToolReturned(run=run, call=id):
                phase = before.runs[run].phase
                assert isinstance(phase, Acting)  # only an open call returns
                call, number = phase.flights[id].call, list(phase.flights).index(id)
                said = {"tool": call.tool, "result": _parts(event.parts), "isError": event.is_error}
                add(job, run, before.runs[run].step, "result", said, number)
            case Stopped(reason=reason, what=what) if job.root:
                said = {"reason": reason, "what": what}
                add(job, job.root, job.runs[job.root].step, "stop", said)
            case RunFinished(run=run, outcome=outcome, text=text):
                add(job, run, job.runs[run].step, "outcome", {"outcome": outcome, "text": text})
            case _:
                pass
    return deeds


def _reply(message: ExpertMessage) -> dict[str, Json]:
    return {
        "reasoning": "\n\n".join(thought.text for thought in message.thoughts if thought.text),
        "text": message.text,
        "calls": [{"tool": call.tool, "args": call.args} for call in message.calls],
    }


def _parts(parts: Sequence[ResultPart]) -> Json:
    """The text of a result; of an image or file its type and digest."""
    told: list[str] = []
    for part in parts:
        match part:
            case Text(text=text):
                told.append(text)
            case Image(data=data, mime_type=mime_type) | File(data=data, mime_type=mime_type):
                told.append(f"{mime_type} {_digest(data)}")
    return told[0] if len(told) == 1 else told


def _scrubbed(value: Json, workspace: str) -> Json:
    """`value` with the workspace's own path told as `<workspace>`."""
    match value:
        case str() if len(workspace) > 1:
            return value.replace(workspace, "<workspace>")
        case dict():
            members = cast("dict[str, Json]", value)
            return {name: _scrubbed(item, workspace) for name, item in members.items()}
        case list():
            return [_scrubbed(item, workspace) for item in cast("list[Json]", value)]
        case _:
            return value


def _numbers(path: str) -> tuple[tuple[int, int], ...]:
    places = (place.split(".") for place in path.split("/")[1:])
    return tuple([(int(step), int(call)) for step, call in places])


def _spelled(path: tuple[tuple[int, int], ...]) -> str:
    return "".join(f"/{step}.{call}" for step, call in path)


# Sides ----------------------------------------------------------------------------------------------------


def _side(history: History) -> Side:
    job = history.job
    calls, files = _work(history)
    spent: dict[str, Usage] = {}
    for expert, usage in job.spent.items():
        key = job.lock.key_of(expert)
        spent[key] = spent.get(key, Usage()) + usage
    return Side(
        job=job.id,
        expert=job.expert,
        model=f"{job.model.provider}/{job.model.model}",
        reasoning=job.model.reasoning,
        limits=msgspec.to_builtins(job.limits),
        definitions={key: pin.integrity for key, pin in job.lock.experts.items()},
        steps=job.steps,
        usage=usage_json(job.usage),
        spent={key: usage_json(usage) for key, usage in spent.items()},
        outcome=job.done.outcome if job.done is not None else "",
        text=job.done.text if job.done is not None else "",
        calls=tuple(calls),
        files=tuple(files),
    )


def _work(history: History) -> tuple[list[CallMade], list[FileWritten]]:
    calls: list[CallMade] = []
    files = _Files(history.job.workspace)
    for before, event, job, _, _ in history.moments():
        if isinstance(event, ToolReturned):
            run = before.runs[event.run]
            assert isinstance(run.phase, Acting)  # only an open call returns
            call = run.phase.flights[event.call].call
            calls.append(
                CallMade(
                    seq=job.seq,
                    path=run.path,
                    step=run.step,
                    expert=job.lock.key_of(run.expert),
                    skill=call.skill,
                    tool=call.tool,
                    args=call.args,
                    is_error=event.is_error,
                )
            )
            if not event.is_error and call.skill.startswith(BASE_SKILL):
                files.use(call)
    return calls, list(files.written())


class _Files:
    """The files as the base tools leave them, as far as the log alone tells. Text: str; else the changes."""

    def __init__(self, workspace: str) -> None:
        self._workspace = workspace
        self._files: dict[str, str | tuple[Json, ...] | None] = {}

    def use(self, call: Call) -> None:
        match call.tool, call.args:
            case "writeTextFile", {"path": str(path), "text": str(text)}:
                self._files[self._path(path)] = text
            case "appendTextFile", {"path": str(path), "text": str(text)}:
                self._change(self._path(path), ["append", text])
            case "editTextFile", {"path": str(path), "oldText": str(old), "newText": str(new)}:
                self._change(self._path(path), ["edit", old, new])
            case "deleteFile", {"path": str(path)}:
                self._files[self._path(path)] = None
            case "deleteDirectory", {"path": str(path)}:
                for inside in self._below(self._path(path)):
                    self._files[inside] = None
            case "moveFile", {"source": str(source), "destination": str(destination)}:
                self._move(self._path(source), self._path(destination))
            case _:
                pass

    def written(self) -> Iterator[FileWritten]:
        for path, state in sorted(self._files.items()):
            match state:
                case None:
                    yield FileWritten(path=path, digest=None, by="deleted")
                case str():
                    yield FileWritten(path=path, digest=_digest(state), by="text")
                case changes:
                    text = msgspec.json.encode(changes).decode()
                    yield FileWritten(path=path, digest=_digest(text), by="changes")

    def _change(self, path: str, change: list[Json]) -> None:
        state = self._files.get(path)
        match state, change:
            case str(), ["append", more]:
                self._files[path] = state + more
            case str(), ["edit", old, new] if old in state and "\r" not in state + old + new:
                self._files[path] = state.replace(old, new, 1)
            case str(), _:  # another hand was at it
                self._files[path] = (["write", state], change)
            case changes, _:
                self._files[path] = (*(changes or ()), change)

    def _move(self, source: str, destination: str) -> None:
        inside = [path for path in (source, *self._below(source)) if path in self._files]
        moved = {destination + path[len(source) :]: self._files[path] for path in inside}
        self._files |= dict.fromkeys([*inside, source])
        self._files |= moved or {destination: (["move", source],)}

    def _below(self, directory: str) -> list[str]:
        return [path for path in self._files if path.startswith(f"{directory}/")]

    def _path(self, path: str) -> str:
        """As the workspace names it, whichever way it was written."""
        whole = posixpath.normpath(posixpath.join(self._workspace, path))
        inside = whole.startswith(f"{self._workspace}/")
        return whole[len(self._workspace) + 1 :] if inside else whole


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
