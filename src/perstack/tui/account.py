"""What is shown of one job, kept up to date with each thing that is told of it.

A job's rows are those of `timeline`, kept by run, so that a delegate's stand below the call that set it to work.
Beside them stands what is true only now: words as they arrive, calls that are on their way, skills, the network.
Nothing here knows a screen; one thing told costs the same however long the job is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from perstack.job import (
    Acting,
    Activity,
    ApprovalAnswered,
    AskAnswered,
    Call,
    Concluding,
    ContainerStatus,
    Done,
    Event,
    Heard,
    IllegalEvent,
    ImageProgress,
    Job,
    Json,
    Notice,
    ProxyAccess,
    Replied,
    ReplyFailed,
    RunFinished,
    RunStarted,
    SkillConnected,
    SkillDisconnected,
    SkillStarting,
    SkillStderr,
    Thinking,
    Timeline,
    Todo,
    ToolCalled,
    ToolReturned,
    ToolsDiffer,
    Waiting,
    activity,
    joined,
    lineage,
    tell,
)
from perstack.ops.running.at_work import Ended, Failed, Noticed, Past, Settled, Told

RunState = Literal["thinking", "acting", "asking", "completed", "failed", "cancelled", "idle"]

VOICE_LENGTH = 8_000
"""Characters of a streaming reply that are kept to be shown; the rest is in the row once it is there."""

NETWORK_LENGTH = 50


@dataclass
class Voice:
    """What the model is saying. A reply's thoughts come before its text. length: of all of it so far."""

    kind: Literal["thought", "text"] = "thought"
    length: int = 0
    pieces: list[str] = field(default_factory=list[str])

    def hear(self, kind: Literal["thought", "text"], text: str) -> None:
        if kind != self.kind:
            self.kind = kind
            self.pieces = []
        self.pieces.append(text)
        self.length += len(text)

    @property
    def text(self) -> str:
        """The end of what it is saying now."""
        joined = "".join(self.pieces)[-VOICE_LENGTH:]
        self.pieces = [joined]
        return joined


@dataclass
class Line:
    """One run: its rows, and how it stands.

    parent: the run that called it. context: tokens its last request and reply took of the model's window.
    finished_at: 0 while it has not.
    """

    id: str
    expert: str
    query: str = ""
    parent: str = ""
    depth: int = 0
    rows: list[Activity] = field(default_factory=list[Activity])
    children: dict[tuple[int, str], str] = field(default_factory=dict[tuple[int, str], str])
    state: RunState = "idle"
    steps: int = 0
    tokens: int = 0
    context: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    todos: tuple[Todo, ...] = ()


@dataclass
class SkillLine:
    """A skill, as far as it was heard of. stderr: its last line there."""

    name: str
    state: Literal["starting", "connected", "gone"] = "starting"
    stderr: str = ""


@dataclass(frozen=True)
class Access:
    """One decision about the network."""

    allowed: bool
    host: str
    port: int
    reason: str = ""


