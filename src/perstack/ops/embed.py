"""Running Experts from a Python program.

    import perstack

    job = await perstack.run("fitness-assistant", "Plan my week")
    print(job.done.text)

    async with perstack.start("fitness-assistant", "Plan my week") as running:
        async for event in running:
            print(event["type"])

There is no global state: any number of jobs may run in one process, each with its own workspace, environment,
model and store.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypedDict, Unpack

import anyio
import msgspec

from perstack.definition import ProviderName, Reasoning
from perstack.dialect import WireEvent
from perstack.engine import NOBODY, Ears, Inbox
from perstack.errors import PerstackError
from perstack.job import CancelRequested, Job, Stopped, UserSpoke
from perstack.models import Model
from perstack.store import Store

from .project import Flags
from .run import GoOn, Order, as_demo, carry_out, prepare
from .telling import telling

JsonEvent = dict[str, Any]
"""One event as the documented stream has it."""


class Running:
    """A job at work. Iterate it for its events; it ends when the job does."""

    def __init__(self, job: str, inbox: Inbox) -> None:
        self.id = job
        self._inbox = inbox
        self._job: Job | None = None
        self._in, self._out = anyio.create_memory_object_stream[JsonEvent](math.inf)

    @property
    def job(self) -> Job:
        """The job as it ended. Only after the iteration, or `wait`, has."""
        if self._job is None:
            raise RuntimeError("the job has not ended yet; iterate it, or await wait(), first")
        return self._job

    async def wait(self) -> Job:
        """The job as it ended; its remaining events are dropped."""
        async for _ in self:
            pass
        return self.job

    def __aiter__(self) -> AsyncIterator[JsonEvent]:
        return self._out.__aiter__()

    def say(self, text: str) -> None:
        """A word from the user to the root run."""
        self._inbox.say(UserSpoke(text=text))

    def cancel(self) -> None:
        """End the job unfinished."""
        self._inbox.say(CancelRequested())

    def stop(self) -> None:
        """Put the job down as it stands; it can be taken up again."""
        self._inbox.say(Stopped(reason="interrupted", what="stopped by the program"))

    def hear(self, told: Sequence[WireEvent]) -> None:
        """What happened, for whoever iterates. The buffer is unbounded: the job never waits for its reader."""
        for event in told:
            self._in.send_nowait(msgspec.to_builtins(event))

    def end(self, job: Job | None) -> None:
        """The job has ended; None: in an error, which leaving the block raises."""
        self._job = job
        self._in.close()


class Options(TypedDict, total=False):
    """What may be said about a run, all of it optional.

    config: a perstack.toml, found as on the command line if not given. workspace: the directory the Expert works
    in, the working directory if not given. env: what stands in for the process environment. model: the
    provider's name for it, or anything that replies (`perstack.testing.ScriptedModel`, one of your own). store:
    where the log lives, files in the workspace if not given. job_id: for the new job. continue_job, checkpoint,
    answer: go on with a job instead, from a checkpoint, with the query as the answer it waits for. listener: told
    each event while `run` runs. full_events: events with whole histories in them.
    """

    config: str | Path
    workspace: str | Path
    env: Mapping[str, str]
    provider: ProviderName
    model: str | Model
    reasoning: Reasoning
    max_steps: int
    max_retries: int
    timeout_s: float
    store: Store
    job_id: str
    continue_job: str
    checkpoint: str
    answer: bool
    cassette: str | Path
    record: str | Path
    demo: bool
    proxy: str
    listener: Callable[[JsonEvent], None]
    full_events: bool


async def run(expert: str, query: str = "", **options: Unpack[Options]) -> Job:
    """Run an Expert until its job is finished, parked or stopped; gives the job as it stands then.

    `job.done` tells how it ended (None if it waits for an answer or was stopped), `job.done.text` the answer.
    Raises UserError for what you can put right, WorldError for what may work another time.
    """
    prepared = await prepare(_order(expert, query, options))
    inbox = Inbox()
    try:
        return await carry_out(prepared, inbox, _ears(options))
    finally:
        inbox.close()


def _ears(options: Options) -> Ears:
    listener = options.get("listener")
    if listener is None:
        return NOBODY

    def hear(told: Sequence[WireEvent]) -> None:
        for event in told:
            listener(msgspec.to_builtins(event))

    return telling(hear, full=options.get("full_events", False))


def run_sync(expert: str, query: str = "", **options: Unpack[Options]) -> Job:
    """`run`, for programs that are not asynchronous."""
    return anyio.run(lambda: run(expert, query, **options))


@asynccontextmanager
async def start(
    expert: str, query: str = "", **options: Unpack[Options]
) -> AsyncGenerator[Running]:
    """Run an Expert beside the block: iterate what it gives for the events.

    Leaving the block before the job ended puts the job down; it can be taken up again. Raises as `run` does,
    at the latest on leaving the block.
    """
    prepared = await prepare(_order(expert, query, options))
    inbox = Inbox()
    running = Running(prepared.job, inbox)
    failures: list[PerstackError] = []

    async def go() -> None:
        try:
            ears = telling(running.hear, full=options.get("full_events", False))
            running.end(await carry_out(prepared, inbox, ears))
        except PerstackError as error:
            failures.append(error)
            running.end(None)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go)
            yield running
            running.stop()
    finally:
        inbox.close()
    if failures:
        raise failures[0]


def _order(expert: str, query: str, options: Options) -> Order:
    model = options.get("model")
    go_on = None
    if "continue_job" in options:
        go_on = GoOn(
            job=options["continue_job"],
            checkpoint=options.get("checkpoint"),
            answer=options.get("answer", False),
        )
    config, cassette, record = (options.get(name) for name in ("config", "cassette", "record"))
    order = Order(
        expert=expert,
        query=query,
        config=None if config is None else str(config),
        workspace=Path(options.get("workspace", ".")).resolve(),
        env=options.get("env", os.environ),
        flags=Flags(
            provider=options.get("provider"),
            model=model if isinstance(model, str) else None,
            reasoning=options.get("reasoning"),
            max_steps=options.get("max_steps"),
            max_retries=options.get("max_retries"),
            timeout_s=options.get("timeout_s"),
        ),
        job=options.get("job_id"),
        go_on=go_on,
        cassette=None if cassette is None else Path(str(cassette)),
        record=None if record is None else Path(str(record)),
        model=None if isinstance(model, str) else model,
        store=options.get("store"),
        proxy=options.get("proxy"),
    )
    return as_demo(order) if options.get("demo", False) else order
