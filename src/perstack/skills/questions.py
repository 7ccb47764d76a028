"""What servers ask a person during a call (elicitation), and what becomes of the call then.

If somebody is there to answer (`Ask`), calls wait for the answer. Else the call is called off with the question;
made again, from the start, it brings the answer along, which the server gets when it asks the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import anyio
import mcp_types as types

from perstack.job import Answer, Json, Question

from .mcp_results import MESSAGE_MAX, clean
from .patience import Patience

Ask = Callable[[str, dict[str, Json]], Awaitable[dict[str, Json] | None]]
"""Asks a person who is there: (message, JSON Schema of the answer) → the answer, None if there will be none."""


class Calling:
    """A call under way. answers: those not given yet. question: the one it was called off for. over: set then."""

    def __init__(self, clock: Patience, answers: Sequence[Answer]) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.question: Question | None = None
        self.over = anyio.Event()

    def answer(self, message: str) -> Answer | None:
        """The first answer to `message` that was not given yet."""
        known = next((answer for answer in self.answers if answer.message == message), None)
        if known is not None:
            self.answers.remove(known)
        return known


_CURRENT: ContextVar[Calling | None] = ContextVar("_CURRENT", default=None)
"""The call in whose context something is done, where that is known."""


class Questions:
    """The calls under way on one connection, and what its server asks in them. ask: None if nobody is there."""

    def __init__(self, ask: Ask | None) -> None:
        self._ask = ask
        self._calling: set[Calling] = set()

    @contextmanager
    def calling(self, clock: Patience, answers: Sequence[Answer]) -> Generator[Calling]:
        """One call, made within the block. clock: its time, whose scope is cancelled to call it off."""
        calling = Calling(clock, answers)
        self._calling.add(calling)
        current = _CURRENT.set(calling)
        try:
            yield calling
        finally:
            _CURRENT.reset(current)
            self._calling.discard(calling)
            calling.over.set()

    async def elicit(
        self, context: object, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """What the server is told that asks `params`. The SDK calls it."""
        if not isinstance(params, types.ElicitRequestFormParams):
            return types.ElicitResult(action="decline")
        question = Question(
            message=clean(params.message, MESSAGE_MAX), schema=dict(params.requested_schema)
        )
        if self._ask is not None:
            with self._patience():
                return _told(await self._ask(question.message, question.schema))
        calling = self._asked_in()
        if calling is None:
            return types.ElicitResult(action="decline")
        answer = calling.answer(question.message)
        if answer is None:
            calling.question = calling.question or question
            calling.clock.scope.cancel()
            await calling.over.wait()  # so that the server hears of that first
            return types.ElicitResult(action="cancel")
        return _told(answer.content)

    def _asked_in(self) -> Calling | None:
        """The call a question came up in, None if it cannot be told.

        In the newer era, and over HTTP, its context says so. Else it is the only one there is.
        """
        current = _CURRENT.get()
        if current in self._calling:
            return current
        return next(iter(self._calling)) if len(self._calling) == 1 else None

    @contextmanager
    def _patience(self) -> Generator[None]:
        """No call times out meanwhile: people take their time, and it may be for any of them."""
        clocks = tuple(calling.clock for calling in self._calling)
        for clock in clocks:
            clock.stop()
        try:
            yield
        finally:
            for clock in clocks:
                clock.go_on()


def _told(content: dict[str, Json] | None) -> types.ElicitResult:
    if content is None:
        return types.ElicitResult(action="decline")
    return types.ElicitResult(action="accept", content=content)
