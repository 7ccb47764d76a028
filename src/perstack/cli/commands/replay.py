"""`perstack replay`: a job told again from its log, and its log put to the test."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import anyio
import click
import msgspec

from perstack.errors import UserError
from perstack.job import Rewound, cut
from perstack.ops.history.jobs import (
    History,
    Place,
    history_place,
    need_history,
    store_at,
)
from perstack.ops.history.replay import Parting, parting_of, verify

from ..exits import DONE, INTEGRITY
from ..places import history_option, store_option
from ..text import one_line, say


@click.command()
@click.argument("job", metavar="JOB")
@click.option(
    "--output",
    type=click.Choice(("json", "text")),
    help="json: one event a line. text: an account for people. [default: json]",
)
@click.option("--full-events", is_flag=True, help="Events with whole histories in them.")
@click.option("--all", "all_", is_flag=True, help="Also what was left behind by going back.")
@click.option(
    "--verify", "verify_", is_flag=True, help="Check the whole log instead of telling it."
)
@click.option(
    "--events",
    "recorded",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check the log, and that it tells what this file holds: the stdout of `perstack run`.",
)
@history_option
@store_option
def replay(
    job: str,
    output: str | None,
    full_events: bool,
    all_: bool,
    verify_: bool,
    recorded: Path | None,
    workspace: Path | None,
    store: str | None,
) -> int:
    """Tell JOB again as it happened, from its log. No model is asked, no tool is used, nothing is written.

    Exit codes: 0 told, or whole; 1 there is no such job; 4 the log, or the recording, is not what it should be.
    """
    root = history_place(store, workspace, os.environ, Path.cwd())
    if verify_ or recorded is not None:
        if output or all_:
            raise UserError("--verify checks the whole log and tells nothing of it.")
        return anyio.run(_verify, root, job, recorded, full_events)
    if output == "text" and full_events:
        raise UserError("--full-events is about --output json.")
    history = anyio.run(need_history, store_at(root, os.environ), root, job)
    if output == "text":
        _tell_people(history, all_)
    else:
        out = sys.stdout.buffer
        encoder = msgspec.json.Encoder()
        for told in history.stream(full=full_events, all=all_):
            out.write(encoder.encode_lines(told))
        out.flush()
    return DONE


def _tell_people(history: History, all_: bool) -> None:
    from ..live import live_account

    def lost(error: OSError) -> None:
        raise error

    with utf8_stdout() as out, live_account(out, lost) as ears:
        for moment in history.moments(all=all_):
            event = moment.event
            if all_ and isinstance(event, Rewound):
                out.write(f"Went back to event {event.to}; what came after it no longer counts.\n")
                ears.past(cut(history.events, event.seq))
            else:
                ears.fact(moment.before, event, moment.after)


@contextmanager
def utf8_stdout() -> Generator[TextIO]:
    """Standard output, in UTF-8 wherever we are."""
    sys.stdout.flush()
    out = TextIOWrapper(
        sys.stdout.buffer, encoding="utf-8", errors="backslashreplace", newline="\n"
    )
    try:
        yield out
    finally:
        out.detach()


async def _verify(root: Place, job: str, recorded: Path | None, full: bool) -> int:
    store = store_at(root, os.environ)
    whole = await verify(store, root, job)
    say(f"{job}: the log is whole\nEvents: {whole.events}\nSum: {whole.sum}\n")
    if whole.tail:
        say(f"Left out: {whole.tail} bytes at its end, of an event that was not written whole\n")
    if whole.grown:
        say(f"Grown: {whole.grown} events, to which this version adds members\n")
    say(f"Told twice: {whole.told} lines, the same\n")
    if recorded is None:
        return DONE
    history = await need_history(store, root, job)
    parting = parting_of(await anyio.Path(recorded).read_bytes(), history, full=full)
    if parting is None:
        say(f"{one_line(str(recorded))}: as the log tells it\n")
        return DONE
    click.echo(f"error: {recorded}: line {parting.line}: {_why(parting)}", err=True)
    return INTEGRITY


def _why(parting: Parting) -> str:
    match parting:
        case Parting(recorded=None, told=told, seq=seq):
            return f"it ends here, but event {seq} tells {_name(told)}"
        case Parting(told=None, recorded=line):
            return f"it says {_name(line)}, but the log tells nothing more"
        case Parting(recorded=line, told=told, seq=seq):
            names = _name(line), _name(told)
            if names[0] == names[1]:
                return f"its {names[0]} is not the one that event {seq} tells"
            return f"it says {names[0]}, but event {seq} tells {names[1]}"


def _name(line: bytes | None) -> str:
    try:
        return one_line(str(msgspec.json.decode(line or b"")["type"]))
    except (msgspec.DecodeError, KeyError, TypeError):
        return "something that is no event"
