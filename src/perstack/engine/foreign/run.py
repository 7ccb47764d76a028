"""Runs one job with a vendor's program: starts it, writes down what it says, and ends it with all it started.

Three things come in, in one stream: its lines, words from outside, and the end of its time. Facts are written by
one task, which nothing cancels, so the log is whole whatever happens to the program.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, cast

import anyio
import anyio.abc
import msgspec
from anyio.streams.memory import MemoryObjectSendStream
from msgspec.structs import replace

from perstack.errors import SkillUnavailable
from perstack.job import (
    CancelRequested,
    Event,
    Failure,
    Job,
    RunFinished,
    RunStarted,
    SkillStderr,
    Stopped,
    may_follow,
)
from perstack.skills import Murmur, OutsideProcess, clean_env, open_process
from perstack.store import Store

from ..drive import Inbox
from ..stage import Ears, Plan, Stage, staged
from .said import Ended, Said
from .scribe import Scribe
from .vendors import Vendor, prompt_of

LONGEST_S = 3600.0
"""Seconds a program may work where nobody set another limit."""

LINGER_S = 10.0
"""Seconds a program gets to end itself after it said that it is done."""


class _Over(NamedTuple):
    """The program has ended. code: None if that is not known. exit: how, in words. tail: its last words."""

    code: int | None
    exit: str
    tail: str


class _TimeOver(NamedTuple):
    seconds: float


_Arrival = Said | Event | _Over | _TimeOver


async def run_foreign(
    plan: Plan,
    vendor: Vendor,
    *,
    model: str,
    store: Store,
    env: Mapping[str, str],
    inbox: Inbox,
    ears: Ears,
) -> Job:
    """Carry out `plan` with the program of `vendor`; gives the state in which the job finished or stopped.

    model: "" for the program's own choice. env: where its variables are looked up.
    Raises what the store raises, and bugs, of which the log tells too.
    """
    async with staged(plan, store, ears) as stage:
        return await _carry_out(plan, vendor, model, env, inbox, stage, ears)


async def _carry_out(
    plan: Plan,
    vendor: Vendor,
    model: str,
    env: Mapping[str, str],
    inbox: Inbox,
    stage: Stage,
    ears: Ears,
) -> Job:
    expert = stage.job.lock.expert(stage.job.expert)
    query = ""
    for event in plan.after(stage.job):
        if isinstance(event, RunStarted):
            event = replace(event, instruction=expert.instruction)  # its tools are not ours
            query = event.query
        await stage.write(event, sync=True)
    ears.ready(stage.job)
    scribe = Scribe(stage.job.root, vendor.name, model or "default")
    argv = (vendor.program, *vendor.argv(expert.instruction, model))
    prompt = prompt_of(vendor, expert.instruction, query)
    given = {name: env[name] for name in vendor.passes if env.get(name)}
    longest_s = stage.job.limits.max_duration_s or LONGEST_S
    murmur = Murmur(lambda text: stage.notify(SkillStderr(skill=vendor.name, text=text)))
    # A program that says much waits until it is written down: sixteen lines are for the rhythm.
    arrivals, came = anyio.create_memory_object_stream[_Arrival](16)
    with arrivals, came:
        try:
            async with (
                open_process(
                    vendor.name, argv, clean_env(env, given), Path(stage.job.workspace), murmur
                ) as process,
                _tasks() as tasks,
            ):
                tasks.start_soon(_prompt, process, prompt.encode())
                tasks.start_soon(_listen, process, vendor, murmur, arrivals)
                tasks.start_soon(_heed, inbox, arrivals)
                tasks.start_soon(_ring, longest_s, arrivals)
                while not await _write(await came.receive(), vendor, scribe, stage):
                    pass
        except SkillUnavailable as error:
            await _write_all(scribe.fail(_failure(vendor, str(error))), stage)
    return stage.job


@asynccontextmanager
async def _tasks() -> AsyncGenerator[anyio.abc.TaskGroup]:
    """Tasks that end with the block."""
    async with anyio.create_task_group() as tasks:
        yield tasks
        tasks.cancel_scope.cancel()


async def _write(arrival: _Arrival, vendor: Vendor, scribe: Scribe, stage: Stage) -> bool:
    """Write down what follows from `arrival`; whether that is the end."""
    match arrival:
        case _Over():
            end = scribe.ended
            failure = _why(arrival, end, vendor)
            await _write_all(scribe.finish() if failure is None else scribe.fail(failure), stage)
            return True
        case _TimeOver(seconds=seconds):
            words = f"{vendor.name} timed out after {seconds:g} s"
            await _write_all(scribe.fail(Failure(name="Timeout", message=words)), stage)
            return True
        case Stopped() | CancelRequested():
            if not may_follow(stage.job, arrival):
                return False
            await _write_all(scribe.leave(), stage)
            await stage.write(arrival, sync=True)
            if isinstance(arrival, CancelRequested):
                ended = RunFinished(run=stage.job.root, outcome="cancelled", text="cancelled")
                await stage.write(ended, sync=True)
            return True
        case msgspec.Struct():
            return False  # a word that the program cannot hear
        case said:
            await _write_all(scribe.hear(said), stage)
            return False


async def _write_all(events: Iterable[Event], stage: Stage) -> None:
    for event in events:
        await stage.write(event, sync=isinstance(event, RunFinished))


def _why(over: _Over, end: Ended | None, vendor: Vendor) -> Failure | None:
    """Why the run failed, None if it did not."""
    if end is not None and end.failure is not None:
        return end.failure
    if over.code:
        return _failure(vendor, f"{vendor.title} failed with exit code {over.code}: {over.tail}")
    if end is None:
        how = over.exit or "its output ended"
        return _failure(vendor, f"{vendor.title} ended without a result ({how}). {over.tail}")
    return None


def _failure(vendor: Vendor, words: str) -> Failure:
    return Failure(name="RuntimeFailed", message=words.strip())


# What comes in --------------------------------------------------------------------------------------------


async def _prompt(process: OutsideProcess, prompt: bytes) -> None:
    try:
        await process.write(prompt)
    except OSError:  # it does not want to know; its end says the rest
        pass
    process.close_input()


async def _listen(
    process: OutsideProcess,
    vendor: Vendor,
    murmur: Murmur,
    arrivals: MemoryObjectSendStream[_Arrival],
) -> None:
    """All that the program says, and then that it has ended."""
    ended = False
    with anyio.CancelScope() as reading:
        async with _tasks() as tasks:
            tasks.start_soon(_leave_behind, process, reading)
            while not ended and (line := await process.line()) is not None:
                for said in _parsed(line, process, vendor):
                    await arrivals.send(said)
                    ended = ended or isinstance(said, Ended)
    if not ended:
        for line in (*await _left(process), process.rest):
            for said in _parsed(line, process, vendor):
                await arrivals.send(said)
    with anyio.move_on_after(LINGER_S):
        await process.ended.wait()
    await arrivals.send(_Over(process.code, process.exit, murmur.tail))


async def _leave_behind(process: OutsideProcess, reading: anyio.CancelScope) -> None:
    """What the program started may hold its output open for ever; nobody waits for that."""
    await process.ended.wait()
    if process.has_output():
        await anyio.sleep(LINGER_S)
    reading.cancel()


async def _left(process: OutsideProcess) -> list[bytes]:
    """The lines that are there although the reading was called off."""
    lines: list[bytes] = []
    with anyio.move_on_after(1):
        while process.has_output() and (line := await process.line()) is not None:
            lines.append(line)
    return lines


def _parsed(line: bytes, process: OutsideProcess, vendor: Vendor) -> tuple[Said, ...]:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        if line.strip():
            process.babble(line)  # a word of its own, which may say why it ends
        return ()
    return tuple(vendor.parse(cast("dict[str, object]", found)))


async def _heed(inbox: Inbox, arrivals: MemoryObjectSendStream[_Arrival]) -> None:
    while True:
        _, event = await inbox.receive()
        await arrivals.send(event)


async def _ring(seconds: float, arrivals: MemoryObjectSendStream[_Arrival]) -> None:
    await anyio.sleep(seconds)
    await arrivals.send(_TimeOver(seconds))
