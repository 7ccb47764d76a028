"""`perstack install`: resolve the Experts of a project and lock them with their tools."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import click

from perstack.ops.install import collect, keep_tools, resolve_all, write_lock

from ..options import project_options
from ..plain import plain


@click.command()
@project_options
@click.option("--frozen", is_flag=True, help="Write nothing; fail if the lock is out of date.")
@click.option(
    "--no-tools",
    is_flag=True,
    help="Start no server: keep the tools of Experts that are as they were, and have none for others.",
)
def install(config: str | None, env_path: tuple[str, ...], frozen: bool, no_tools: bool) -> None:
    """Resolve the Experts of perstack.toml and write perstack.lock beside it.

    Exit codes: 0 the lock is up to date; 1 failed; 4 it was changed by hand, and 5 it is out of date, both only
    under --frozen.
    """
    click.echo("Resolving experts...")
    installation = resolve_all(config, env_path, os.environ, Path().resolve(), frozen=frozen)
    for warning in installation.warnings:
        click.echo(f"warning: {plain(warning)}", err=True)
    click.echo(f"Found {len(installation.lock.experts)} expert(s)")
    if no_tools:
        lock = keep_tools(installation)
    else:
        click.echo("Collecting tool definitions...")
        lock = anyio.run(collect, installation)
        for key, pin in lock.experts.items():
            found = sum(len(tools) for tools in pin.tools.values())
            click.echo(f"  {key}: Found {found} tool(s)")
    if write_lock(installation, lock, at=time.time(), frozen=frozen):
        click.echo(f"Generated {installation.path}")
    else:
        click.echo(f"Up to date: {installation.path}")
