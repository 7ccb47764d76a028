"""The jobs that are kept: which there are, and what happened in one.

Everything here reads: no log is changed, no model is asked and no tool is used. What is told of a job is told by
the dialect from its log, so it is what `perstack run` said while the job ran.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from perstack._value import Value
from perstack.dialect import (
    Checkpoint,
    RunEvent,
    Voice,
    WireEvent,
    speak,
    take_up,
)
from perstack.errors import CorruptLog, UnknownExpert, UserError
from perstack.job import (
    Acting,
    Done,
    Event,
    IllegalEvent,
    Job,
    Json,
    Replied,
    ReplyFailed,
    Rewound,
    RunFinished,
    RunStarted,
    TodoList,
    ToolReturned,
    Usage,
    activity,
    apply,
    lineage,
)
from perstack.store import Status, Store, Summary, summary_of
from perstack.store import store_at as store_named

from .telling import context_window

STORAGE_VARIABLE = "PERSTACK_STORAGE_PATH"
STORAGE_URL_VARIABLE = "PERSTACK_STORAGE_URL"

Place = Path | str
"""Where jobs are kept: a directory, or the URL of a place in object storage."""

STATUSES: tuple[Status, ...] = (
    "running",
    "interrupted",
    "waiting",
    "stopped",
    "completed",
    "failed",
    "cancelled",
    "unreadable",
)


# Which jobs -----------------------------------------------------------------------------------------------


def history_root(workspace: Path | None, env: Mapping[str, str], cwd: Path) -> Path:
    """Where jobs are kept: in the workspace that was named, else where the environment says, else in `cwd`."""
    if workspace is not None:
        return cwd / workspace / "perstack"
    named = env.get(STORAGE_VARIABLE)
    return cwd / named if named else cwd / "perstack"


def history_place(
    store: str | None, workspace: Path | None, env: Mapping[str, str], cwd: Path
) -> Place:
    """The same, if it may be elsewhere. store: a directory or URL that was named, which counts most.

    A URL in the environment counts more than the workspace, which stays where the Experts work.
    """
    named = store or env.get(STORAGE_URL_VARIABLE)
    if not named:
        return history_root(workspace, env, cwd)
    return named if "://" in named else cwd / os.path.expanduser(named)


def store_at(place: Place, env: Mapping[str, str] | None = None) -> Store:
    """The logs at `place`. env: with the credentials for it. Raises UserError."""
    return store_named(str(place), env or {}, Path())


JobSummary = Summary
"""One job in a list."""


class Which(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are meant.

    expert: key, with or without its version. since: written to at or after this, seconds since 1970 UTC.
    statuses: one of these; () for any.
    """

    expert: str = ""
    since: float = 0.0
    statuses: tuple[Status, ...] = ()

    def fits(self, job: Summary) -> bool:
        return (
            (
                not self.expert
                or job.expert == self.expert
                or job.expert.startswith(f"{self.expert}@")
            )
            and job.updated_at >= self.since
            and (not self.statuses or job.status in self.statuses)
        )


async def jobs_of(store: Store, which: Which) -> tuple[Summary, ...]:
    """The jobs that are meant, in short, the one written to last first."""
    return tuple([job for job in await store.summaries() if which.fits(job)])


async def job_ids_of(store: Store, which: Which) -> tuple[str, ...]:
    """The same, only their ids. Reads no log if any job is meant."""
    if which == Which():
        return await store.jobs()
    return tuple([job.job for job in await jobs_of(store, which)])


# One job --------------------------------------------------------------------------------------------------


class Moment(NamedTuple):
    """One event, the job without and with it, and what is told of it. voice: where the telling stands then."""

    before: Job
    event: Event
    after: Job
    voice: Voice
    told: Sequence[WireEvent]


class Failed(NamedTuple):
    """A tool call that failed, and what was said of it. id: unique in its reply."""

    id: str
    tool: str
    text: str


class Told(NamedTuple):
    """One told event of a run.

    seq: of the fact that told it. json: the event itself. failed: the calls whose failure it is the first to
    tell. rewound: it is not on the branch the log ends on.
    """

    seq: int
    json: dict[str, Json]
    failed: tuple[Failed, ...] = ()
    rewound: bool = False

    @property
    def type(self) -> str:
        return self.json["type"]


class RunRow(Value, frozen=True):
    """One run of a job.

    path: its place in the tree of runs, "" for the root. by: id of the run that called it. finished_at: 0 while
    it has not. steps, usage: its own alone.
    """

    id: str
    path: str
    expert: str
    query: str
    status: Literal["running", "waiting", "stopped", "completed", "failed", "cancelled"]
    started_at: float
    by: str = ""
    finished_at: float = 0.0
    steps: int = 0
    usage: Usage = Usage()


