"""`perstack log`: what happened, for people and as JSON.

What the terminal shows is plain text: no colours, one line for each thing, and no control characters, whatever a
model or a tool has written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import click
import msgspec
from msgspec.structs import replace

from perstack.dialect import Checkpoint, JobRecord, job_record_of
from perstack.errors import CorruptLog, UserError
from perstack.job import Job, Json, Usage
from perstack.ops.filters import (
    Page,
    Selection,
    Totals,
    page_of,
    parse_count,
    parse_filter,
    parse_since,
    parse_steps,
    totals_of,
)
from perstack.ops.jobs import (
    STATUSES,
    History,
    JobSummary,
    Place,
    RunRow,
    Told,
    Which,
    history_place,
    job_ids_of,
    jobs_of,
    load_history,
    store_at,
    usage_json,
)

from ..places import store_option
from ..plain import plain

TAKE = 100
RULE = "─" * 50


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
@click.option("--verbose", is_flag=True, help="Arguments of calls, and texts that are not cut.")
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
@click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the jobs ran [default: PERSTACK_STORAGE_PATH, or else here].",
)
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


def say(text: str) -> None:
    """Writes to stdout, in UTF-8 wherever we are."""
    click.echo(text.encode("utf-8", "backslashreplace"), nl=False)


def as_json_text(value: Json, *, pretty: bool) -> str:
    """One JSON text, in one line or indented by two."""
    line = msgspec.json.encode(value)
    return (msgspec.json.format(line, indent=2) if pretty else line).decode() + "\n"


# The list of jobs -----------------------------------------------------------------------------------------


async def _list_of_jobs(asked: Asked, selection: Selection, shape: Shape) -> str | None:
    found = await jobs_of(store_at(asked.root, os.environ), asked.which)
    if not found:
        return None
    end = selection.offset + selection.take if selection.take else None
    page = found[selection.offset : end]
    if shape.as_json:
        listed = {
            "jobs": [_job_json(job) for job in page],
            "storagePath": str(asked.root),
            "totalJobs": len(found),
        }
        return as_json_text(listed, pretty=shape.pretty)
    return blocks(
        [f"Storage: {asked.root}"],
        _job_table(page, shape.verbose),
        [f"(showing {len(page)} of {len(found)} jobs)", "Use --take and --offset to see others."]
        if len(page) < len(found)
        else [],
    )


def _job_json(job: JobSummary) -> dict[str, Json]:
    told: dict[str, Json] = {
        "id": job.job,
        "status": job.status,
        "coordinatorExpertKey": job.expert,
        "query": job.query,
        "model": job.model,
        "totalSteps": job.steps,
        "events": job.events,
        "usage": usage_json(job.usage),
        "startedAt": round(job.started_at * 1000),
        "updatedAt": round(job.updated_at * 1000),
    }
    told |= {"writer": job.writer} if job.writer else {}
    return told | ({"fault": job.fault} if job.fault else {})


def _job_table(jobs: Sequence[JobSummary], verbose: bool) -> list[str]:
    rows = [("JOB", "STATUS", "EXPERT", "STEPS", "TOKENS", "STARTED", "DURATION")]
    rows += [
        (
            job.job,
            job.status,
            one_line(job.expert),
            f"{job.steps}",
            f"{job.usage.total_tokens}",
            moment(job.started_at) if job.started_at else "-",
            duration(job.updated_at - job.started_at) if job.started_at else "-",
        )
        for job in jobs
    ]
    lines = table(rows, right={3, 4, 6})
    if not verbose:
        return lines
    details = [job.fault or job.query for job in jobs]
    return [
        lines[0],
        *(f"{line}\n  {one_line(text)}" for line, text in zip(lines[1:], details, strict=True)),
    ]


# The runs of a job ----------------------------------------------------------------------------------------


async def _tree_of_runs(asked: Asked, shape: Shape) -> str | None:
    history = await _history(asked)
    if history is None:
        return None
    runs = history.runs()
    if shape.as_json:
        told: dict[str, Json] = {
            "job": job_record_of(history.job),
            "runs": [_run_json(run) for run in runs],
        }
        told |= {} if asked.job else {"isLatestJob": True}
        told["storagePath"] = str(asked.root)
        return as_json_text(told, pretty=shape.pretty)
    return blocks(
        *_about(asked, history),
        ["Runs:", *_tree(runs, history.job, shape.verbose)],
        ["Experts:", *_experts(runs)],
    )


def _run_json(run: RunRow) -> dict[str, Json]:
    told: dict[str, Json] = {
        "id": run.id,
        "path": run.path,
        "expertKey": run.expert,
        "query": run.query,
        "status": run.status,
        "steps": run.steps,
        "usage": usage_json(run.usage),
        "startedAt": round(run.started_at * 1000),
    }
    told |= {"finishedAt": round(run.finished_at * 1000)} if run.finished_at else {}
    return told | ({"calledBy": run.by} if run.by else {})


def _tree(runs: Sequence[RunRow], job: Job, verbose: bool) -> list[str]:
    rows = [
        (
            "  " * run.path.count("/") + one_line(run.expert),
            run.status,
            f"{run.steps} step{'s' if run.steps != 1 else ''}",
            f"{run.usage.total_tokens} tokens",
            moment(run.started_at),
            duration((run.finished_at or job.at) - run.started_at),
            run.id,
        )
        for run in runs
    ]
    lines = [f"  {line}" for line in table(rows, right={2, 3, 5})]
    if not verbose:
        return lines
    return [f"{line}\n      {one_line(run.query)}" for line, run in zip(lines, runs, strict=True)]


def _experts(runs: Sequence[RunRow]) -> list[str]:
    rows: list[tuple[str, ...]] = [("", "RUNS", "STEPS", "INPUT", "CACHED", "OUTPUT", "TOKENS")]
    for expert in dict.fromkeys(run.expert for run in runs):
        own = [run for run in runs if run.expert == expert]
        usage = sum((run.usage for run in own), Usage())
        counts = (
            len(own),
            sum(run.steps for run in own),
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.output_tokens,
            usage.total_tokens,
        )
        rows.append((one_line(expert), *map(str, counts)))
    return [f"  {line}" for line in table(rows, right=set(range(1, 7)))]


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
        *_about(asked, history),
        _about_checkpoint(checkpoint, shape.messages) if checkpoint is not None else [],
        _summary(totals_of(page.matched)) if shape.summary else [],
        _listing(page, history.job.lock.key_of(history.job.expert), shape.verbose),
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
    return UserError(f"checkpoint not found: {asked.checkpoint}")


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


def _about(asked: Asked, history: History) -> Iterator[list[str]]:
    job, record = history.job, job_record_of(history.job)
    if _is_latest(asked):
        yield ["(showing latest job)"]
    yield [f"Storage: {asked.root}"]
    yield [
        f"Job: {record.id} ({record.status})",
        f"Expert: {one_line(record.coordinator_expert_key)}",
        f"Started: {moment(job.started_at)}",
        f"Steps: {record.total_steps}",
        *_how_it_stands(job, record),
    ]


def _how_it_stands(job: Job, record: JobRecord) -> Iterator[str]:
    if record.finished_at is not None:
        yield f"Finished: {moment(job.at)}"
    if job.stopped is not None:
        yield f"Stopped: {job.stopped.reason}, {one_line(job.stopped.what)}"
    for _, call in job.questions:
        yield f"Waits for: {one_line(call.tool)} {_json(call.args)}"


def _about_checkpoint(point: Checkpoint, messages: bool) -> list[str]:
    lines = [
        f"Checkpoint: {point.id}",
        f"Status: {point.status}",
        f"Step: {point.step_number}",
        f"Expert: {one_line(point.expert.key)}",
    ]
    if messages:
        lines += ["", "Messages:"]
        for message in msgspec.to_builtins(point.messages or ()):
            said = cut(_gist(message["contents"]), 100)
            lines.append(f"  [{message['type']}] {said}".rstrip())
    return lines


def _summary(totals: Totals) -> list[str]:
    lines = [
        "Summary:",
        f"  Total Events: {totals.total_events}",
        f"  Errors: {totals.error_count}",
        f"  Tool Calls: {totals.tool_call_count}",
        f"  Delegations: {totals.delegation_count}",
    ]
    if totals.step_range is not msgspec.UNSET:
        lines.append(f"  Step Range: {totals.step_range.min} - {totals.step_range.max}")
    return lines


def _listing(page: Page, root: str, verbose: bool) -> list[str]:
    if not page.shown:
        count = len(page.matched)
        return [f"({count} events available, use --offset to view)"] if count else []
    lines = ["Events:", RULE]
    for told in page.shown:
        expert = told.json["expertKey"]
        whose = f"  {one_line(expert)}" if expert != root else ""
        left = "  (rewound)" if told.rewound else ""
        at = moment(told.json["timestamp"] / 1000)[-8:]
        lines.append(f"[Step {told.json['stepNumber']}] {told.type:<24} {at}{whose}{left}")
        lines += [f"  {line}" for line in _details(told, verbose)]
        lines.append("")
    lines.append(RULE)
    if page.paged < len(page.matched):
        more = len(page.shown) - page.paged
        context = f" (+{more} context)" if more else ""
        lines.append(f"(showing {page.paged} of {len(page.matched)} matched events{context})")
        lines.append("Use --take and --offset to see others, --take 0 to see all.")
    return lines


def _details(told: Told, verbose: bool) -> Iterator[str]:
    event = told.json
    failed = {call.id: call for call in told.failed}

    def short(text: str, length: int) -> str:
        return one_line(text) if verbose else cut(text, length)

    def result(id: str, tool: str, text: str, is_error: bool = False) -> str:
        mark = "✗" if is_error or failed.pop(id, None) else "✓"
        return f"{mark} {one_line(tool)}: {short(text, 40)}"

    match told.type:
        case "startRun":
            queries = [m for m in event["inputMessages"] if m["type"] == "userMessage"]
            if queries:
                yield f'Query: "{short(_text(queries[-1]["contents"]), 60)}"'
        case "callTools" if verbose:
            for call in event["toolCalls"]:
                yield f"[{one_line(call['skillName'])}] {one_line(call['toolName'])}"
                yield f"  Args: {_json(call['args'])}"
        case "callTools":
            yield f"Tools: {', '.join([one_line(call['toolName']) for call in event['toolCalls']])}"
        case "resolveToolResults":
            for part in event["toolResults"]:
                yield result(part["id"], part["toolName"], _text(part["result"]))
        case "attemptCompletion":
            part = event["toolResult"]
            yield result(part["id"], part["toolName"], _text(part["result"]))
        case "finishAllToolCalls":
            for part in (part for message in event["newMessages"] for part in message["contents"]):
                if part["type"] == "toolResultPart":
                    text, is_error = _text(part["contents"]), part.get("isError", False)
                    yield result(part["toolCallId"], part["toolName"], text, is_error)
        case "callDelegate":
            for call in event["toolCalls"]:
                yield f"Delegate to: {one_line(call['skillName'])}"
                yield f'  Query: "{short(str(call["args"].get("query", "")), 60)}"'
        case "callInteractiveTool":
            yield f"Asks: {one_line(event['toolCall']['toolName'])} {_json(event['toolCall']['args'])}"
        case "stopRunByError":
            yield f"Error: {one_line(event['error']['name'])}"
            yield f"Message: {one_line(event['error']['message'])}"
            yield f"Retryable: {'true' if event['error']['isRetryable'] else 'false'}"
        case "completeRun":
            yield f"Result: {short(event['text'], 80)}"
        case "completeStreamingReasoning":
            yield f"Reasoning: {short(event['text'], 80)}"
        case "retry":
            yield f"Reason: {one_line(event['reason'])}"
        case _:
            pass
    for call in failed.values():
        yield f"✗ {one_line(call.tool)}: {short(call.text, 40)}"


def _text(contents: Json) -> str:
    """The first text among the parts of a message or a result."""
    return next((part["text"] for part in contents if part["type"] == "textPart"), "")


def _gist(contents: Json) -> str:
    """The first text of a message; of one without, the tools it calls or the first result it brings."""
    text = _text(contents)
    calls = [part["toolName"] for part in contents if part["type"] == "toolCallPart"]
    results = [part for part in contents if part["type"] == "toolResultPart"]
    if not text and calls:
        return f"calls {', '.join(calls)}"
    if not text and results:
        return f"{results[0]['toolName']}: {_text(results[0]['contents'])}"
    return text


def _json(value: Json) -> str:
    return one_line(msgspec.json.encode(value).decode())


# Text -----------------------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """`text` in one line, without characters that would move a terminal's cursor or colour it."""
    return plain(" ".join(text.split()))


def cut(text: str, length: int) -> str:
    """`text` in one line, no longer than so many characters, and "..." if there is more."""
    # Only the beginning is looked at: a result may be megabytes
    line = one_line(text[: 4 * length])
    return line if len(line) <= length and len(text) <= 4 * length else f"{line[:length]}..."


def moment(at: float) -> str:
    """Seconds since 1970 as YYYY-MM-DD HH:MM:SS, UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """How long something took: "0.4 s", "3m 04s", "2h 05m"."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    return f"{minutes // 60}h {minutes % 60:02d}m"


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """The rows as lines whose columns stand below each other. right: the columns that end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def blocks(*blocks: Sequence[str]) -> str:
    """Blocks of lines, an empty line after each."""
    return "".join("".join(f"{line}\n" for line in block) + "\n" for block in blocks if block)
