"""`perstack run`: run an Expert, events on stdout."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import anyio
import click
from msgspec.structs import replace

from perstack.definition import RuntimeName
from perstack.ops.jobs import store_at
from perstack.ops.project import Flags
from perstack.ops.run import GoOn, Order, as_demo

from ..exits import exit_of
from ..options import run_settings
from ..places import store_option
from ..session import again, how_to_go_on, run_order

RUNTIMES = ("local", "docker", "cursor", "claude-code", "gemini")


@click.command()
@click.argument("expert_key", metavar="expertKey")
@click.argument("query", metavar="[query]", required=False, default=None)
@run_settings
@click.option("--job-id", help="Id for the new job.")
@click.option(
    "--env", "env_names", multiple=True, help="Variable to pass into a container; repeatable."
)
@click.option("--verbose", is_flag=True, help="Also tell what the runtime itself does.")
@click.option(
    "--continue", "continue_latest", is_flag=True, help="Go on with this Expert's latest job."
)
@click.option("--continue-job", metavar="JOB", help="Go on with this job.")
@click.option("--resume-from", metavar="CHECKPOINT", help="Go on from here; needs --continue-job.")
@click.option(
    "-i",
    "--interactive-tool-call-result",
    "answer",
    is_flag=True,
    help="The query answers the question the job waits with.",
)
@click.option("--runtime", type=click.Choice(RUNTIMES), help="Where it runs [default: local].")
@click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The directory the Expert works in [default: the working directory].",
)
@store_option
@click.option(
    "--output",
    type=click.Choice(("json", "text")),
    default="json",
    show_default=True,
    help="json: one event a line. text: a live account for people.",
)
@click.option(
    "--frozen",
    is_flag=True,
    help="Run exactly what perstack.lock says, tools of servers included, or not at all.",
)
@click.option("--full-events", is_flag=True, help="Events with whole histories in them.")
@click.option(
    "--demo",
    is_flag=True,
    help="Play the shipped recording in a new directory; no model is asked.",
)
@click.option(
    "--cassette",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Replay recorded replies from this file instead of asking a model.",
)
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
    job_id: str | None,
    env_names: tuple[str, ...],
    verbose: bool,
    continue_latest: bool,
    continue_job: str | None,
    resume_from: str | None,
    answer: bool,
    runtime: RuntimeName | None,
    workspace: Path | None,
    store: str | None,
    output: str,
    frozen: bool,
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
    if resume_from is not None and continue_job is None:
        raise click.UsageError("--resume-from requires --continue-job")
    if continue_latest and continue_job is not None:
        raise click.UsageError("--continue and --continue-job cannot be used together")
    goes_on = continue_latest or continue_job is not None
    if answer and not goes_on:
        raise click.UsageError("-i requires --continue or --continue-job")
    if answer and query is None:
        raise click.UsageError("-i requires a query: the answer")
    if demo and (config or workspace or flags.provider or flags.model or cassette or goes_on):
        raise click.UsageError(
            "--demo plays a recording in a directory of its own: leave out --config, --workspace, --provider, "
            "--model, --cassette and the options of a job that goes on"
        )
    if query is None and not goes_on and not demo:
        raise click.UsageError("missing required argument 'query'")
    if env_names:
        click.echo("warning: --env is for containers; this runtime starts none.", err=True)
    order = Order(
        expert=expert_key,
        query=query or "",
        config=config,
        cwd=Path().resolve(),
        workspace=(workspace or Path()).resolve(),
        env=os.environ,
        flags=replace(flags, runtime=runtime),
        job=job_id,
        go_on=GoOn(job=continue_job, checkpoint=resume_from, answer=answer) if goes_on else None,
        cassette=cassette,
        record=record,
        store=store_at(store, os.environ) if store else None,
        proxy=os.environ.get("PERSTACK_PROXY_URL") or None,
        frozen=frozen,
    )
    if demo:
        order = as_demo(order)
        click.echo(
            "This is a demo: the model's words are recorded and no model is asked. "
            f"It works in {order.workspace}",
            err=True,
        )
    job = anyio.run(
        partial(run_order, order, as_text=output == "text", full=full_events, verbose=verbose)
    )
    if demo:
        workspace, cassette = order.workspace, order.cassette
    for line in how_to_go_on(job, again(config, workspace, store, cassette)):
        click.echo(line, err=True)
    return exit_of(job)