class History:
    """What happened in one job. events: its log, not empty. path: where that lies, for errors.

    Raises CorruptLog if an event cannot follow the one before it.
    """

    def __init__(self, events: Sequence[Event], path: str) -> None:
        self.events = tuple(events)
        self.path = path
        self.branch = tuple(lineage(self.events))
        self.job = last_of(moments(self.events, None, path)).after

    @property
    def id(self) -> str:
        return self.job.id

    def told(self, *, full: bool = False) -> list[Told]:
        """All events told of its runs, in order. full: with whole histories in them."""
        kept = {event.seq for event in self.branch}
        unsaid: dict[str, list[Failed]] = {}
        rows: list[Told] = []
        for moment in moments(self.events, usual_voice(full=full), self.path):
            if isinstance(moment.event, ToolReturned):
                failed = _failure(moment.before, moment.event, moment.after)
                if failed is not None:
                    unsaid.setdefault(moment.event.run, []).append(failed)
            run_of = {segment.id: run for run, segment in moment.voice.segments.items()}
            for told in moment.told:
                if not isinstance(told, RunEvent):
                    continue
                json = msgspec.to_builtins(told)
                says = json["type"] in _SAY_FAILURES
                failures = unsaid.pop(run_of.get(told.run_id, ""), []) if says else []
                seq = moment.after.seq
                rows.append(Told(seq, json, tuple(failures), seq not in kept))
        return rows

    def checkpoints(self, *, full: bool = False) -> list[Checkpoint]:
        """Its checkpoints, in order. full: with their messages."""
        return [point for _, point in self._checkpoints(usual_voice(full=full))]

    def checkpoint(self, id: str) -> Checkpoint | None:
        """One checkpoint with all its messages; None if there is none of that id."""
        for seq, point in self._checkpoints(usual_voice()):
            if point.id == id:  # told once more, and only this place with its history
                return next(
                    whole
                    for at, whole in self._checkpoints(usual_voice(), full_at=seq)
                    if at == seq and whole.id == id
                )
        return None

    def has_checkpoint(self, id: str) -> bool:
        return any(point.id == id for _, point in self._checkpoints(usual_voice()))

    def has_run(self, id: str) -> bool:
        """Whether any event is told of a run of this id."""
        return any(
            told.run_id == id
            for moment in moments(self.events, usual_voice(), self.path)
            for told in moment.told
        )

    def _checkpoints(self, voice: Voice, full_at: int = 0) -> Iterator[tuple[int, Checkpoint]]:
        """Each checkpoint with the `seq` it stands for. full_at: the event to tell with whole histories."""
        for moment in moments(self.events, voice, self.path, full_at):
            for told in moment.told:
                # startRun repeats one that stands already, and a nextCheckpoint has not been reached
                point = getattr(told, "checkpoint", None)
                if isinstance(point, Checkpoint):
                    yield moment.after.seq, point

    def moments(self, *, all: bool = False) -> Iterator[Moment]:
        """Event by event, on the branch the log ends on. all: what was left behind too."""
        yield from moments(self.events if all else self.branch, None, self.path)

    def stream(self, *, full: bool = False, all: bool = False) -> Iterator[Sequence[WireEvent]]:
        """What is told of each event. all: what was left behind too. full: with whole histories."""
        events = self.events if all else self.branch
        for moment in moments(events, usual_voice(full=full), self.path):
            yield moment.told

    def runs(self) -> tuple[RunRow, ...]:
        """Its runs on the branch the log ends on, each before those it called."""
        rows = _run_rows(self.branch, self.path)
        return tuple(sorted(rows, key=lambda row: _place(row.path)))


def usage_json(usage: Usage) -> dict[str, int]:
    """Tokens with the names and the sum that the documented JSON has."""
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "reasoningTokens": usage.reasoning_tokens,
        "totalTokens": usage.total_tokens,
        "cachedInputTokens": usage.cached_input_tokens,
    }


async def load_history(store: Store, root: Place, job: str) -> History | None:
    """What happened in `job`; None if there is no such job. Raises CorruptLog, StoreError, UserError."""
    events = await store.read(job)
    return History(events, log_path(root, job)) if events else None


async def need_history(store: Store, root: Place, job: str) -> History:
    """The same; having no such job is a UserError."""
    history = await load_history(store, root, job)
    if history is None:
        raise UserError(f"There is no job {job} in {root}. `perstack log --jobs` lists the jobs.")
    return history


