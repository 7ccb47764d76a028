"""One run from the command line: told on stdout, put down in good order by a signal, and what to do next."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import BinaryIO

import anyio
import anyio.abc
import click
import msgspec
from msgspec.structs import replace

from perstack.dialect import WireEvent
from perstack.engine import Ears, Inbox
from perstack.errors import UserError
from perstack.job import (
    Acting,
    Call,
    ImageProgress,
    Job,
    Notice,
    Run,
    SkillWalled,
    Stopped,
    ToolsDiffer,
)
from perstack.ops.history.telling import telling
from perstack.ops.running.going_on import answer_to
from perstack.ops.running.run import Order, Prepared, carry_out, prepare

from .plain import plain
from .text import warn

FOREIGN = ("claude-code", "cursor", "gemini")
"""Runtimes of other vendors, which keep their own memory of a run."""


async def run_order(order: Order, *, as_text: bool, full: bool, verbose: bool) -> Job:
    """Carry out `order`, tell it on stdout, and put it down in good order on a signal or when nobody reads."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  # closed before we began
        raise UserError("stdout is closed; send it to /dev/null if nobody is to read it.")
    prepared = await prepare(order)
    warn(prepared.warnings)
    for remark in prepared.remarks:
        click.echo(plain(remark), err=True)
    if verbose:
        for line in prepared.settled:
            click.echo(line, err=True)
    inbox = Inbox()

    def lost(error: OSError) -> None:
        """Nobody reads stdout any more: the job is put down, and whatever else is written goes nowhere."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"error: stdout cannot be written: {error.strerror}.", err=True)
        inbox.say(Stopped(reason="interrupted", what="stdout could not be written"))

    try:
        if as_text:
            from .live import live_account

            with live_account(sys.stdout, lost) as ears:
                return await _carry_out(prepared, inbox, ears, verbose)
        lines = _Lines(sys.stdout.buffer, lost)
        return await _carry_out(prepared, inbox, telling(lines.write, full=full), verbose)
    finally:
        inbox.close()


async def _carry_out(prepared: Prepared, inbox: Inbox, ears: Ears, verbose: bool) -> Job:
    jobs: list[Job] = []
    async with anyio.create_task_group() as tasks:
        await tasks.start(stop_on_signals, inbox)
        jobs.append(await carry_out(prepared, inbox, _warning(ears, verbose)))
        tasks.cancel_scope.cancel()
    return jobs[0]


def _warning(ears: Ears, verbose: bool) -> Ears:
    """`ears`, and standard error for what a person should look at."""

    stages: set[str] = set()

    def notice(job: Job, notice: Notice) -> None:
        match notice:
            case SkillWalled() if verbose:
                click.echo(f"Walls of {plain(notice.skill)}: {plain(notice.walls)}", err=True)
            case ToolsDiffer():
                click.echo(f"warning: {plain(notice.text)}", err=True)
            case ImageProgress(stage=stage) if stage not in stages:  # it may take minutes
                stages.add(stage)
                click.echo(plain(notice.text), err=True)
            case _:
                pass
        ears.notice(job, notice)

    return replace(ears, notice=notice)


async def stop_on_signals(
    inbox: Inbox, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """The first signal puts the job down in good order; a second, of whichever kind, ends the process.

    A signal that whoever started us wants ignored (`nohup`, a shell's background jobs) stays ignored.
    """
    stopping = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heeded = [number for number in stopping if signal.getsignal(number) is not signal.SIG_IGN]
    with anyio.open_signal_receiver(*heeded) as signals:
        task_status.started()
        async for number in signals:
            inbox.say(Stopped(reason="interrupted", what=number.name))
            for other in heeded:
                signal.signal(other, signal.SIG_DFL)


class _Lines:
    """Writes events to stdout, one JSON object a line."""

    def __init__(self, out: BinaryIO, on_lost: Callable[[OSError], None]) -> None:
        self._out = out
        self._on_lost = on_lost
        self._encoder = msgspec.json.Encoder()
        self._lost = False

    def write(self, told: Sequence[WireEvent]) -> None:
        if self._lost:
            return
        try:
            self._out.write(self._encoder.encode_lines(told))
            self._out.flush()
        except OSError as error:
            self._lost = True
            self._on_lost(error)


def _flag(limit: str) -> str:
    """The option that raises a limit: "maxSteps 100" → "--max-steps"."""
    name = limit.split()[0].removeprefix("max")
    return f"--max-{name.lower()}"


def again(
    config: str | None,
    workspace: Path | None,
    store: str | None,
    cassette: Path | None,
    runtime: str | None = None,
    read: Sequence[Path] = (),
    passed: Sequence[str] = (),
) -> str:
    """The options that the same job needs again when it goes on."""
    given = [
        ("--config", config),
        ("--workspace", workspace),
        ("--store", store),
        ("--cassette", cassette),
        ("--runtime", runtime),
        *(("--read", path) for path in read),
        *(("--env", name) for name in passed),
    ]
    return "".join(f" {name} {quote(str(value))}" for name, value in given if value)


def how_to_go_on(job: Job, options: str) -> Iterator[str]:
    """What the user is told of a job that is not done, or failed."""
    go_on = f"perstack run {quote(job.expert)}{options} --continue-job {job.id}"
    if job.runtime in FOREIGN:
        if job.stopped is not None:
            yield f"Stopped: {plain(job.stopped.what)}."
        elif job.done is not None and job.done.outcome != "completed":
            yield f"error: {plain(job.done.text)}"
        if job.done is None or job.done.outcome != "completed":
            yield f"A run by {job.runtime} cannot be taken up again. `perstack log --job {job.id}` shows it."
    elif job.stopped is not None:
        match job.stopped.reason:
            case "limit":
                what = job.stopped.what
                yield f"Stopped at a limit: {what}. Go on with: {go_on} {_flag(what)} <more>"
            case _:
                yield f"Stopped: {plain(job.stopped.what)}. Go on with: {go_on}"
    elif job.questions:
        for run, call in job.questions:
            yield _waiting(run, call)
        allowing = 'yes (or: -i "no, <why>")' if _is_held(*job.questions[0]) else "<answer>"
        yield f"Answer with: {go_on} -i {allowing}"
    elif job.done is not None and job.done.outcome != "completed":
        yield f"error: {plain(job.done.text)}"
        yield f"The job is kept. Go on with: {go_on} <query>"


def _waiting(run: Run, call: Call) -> str:
    """What a question asks, on one line."""
    if _is_held(run, call):
        arguments = msgspec.json.encode(call.args["arguments"]).decode()
        rule = plain(str(call.args["rule"]))
        return f"Waiting for your yes or no to {plain(call.tool)} {arguments} (rule: {rule})"
    args = msgspec.json.encode(call.args).decode()
    return f"Waiting for your answer to {plain(call.tool)} {args}"


def _is_held(run: Run, call: Call) -> bool:
    """Whether the question is if `call` may be made."""
    return isinstance(run.phase, Acting) and run.phase.flights[call.id].held


def ask_here(job: Job) -> str | None:
    """Whether a call may be made, asked at the terminal; the answer as `-i` takes it.

    None if the job waits for something else first, or there is no terminal, or nobody answers.
    """
    if not (job.questions and _is_held(*job.questions[0])):
        return None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    click.echo(_waiting(*job.questions[0]), err=True)
    while True:
        try:
            text: str = click.prompt('"yes", or "no, <why>"', prompt_suffix=": ", err=True)
            answer_to(job, text)
        except click.Abort:
            return None
        except UserError as error:
            click.echo(f"error: {error}", err=True)
        else:
            return text
