"""`perstack log`: what happened, for people and as JSON.

What the terminal shows is plain text: no colours, one line for each thing, and no control characters, whatever a
model or a tool has written.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import click
import msgspec
from msgspec.structs import replace

from perstack.dialect import Checkpoint, job_record_of
from perstack.errors import CorruptLog, UserError
from perstack.job import Job, Json
from perstack.ops.history.filters import (
    Page,
    Selection,
    page_of,
    parse_count,
    parse_filter,
    parse_since,
    parse_steps,
    totals_of,
)
from perstack.ops.history.jobs import (
    STATUSES,
    History,
    Place,
    Which,
    history_place,
    job_ids_of,
    jobs_of,
    load_history,
    store_at,
)

from ..history import (
    about_checkpoint,
    about_job,
    experts,
    job_json,
    job_table,
    listing,
    run_json,
    summary_lines,
    tree,
)
from ..places import history_option, store_option
from ..plain import plain
from ..text import as_json_text, blocks, one_line, say

TAKE = 100


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How it is shown."""

    as_json: bool
    pretty: bool
    verbose: bool
    messages: bool
    summary: bool
    full_events: bool


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What it is about. job: None for the latest. run, checkpoint: ids, searched in all jobs if `job` is None."""

    root: Place
    which: Which
    job: str | None
    run: str | None
    checkpoint: str | None


@click.command()
@click.option("--job", "job_id", metavar="JOB", help="This job [default: the latest].")
@click.option("--run", "run_id", metavar="RUN", help="The events of this run, of whichever job.")
@click.option(
    "--checkpoint", metavar="CHECKPOINT", help="This checkpoint, and the events of its run."
)
@click.option("--step", metavar="STEPS", help="These steps: 5, >5, >=5, <5, <=5 or 1-10.")
@click.option("--type", "type_", metavar="TYPE", help="Events of this type.")
@click.option("--errors", is_flag=True, help="What went wrong: stops, retries, calls that failed.")
@click.option("--tools", is_flag=True, help="Tool calls and their results.")
@click.option("--delegations", is_flag=True, help="Calls of other Experts.")
@click.option(
    "--filter", "filter_", metavar="EXPR", help="Events for which this holds: .path == value."
)
@click.option(
    "--take", default=f"{TAKE}", metavar="N", help="At most so many [default: 100; 0: all]."
)
@click.option("--offset", default="0", metavar="N", help="Leave out the first so many.")
@click.option("--context", default="0", metavar="N", help="Also so many before and after each.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--pretty", is_flag=True, help="With --json: indented.")
@click.option(
    "--verbose", is_flag=True, help="Arguments of calls, texts that are not cut, and checkpoints."
)
@click.option("--messages", is_flag=True, help="With --checkpoint: its messages.")
@click.option("--summary", is_flag=True, help="Also what all matching events add up to.")
@click.option("--full-events", is_flag=True, help="With --json: events with whole histories.")
@click.option("--runs", is_flag=True, help="The job's runs as a tree, with times and tokens.")
@click.option("--jobs", is_flag=True, help="List the jobs, the latest first.")
@click.option("--expert", metavar="KEY", help="Only jobs of this Expert.")
@click.option(
    "--since", metavar="WHEN", help="Only jobs written to since a date, a time, or 90m, 2h, 3d ago."
)
@click.option(
    "--status",
    "statuses",
    type=click.Choice(STATUSES),
    multiple=True,
    help="Only jobs that stand so; repeatable.",
)
@history_option
@store_option
def log(
    job_id: str | None,
    run_id: str | None,
    checkpoint: str | None,
    step: str | None,
    type_: str | None,
    errors: bool,
    tools: bool,
    delegations: bool,
    filter_: str | None,
    take: str,
    offset: str,
    context: str,
    as_json: bool,
    pretty: bool,
    verbose: bool,
    messages: bool,
    summary: bool,
    full_events: bool,
    runs: bool,
    jobs: bool,
    expert: str | None,
    since: str | None,
    statuses: tuple[str, ...],
    workspace: Path | None,
    store: str | None,
) -> None:
    """View execution history: the latest job, another one, or a list of them all (--jobs).

    Filters are combined: an event is shown if it meets all of them. Times are UTC. No model is asked.
    """
    selection = Selection(
        steps=parse_steps(step) if step is not None else None,
        type=type_ or "",
        errors=errors,
        tools=tools,
        delegations=delegations,
        condition=parse_filter(filter_) if filter_ is not None else None,
        take=parse_count("--take", take),
        offset=parse_count("--offset", offset),
        context=parse_count("--context", context),
    )
    which = Which(
        expert=expert or "",
        since=parse_since(since, time.time()) if since is not None else 0.0,
        statuses=tuple([status for status in STATUSES if status in statuses]),
    )
    asked = Asked(
        root=history_place(store, workspace, os.environ, Path.cwd()),
        which=which,
        job=job_id,
        run=None if checkpoint else run_id,
        checkpoint=checkpoint,
    )
    shape = Shape(
        as_json=as_json,
        pretty=pretty,
        verbose=verbose,
        messages=messages,
        summary=summary,
        full_events=full_events,
    )
    _check(asked, selection, shape, runs=runs, jobs=jobs)
    if jobs:
        text = anyio.run(_list_of_jobs, asked, selection, shape)
    elif runs:
        text = anyio.run(_tree_of_runs, asked, shape)
    else:
        text = anyio.run(_events, asked, selection, shape)
    say(text or "No data found\n")
    if text is None:
        click.echo(anyio.run(_where_else, asked), err=True)


def _check(asked: Asked, selection: Selection, shape: Shape, *, runs: bool, jobs: bool) -> None:
    """Refuses options that would have no effect."""
    paged = selection.take != TAKE or selection.offset > 0
    filtered = replace(selection, take=TAKE, offset=0) != Selection(take=TAKE)
    of_events = filtered or shape.messages or shape.summary or shape.full_events
    if shape.messages and not asked.checkpoint:
        raise UserError("--messages are those of a checkpoint; name it with --checkpoint.")
    if jobs and (of_events or runs or asked.job or asked.run or asked.checkpoint):
        raise UserError(
            "--jobs lists jobs, not what happened in them; leave out the other options."
        )
    if runs and (of_events or paged or asked.run or asked.checkpoint):
        raise UserError("--runs shows the runs of a job, not events; leave out the other options.")
    if asked.job and asked.which != Which():
        raise UserError("--expert, --since and --status choose among jobs; leave out --job.")


async def _where_else(asked: Asked) -> str:
    """What to do when nothing was found."""
    root = plain(str(asked.root))
    jobs = await job_ids_of(store_at(asked.root, os.environ), Which())
    if jobs:
        return f"There are jobs in {root}, but none as asked for. `perstack log --jobs` lists them."
    return (
        f'There are no jobs in {root} yet. `perstack run <expertKey> "<query>"` begins one; '
        "for jobs kept elsewhere name their --workspace or --store."
    )


# The list of jobs -----------------------------------------------------------------------------------------


async def _list_of_jobs(asked: Asked, selection: Selection, shape: Shape) -> str | None:
    found = await jobs_of(store_at(asked.root, os.environ), asked.which)
    if not found:
        return None
    end = selection.offset + selection.take if selection.take else None
    page = found[selection.offset : end]
    if shape.as_json:
        listed = {
            "jobs": [job_json(job) for job in page],
            "storagePath": str(asked.root),
            "totalJobs": len(found),
        }
        return as_json_text(listed, pretty=shape.pretty)
    return blocks(
        [f"Storage: {asked.root}"],
        job_table(page, shape.verbose),
        [f"(showing {len(page)} of {len(found)} jobs)", "Use --take and --offset to see others."]
        if len(page) < len(found)
        else [],
    )


# The runs of a job ----------------------------------------------------------------------------------------


async def _tree_of_runs(asked: Asked, shape: Shape) -> str | None:
    history = await _history(asked)
    if history is None:
        return None
    runs = history.runs()
    if shape.as_json:
        told: dict[str, Json] = {
            "job": job_record_of(history.job),
            "runs": [run_json(run) for run in runs],
        }
        told |= {} if asked.job else {"isLatestJob": True}
        told["storagePath"] = str(asked.root)
        return as_json_text(told, pretty=shape.pretty)
    return blocks(
        *await _about(asked, history),
        ["Runs:", *tree(runs, history.job, shape.verbose)],
        ["Experts:", *experts(runs)],
    )


# The events of a job --------------------------------------------------------------------------------------


async def _events(asked: Asked, selection: Selection, shape: Shape) -> str | None:
    history = await _history(asked)
    if history is None:
        return None
    checkpoint = history.checkpoint(asked.checkpoint) if asked.checkpoint else None
    if asked.checkpoint and checkpoint is None:
        raise _no_checkpoint(asked)
    events = history.told(full=shape.full_events)
    run = checkpoint.run_id if checkpoint is not None else asked.run
    if run is not None:
        events = [told for told in events if told.json["runId"] == run]
        if not events:
            return None
    page = page_of(events, selection)
    if shape.as_json:
        return as_json_text(_as_json(asked, history, checkpoint, page, shape), pretty=shape.pretty)
    return blocks(
        *await _about(asked, history),
        about_checkpoint(checkpoint, shape.messages) if checkpoint is not None else [],
        summary_lines(totals_of(page.matched)) if shape.summary else [],
        listing(page, history.job.lock.key_of(history.job.expert), shape.verbose),
    )


async def _history(asked: Asked) -> History | None:
    """The history it is about. Without --job a run or a checkpoint is looked for in all jobs, latest first."""
    store = store_at(asked.root, os.environ)
    if asked.job is not None:
        return await load_history(store, asked.root, asked.job)
    jobs = await job_ids_of(store, asked.which)
    if _is_latest(asked):
        return await load_history(store, asked.root, jobs[0]) if jobs else None
    unreadable: list[CorruptLog] = []
    for job in jobs:
        try:
            history = await load_history(store, asked.root, job)
        except CorruptLog as error:
            unreadable.append(error)
            continue
        if history is not None and _is_in(asked, history):
            return history
    if unreadable:  # it may be in there
        raise unreadable[0]
    if asked.checkpoint and jobs:
        raise _no_checkpoint(asked)
    return None


def _is_in(asked: Asked, history: History) -> bool:
    if asked.checkpoint:
        return history.has_checkpoint(asked.checkpoint)
    return asked.run is not None and history.has_run(asked.run)


def _no_checkpoint(asked: Asked) -> UserError:
    return UserError(
        f"checkpoint not found: {asked.checkpoint}. `perstack log --verbose` shows those of a job."
    )


def _as_json(
    asked: Asked, history: History, checkpoint: Checkpoint | None, page: Page, shape: Shape
) -> dict[str, Json]:
    told: dict[str, Json] = {
        "job": job_record_of(history.job),
        "events": [event.json for event in page.shown],
        "summary": totals_of(page.matched),
    }
    if checkpoint is not None:
        told["checkpoint"] = checkpoint
    elif asked.job and not asked.run:
        checkpoints = history.checkpoints(full=shape.full_events)
        told |= {"checkpoints": checkpoints} if checkpoints else {}
    if _is_latest(asked):
        told["isLatestJob"] = True
    return told | {
        "storagePath": str(asked.root),
        "totalEventsBeforeLimit": len(page.matched),
        "matchedAfterPagination": page.paged,
    }


def _is_latest(asked: Asked) -> bool:
    return not (asked.job or asked.run or asked.checkpoint)


async def _about(asked: Asked, history: History) -> list[list[str]]:
    latest = [["(showing latest job)"]] if _is_latest(asked) else []
    job = about_job(history.job)
    if await _is_left_alone(asked, history.job):
        expert, id = one_line(history.job.expert), history.job.id
        job.append(
            f"Interrupted: no process is at it. Go on with: perstack run {expert} --continue-job {id}"
        )
    return [*latest, [f"Storage: {asked.root}"], job]


async def _is_left_alone(asked: Asked, job: Job) -> bool:
    """Whether something is still to be done, and whoever was at it is gone without a word."""
    if job.done is not None or job.stopped is not None or job.questions:
        return False
    jobs = await jobs_of(store_at(asked.root, os.environ), Which(statuses=("interrupted",)))
    return any(summary.job == job.id for summary in jobs)