class Account:
    """One job. failure: why it could not begin, or not go on. notes: what to look at, a sentence each."""

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self.settled: Settled | None = None
        self.failure: BaseException | None = None
        self.notes: list[str] = []
        self.skills: dict[str, SkillLine] = {}
        self.network: list[Access] = []
        self.machine = ""
        self._clear()
        if events:
            self._retell(events)

    def _clear(self) -> None:
        self.told = Timeline()
        self.lines: dict[str, Line] = {}
        self.voices: dict[str, Voice] = {}
        self.waiting: dict[str, Waiting] = {}
        self.called_at: dict[tuple[str, str], float] = {}
        self._replied: dict[str, list[int]] = {}

    @property
    def job(self) -> Job:
        return self.told.job

    @property
    def root(self) -> Line | None:
        return self.lines.get(self.job.root)

    @property
    def at_work(self) -> list[Line]:
        """The runs the model or a tool is busy for, in the order they began."""
        return [line for line in self.lines.values() if line.state in ("thinking", "acting")]

    def take(self, told: Sequence[Told]) -> None:
        """What was told since the last time."""
        for one in told:
            self._take(one)

    def _take(self, told: Told) -> None:
        match told:
            case Settled():
                self.settled = told
                self.failure = None
                self.notes = list(told.warnings)
            case Past(events=events):
                self._retell(events)
            case Ended():
                self.voices.clear()
                self.waiting.clear()
            case Failed(error=error):
                self.failure = error
                self.voices.clear()
            case Noticed(notice=notice):
                self._notice(notice)
            case _:
                self._tell(told)

    # The log ----------------------------------------------------------------------------------------------

    def _retell(self, events: Sequence[Event]) -> None:
        self._clear()
        for event in lineage(events):
            self._tell(event)

    def _tell(self, event: Event) -> None:
        asking = _asking(self.job, event) if isinstance(event, ToolReturned) else ()
        try:
            self.told, rows = tell(self.told, event)
        except IllegalEvent as error:
            self.failure = error
            return
        job = self.job
        match event:
            case RunStarted(run=id, by=by):
                run = job.runs[id]
                parent = by.run if by is not None else ""
                self.lines[id] = Line(
                    id=id,
                    expert=run.expert,
                    query=event.query,
                    parent=parent,
                    depth=run.depth,
                    started_at=event.at,
                )
                for row in rows:
                    if parent and isinstance(row, activity.Delegate):
                        self.lines[parent].children[row.seq, row.id] = id
            case Replied(run=id, usage=usage):
                line = self.lines[id]
                line.steps += 1
                line.tokens += usage.total_tokens
                line.context = usage.total_tokens
                self._replied.setdefault(id, []).append(event.seq)
                self._hushed(id)
            case ReplyFailed(run=id, usage=usage):
                self.lines[id].tokens += usage.total_tokens
                self._hushed(id)
            case RunFinished(run=id):
                self.lines[id].finished_at = event.at
                self._hushed(id)
            case ToolCalled(run=id, call=call):
                self.called_at[id, call] = event.at
            case ToolReturned(run=id, call=call):
                self.called_at.pop((id, call), None)
                self.lines[id].todos = job.runs[id].todos.items
                if call in asking:
                    rows = (*rows, _reply(event, joined(event.parts)))
            case AskAnswered(content=content):
                said = "Declined" if content is None else _values(content)
                rows = (*rows, _reply(event, said))
            case ApprovalAnswered(approved=approved, text=text):
                verdict = "Allowed" if approved else "Denied"
                rows = (*rows, _reply(event, f"{verdict}: {text}" if text else verdict))
            case _:
                pass
        for row in rows:
            self.lines[row.run_id].rows.append(row)
        self._stand(job)

    def _hushed(self, run: str) -> None:
        self.voices.pop(run, None)
        self.waiting.pop(run, None)

    def _stand(self, job: Job) -> None:
        """How each run stands. Those that are gone from the state have ended."""
        for id, run in job.runs.items():
            line = self.lines.get(id)
            if line is None:
                continue
            match run.phase:
                case Done(outcome=outcome):
                    line.state = outcome
                case _ if job.stopped is not None:
                    line.state = "idle"
                case Thinking() | Concluding():
                    line.state, line.finished_at = "thinking", 0.0
                case Acting() as phase:
                    asks = {call.id for call in (*phase.asked, *phase.asking)}
                    busy = any(f.call.id not in asks for f in phase.open)
                    line.state, line.finished_at = "acting" if busy else "asking", 0.0
                    line.todos = run.todos.items
                case _:
                    line.state = "thinking"
        if len(self.lines) > len(job.runs):
            for id, line in self.lines.items():
                if id not in job.runs and line.state in ("thinking", "acting", "asking", "idle"):
                    line.state = "completed" if line.finished_at else "cancelled"

    # What is not kept -------------------------------------------------------------------------------------

    def _notice(self, notice: Notice) -> None:
        match notice:
            case Heard(run=run, kind=kind, text=text):
                self.voices.setdefault(run, Voice()).hear(kind, text)
                self.waiting.pop(run, None)
            case Waiting(run=run):
                self.waiting[run] = notice
            case SkillStarting(skill=name):
                self.skills[name] = SkillLine(name)
            case SkillConnected(skill=name):
                self._skill(name).state = "connected"
            case SkillDisconnected(skill=name):
                self._skill(name).state = "gone"
            case SkillStderr(skill=name, text=text):
                self._skill(name).stderr = text.strip().rpartition("\n")[2]
            case ToolsDiffer():
                self.notes.append(notice.text)
            case ProxyAccess(action=action, domain=domain, port=port, reason=reason):
                self.network.append(Access(action == "allowed", domain, port, reason or ""))
                del self.network[:-NETWORK_LENGTH]
            case ImageProgress(stage=stage, text=text):
                self.machine = f"{stage}: {text}"
            case ContainerStatus(status=status, service=service):
                self.machine = f"{service}: {status}"
            case _:
                pass

    def _skill(self, name: str) -> SkillLine:
        return self.skills.setdefault(name, SkillLine(name))

    def place_before(self, row: Activity) -> int:
        """The event to go back to for the model to be asked again for what `row` came of."""
        replies = self._replied.get(row.run_id, [])
        place = bisect_right(replies, row.seq)
        asked = isinstance(row, activity.Query) or not place
        return row.seq if asked else replies[place - 1] - 1

    def beside(self, most: int) -> tuple[str, ...]:
        """The runs to show side by side: those one run called last that worked together, at most so many."""
        called = [line for line in self.lines.values() if line.parent]
        if not called:
            return ()
        last = called[-1]
        together = [
            line
            for line in called
            if line.parent == last.parent
            and (not line.finished_at or line.finished_at >= last.started_at)
        ]
        busy = [line for line in together if line.state in ("thinking", "acting", "asking")]
        chosen = busy if len(busy) > 1 else together
        return tuple(line.id for line in chosen[-most:]) if most > 1 else ()

    # Now --------------------------------------------------------------------------------------------------

    def in_flight(self, run: str) -> tuple[Call, ...]:
        """The calls of `run` that skills are busy with."""
        found = self.job.runs.get(run)
        if found is None or not isinstance(found.phase, Acting) or self.job.stopped is not None:
            return ()
        asks = {call.id for call in (*found.phase.asked, *found.phase.asking)}
        return tuple(
            flight.call
            for flight in found.phase.open
            if flight.started and not flight.in_doubt and flight.call.id not in asks
        )


def _asking(job: Job, event: ToolReturned) -> tuple[str, ...]:
    """The calls a person answers that are open in the run of `event`."""
    run = job.runs.get(event.run)
    phase = run.phase if run is not None else None
    return tuple(call.id for call in phase.asking) if isinstance(phase, Acting) else ()


def _reply(event: ToolReturned | AskAnswered | ApprovalAnswered, text: str) -> Activity:
    """What a person said to a question, as a row of its own."""
    return activity.Query(
        id=f"reply-{event.call}", run_id=event.run, seq=event.seq, at=event.at, text=text
    )


def _values(content: dict[str, Json]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in content.items())
