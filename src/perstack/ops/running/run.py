"""Run an Expert: a new job, or one that goes on.

`prepare` reads everything there is to read (project, environment, the log of a job that goes on) and settles
what will happen; what the user can put right is raised there, before anything is written. `carry_out` does it.
"""

from __future__ import annotations

from shutil import copytree

from msgspec.structs import replace

from perstack.engine import Ears, Inbox
from perstack.errors import UserError
from perstack.job import Job

from ..project import load_env, load_project, settle
from ..scratch import scratch
from ..shipped import demo_of
from .asking import check_use, model_opener, no_model
from .beginning import new_job
from .going_on import going_on
from .order import GoOn, Order, Prepared, store_of
from .runtimes import runtime_of

__all__ = ["GoOn", "Order", "Prepared", "as_demo", "carry_out", "prepare", "store_of"]


_NO_CONTAINERS = ("--env is for containers; this runtime starts none.",)


async def prepare(order: Order, *, asks: bool = True) -> Prepared:
    """Settle what `order` means. Raises UserError and its kin; nothing has been written then.

    asks: a model will be asked; else its key need not be there.
    """
    _check_texts(order.query, str(order.workspace))
    loaded = load_project(order.config, order.cwd, order.env)
    settings = settle(loaded.project if loaded else None, order.flags)
    runtime = runtime_of(settings)
    env = load_env(settings.env_paths, order.env, order.cwd, required=settings.env_required)
    store = store_of(order)
    if order.go_on is None:
        course = await new_job(order, loaded, settings, env)
    else:
        course = await going_on(order, order.go_on, store, settings)
    choice = course.choice
    opener, ends, used = no_model, (), ()
    if runtime.asks_model:
        used = check_use(order, settings, choice, course.lock, env)
    if runtime.asks_model and asks:
        opener, ends = model_opener(order, settings, choice, env)
    ours = (f"Model: {choice.provider}/{choice.model}, reasoning {choice.reasoning}",)
    prepared = Prepared(
        order=order,
        settings=settings,
        plan=course.plan,
        lock=course.lock,
        store=store,
        open_model=opener,
        env=env,
        settled=(
            f"Definitions: {loaded.path if loaded else 'those that come with Perstack'}",
            *(ours if runtime.asks_model else ()),
            *used,
            f"Runtime: {runtime.name}",
            f"Workspace: {order.workspace}",
            f"Job: {course.plan.job}",
        ),
        warnings=(
            *(str(warning) for warning in (loaded.parsed.warnings if loaded else ())),
            *course.warnings,
            *ends,
            *(_NO_CONTAINERS if order.passed and runtime.name != "docker" else ()),
        ),
    )
    return replace(prepared, remarks=await runtime.check(prepared))


def _check_texts(*texts: str) -> None:
    """What goes into the log is UTF-8; paths of other encodings come as lone surrogates."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            shown = text.encode(errors="replace").decode()
            raise UserError(f"{shown[:100]!r} is not UTF-8 text.") from error


async def carry_out(prepared: Prepared, inbox: Inbox, ears: Ears) -> Job:
    """Run the job until it is finished, parked or stopped. For what it raises see `engine.run_job`."""
    return await runtime_of(prepared.settings).carry_out(prepared, inbox, ears)


def as_demo(order: Order) -> Order:
    """`order` as the shipped recording has it, in a fresh copy of the files the recording begins with."""
    demo = demo_of(order.expert)
    if order.query and order.query != demo.query:
        raise UserError(
            f'The demo of "{order.expert}" is a recording and answers only: "{demo.query}". '
            "Leave the query out, or set up a provider and leave out --demo."
        )
    workspace = scratch("perstack-demo-")
    try:
        copytree(demo.workspace, workspace, dirs_exist_ok=True)
    except OSError as error:  # it may tell of several files
        raise UserError(f"The demo cannot be laid out in {workspace}: {error}") from error
    return replace(
        order,
        query=demo.query,
        config=str(demo.definitions),
        cwd=workspace,
        workspace=workspace,
        cassette=demo.cassette,
        store=store_of(replace(order, workspace=workspace)),  # there, though `cwd` is elsewhere now
    )
