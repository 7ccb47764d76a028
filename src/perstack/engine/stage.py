"""Opens what a job needs, lets it run, and closes it in reverse.

The stage is where rooms that do not know each other meet: the log from the store, the model, the toolboxes and
the skills. The one fact it writes of its own accord is that a bug cut the job short.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import time

import anyio
import msgspec
from msgspec.structs import replace

from perstack.errors import PerstackError, sole
from perstack.job import (
    Event,
    IllegalEvent,
    Job,
    Notice,
    Rewound,
    Stopped,
    apply,
    cut,
    fold,
    may_follow,
)
from perstack.models import Model
from perstack.store import Log, Store

from .drive import Inbox, drive
from .equipment import open_equipment
from .perform import Performer
from .walls import NO_WALLS, Walls


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with one job.

    job: its id. before: the facts to write before any skill is opened, given the log as it is: that the job
    starts, or goes on (from an earlier place, if the first is Rewound). after: the facts that set it going, given
    the state then: its root run, words, an answer.
    """

    job: str
    before: Callable[[Sequence[Event]], Iterable[Event]]
    after: Callable[[Job], Iterable[Event]]


class Ears(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told what happens, in order and without waiting for an answer.

    past: the events already in the log (as far as they still count), before anything else. fact: the state before,
    what happened, the state after. ready: the state in which the work begins. notice: the state now, and what is
    shown and not kept.
    """

    past: Callable[[Sequence[Event]], None]
    fact: Callable[[Job, Event, Job], None]
    ready: Callable[[Job], None]
    notice: Callable[[Job, Notice], None]


def _deaf(*_: object) -> None:
    pass


NOBODY = Ears(past=_deaf, fact=_deaf, ready=_deaf, notice=_deaf)
"""Nobody listens; the log is written all the same."""


async def run_job(
    plan: Plan,
    *,
    store: Store,
    open_model: Callable[[Job], AbstractAsyncContextManager[Model]],
    env: Mapping[str, str],
    inbox: Inbox,
    ears: Ears,
    frozen: bool = False,
    walls: Walls = NO_WALLS,
) -> Job:
    """Carry out `plan`; gives the state in which the job finished, parked or stopped.

    env: where skills may be given variables from. frozen: a server that has other tools than the lock says ends
    the run that uses it. walls: what is built around the programs of skills. What cannot be opened raises before
    the job goes on. Later only two things come out: StoreError, when facts can no longer be written down, and
    bugs, of which the log tells too; the job can be taken up again after either.
    """
    async with staged(plan, store, ears) as stage:
        async with (
            open_model(stage.job) as model,
            open_equipment(stage.job, env, stage.notify, frozen=frozen, walls=walls) as equipment,
        ):
            await equipment.warm_up(stage.job.expert)
            for event in plan.after(stage.job):
                await stage.write(event, sync=True)
            ears.ready(stage.job)
            perform = Performer(stage.job, model, equipment, stage.notify)
            async with _time_limit(stage.job, inbox):
                return await drive(stage.job, stage.log, perform, inbox, stage.heard)


@asynccontextmanager
async def staged(plan: Plan, store: Store, ears: Ears) -> AsyncGenerator[Stage]:
    """The job of `plan` with its opening facts written, its log open until the block is left.

    Errors of tasks come out of the block without their groups. A bug is written down before it comes out.
    """
    async with store.open(plan.job) as (log, events):
        opening = tuple(plan.before(events))
        past = cut(events, opening[0].to) if isinstance(opening[0], Rewound) else events
        stage = Stage(log, ears, fold(past))
        ears.past(past)
        for event in opening:
            await stage.write(event)
        try:
            yield stage
        except Exception as error:
            cause = sole(error)
            if isinstance(cause, PerstackError):
                raise cause from cause.__cause__
            await stage.write_bug(cause)
            raise


@asynccontextmanager
async def _time_limit(job: Job, inbox: Inbox) -> AsyncGenerator[None]:
    """Puts the job down when the time it may work is over."""
    most = job.limits.max_duration_s
    if most is None:
        yield
        return

    async def ring(most: float) -> None:
        await anyio.sleep(most - job.active_s)
        inbox.say(Stopped(reason="limit", what=f"maxDuration {most:g} s"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ring, most)
        yield
        tasks.cancel_scope.cancel()


class Stage:
    """One job on its way: its log, who listens, and the state now."""

    def __init__(self, log: Log, ears: Ears, job: Job) -> None:
        self.job = job
        self.log = log
        self._ears = ears

    async def write(self, event: Event, *, sync: bool = False) -> None:
        # An event that cannot follow would spoil the log for good
        if not may_follow(self.job, event):
            raise IllegalEvent(f"{type(event).__name__} cannot follow event {self.job.seq}")
        written = await self.log.append(event, sync=sync)
        self.heard(self.job, written, apply(self.job, written))

    def heard(self, before: Job, event: Event, after: Job) -> None:
        self.job = after
        self._ears.fact(before, event, after)

    def notify(self, notice: Notice) -> None:
        self._ears.notice(self.job, replace(notice, at=round(time(), 3)))

    async def write_bug(self, error: BaseException) -> None:
        """What ended the job, as far as the log still takes it."""
        stop = Stopped(reason="bug", what=f"{type(error).__name__}: {error}")
        if may_follow(self.job, stop):
            with anyio.CancelScope(shield=True):
                await self.write(stop, sync=True)
