"""A job on the stage, with a scripted model and logs in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from perstack.definition import (
    DEFAULT_BASE,
    Expert,
    InteractiveSkill,
    InteractiveTool,
    Limits,
    Skill,
)
from perstack.engine import Ears, Inbox, Plan, run_job
from perstack.job import (
    FORMAT,
    Event,
    Job,
    JobStarted,
    ModelChoice,
    Notice,
    Resumed,
    RunStarted,
)
from perstack.lock import Lock, resolve, resolved
from perstack.models import Model
from perstack.store import Store

ASK = InteractiveSkill(tools={"askUser": InteractiveTool(input_json_schema='{"type":"object"}')})


def expert(key: str, *delegates: str) -> Expert:
    skills: dict[str, Skill] = {"@perstack/base": DEFAULT_BASE, "people": ASK}
    return Expert(
        key=key, name=key, description=key, instruction="Work.", skills=skills, delegates=delegates
    )


LEAD = {e.key: e for e in (expert("lead", "a", "b"), expert("a", "b"), expert("b"))}


def lock(experts: Mapping[str, Expert] = LEAD, root: str = "lead") -> Lock:
    return resolved(resolve([root]), experts.__getitem__)


class Heard:
    """Everything told, in order."""

    def __init__(self) -> None:
        self.facts: list[Event] = []
        self.notices: list[Notice] = []
        self.last: Job | None = None

    def ears(self) -> Ears:
        return Ears(past=self._past, fact=self._fact, ready=self._ready, notice=self._notice)

    def _past(self, events: Sequence[Event]) -> None:
        self.facts.extend(events)

    def _fact(self, before: Job, event: Event, after: Job) -> None:
        assert self.last is None or self.last == before
        self.facts.append(event)
        self.last = after

    def _ready(self, job: Job) -> None:
        assert self.last in (None, job)

    def _notice(self, job: Job, notice: Notice) -> None:
        self.notices.append(notice)


def start(workspace: Path, query: str = "go", limits: Limits | None = None) -> Plan:
    def before(events: Sequence[Event]) -> Iterable[Event]:
        if events:
            return (Resumed(),)
        return (
            JobStarted(
                format=FORMAT,
                job="job",
                expert="lead",
                lock=lock(),
                model=ModelChoice(provider="custom", model="scripted"),
                limits=limits or Limits(),
                workspace=str(workspace),
                runtime="local",
                version="0",
            ),
        )

    def after(job: Job) -> Iterable[Event]:
        if job.root_run is None:
            yield RunStarted(run="root", expert="lead", query=query, instruction="You lead.")

    return Plan(job="job", before=before, after=after)


async def play(
    plan: Plan,
    model: Model,
    store: Store,
    *,
    heard: Heard | None = None,
    inbox: Inbox | None = None,
    env: Mapping[str, str] | None = None,
) -> Job:
    @asynccontextmanager
    async def opened(job: Job) -> AsyncGenerator[Model]:
        yield model

    post = inbox or Inbox()
    try:
        return await run_job(
            plan,
            store=store,
            open_model=opened,
            env=env or {},
            inbox=post,
            ears=(heard or Heard()).ears(),
        )
    finally:
        post.close()
