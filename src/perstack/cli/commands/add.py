"""`perstack add` and `perstack remove`: the delegates of an Expert, in perstack.toml and in the lock."""

from __future__ import annotations

from functools import partial

import anyio
import click

from perstack.ops.packages.access import Access
from perstack.ops.packages.deps import Style, plan_add, plan_remove

from ..exits import DONE
from ..moves import settle_plan
from ..options import json_option, quiet_option, registry_access

expert_option = click.option(
    "--expert",
    metavar="KEY",
    help="The Expert of perstack.toml it is about [default: the only one].",
)


@click.command()
@click.argument("specs", metavar="spec...", nargs=-1, required=True)
@registry_access(needs_project=True, asks=False, chooses=True)
@expert_option
@click.option("--exact", is_flag=True, help="Write the exact version, not a range.")
@click.option("--tilde", is_flag=True, help="Write a range of patches only (~).")
@click.option("--tag", help="Take the version with this tag.")
@json_option
@quiet_option
def add(
    access: Access,
    specs: tuple[str, ...],
    expert: str | None,
    exact: bool,
    tilde: bool,
    tag: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Let an Expert delegate to published ones: as @acme/reader, or with a version, range or tag behind it.

    What is there in another version is replaced. Nothing is started; what the new ones may touch is shown.
    """
    if exact and tilde:
        raise click.UsageError("--exact and --tilde exclude each other")
    style: Style = "" if exact else "~" if tilde else "^"
    plan = anyio.run(partial(plan_add, access, specs, expert, style=style, tag=tag))
    settle_plan(plan, sure=True, as_json=as_json, quiet=quiet)
    return DONE


@click.command()
@click.argument("names", metavar="name...", nargs=-1, required=True)
@registry_access(needs_project=True, asks=False)
@expert_option
@json_option
@quiet_option
def remove(
    access: Access, names: tuple[str, ...], expert: str | None, as_json: bool, quiet: bool
) -> int:
    """Let an Expert no longer delegate to others, and take out of the lock what nobody needs any more."""
    plan = anyio.run(plan_remove, access, names, expert)
    settle_plan(plan, sure=True, as_json=as_json, quiet=quiet)
    return DONE
