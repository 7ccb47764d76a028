"""A job as a page of Markdown, for people to keep or send. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from perstack.job import Activity, activity, utc

from .account import Account, Line
from .blocks import block_of, plain_lines, text_of
from .words import counted


def markdown_of(account: Account) -> str:
    """All of a job, delegates below the calls that set them to work."""
    job = account.job
    return "\n".join(
        (
            f"# {job.expert}",
            "",
            f"Job `{job.id}`, {utc(job.started_at)}: {job.model.provider}/{job.model.model}, "
            f"{counted(job.steps, 'step')}, {job.usage.total_tokens} tokens.",
            "",
            *(_run(account, account.root) if account.root is not None else ()),
        )
    )


def _run(account: Account, line: Line) -> Iterator[str]:
    level = "#" * min(line.depth + 2, 6)
    for row in line.rows:
        if line.depth and isinstance(row, activity.Query) and row.id == f"query-{line.id}":
            continue  # the call above says it
        yield from _row(row, level)
        if child := line.children.get((row.seq, row.id)):
            yield from _run(account, account.lines[child])


def _row(row: Activity, level: str) -> Iterator[str]:
    block = block_of(row)
    head = " ".join(filter(None, (block.title or "You", block.subject)))
    if block.thoughts:
        yield from (f"> {line}" for line in block.thoughts.splitlines())
        yield ""
    match row:
        case activity.Query() | activity.Complete():
            yield from (f"{level} {head}", "", text_of(row).strip(), "")
        case activity.Delegate():
            yield from (f"{level} {head}", "", row.query.strip(), "")
        case _:
            yield from (f"**{head}** {block.meta}".rstrip(), "")
            if body := list(plain_lines(block.body)):
                fence = "```" if not any("```" in line for line in body) else "````"
                yield from (
                    fence,
                    *body,
                    *((f"… {block.more} more lines",) if block.more else ()),
                    fence,
                    "",
                )
