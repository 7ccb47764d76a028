"""What a person, and a program, is shown of jobs that are kept: tables, trees and events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from perstack.dialect import Checkpoint, JobRecord, job_record_of
from perstack.job import Job, Json, Usage
from perstack.ops.history.filters import Page, Totals
from perstack.ops.history.jobs import JobSummary, RunRow, Told, usage_json

from .text import cut, duration, moment, one_line, table

RULE = "─" * 50


def job_json(job: JobSummary) -> dict[str, Json]:
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


def job_table(jobs: Sequence[JobSummary], verbose: bool) -> list[str]:
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


def run_json(run: RunRow) -> dict[str, Json]:
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


def tree(runs: Sequence[RunRow], job: Job, verbose: bool) -> list[str]:
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


def experts(runs: Sequence[RunRow]) -> list[str]:
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


def about_job(job: Job) -> list[str]:
    """How a job stands."""
    record = job_record_of(job)
    return [
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


def about_checkpoint(point: Checkpoint, messages: bool) -> list[str]:
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


def summary_lines(totals: Totals) -> list[str]:
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


def listing(page: Page, root: str, verbose: bool) -> list[str]:
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
    if verbose and (point := _checkpoint(event)):
        yield f"Checkpoint: {point}"
    for call in failed.values():
        yield f"✗ {one_line(call.tool)}: {short(call.text, 40)}"


def _checkpoint(event: dict[str, Json]) -> str | None:
    """The id of the checkpoint that the job stands at after `event`, None if it is between two."""
    for name in ("nextCheckpoint", "checkpoint", "initialCheckpoint"):
        if name in event:
            return event[name]["id"]
    return None


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
