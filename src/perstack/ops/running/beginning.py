"""A new job: how it begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from perstack._ids import derived, drawn
from perstack._version import version
from perstack.definition import compose_instruction
from perstack.engine import Plan
from perstack.errors import UserError
from perstack.job import FORMAT, Event, Job, JobStarted, ModelChoice, RunStarted, utc

from ..packages.locking import lock_to_run
from ..project import LoadedProject, Settings
from .asking import choice_of
from .order import Course, Order
from .runtimes import runtime_of


async def new_job(
    order: Order, loaded: LoadedProject | None, settings: Settings, env: Mapping[str, str]
) -> Course:
    """How a new job begins. env: process and dotenv files together. Raises what `lock_to_run` raises."""
    if not order.query.strip():
        raise UserError(f'What should "{order.expert}" do? Give a query.')
    locked = await lock_to_run(
        order.expert, loaded, frozen=order.frozen, env=env, sources=order.sources
    )
    lock = locked.lock
    choice = choice_of(order, settings)
    if not runtime_of(settings).asks_model:
        own = order.flags.model or f"{settings.runtime}:default"
        choice = ModelChoice(provider="custom", model=own)
    rules = order.flags.rules
    start = JobStarted(
        format=FORMAT,
        job=drawn() if order.job is None else order.job,
        expert=lock.key_of(order.expert),
        lock=lock,
        model=choice,
        limits=settings.limits,
        workspace=str(order.workspace),
        runtime=settings.runtime,
        version=version(),
        approve=rules.approve,
        deny=rules.deny,
    )

    def before(events: Sequence[Event]) -> Iterable[Event]:
        if events:
            raise UserError(
                f"There is a job {start.job} already. Go on with it by --continue-job {start.job}, "
                "or choose another --job-id."
            )
        return (start,)

    plan = Plan(job=start.job, before=before, after=lambda job: (root_run(job, order.query),))
    return Course(plan=plan, lock=lock, choice=choice, warnings=locked.warnings)


def root_run(job: Job, query: str) -> RunStarted:
    """The root run of `job`, which has just been started."""
    return RunStarted(
        run=derived(job.id, "root"),
        expert=job.expert,
        query=query,
        instruction=compose_instruction(
            job.lock.expert(job.expert),
            job.lock.delegates_of(job.expert),
            at=utc(job.at),
            workspace=job.workspace,
        ),
    )
