"""Fork a job: a new job that shares the beginning of another, and then goes its own way."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.structs import replace

from perstack._ids import drawn
from perstack.dialect import place_of
from perstack.errors import UserError
from perstack.job import (
    Event,
    IllegalEvent,
    fold,
    forked,
    place_of_result,
    run_at,
    wanted,
    with_instruction,
    with_result,
)
from perstack.store import Store

from .run import GoOn, Order


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is different in the new job. All None: nothing but that the model is asked again.

    tool_result: (id of a call, text): its last result on or before the place. instruction: for the Expert at work
    there. The words for it and another model are in the order.
    """

    tool_result: tuple[str, str] | None = None
    instruction: str | None = None


def parse_place(text: str) -> tuple[str, str | None]:
    """`JOB`, `JOB@CHECKPOINT` or `JOB@SEQ`: the job, and the place in it if one is named."""
    job, at, place = text.partition("@")
    if not job or (at and not place):
        raise UserError(f"{text!r} names no place. Write JOB@CHECKPOINT, or JOB@SEQ for an event.")
    return job, place or None


async def fork(order: Order, source: str, place: str | None, change: Change, store: Store) -> Order:
    """Writes the log of the new job, and gives `order` made to go on with it.

    place: a checkpoint's id or an event's number, None for the end. Raises UserError; nothing is written then.
    """
    events = await store.read(source)
    if not events:
        raise UserError(f"There is no job {source} here. `perstack log --jobs` lists the jobs.")
    new = drawn() if order.job is None else order.job
    beginning = _beginning(events, source, place, change, new)
    job = fold(beginning)
    run = run_at(beginning)
    if not order.query and not wanted(replace(job, stopped=None)) and not job.questions:
        raise UserError(
            f"At that place job {source} has nothing left to do. Say something with --query, or fork earlier."
        )
    async with store.open(new) as (log, present):
        if present:
            raise UserError(f"There is a job {new} already. Choose another --job-id.")
        for event in beginning[:-1]:
            await log.append(event)
        await log.append(beginning[-1], sync=True)
    to_run = "" if run == job.root else run
    return replace(order, expert=job.expert, job=None, go_on=GoOn(job=new, to_run=to_run))


def _beginning(
    events: tuple[Event, ...], source: str, place: str | None, change: Change, new: str
) -> list[Event]:
    to = _seq_of(events, source, place)
    history: list[Event] | tuple[Event, ...] = events
    if change.tool_result is not None:
        call, text = change.tool_result
        at = place_of_result(events, call, None if place is None else to)
        if at is None:
            raise UserError(f"Job {source} has no result of a call {call} there.")
        history, to = with_result(events, at, text)
    try:
        beginning = forked(history, to, new)
        fold(beginning)
    except IllegalEvent as error:
        raise UserError(f"Job {source} cannot be forked there: {error}.") from error
    if change.instruction is not None:
        beginning = with_instruction(beginning, run_at(beginning), change.instruction)
    return beginning


def _seq_of(events: tuple[Event, ...], source: str, place: str | None) -> int:
    if place is None:
        return events[-1].seq
    if place.isdecimal():
        return int(place)
    seq = place_of(events, place)
    if seq is None:
        raise UserError(
            f"Checkpoint {place} not found in job {source}. "
            f"`perstack log --job {source} --verbose` shows its checkpoints."
        )
    return seq


def read_instruction(path: Path) -> str:
    """The text of an instruction file. Raises UserError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The instruction file {path} cannot be read: {error}.") from error
