"""Opens what a job needs, lets it run, and closes it in reverse.

The stage is where rooms that do not know each other meet: the log from the store, the model, the toolboxes and
the skills. The one fact it writes of its own accord is that a bug cut the job short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from time import time

import anyio
import msgspec
from msgspec.structs import replace

from perstack.definition import BASE_SKILL, Expert, InteractiveSkill
from perstack.errors import PerstackError, SkillUnavailable, sole
from perstack.job import (
    Event,
    Job,
    Notice,
    Rewound,
    SkillConnected,
    SkillDisconnected,
    Stopped,
    apply,
    cut,
    fold,
    may_follow,
)
from perstack.lock import Lock
from perstack.models import Model
from perstack.skills import Skill, Toolbox, base_tools, open_base, toolbox_of
from perstack.store import Log, Store

from .drive import Inbox, drive
from .perform import Performer


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
) -> Job:
    """Carry out `plan`; gives the state in which the job finished, parked or stopped.

    env: where skills may be given variables from. What cannot be opened raises before the job goes on. Later
    only two things come out: StoreError, when facts can no longer be written down, and bugs, of which the log
    tells too; the job can be taken up again after either.
    """
    async with store.open(plan.job) as (log, events):
        opening = tuple(plan.before(events))
        past = cut(events, opening[0].to) if isinstance(opening[0], Rewound) else events
        stage = _Stage(log, ears, fold(past))
        ears.past(past)
        for event in opening:
            await stage.write(event)
        try:
            async with AsyncExitStack() as stack:
                model = await stack.enter_async_context(open_model(stage.job))
                skills = await stage.open_skills(stack, env)
                boxes = toolboxes_of(stage.job.lock)
                for event in plan.after(stage.job):
                    await stage.write(event, sync=True)
                ears.ready(stage.job)
                perform = Performer(stage.job, model, boxes, skills, stage.notify)
                return await drive(stage.job, log, perform, inbox, stage.heard)
        except Exception as error:
            cause = sole(error)  # tasks raise in groups
            if isinstance(cause, PerstackError):
                raise cause from cause.__cause__
            await stage.write_bug(cause)
            raise


def toolboxes_of(lock: Lock) -> dict[str, Toolbox]:
    """The toolbox of every Expert in `lock`, by Expert key. Raises DefinitionError."""
    tools = {BASE_SKILL: base_tools()}
    return {
        key: toolbox_of(pin.expert, lock.delegates_of(key), tools)
        for key, pin in lock.experts.items()
    }


class _Stage:
    """One job on its way: its log, who listens, and the state now."""

    def __init__(self, log: Log, ears: Ears, job: Job) -> None:
        self.job = job
        self._log = log
        self._ears = ears

    async def write(self, event: Event, *, sync: bool = False) -> None:
        written = await self._log.append(event, sync=sync)
        self.heard(self.job, written, apply(self.job, written))

    def heard(self, before: Job, event: Event, after: Job) -> None:
        self.job = after
        self._ears.fact(before, event, after)

    def notify(self, notice: Notice) -> None:
        self._ears.notice(self.job, replace(notice, at=round(time(), 3)))

    async def open_skills(self, stack: AsyncExitStack, env: Mapping[str, str]) -> dict[str, Skill]:
        """The skills of all Experts of the job. They belong to `stack`."""
        for pin in self.job.lock.experts.values():
            _refuse_foreign(pin.expert)
        if not any(BASE_SKILL in pin.expert.skills for pin in self.job.lock.experts.values()):
            return {}
        began = time()
        base = await stack.enter_async_context(open_base(Path(self.job.workspace), env))
        self.notify(
            SkillConnected(
                skill=BASE_SKILL,
                server=(BASE_SKILL, self.job.version),
                spawn_s=0.0,
                handshake_s=0.0,
                discovery_s=time() - began,
            )
        )
        stack.callback(self.notify, SkillDisconnected(skill=BASE_SKILL))
        return {BASE_SKILL: base}

    async def write_bug(self, error: BaseException) -> None:
        """What ended the job, as far as the log still takes it."""
        stop = Stopped(reason="bug", what=f"{type(error).__name__}: {error}")
        if may_follow(self.job, stop):
            with anyio.CancelScope(shield=True):
                await self.write(stop, sync=True)


def _refuse_foreign(expert: Expert) -> None:
    for name, skill in expert.skills.items():
        if name != BASE_SKILL and not isinstance(skill, InteractiveSkill):
            raise SkillUnavailable(
                name,
                f'Expert "{expert.key}" needs an MCP server, which this version cannot run yet',
            )
