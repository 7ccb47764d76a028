"""`perstack tree` and `perstack why`: who delegates to whom, read from perstack.lock."""

from __future__ import annotations

import os
from pathlib import Path

import click

from perstack.ops.packages.locked import LockedProject, locked_project
from perstack.ops.packages.tree import chains, duplicates, inverted, lines_of, matching, tree_of

from ..exits import DONE, FINDINGS
from ..options import config_option, json_option, quiet_option
from ..plain import plain
from ..text import as_json_text, say


@click.command()
@click.argument("names", metavar="[expert]...", nargs=-1)
@config_option
@click.option(
    "--depth", type=click.IntRange(min=0), help="Levels of delegates to show [default: all]."
)
@click.option(
    "--invert", metavar="NAME", help="Show who delegates to it, instead of whom it delegates to."
)
@click.option("--duplicates", "several", is_flag=True, help="Only Experts in several versions.")
@json_option
@quiet_option
def tree(
    names: tuple[str, ...],
    config: str | None,
    depth: int | None,
    invert: str | None,
    several: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Show the delegates of the project's Experts, or of those named, as perstack.lock has them."""
    if bool(names) + (invert is not None) + several > 1:
        raise click.UsageError("an expert, --invert and --duplicates exclude each other")
    project = _read(config)
    lock = project.file.lock
    if invert is not None:
        trees = inverted(lock, invert, depth)
    elif several:
        trees = duplicates(lock)
    else:
        roots = [key for name in names for key in matching(lock, name)]
        trees = tree_of(lock, roots or project.roots, depth)
    if as_json:
        say(as_json_text({"trees": trees}, pretty=True))
    elif several and not trees:
        say("" if quiet else "No Expert is there in several versions.\n")
    else:
        say("".join(f"{plain(line)}\n" for line in lines_of(trees)))
    return DONE


@click.command()
@click.argument("name", metavar="expert")
@config_option
@json_option
@quiet_option
def why(name: str, config: str | None, as_json: bool, quiet: bool) -> int:
    """Show by what delegates an Expert got into perstack.lock: a shortest chain to each version of it.

    Exit codes: 0 there is a chain; 3 it is in the lock, and nothing leads to it any more.
    """
    project = _read(config)
    found = chains(project.file.lock, project.roots, name)
    if as_json:
        say(as_json_text({"chains": found}, pretty=True))
    elif not found and not quiet:
        say(f"{plain(name)} is in the lock, and no Expert of the project leads to it any more.\n")
    for chain in () if as_json else found:
        for level, node in enumerate(chain):
            spec = f"  (as {node.spec})" if node.spec else ""
            say(f"{'   ' * (level - 1)}{'└─ ' if level else ''}{plain(node.key + spec)}\n")
    return DONE if found else FINDINGS


def _read(config: str | None) -> LockedProject:
    project = locked_project(config, os.environ, Path().resolve())
    if project.is_stale:
        message = "warning: perstack.toml names other delegates than perstack.lock. Run `perstack install`."
        click.echo(message, err=True)
    return project
