"""The part of the performance page that tells of the registry server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..figures import Aim, Figure, table, table_of_aims
from ..page import REGISTRY
from .measure import KINDS, OURS, READ, READ_ALONE

_COLUMNS = (
    ("rate", "per second"),
    ("p50", "half within, ms"),
    ("p99", "99 of 100 within, ms"),
    ("cpu", "processor for one, µs"),
    ("size", "bytes of one answer"),
)

_INTRODUCTION = """
Written by `python -m bench.registry --page`. One process of `perstack registry serve` on a SQLite file with
{experts:,} Experts, each of about two kilobytes and published as a client's would be. The load generator ran on
the same {processors} processors; the average load was {load:.1f}, these two included.{first}
**Read the ratios**, and the processor's time for one answer, in which other programs hardly show.
Each figure is the median of {rounds} rounds of {seconds} seconds, with the lowest and the highest in brackets.
Exact versions are those of 10,000 Experts in turn, about as many answers as the server keeps in memory. A publish
is answered once it is on the disk and in the signed log. Searches are a mixture of rare words, common ones, words
that every Expert has, and traits.
"""


_PEERS = """
What a client reads to know one version of a package. npm's clients get all versions of a package in one answer, so
verdaccio is shown twice: with packages of one version, which is the least that it can be asked for, and with
packages of 20. verdaccio and pypiserver hold a few hundred packages and their settings are the usual ones.
"""

Ratios = Sequence[tuple[str, int, str, str]]
"""As `Bench.ratios` gives them."""


def section_of(
    figures: Iterable[Figure], aims: Iterable[Aim], ratios: Ratios, where: Mapping[str, Any]
) -> str:
    """The part, with its heading. where: the conditions, as in the results."""
    by_id = {figure.id: figure for figure in figures}
    introduction = _INTRODUCTION.format(
        experts=where["experts"],
        processors=where["processors"],
        load=sum(one for each in where["load"] for one in each[:2]) / 4,
        rounds=where["rounds"],
        seconds=where["seconds"],
        first=" They went before the others." if where["first"] else "",
    )
    parts = [
        f"{REGISTRY}{introduction}",
        f"### What it aims at\n\n{table_of_aims(aims)}",
        f"### What it answers\n\n{_ours(by_id)}",
    ]
    if ratios:
        parts.append(f"### Beside other package servers\n\n{_beside(by_id, ratios)}")
    parts.append(_conditions(where))
    return "\n".join(parts)


def tables(figures: Iterable[Figure], ratios: Ratios) -> str:
    """What was measured, of whatever was measured."""
    by_id = {figure.id: figure for figure in figures}
    own = [
        f"{figure.title}: {row.value} {figure.unit}\n"
        for figure in by_id.values()
        if figure.id in ("start", "start:cpu", "memory") and (row := figure.row(OURS))
    ]
    return "\n".join((_ours(by_id), *own, _beside(by_id, ratios) if ratios else ""))


def _ours(by_id: Mapping[str, Figure]) -> str:
    rows: list[list[str]] = []
    for kind in KINDS:
        found = [by_id[f"{kind.id}:{id}"].row(OURS) for id, _ in _COLUMNS]
        rows.append([kind.title, str(kind.connections), *(_value(row) for row in found)])
    return table(["what", "at once", *(head for _, head in _COLUMNS)], rows)


def _value(row: Any) -> str:
    return str(row.value) if row else ""


def _beside(by_id: Mapping[str, Figure], ratios: Ratios) -> str:
    """What a client reads to know one version of a package, of each."""
    rows: list[Sequence[str]] = []
    for program in (row.program for row in by_id["read:rate"].rows):
        for kind in (READ, READ_ALONE):
            found = [by_id[f"{kind.id}:{id}"].row(program) for id, _ in _COLUMNS]
            rows.append([program, str(kind.connections), *(_value(row) for row in found)])
    heads = ["to", "at once", "answers per second, times", "processor for one, times"]
    return (
        f"{_PEERS}\n{table(['program', 'at once', *(head for _, head in _COLUMNS)], rows)}\n"
        "perstack's ratios, taken within each round:\n\n"
        f"{table(heads, [[peer, str(count), *more] for peer, count, *more in ratios])}"
    )


def _conditions(where: Mapping[str, Any]) -> str:
    used = {"perstack": where["versions"].get("perstack", ""), **where["peers"]}
    return (
        f"Python {where['python']} on {where['system']}, {where['processors']} processors, {where['at'][:10]},"
        f" {', '.join(f'{name} {version}' for name, version in used.items())}.\n"
    )