def log_path(root: Place, job: str) -> str:
    """How a log is called."""
    if isinstance(root, Path):
        return str(root / "jobs" / job / "log.jsonl")
    return f"{root.partition('?')[0].rstrip('/')}/jobs/{job}/log"


def usual_voice(*, full: bool = False) -> Voice:
    """The voice `perstack run` speaks with."""
    return Voice(full=full, window_of=context_window)


def moments(
    events: Sequence[Event], voice: Voice | None, path: str, full_at: int = 0
) -> Iterator[Moment]:
    """A log, event by event; what a rewind left behind too. The last moment may come again, with what is owed.

    voice: tells what is told of each, None for nothing. full_at: the event to tell with whole histories.
    Raises CorruptLog at the first event that cannot follow.
    """
    returns = {event.to for event in events if isinstance(event, Rewound)}
    places: dict[int, tuple[Job, Voice]] = {}
    job, state = Job(), voice or Voice()
    moment: Moment | None = None
    for event in events:
        if isinstance(event, Rewound):
            if event.to not in places:
                raise CorruptLog(
                    path, event.seq, f"it rewinds to event {event.to}, which is not before it"
                )
            job, state = places[event.to]
        try:
            before, job = job, apply(job, event)
        except IllegalEvent as error:
            raise CorruptLog(path, event.seq, f"it cannot follow: {error}") from error
        told: Sequence[WireEvent] = ()
        if voice is not None:
            full = voice.full or event.seq == full_at
            try:
                state, told = speak(replace(state, full=full), before, event, job)
            except UnknownExpert as error:
                raise CorruptLog(path, event.seq, f"it cannot be told: {error}") from error
        moment = Moment(before, event, job, state, told)
        yield moment
        if event.seq in returns:
            places[event.seq] = job, state
    if moment is not None and voice is not None:
        state = replace(state, full=voice.full or moment.after.seq == full_at)
        state, told = take_up(state, moment.after)
        if told:
            yield Moment(moment.after, moment.event, moment.after, state, told)


def last_of(row: Iterable[Moment]) -> Moment:
    """The last of a row that is not empty."""
    *_, last = row
    return last


_SAY_FAILURES = {
    "resolveToolResults",
    "attemptCompletion",
    "finishAllToolCalls",
    "callDelegate",
    "callInteractiveTool",
    "completeRun",
    "stopRunByError",
    "stopRunByExceededMaxSteps",
}
"""The events that can be the first to tell that a call failed."""


def _failure(before: Job, event: ToolReturned, after: Job) -> Failed | None:
    phase = before.runs[event.run].phase
    assert isinstance(phase, Acting)  # only an open call returns
    call = phase.flights[event.call].call
    row = activity.activity_of(call, event.parts, event.is_error, TodoList())
    error = getattr(row, "error", None)
    return Failed(call.id, call.tool, error) if error else None


def _run_rows(branch: Sequence[Event], path: str) -> list[RunRow]:
    rows: dict[str, RunRow] = {}
    job = Job()
    for before, event, job, _, _ in moments(branch, None, path):
        match event:
            case RunStarted(run=id):
                rows[id] = RunRow(
                    id=id,
                    path=job.runs[id].path,
                    expert=job.lock.key_of(event.expert),
                    query=event.query,
                    status="running",
                    started_at=event.at,
                    by=event.by.run if event.by is not None else "",
                )
            case Replied(run=id, usage=usage) | ReplyFailed(run=id, usage=usage):
                steps = rows[id].steps + job.steps - before.steps
                rows[id] = replace(rows[id], steps=steps, usage=rows[id].usage + usage)
            case RunFinished(run=id, outcome=outcome):
                rows[id] = replace(rows[id], status=outcome, finished_at=event.at)
                for lost in before.runs.keys() - job.runs.keys():  # it took those below it along
                    if not rows[lost].finished_at:
                        rows[lost] = replace(rows[lost], status="cancelled", finished_at=event.at)
            case _:
                pass
        root = job.root_run
        if root is not None and rows[root.id].finished_at and not isinstance(root.phase, Done):
            # Spoken to again
            rows[root.id] = replace(rows[root.id], status="running", finished_at=0.0)
    status = summary_of(job).status if job.id else "interrupted"
    if status in ("waiting", "stopped"):
        return [row if row.finished_at else replace(row, status=status) for row in rows.values()]
    return list(rows.values())


def _place(path: str) -> tuple[tuple[int, int], ...]:
    """ "/2.1/1.3" as numbers, so that step 10 comes after step 9."""
    return tuple(
        [(int(step), int(call)) for step, call in (p.split(".") for p in path.split("/")[1:])]
    )
