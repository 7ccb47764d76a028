"""From runs to figures: each program beside another, round by round.

The programs take turns, so that whatever slows the machine slows them alike; a ratio is taken within a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median and what it lies between."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if short(self.low) == short(self.high):
            return short(self.median)
        return f"{short(self.median)} [{short(self.low)}-{short(self.high)}]"


def short(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """ratio: to the base of the figure; None for the base itself, and where there is none."""

    program: str
    value: Spread
    ratio: Spread | None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing measured of several programs. base: the program the ratios are to, "" for no ratios."""

    id: str
    title: str
    unit: str
    base: str
    rows: tuple[Row, ...]

    @classmethod
    def of(
        cls,
        id: str,
        title: str,
        unit: str,
        values: Mapping[str, Sequence[float]],
        *,
        base: str = "",
    ) -> Figure:
        """values: of each program, one for each round."""
        beside = values.get(base, ())
        rows: list[Row] = []
        for program, own in values.items():
            if not own:
                continue
            ratios = [mine / other for mine, other in zip(own, beside, strict=False) if other > 0]
            ratio = Spread.of(ratios) if ratios and program != base else None
            rows.append(Row(program=program, value=Spread.of(own), ratio=ratio))
        return cls(id=id, title=title, unit=unit, base=base if beside else "", rows=tuple(rows))

    def row(self, program: str) -> Row | None:
        return next((row for row in self.rows if row.program == program), None)

    def __str__(self) -> str:
        """As a titled Markdown table, the smallest first."""
        head = ["program", self.unit, *([f"x {self.base}"] if self.base else [])]
        rows = [
            [row.program, str(row.value), *([str(row.ratio or "")] if self.base else [])]
            for row in sorted(self.rows, key=lambda row: row.value.median)
        ]
        return f"**{self.title}**\n\n{table(head, rows)}"


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What we aim at: the median of `value` is to be no more than `limit`; least: no less."""

    what: str
    value: Spread
    limit: float
    least: bool = False

    @property
    def met(self) -> bool:
        median = self.value.median
        return median >= self.limit if self.least else median <= self.limit

    @property
    def said(self) -> str:
        return f"at {'least' if self.least else 'most'} {short(self.limit)}"


def table_of_aims(aims: Iterable[Aim]) -> str:
    rows = [(aim.what, str(aim.value), aim.said, "met" if aim.met else "missed") for aim in aims]
    return table(("what", "measured", "aim", ""), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
