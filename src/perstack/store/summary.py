"""A job in short: what a list of jobs shows. A pure view of its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from perstack._value import Value
from perstack.errors import PerstackError
from perstack.job import IllegalEvent, Job, Usage, UserMessage, wanted

Status = Literal[
    "running", "interrupted", "waiting", "stopped", "completed", "failed", "cancelled", "unreadable"
]
"""A process is at it · nobody is, though there is work to do · it waits for a person · it was put down at a
limit or by a signal · how its root run ended (three) · its log cannot be read."""

QUERY_LENGTH = 200


class Summary(Value, frozen=True):
    """One job in a list.

    events: facts in its log. query: what was asked first, its first 200 characters. model: "provider/name".
    started_at, updated_at: seconds since 1970 UTC. writer: the process that has the log open, empty if none
    has. fault: why the log cannot be read.
    """

    job: str
    status: Status
    expert: str = ""
    query: str = ""
    model: str = ""
    events: int = 0
    steps: int = 0
    usage: Usage = Usage()
    started_at: float = 0.0
    updated_at: float = 0.0
    writer: str = ""
    fault: str = ""

    def written_by(self, writer: str) -> Summary:
        """The same job while `writer` has its log open; "" for nobody."""
        status = "running" if writer and self.status == "interrupted" else self.status
        return replace(self, status=status, writer=writer)


def summary_of(job: Job) -> Summary:
    """What its log alone says of a job, as if nobody had it open."""
    root = job.root_run
    asked = root.history[0] if root is not None else None
    return Summary(
        job=job.id,
        status=_status_of(job),
        expert=job.expert,
        query=asked.text[:QUERY_LENGTH] if isinstance(asked, UserMessage) else "",
        model=f"{job.model.provider}/{job.model.model}",
        events=job.seq,
        steps=job.steps,
        usage=job.usage,
        started_at=job.started_at,
        updated_at=job.at,
    )


def summary_or_fault(job: str, path: str, load: Callable[[], Summary | None]) -> Summary | None:
    """What `load` gives; for a log that cannot be read, a summary that says why. path: the log's name."""
    try:
        return load()
    except PerstackError as error:
        return Summary(job=job, status="unreadable", fault=str(error))
    except IllegalEvent as error:
        return Summary(job=job, status="unreadable", fault=f"{path}: {error}")


def _status_of(job: Job) -> Status:
    if job.done is not None:
        return job.done.outcome
    if job.stopped is not None:
        return "stopped"
    return "interrupted" if job.root_run is None or wanted(job) else "waiting"
