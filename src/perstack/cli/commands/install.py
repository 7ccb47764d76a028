"""`perstack install`: resolve the Experts of a project and lock them with their tools."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import anyio
import click

from perstack.definition import RuntimeName
from perstack.ops.packages.install import collect, keep_tools, resolve_all, write_lock
from perstack.ops.packages.sources import Sources

from ..exits import DONE
from ..options import json_option, project_options, quiet_option, source_options, wall_options
from ..plain import plain
from ..text import as_json_text, say, warn


@click.command()
@project_options
@source_options
@wall_options
@json_option
@quiet_option
@click.option("--frozen", is_flag=True, help="Write nothing; fail if the lock is out of date.")
@click.option(
    "--no-tools",
    is_flag=True,
    help="Start no server: keep the tools of Experts that are as they were, and have none for others.",
)
@click.option(
    "--vendor",
    is_flag=True,
    help="Put the documents of published Experts into perstack_vendor/, to do without a registry.",
)
def install(
    config: str | None,
    env_path: tuple[str, ...],
    sources: Sources,
    runtime: RuntimeName | None,
    read: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
    frozen: bool,
    no_tools: bool,
    vendor: bool,
) -> int:
    """Resolve the Experts of perstack.toml and write perstack.lock beside it.

    Exit codes: 0 the lock is up to date; 1 failed; 4 something published is not what it was, or the lock was
    changed by hand under --frozen; 5 the lock is out of date, under --frozen.
    """
    if vendor and frozen:
        raise click.UsageError("--vendor writes, and --frozen forbids it")
    progress = _unsaid if as_json or quiet else _said
    progress("Resolving experts...")
    installation = anyio.run(
        partial(
            resolve_all,
            config,
            env_path,
            os.environ,
            Path().resolve(),
            frozen=frozen,
            runtime=runtime,
            read=read,
            sources=sources,
        )
    )
    warn(installation.warnings)
    progress(f"Found {len(installation.lock.experts)} expert(s)")
    if no_tools:
        lock = keep_tools(installation)
    else:
        progress("Collecting tool definitions...")
        lock = anyio.run(collect, installation)
        for key, pin in lock.experts.items():
            found = sum(len(tools) for tools in pin.tools.values())
            progress(f"  {key}: Found {found} tool(s)")
    written = write_lock(installation, lock, at=time.time(), frozen=frozen)
    progress(f"{'Generated ' if written else 'Up to date: '}{installation.path}")
    vendored = 0
    if vendor:
        from perstack.ops.packages.vendor import vendor_documents

        place, vendored = vendor_documents(installation.loaded, lock, installation.env)
        progress(f"Vendored {vendored} document(s) in {place}")
    if as_json:
        told = {
            "lock": str(installation.path),
            "written": written,
            "experts": {
                key: {"integrity": pin.integrity, "tools": sum(map(len, pin.tools.values()))}
                for key, pin in lock.experts.items()
            },
            "vendored": vendored,
        }
        say(as_json_text(told, pretty=True))
    return DONE


def _said(line: str) -> None:
    click.echo(plain(line))


def _unsaid(_: str) -> None:
    """What only a person would want to know meanwhile."""
