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
from contextlib import asynccontextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypedDict, Unpack

import anyio
import msgspec

from perstack.definition import ProviderName, Reasoning, RuntimeName
from perstack.dialect import WireEvent
from perstack.engine import NOBODY, Ears, Inbox
from perstack.errors import UserError, sole
from perstack.job import CancelRequested, Event, Job, Stopped, UserSpoke
from perstack.models import Model
from perstack.store import Store

from .history.jobs import store_at
from .history.telling import telling
from .project import Flags
from .running.run import GoOn, Order, as_demo, carry_out, prepare

JsonEvent = dict[str, Any]
"""One event as the documented stream has it."""


def _json(event: WireEvent) -> JsonEvent:
    """As a reader of the stream would have it, lists and all."""
    return msgspec.json.decode(msgspec.json.encode(event))


class Running:
    """A job at work. Iterate it for its events; it ends when the job does."""

    def __init__(self, job: str, inbox: Inbox) -> None:
        self.id = job
        self._inbox = inbox
        self._job: Job | None = None
        self.failure: BaseException | None = None
        self._in, self._out = anyio.create_memory_object_stream[JsonEvent](math.inf)

    @property
    def job(self) -> Job:
        """The job as it ended. Only after the iteration, or `wait`, has. Raises what it failed with."""
        if self.failure is not None:
            raise self.failure
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
        """A word from the user to the root run. Too late, it is dropped."""
        self._say(UserSpoke(text=text))

    def cancel(self) -> None:
        """End the job unfinished. Too late, it changes nothing."""
        self._say(CancelRequested())

    def stop(self) -> None:
        """Put the job down as it stands; it can be taken up again. Too late, it changes nothing."""
        self._say(Stopped(reason="interrupted", what="stopped by the program"))

    def _say(self, word: Event) -> None:
        with suppress(anyio.ClosedResourceError):
            self._inbox.say(word)

    def hear(self, told: Sequence[WireEvent]) -> None:
        """What happened, for whoever iterates. The buffer is unbounded: the job never waits for its reader."""
        for event in told:
            self._in.send_nowait(_json(event))

    def end(self, job: Job | None, failure: BaseException | None = None) -> None:
        """The job has ended, or failed with an error."""
        self._job = job
        self.failure = failure
        self._in.close()

    def close(self) -> None:
        """The block was left: nobody iterates any more."""
        self._in.close()
        self._out.close()


class Options(TypedDict, total=False):
    """What may be said about a run, all of it optional.

    config: a perstack.toml, found as on the command line if not given. workspace: the directory the Expert works
    in, the working directory if not given. env: what stands in for the process environment. model: the
    provider's name for it, or anything that replies (`perstack.testing.ScriptedModel`, one of your own). store:
    where the log lives, a directory, an s3:// URL or a store; files in the workspace if not given. job_id: for the
    new job. continue_job, checkpoint, answer: go on with a job instead, from a checkpoint, with the query as the
    answer it waits for. listener: told each event while `run` runs. full_events: events with whole histories.
    runtime: where programs of skills run, "sandbox" if not given. read: what they may read besides the workspace.
    frozen: perstack.lock must be true to the definitions and to what servers offer. approve, deny: rules, beside
    those of the Experts.
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
    max_tokens: int
    max_duration_s: float
    max_cost: float
    store: str | Store
    job_id: str
    continue_job: str
    checkpoint: str
    answer: bool
    cassette: str | Path
    record: str | Path
    demo: bool
    frozen: bool
    runtime: RuntimeName
    read: Sequence[str | Path]
    proxy: str
    listener: Callable[[JsonEvent], None]
    full_events: bool
    approve: Sequence[str]
    deny: Sequence[str]


async def run(expert: str, query: str = "", **options: Unpack[Options]) -> Job:
    """Run an Expert until its job is finished, parked or stopped; gives the job as it stands then.

    `job.done` tells how it ended (None if it waits for an answer or was stopped), `job.done.text` the answer.
    Raises UserError for what you can put right, WorldError for what may work another time.
    """
    prepared = await prepare(order_of(expert, query, options))
    inbox = Inbox()
    try:
        return await carry_out(prepared, inbox, _ears(options))
    except BaseExceptionGroup as group:
        raise sole(group) from None  # all tasks are ours: one error needs no group around it
    finally:
        inbox.close()


def _ears(options: Options) -> Ears:
    listener = options.get("listener")
    if listener is None:
        return NOBODY

    def hear(told: Sequence[WireEvent]) -> None:
        for event in told:
            listener(_json(event))

    return telling(hear, full=options.get("full_events", False))


def run_sync(expert: str, query: str = "", **options: Unpack[Options]) -> Job:
    """`run`, for programs that are not asynchronous."""
    return anyio.run(lambda: run(expert, query, **options))


@asynccontextmanager
async def start(
    expert: str, query: str = "", **options: Unpack[Options]
) -> AsyncGenerator[Running]:
    """Run an Expert beside the block: iterate what it gives for the events.

    Leaving the block before the job ended, by an exception too, puts the job down; it can be taken up again.
    Raises as `run` does, at the latest on leaving the block. `listener` is for `run` only.
    """
    if "listener" in options:
        raise TypeError("start() takes no listener: iterate what it gives")
    prepared = await prepare(order_of(expert, query, options))
    inbox = Inbox()
    running = Running(prepared.job, inbox)
    raised: Exception | None = None

    async def go() -> None:
        try:
            ears = telling(running.hear, full=options.get("full_events", False))
            running.end(await carry_out(prepared, inbox, ears))
        except Exception as error:
            running.end(None, sole(error))

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go)
            try:
                yield running
            except Exception as error:
                raised = error  # raised again below, once the job has been put down in good order
            running.stop()
    finally:
        inbox.close()
        running.close()
    if raised is not None:
        raise raised
    if running.failure is not None:
        raise running.failure


def order_of(expert: str, query: str, options: Options) -> Order:
    """What `run` and `start` mean by their arguments."""
    if unknown := sorted(options.keys() - Options.__optional_keys__):
        close = get_close_matches(unknown[0], Options.__optional_keys__, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise TypeError(f"there is no option {unknown[0]!r}{meant}")
    if "continue_job" not in options and (options.keys() & {"checkpoint", "answer"}):
        raise UserError("checkpoint and answer are for a job that goes on: give continue_job too.")
    env, store = options.get("env", os.environ), options.get("store")
    model = options.get("model")
    workspace = Path(options.get("workspace", ".")).resolve()
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
        config=None if config is None else str(Path(config).absolute()),
        cwd=workspace,
        workspace=workspace,
        env=env,
        flags=Flags(
            provider=options.get("provider"),
            model=model if isinstance(model, str) else None,
            reasoning=options.get("reasoning"),
            max_steps=options.get("max_steps"),
            max_retries=options.get("max_retries"),
            timeout_s=options.get("timeout_s"),
            max_tokens=options.get("max_tokens"),
            max_duration_s=options.get("max_duration_s"),
            max_cost=options.get("max_cost"),
            runtime=options.get("runtime"),
            approve=tuple(options.get("approve", ())),
            deny=tuple(options.get("deny", ())),
        ),
        job=options.get("job_id"),
        go_on=go_on,
        cassette=None if cassette is None else Path(str(cassette)),
        record=None if record is None else Path(str(record)),
        model=None if isinstance(model, str) else model,
        store=store_at(store, env) if isinstance(store, str) else store,
        frozen=options.get("frozen", False),
        read=tuple(Path(path).absolute() for path in options.get("read", ())),
        proxy=options.get("proxy"),
    )
    return as_demo(order) if options.get("demo", False) else order
