"""`perstack update` and `perstack outdated`: newer versions of what is locked, and whether there are any."""

from __future__ import annotations

from functools import partial

import anyio
import click

from perstack.ops.packages.access import Access
from perstack.ops.packages.outdated import Row, outdated_of
from perstack.ops.packages.updating import plan_dedupe, plan_update

from ..asking import Cancelled
from ..exits import DONE, FINDINGS
from ..moves import settle_plan, show_plan
from ..options import json_option, quiet_option, registry_access, yes_option
from ..plain import plain
from ..text import as_json_text, say, table, warn


@click.command()
@click.argument("names", metavar="[name]...", nargs=-1)
@registry_access(needs_project=True, asks=False, chooses=True)
@click.option(
    "--latest", is_flag=True, help="Beyond the ranges of perstack.toml, which are rewritten."
)
@click.option(
    "--precise", metavar="VERSION", help="Take this version of the one Expert that is named."
)
@click.option(
    "--dedupe", is_flag=True, help="Choose nothing new; have as few versions as the ranges allow."
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@yes_option
@json_option
@quiet_option
def update(
    access: Access,
    names: tuple[str, ...],
    latest: bool,
    precise: str | None,
    dedupe: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Lock the newest versions that the delegates allow, of all published Experts or of those named.

    What each new version may touch besides is shown. If that is more than before, you are asked; without a
    terminal it takes --yes.
    """
    if latest + dedupe + (precise is not None) > 1 or (dedupe and names):
        raise click.UsageError(
            "--latest, --precise and --dedupe exclude each other; --dedupe takes no names"
        )
    if dedupe:
        plan = anyio.run(plan_dedupe, access)
    else:
        plan = anyio.run(partial(plan_update, access, names, latest=latest, precise=precise))
    if dry_run:
        warn(plan.warnings)
        show_plan(plan, as_json=as_json)
        return DONE
    try:
        settle_plan(plan, sure=yes, as_json=as_json, quiet=quiet)
    except Cancelled:
        say("Cancelled\n")
    return DONE


@click.command()
@registry_access(needs_project=True, asks=False)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also what delegates need, not only what the project names.",
)
@click.option("--fail", is_flag=True, help="Exit with 3 if anything could be newer.")
@json_option
@quiet_option
def outdated(access: Access, everything: bool, fail: bool, as_json: bool, quiet: bool) -> int:
    """Show which locked Experts have newer versions.

    Exit codes: 0; with --fail, 3 if there are any.
    """
    rows = anyio.run(partial(outdated_of, access, everything=everything))
    if as_json:
        say(as_json_text({"outdated": rows}, pretty=True))
    elif not rows:
        say("" if quiet else "Everything is at its latest version.\n")
    else:
        titles = ("EXPERT", "LOCKED", "WANTED", "LATEST", "STATUS", "AGE")
        say("".join(f"{line}\n" for line in table([titles, *map(_cells, rows)])))
    return FINDINGS if fail and rows else DONE


def _cells(row: Row) -> tuple[str, ...]:
    age = "-" if row.age_days is None else f"{row.age_days}d"
    cells = (row.name, row.locked, row.wanted or "-", row.latest or "-", row.status, age)
    return tuple(plain(cell) for cell in cells)
