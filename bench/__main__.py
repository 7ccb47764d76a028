"""`python -m bench`: measures, prints tables, writes results. See README.md beside this."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from .entries import FIELD, HERE, Entry
from .figures import table_of_aims
from .page import page_of, registry_in, with_registry
from .report import Bench, Plan

LIBRARIES = {
    "aiohttp",
    "anthropic",
    "anyio",
    "httptools",
    "langchain",
    "langgraph",
    "msgspec",
    "openai",
    "openai-agents",
    "perstack",
    "pydantic-ai-slim",
    "smolagents",
}


def plan_of(given: argparse.Namespace) -> Plan:
    entries = FIELD
    if given.no_peers or given.quick:
        entries = tuple(entry for entry in FIELD if not entry.peer)
    if given.quick:
        return Plan(rounds=1, steps=(5, 20), delegates=4, jobs=(20,), entries=entries)
    return Plan(
        rounds=given.rounds,
        steps=(10, 50, 200),
        delegates=16,
        jobs=(100, 1_000),
        entries=entries,
        everything=given.all,
    )


def conditions(entries: tuple[Entry, ...]) -> dict[str, Any]:
    """Where and with what it was measured."""
    folders = [*sys.path, *(str(entry.folder) for entry in entries if entry.needs)]
    found = {
        each.name.lower(): each.version
        for each in distributions(path=folders)
        if each.name.lower() in LIBRARIES
    }
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": len(os.sched_getaffinity(0)),
        "versions": dict(sorted(found.items())),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="small and once, in under a minute")
    parser.add_argument("--rounds", type=int, default=5, help="how often each program has its turn")
    parser.add_argument("--no-peers", action="store_true", help="Perstack and the bare loops only")
    parser.add_argument(
        "--all", action="store_true", help="the peers at a thousand jobs too: half an hour"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the results")
    parser.add_argument("--page", type=Path, help="write the page for the documentation there")
    given = parser.parse_args()
    plan = plan_of(given)
    bench = Bench(plan)
    bench.measure()
    for figure in bench.figures:
        print(figure)
    if not given.quick:
        print(f"**What we aim at**\n\n{table_of_aims(bench.aims)}")
    for note in bench.notes:
        print(f"- {note}")
    where = conditions(plan.entries)
    result = {
        **where,
        "figures": [asdict(figure) for figure in bench.figures],
        "aims": [asdict(aim) | {"met": aim.met} for aim in bench.aims],
        "notes": bench.notes,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{path}")
    if given.page:
        before = given.page.read_text(encoding="utf-8") if given.page.exists() else ""
        page = with_registry(page_of(bench.figures, bench.aims, where), registry_in(before))
        given.page.write_text(page, encoding="utf-8")
    return 1 if bench.broken else 0


if __name__ == "__main__":
    sys.exit(main())
