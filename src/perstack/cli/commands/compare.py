"""`perstack compare`: where two jobs part."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import click
import msgspec

from perstack.ops.history.compare import Comparison, FileWritten, Side, SideDeed, calls_by_tool
from perstack.ops.history.compare import compare as compared
from perstack.ops.history.jobs import Place, history_place, need_history, store_at

from ..exits import DONE, FINDINGS
from ..places import history_option, store_option
from ..text import blocks, one_line, say, table


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
@history_option
@store_option
def compare(a: str, b: str, as_json: bool, workspace: Path | None, store: str | None) -> int:
    """Show where the jobs A and B part, and what each called, wrote and spent.

    They are compared by what happened in them; ids, times, the model in use and what it cost do not count.

    Exit codes: 0 alike, 3 they differ, 1 there is no such job, 4 a log that cannot be read.
    """
    root = history_place(store, workspace, os.environ, Path.cwd())
    comparison = anyio.run(_compare, root, a, b)
    if as_json:
        say(msgspec.json.format(msgspec.json.encode(comparison), indent=2).decode() + "\n")
    else:
        say(_as_text(comparison))
    return DONE if comparison.alike else FINDINGS


async def _compare(root: Place, a: str, b: str) -> Comparison:
    store = store_at(root, os.environ)
    return compared(await need_history(store, root, a), await need_history(store, root, b))


def _as_text(told: Comparison) -> str:
    a, b = told.a, told.b
    heads = ("", f"A {a.job}", f"B {b.job}")
    facts = [heads, *_facts(a, b)]
    calls_a, calls_b = calls_by_tool(a), calls_by_tool(b)
    calls = [
        ("Tool calls:", "A", "B"),
        *(
            (f"  {one_line(tool)}", f"{calls_a[tool]}", f"{calls_b[tool]}")
            for tool in sorted(calls_a | calls_b)
        ),
    ]
    return blocks(
        table(facts),
        table(calls, right={1, 2}) if len(calls) > 1 else [],
        list(_files(a, b)),
        list(_parting(told)),
    )


def _facts(a: Side, b: Side) -> Iterator[tuple[str, str, str]]:
    def row(name: str, value: Callable[[Side], object]) -> tuple[str, str, str]:
        return name, one_line(str(value(a))), one_line(str(value(b)))

    yield row("Expert", lambda side: side.expert)
    yield row("Model", lambda side: f"{side.model}, reasoning {side.reasoning}")
    for key in {**a.definitions, **b.definitions}:
        if a.definitions.get(key) != b.definitions.get(key):
            yield row(
                f"Definition {key}", lambda side, key=key: side.definitions.get(key, "-")[:19]
            )
    yield row("Outcome", lambda side: side.outcome or "not ended")
    yield row("Steps", lambda side: side.steps)
    yield row("Tokens", lambda side: _tokens(side.usage))
    for expert in {**a.spent, **b.spent}:
        yield row(f"  {one_line(expert)}", lambda side, key=expert: _tokens(side.spent.get(key)))


def _tokens(usage: dict[str, int] | None) -> str:
    if usage is None:
        return "-"
    return f"{usage['totalTokens']} ({usage['inputTokens']} in, {usage['outputTokens']} out)"


def _files(a: Side, b: Side) -> Iterator[str]:
    files_a, files_b = ({file.path: file for file in side.files} for side in (a, b))
    paths = sorted(files_a | files_b)
    if paths:
        yield "Files:"
    rows = [
        (
            "=" if _same_file(files_a.get(path), files_b.get(path)) else "≠",
            one_line(path),
            _file(files_a.get(path)),
            _file(files_b.get(path)),
        )
        for path in paths
    ]
    yield from (f"  {line}" for line in table(rows))


def _same_file(a: FileWritten | None, b: FileWritten | None) -> bool:
    return a is not None and b is not None and (a.digest, a.by) == (b.digest, b.by)


def _file(file: FileWritten | None) -> str:
    if file is None:
        return "-"
    return "deleted" if file.digest is None else f"{file.by} {file.digest[:19]}"


def _parting(told: Comparison) -> Iterator[str]:
    where = told.parting
    if where is None:
        yield "Alike: the same was asked, replied, called, returned and answered."
        return
    run = f" (run {where.path})" if where.path else ""
    count = told.differences
    places = f"; {count} places differ in all" if count > 1 else ""
    yield f"They part at step {where.step} of {one_line(where.expert)}{run}{places}"
    yield from _side_deed("A", where.a)
    yield from _side_deed("B", where.b)


def _side_deed(name: str, done: SideDeed | None) -> Iterator[str]:
    if done is None:
        yield f"  {name}: nothing there"
        return
    yield f"  {name}: event {done.seq}, {done.kind}"
    for thing, value in done.said.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        yield f"    {thing}: {one_line(text)}"
