"""`perstack start`: the workbench."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from perstack.errors import UserError

from ..exits import DONE
from ..opening import opening
from ..options import (
    cassette_option,
    demo_option,
    frozen_option,
    goes_on,
    job_options,
    rule_options,
    run_settings,
    source_options,
    wall_options,
    workspace_option,
)
from ..places import store_option

if TYPE_CHECKING:
    from perstack.definition import RuntimeName
    from perstack.ops.packages.sources import Sources
    from perstack.ops.project import Flags
    from perstack.ops.running.run import Order
    from perstack.tui import Workbench


@click.command()
@click.argument("expert_key", metavar="[expertKey]", required=False, default=None)
@click.argument("query", metavar="[query]", required=False, default=None)
@run_settings
@rule_options
@job_options
@source_options
@wall_options
@workspace_option
@store_option
@click.option(
    "--output",
    type=click.Choice(("screen", "text")),
    default="screen",
    show_default=True,
    help="screen: the workbench. text: whole lines, as `run --output text` has them.",
)
@frozen_option
@demo_option
@cassette_option
@click.pass_context
def start(
    ctx: click.Context,
    expert_key: str | None,
    query: str | None,
    config: str | None,
    flags: Flags,
    approve: tuple[str, ...],
    deny: tuple[str, ...],
    job_id: str | None,
    continue_latest: bool,
    continue_job: str | None,
    resume_from: str | None,
    answer: bool,
    sources: Sources,
    runtime: RuntimeName | None,
    read: tuple[Path, ...],
    workspace: Path | None,
    store: str | None,
    output: str,
    frozen: bool,
    demo: bool,
    cassette: Path | None,
) -> int:
    """Choose, follow and steer Experts on one screen. With `expertKey` and `query` it begins at once."""
    if output == "text":
        if expert_key is None:
            raise click.UsageError("missing required argument 'expertKey'")
        from .run import run

        given = {
            name: value for name, value in ctx.params.items() if name not in ("output", "flags")
        }
        return ctx.invoke(run, **given, output="text")
    old = goes_on(continue_latest, continue_job, resume_from, answer, query)
    if old and expert_key is None:
        raise click.UsageError("missing required argument 'expertKey'")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "`perstack start` needs a terminal. Without one: "
            '`perstack run <expertKey> "<query>"`, with --output text for people.'
        )
    if os.environ.get("TERM") in ("dumb", "unknown"):
        raise UserError(
            f"This terminal (TERM={os.environ['TERM']}) cannot show the workbench. In whole lines: "
            '`perstack start <expertKey> "<query>" --output text`.'
        )
    place = (workspace or Path()).resolve()
    with opening(place, os.environ) as picture:
        # What takes a while to load comes after the first picture.
        with _nothing_collected():
            from perstack.ops.history.jobs import store_at
            from perstack.ops.running.run import GoOn, Order, as_demo
            from perstack.tui import Beginning, Desk, Workbench, search_of

        desk_order = Order(
            expert="",
            config=config,
            cwd=Path().resolve(),
            workspace=place,
            env=os.environ,
            flags=replace(flags, runtime=runtime, approve=approve, deny=deny),
            cassette=cassette,
            store=store_at(store, os.environ) if store else None,
            proxy=os.environ.get("PERSTACK_PROXY_URL") or None,
            frozen=frozen,
            read=read,
            sources=sources,
        )
        order: Order | None = None
        if demo:
            order = as_demo(
                replace(desk_order, expert=expert_key or "fitness-assistant", query=query or "")
            )
            desk_order = replace(order, expert="", query="")
        elif old:
            go_on = GoOn(job=continue_job, checkpoint=resume_from, answer=answer)
            order = replace(desk_order, expert=expert_key or "", query=query or "", go_on=go_on)
        elif expert_key is not None and query is not None:
            order = replace(desk_order, expert=expert_key, query=query, job=job_id)
        beginning = Beginning(order=order, expert=expert_key or "")
        desk = Desk(desk_order, search_of(desk_order))
        return _run(Workbench(desk, beginning, opening=picture))


@contextmanager
def _nothing_collected() -> Generator[None]:
    """What is loaded now stays: to look through it for garbage would take a tenth of the time."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _run(bench: Workbench) -> int:
    """The exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: bench.exit(return_code=128 + number))
    try:
        bench.run()
    finally:
        bench.close()
    return DONE if bench.return_code in (None, 0) else bench.return_code
