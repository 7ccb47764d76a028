"""`python -m bench.registry`: fills a registry, asks it much, and tells how it did. See ../README.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from ..__main__ import conditions
from ..entries import HERE
from ..figures import table_of_aims
from ..page import with_registry
from .measure import Bench, Plan
from .page import section_of, tables
from .servers import versions

AUTOGROUP = Path("/proc/self/autogroup")


def is_first(autogroup: Path = AUTOGROUP) -> bool:
    """Whether this run goes before other programs: its niceness, or that of its session, is below 0.

    The kernel's file says "/autogroup-85 nice 0", or nothing where the process has no such group.
    """
    words = autogroup.read_text(encoding="ascii").split() if autogroup.exists() else []
    return os.nice(0) < 0 or (len(words) == 3 and int(words[2]) < 0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.registry")
    parser.add_argument(
        "--quick", action="store_true", help="few Experts, short and once, no peers"
    )
    parser.add_argument("--experts", type=int, default=100_000, help="how many there are")
    parser.add_argument("--rounds", type=int, default=5, help="how often each server has its turn")
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    parser.add_argument("--no-peers", action="store_true", help="the registry server only")
    parser.add_argument(
        "--database", type=Path, help="keep the filled registry there, and take it from there"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the results")
    parser.add_argument("--page", type=Path, help="write its part of the page there")
    given = parser.parse_args()
    plan = Plan(
        experts=2_000 if given.quick else given.experts,
        rounds=1 if given.quick else given.rounds,
        seconds=1 if given.quick else given.seconds,
        peers=not (given.quick or given.no_peers),
    )
    before = os.getloadavg()
    bench = Bench(plan)
    bench.measure(given.database)
    figures, aims = bench.figures(), bench.aims()
    whole = bool(bench.loads) and not bench.broken
    if whole:
        print(tables(figures, bench.ratios()))
    if whole and not given.quick:
        print(f"**What we aim at**\n\n{table_of_aims(aims)}")
    for note in bench.notes:
        print(f"- {note}")
    where = {
        **conditions(()),
        "experts": plan.experts,
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "load": [before, os.getloadavg()],
        "first": is_first(),
        "peers": versions() if plan.peers else {},
    }
    result = {
        **where,
        "figures": [asdict(figure) for figure in figures],
        "ratios": bench.ratios(),
        "aims": [asdict(aim) | {"met": aim.met} for aim in aims],
        "notes": bench.notes,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"registry-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{path}")
    if given.page and whole:
        page = given.page.read_text(encoding="utf-8")
        section = section_of(figures, aims, bench.ratios(), where)
        given.page.write_text(with_registry(page, section), encoding="utf-8")
    return 1 if bench.broken else 0


if __name__ == "__main__":
    sys.exit(main())
