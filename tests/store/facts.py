"""Facts for logs: a job of one Expert, as short or as long as a test needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perstack.definition import Limits
from perstack.job import (
    FORMAT,
    Call,
    Event,
    ExpertMessage,
    JobStarted,
    ModelChoice,
    Replied,
    RunFinished,
    RunStarted,
    Text,
    ToolCalled,
    ToolReturned,
    Usage,
    UserSpoke,
)
from perstack.lock import Lock
from perstack.store import Store

ROOT = "root"


def started(job: str, query: str = "go") -> tuple[Event, ...]:
    """The first two facts of a job."""
    return (
        JobStarted(
            format=FORMAT,
            job=job,
            expert="worker",
            lock=Lock(),
            model=ModelChoice(provider="anthropic", model="claude"),
            limits=Limits(),
            workspace="/work",
            runtime="local",
            version="0.1.0",
        ),
        RunStarted(run=ROOT, expert="worker", query=query, instruction="You work."),
    )


def step(text: str = "found") -> tuple[Event, ...]:
    """One step: the model asks for a tool and gets `text` back."""
    call = Call(id="c1", tool="look", args={"at": "x"})
    usage = Usage(input_tokens=10, output_tokens=2)
    return (
        Replied(run=ROOT, message=ExpertMessage(calls=(call,)), usage=usage),
        ToolCalled(run=ROOT, call="c1"),
        ToolReturned(run=ROOT, call="c1", parts=(Text(text=text),)),
    )


def asked_a_person() -> tuple[Event, ...]:
    """The model asks what only a person can answer."""
    call = Call(id="c1", tool="ask", kind="ask")
    return (Replied(run=ROOT, message=ExpertMessage(calls=(call,)), usage=Usage()),)


def ended(text: str = "done") -> tuple[Event, ...]:
    """The last two facts of a job that went well."""
    usage = Usage(input_tokens=10, output_tokens=2)
    return (
        Replied(run=ROOT, message=ExpertMessage(texts=(Text(text=text),)), usage=usage),
        RunFinished(run=ROOT, outcome="completed", text=text),
    )


def spoken(*texts: str) -> tuple[Event, ...]:
    """A person says one thing after the other."""
    return tuple(UserSpoke(text=text) for text in texts)


async def written(store: Store, job: str, facts: Iterable[Event]) -> tuple[Event, ...]:
    """What the store made of `facts`, appended to the log of `job` in one go."""
    async with store.open(job) as (log, _):
        return tuple([await log.append(fact) for fact in facts])


def texts(events: Sequence[Event]) -> list[str]:
    """What people said, in order."""
    return [event.text for event in events if isinstance(event, UserSpoke)]


def log_of(store_root: object, job: str) -> str:
    """The path of a job's log as errors name it."""
    return f"{store_root}/jobs/{job}/log.jsonl"
