"""`perstack run`: run an Expert, events on stdout."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import anyio
import click
from msgspec.structs import replace

from perstack.definition import PROVIDERS, RuntimeName, secret_names, variable_names
from perstack.job import Job
from perstack.ops.history.jobs import store_at
from perstack.ops.packages.sources import Sources
from perstack.ops.project import Flags
from perstack.ops.running.run import GoOn, Order, as_demo

from ..exits import DONE, exit_of
from ..options import (
    cassette_option,
    demo_option,
    frozen_option,
    full_events_option,
    goes_on,
    job_options,
    output_option,
    rule_options,
    run_settings,
    source_options,
    verbose_option,
    wall_options,
    workspace_option,
)
from ..places import store_option
from ..session import again, ask_here, how_to_go_on, run_order
from ..walls import would_run


@click.command()
@click.argument("expert_key", metavar="expertKey")
@click.argument("query", metavar="[query]", required=False, default=None)
@run_settings
@rule_options
@job_options
@click.option(
    "--env", "env_names", multiple=True, help="Variable that skills in containers get; repeatable."
)
@verbose_option
@source_options
@wall_options
@workspace_option
@store_option
@output_option
@frozen_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show what would run, and the walls around each skill; no model is asked.",
)
@full_events_option
@demo_option
@cassette_option
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Record all replies to this file.",
)
def run(
    expert_key: str,
    query: str | None,
    config: str | None,
    flags: Flags,
    approve: tuple[str, ...],
    deny: tuple[str, ...],
    job_id: str | None,
    env_names: tuple[str, ...],
    verbose: bool,
    continue_latest: bool,
    continue_job: str | None,
    resume_from: str | None,
    answer: bool,
    sources: Sources,
    runtime: RuntimeName | None,
    read: tuple[Path, ...],
    workspace: Path | None,
    store: str | None,
    output: str,
    frozen: bool,
    dry_run: bool,
    full_events: bool,
    demo: bool,
    cassette: Path | None,
    record: Path | None,
) -> int:
    """Run the Expert `expertKey` on `query`.

    Exit codes: 0 done, or waiting for your answer; 1 failed; 4 perstack.lock was changed by hand; 5 it is out of
    date, under --frozen; 6 stopped at a limit; 130 and 143 interrupted. After 6, 130 and 143 the job can be taken
    up again with --continue-job.
    """
    old = goes_on(continue_latest, continue_job, resume_from, answer, query)
    if demo and (config or workspace or flags.provider or flags.model or cassette or old):
        raise click.UsageError(
            "--demo plays a recording in a directory of its own: leave out --config, --workspace, --provider, "
            "--model, --cassette and the options of a job that goes on"
        )
    if query is None and not old and not demo:
        raise click.UsageError("missing required argument 'query'")
    order = Order(
        expert=expert_key,
        query=query or "",
        config=config,
        cwd=Path().resolve(),
        workspace=(workspace or Path()).resolve(),
        env=os.environ,
        flags=replace(flags, runtime=runtime, approve=approve, deny=deny),
        job=job_id,
        go_on=GoOn(job=continue_job, checkpoint=resume_from, answer=answer) if old else None,
        cassette=cassette,
        record=record,
        store=store_at(store, os.environ) if store else None,
        proxy=os.environ.get("PERSTACK_PROXY_URL") or None,
        frozen=frozen,
        read=read,
        sources=sources,
        passed=env_names,
    )
    if demo:
        order = as_demo(order)
        click.echo(
            "This is a demo: the model's words are recorded and no model is asked. "
            f"It works in {order.workspace}",
            err=True,
        )
    as_text = output == "text"
    if dry_run:
        click.echo(anyio.run(would_run, order, as_text))
        return DONE
    job = anyio.run(partial(run_order, order, as_text=as_text, full=full_events, verbose=verbose))
    while as_text and (said := ask_here(job)) is not None:
        order = replace(order, query=said, job=None, go_on=GoOn(job=job.id, answer=True))
        job = anyio.run(partial(run_order, order, as_text=True, full=full_events, verbose=False))
    if demo:
        workspace, cassette = order.workspace, order.cassette
    options = again(config, workspace, store, cassette, runtime, read, env_names)
    for line in how_to_go_on(job, options):
        click.echo(line, err=True)
    if refused := _refused_key(job):
        click.echo(f"Look at the key: {job.model.provider} takes it from {refused}.", err=True)
    if demo and job.done is not None:
        click.echo(f"See what happened: perstack log --workspace {order.workspace}", err=True)
    return exit_of(job)


def _refused_key(job: Job) -> str:
    """The variables with the key that the provider of `job` refused, "" if it refused none."""
    if job.done is None or job.done.failure is None or job.done.failure.name != "Unauthorized":
        return ""
    names = {
        name for each in PROVIDERS if each == job.model.provider for name in variable_names(each)
    }
    return ", ".join(sorted(names.intersection(secret_names())))
