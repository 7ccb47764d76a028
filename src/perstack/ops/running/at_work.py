"""A job at work in a thread of its own, for a door that has a loop of its own: a screen, a page.

Neither waits for the other. What the job tells gathers in a queue that the door empties when it draws (`take`);
what a person says is handed over and comes back as a fact like any other. `Watch` is the same for a job that
another process has at work: it can be looked at, and not be spoken to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from anyio.from_thread import BlockingPortal, start_blocking_portal

from perstack.engine import Ears, Inbox
from perstack.errors import PerstackError, sole
from perstack.job import Event, Job, Notice, Rewound, Stopped, UserSpoke, cut
from perstack.store import Store

from .going_on import answer_to
from .order import Order
from .run import carry_out, prepare


class Settled(NamedTuple):
    """What was settled before the job began or went on. lines, warnings: a sentence each."""

    job: str
    lines: tuple[str, ...]
    warnings: tuple[str, ...]


class Past(NamedTuple):
    """The events already in the log, as far as they still count. They stand for all that was told before."""

    events: Sequence[Event]


class Noticed(NamedTuple):
    """What is shown and not kept."""

    notice: Notice


class Ended(NamedTuple):
    """The job is finished, parked or stopped."""

    job: Job


class Failed(NamedTuple):
    """It could not begin, or not go on. The log has what happened until then."""

    error: BaseException


Told = Settled | Past | Event | Noticed | Ended | Failed


class Source(Protocol):
    """Where a door hears of a job."""

    def take(self) -> list[Told]:
        """What was told since the last time, in order."""
        ...

    def close(self) -> None:
        """Hear no more. May wait until a job that is at work has been put down."""
        ...


class _Thread:
    """A loop in a thread, with one task in it."""

    def __init__(self) -> None:
        self._opened: AbstractContextManager[BlockingPortal] = start_blocking_portal()
        self.portal = self._opened.__enter__()
        self.task: Future[None] | None = None

    def close(self, *, cancel: bool) -> None:
        """Waits for the task. cancel: do not let it come to its end."""
        if self.task is not None and cancel:
            self.task.cancel()
        self._opened.__exit__(None, None, None)


class AtWork:
    """Carries out `order`. Whoever makes one closes it."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._told = deque[Told]()  # unbounded: the job never waits for its reader
        self._inbox: Inbox | None = None
        self._stop: Stopped | None = None
        self._thread = _Thread()
        self._thread.task = self._thread.portal.start_task_soon(self._work)

    @property
    def at_work(self) -> bool:
        """Whether there is more to come."""
        task = self._thread.task
        return task is not None and not task.done()

    def take(self) -> list[Told]:
        return _taken(self._told)

    def speak(self, text: str, run: str = "") -> None:
        """A word from a person. run: to whom, "" for the root. Too late, it is dropped."""
        self.say(UserSpoke(text=text, run=run))

    def answer(self, job: Job, text: str) -> None:
        """The answer to a question of `job`, as `GoOn.answer` takes it. Raises UserError for what does not fit."""
        self.say(answer_to(job, text))

    def stop(self, what: str = "SIGINT") -> None:
        """Put the job down as it stands; it can be taken up again."""
        self.say(Stopped(reason="interrupted", what=what))

    def say(self, word: Event) -> None:
        """Any other word from outside."""
        if self.at_work:
            self._thread.portal.start_task_soon(self._hand_over, word)

    def close(self) -> None:
        """Puts the job down if it is at work, and waits until it is."""
        self.stop("the workbench was closed")
        self._thread.close(cancel=False)

    async def _hand_over(self, word: Event) -> None:
        if self._inbox is not None:
            self._inbox.say(word)
        elif isinstance(word, Stopped):
            self._stop = word  # heard before there was anything to stop

    async def _work(self) -> None:
        try:
            prepared = await prepare(self._order)
            warnings = (*prepared.remarks, *prepared.warnings)
            self._told.append(Settled(prepared.job, prepared.settled, warnings))
            self._inbox = Inbox()
            if self._stop is not None:
                self._inbox.say(self._stop)
            ears = Ears(past=self._past, fact=self._fact, ready=_unheard, notice=self._notice)
            self._told.append(Ended(await carry_out(prepared, self._inbox, ears)))
        except Exception as error:
            cause = sole(error)
            self._told.append(Failed(cause))
            if not isinstance(cause, PerstackError):
                raise
        finally:
            inbox, self._inbox = self._inbox, None
            if inbox is not None:
                inbox.close()

    def _past(self, events: Sequence[Event]) -> None:
        self._told.append(Past(events))

    def _fact(self, before: Job, event: Event, after: Job) -> None:
        self._told.append(event)

    def _notice(self, job: Job, notice: Notice) -> None:
        self._told.append(Noticed(notice))


def _unheard(_: Job) -> None:
    pass


def _taken(told: deque[Told]) -> list[Told]:
    """All there is in `told`, which another thread appends to."""
    return [told.popleft() for _ in range(len(told))]


class Watch:
    """Follows the log of `job`, which another process writes. after: the last event that is known already."""

    def __init__(self, store: Store, job: str, after: int) -> None:
        self._store = store
        self._job = job
        self._after = after
        self._told = deque[Told]()
        self._thread = _Thread()
        self._thread.task = self._thread.portal.start_task_soon(self._follow)

    def take(self) -> list[Told]:
        return _taken(self._told)

    def close(self) -> None:
        self._thread.close(cancel=True)

    async def _follow(self) -> None:
        try:
            async for event in self._store.follow(self._job, self._after):
                if isinstance(event, Rewound):
                    self._told.append(Past(cut(await self._store.read(self._job), event.seq)))
                else:
                    self._told.append(event)
        except PerstackError as error:
            self._told.append(Failed(error))
