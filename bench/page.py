"""The page of the documentation that shows the figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .figures import Aim, Figure, table, table_of_aims

_INTRODUCTION = """\
# Performance

What Perstack itself costs, beside what the work costs without it. Written by `python -m bench --page`; how it
measures, and who the programs are, is told in [bench/README.md](../../bench/README.md). In short: the model is
a scripted server on the same machine, programs take turns, a figure is the median of its rounds with the
lowest and the highest in brackets. Absolute times belong to one machine: **read the ratios**.

| Word | Meaning |
|---|---|
| bare Python | the interpreter, started and ended |
| asyncio floor | the same work in one file: hand-written HTTP, events and log, each message encoded once |
| aiohttp loop | the loop one would write in an afternoon: no log, the history encoded anew each step |
| own time per step | from the model's last byte to the whole of the next request |

Perstack keeps a durable log of every job and tells every event; the others keep nothing, but for the asyncio
floor's plain log. What a [registry server](#the-registry-server) answers, and how quickly, stands at the end.
"""


REGISTRY = "## The registry server\n"
"""How the part begins that `python -m bench.registry --page` writes. It is the last of the page."""


def with_registry(page: str, section: str) -> str:
    """`page` with `section`, which begins with REGISTRY or is empty, instead of what it had of that kind."""
    before, _, _ = page.partition(REGISTRY)
    return f"{before.rstrip()}\n\n{section}".rstrip() + "\n"


def registry_in(page: str) -> str:
    """What a page says of the registry server; empty if it says nothing."""
    _, head, rest = page.partition(REGISTRY)
    return head + rest


def page_of(figures: Iterable[Figure], aims: Iterable[Aim], where: Mapping[str, Any]) -> str:
    """The page, but for the registry server. where: the conditions, as in the results."""
    by_id = {figure.id: figure for figure in figures}
    steps = [id for id in by_id if id.startswith("step:")]
    alone = ["start", *steps, "last", "memory"]
    heads = [
        "first request, ms",
        *(f"{id.removeprefix('step:')} steps, ms each" for id in steps),
        "last tenth, ms each",
        "memory, MB",
    ]
    parts = [
        _INTRODUCTION,
        f"## What we aim at\n\n{table_of_aims(aims)}",
        f"## One agent\n\n{_beside(by_id, alone, heads)}",
        f"## Perstack's ratios, one agent\n\n{_ratios(by_id, alone)}",
        f"## Bytes\n\n{_own(by_id, ('stored:', 'stdout:', 'growth:'))}",
    ]
    together = {
        "Delegates at once": ["delegates:wall", "delegates:cpu"],
        **{
            f"{int(count):,} jobs in one process": [
                f"jobs:{count}:{what}" for what in ("wall", "cpu", "memory")
            ]
            for count in dict.fromkeys(id.split(":")[1] for id in by_id if id.startswith("jobs:"))
        },
    }
    for title, ids in together.items():
        about = by_id[ids[0]].title.rpartition(":")[0]
        columns = ["wall, s", "processor, s", "memory, MB"][: len(ids)]
        parts.append(
            f"## {title}\n\n{about}.\n\n{_beside(by_id, ids, columns)}\n"
            f"Perstack's ratios:\n\n{_ratios(by_id, ids)}"
        )
    parts.append(_conditions(where))
    return "\n".join(parts)


def _beside(by_id: Mapping[str, Figure], ids: Sequence[str], heads: Sequence[str]) -> str:
    """Programs down, figures across."""
    programs = dict.fromkeys(row.program for id in ids for row in by_id[id].rows)
    rows = [
        [program, *(str(row.value) if (row := by_id[id].row(program)) else "" for id in ids)]
        for program in programs
    ]
    return table(["program", *heads], rows)


def _ratios(by_id: Mapping[str, Figure], ids: Iterable[str]) -> str:
    rows: list[list[str]] = []
    for id in ids:
        figure = by_id[id]
        ours = figure.row("perstack")
        if ours and ours.ratio:
            rows.append([figure.title, str(ours.ratio), figure.base])
    return table(["what", "times", "that of"], rows)


def _own(by_id: Mapping[str, Figure], kinds: tuple[str, ...]) -> str:
    rows = [
        [figure.title, f"{row.value} {figure.unit}"]
        for id, figure in by_id.items()
        if id.startswith(kinds) and (row := figure.row("perstack"))
    ]
    return table(["what", "Perstack"], rows)


def _conditions(where: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    return (
        f"## Conditions\n\nPython {where['python']} on {where['system']}, {where['processors']} processors,"
        f" {where['at'][:10]}. {versions}.\n"
    )
