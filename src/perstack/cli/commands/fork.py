"""`perstack fork`: a new job from a place in another."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import anyio
import click
from msgspec.structs import replace

from perstack.definition import RuntimeName
from perstack.job import Job
from perstack.ops.history.jobs import store_at
from perstack.ops.project import Flags
from perstack.ops.running.fork import Change, parse_place, read_instruction
from perstack.ops.running.fork import fork as fork_job
from perstack.ops.running.run import Order, store_of

from ..exits import exit_of
from ..options import (
    cassette_option,
    full_events_option,
    output_option,
    run_settings,
    verbose_option,
    wall_options,
    workspace_option,
)
from ..places import store_option
from ..session import again, how_to_go_on, run_order


@click.command()
@click.argument("place", metavar="job[@checkpoint|@event]")
@run_settings
@wall_options
@click.option("--query", default="", help="Something to say to the run at that place.")
@click.option(
    "--tool-result",
    metavar="CALL=TEXT",
    help="Another result for a tool call: its id, and the text the model gets instead.",
)
@click.option(
    "--instruction-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another instruction for the Expert at work at that place.",
)
@click.option("--job-id", help="Id for the new job.")
@workspace_option
@store_option
@output_option
@full_events_option
@cassette_option
@verbose_option
def fork(
    place: str,
    config: str | None,
    flags: Flags,
    runtime: RuntimeName | None,
    read: tuple[Path, ...],
    query: str,
    tool_result: str | None,
    instruction_file: Path | None,
    job_id: str | None,
    workspace: Path | None,
    store: str | None,
    output: str,
    full_events: bool,
    cassette: Path | None,
    verbose: bool,
) -> int:
    """Start a new job that shares the beginning of another, and goes on from there.

    The other job is not touched. Runs at any depth are taken over as they stand: at a delegate's checkpoint it is
    the delegate that is spoken to or instructed anew, and its parent goes on with what becomes of it.
    """
    job_source, at = parse_place(place)
    order = Order(
        expert="",
        query=query,
        config=config,
        cwd=Path().resolve(),
        workspace=(workspace or Path()).resolve(),
        env=os.environ,
        flags=replace(flags, runtime=runtime),
        read=read,
        job=job_id,
        cassette=cassette,
        store=store_at(store, os.environ) if store else None,
        proxy=os.environ.get("PERSTACK_PROXY_URL") or None,
    )
    change = Change(
        tool_result=_result(tool_result),
        instruction=None if instruction_file is None else read_instruction(instruction_file),
    )

    async def go() -> Job:
        forked = await fork_job(order, job_source, at, change, store_of(order))
        click.echo(f"Forked {place} as {forked.go_on.job if forked.go_on else ''}", err=True)
        tell = partial(run_order, as_text=output == "text", full=full_events, verbose=verbose)
        return await tell(forked)

    job = anyio.run(go)
    for line in how_to_go_on(job, again(config, workspace, store, cassette, runtime, read)):
        click.echo(line, err=True)
    return exit_of(job)


def _result(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    call, equals, result = text.partition("=")
    if not call or not equals:
        raise click.UsageError(
            "--tool-result takes CALL=TEXT: the id of the call, and its new result"
        )
    return call, result
