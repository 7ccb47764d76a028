"""Command → Event: ask the model, use the tool. The only place that turns errors into facts."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from time import time

import anyio
from msgspec.structs import replace

from perstack.errors import (
    LockTampered,
    ModelError,
    PerstackError,
    SkillUnavailable,
    ToolError,
    UserError,
)
from perstack.job import (
    Asked,
    Call,
    Event,
    ExpertMessage,
    Failure,
    Generate,
    Heard,
    Job,
    Notice,
    Replied,
    ReplyFailed,
    RunFinished,
    Text,
    ToolReturned,
    Usage,
    Use,
    Waiting,
)
from perstack.models import Delta, Model, ProviderTools, Reply, Request, ToolSpec, price_of
from perstack.skills import NeedsAnswer, Toolbox

from .equipment import Equipment

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
LONGEST_ASKED_S = 600.0
"""What a provider asks beyond this is cut; the next refusal will ask again."""

Notify = Callable[[Notice], None]


class Performer:
    """Performs the commands of one job.

    model: answers Generate; it belongs to the caller. equipment: the tools of each Expert. job: the settings that
    stay the same while the job runs (model choice, limits).
    """

    def __init__(self, job: Job, model: Model, equipment: Equipment, notify: Notify) -> None:
        self._choice = job.model
        self._timeout_s = job.limits.timeout_s
        self._priced = job.limits.max_cost is not None
        self._model = model
        self._equipment = equipment
        self._notify = notify
        self._lock = job.lock
        self._told: dict[str, tuple[Toolbox, tuple[ToolSpec, ...]]] = {}
        self._provided: dict[str, ProviderTools] = {}

    async def __call__(self, command: Generate | Use) -> Event:
        match command:
            case Generate():
                return await self._generate(command)
            case Use():
                return await self._use(command)

    async def _generate(self, wish: Generate) -> Event:
        if wish.failure is not None:
            await self._wait(wish, wish.failure)
        try:
            box = await self._equipment.toolbox(wish.expert)
        except PerstackError as error:
            failure = Failure(name=type(error).__name__, message=str(error))
            return ReplyFailed(run=wish.run, failure=failure)
        request = self._request(wish, box)
        try:
            with anyio.fail_after(self._timeout_s):
                reply = await self._model.reply(request, partial(self._heard, wish))
        except TimeoutError:
            text = f"The model did not finish its reply within {self._timeout_s:g} s."
            return ReplyFailed(
                run=wish.run, failure=Failure(name="Timeout", message=text, retryable=True)
            )
        except ModelError as error:
            return ReplyFailed(run=wish.run, failure=_failure(error))
        return self._replied(wish, reply, box)

    async def _wait(self, wish: Generate, failure: Failure) -> None:
        """Lets some time pass after `failure`, and says so before."""
        wait_s = backoff_s(wish.attempt, failure)
        self._notify(
            Waiting(run=wish.run, seconds=wait_s, attempt=wish.attempt + 1, reason=failure.message)
        )
        await anyio.sleep(wait_s)

    def _request(self, wish: Generate, box: Toolbox) -> Request:
        return Request(
            model=self._choice.model,
            instruction=wish.instruction,
            history=wish.history,
            tools=self._specs(wish.expert, box),
            provided=self._provided_to(wish.expert),
            reasoning=self._choice.reasoning,
            timeout_s=self._timeout_s,
            expert=wish.expert,
            path=wish.path,
            step=wish.step,
            concluding=wish.concluding,
            at=round(time(), 3),
        )

    def _heard(self, wish: Generate, delta: Delta) -> None:
        self._notify(
            Heard(
                run=wish.run,
                step=wish.step,
                kind=delta.kind,
                text=delta.text,
                concluding=wish.concluding,
            )
        )

    def _specs(self, expert: str, box: Toolbox) -> tuple[ToolSpec, ...]:
        """The tools in `box` as a model is told of them: the same tuple for the same box."""
        known, specs = self._told.get(expert, (None, ()))
        if known is not box:
            specs = tuple(
                ToolSpec(name=tool.name, description=tool.description, schema=tool.schema)
                for tool in box.tools
            )
            self._told[expert] = box, specs
        return specs

    def _provided_to(self, key: str) -> ProviderTools:
        """What an Expert uses at the provider: its own, and nothing of who delegates to it."""
        if key not in self._provided:
            expert = self._lock.expert(key)
            self._provided[key] = ProviderTools(
                names=expert.provider_tools,
                options=expert.provider_tool_options,
                skills=tuple(skill.get("skillId", "") for skill in expert.provider_skills),
            )
        return self._provided[key]

    def _replied(self, wish: Generate, reply: Reply, box: Toolbox) -> Event:
        message, cost = reply.message, self._cost(reply.usage)
        if reply.finish == "refusal":
            text = message.text or "The model refused to answer."
            refused = Failure(name="Refused", message=text)
            return ReplyFailed(run=wish.run, failure=refused, usage=reply.usage, cost=cost)
        cut = reply.finish in ("length", "pause")
        nothing = not message.calls and not message.provided and not message.text.strip()
        if not cut and not wish.concluding and nothing:
            empty = Failure(
                name="EmptyReply", message="The model replied with nothing.", retryable=True
            )
            return ReplyFailed(run=wish.run, failure=empty, usage=reply.usage, cost=cost)
        calls = () if wish.concluding else tuple(box.complete(c) for c in _distinct(message))
        message = replace(
            message, calls=calls, model=f"{self._choice.provider}/{self._choice.model}"
        )
        return Replied(run=wish.run, message=message, usage=reply.usage, cut=cut, cost=cost)

    def _cost(self, usage: Usage) -> int:
        """The price of a reply in millionths of a US dollar, where the job has a limit on it."""
        choice = self._choice
        if not self._priced or choice.provider == "cassette" or choice.provider == "custom":
            return 0
        return price_of(choice.provider, choice.model, usage) or 0

    async def _use(self, wish: Use) -> Event:
        call = wish.call
        try:
            outcome = await self._equipment.use(wish.expert, call, wish.answers)
        except NeedsAnswer as error:
            asked = error.question
            return Asked(run=wish.run, call=call.id, message=asked.message, schema=asked.schema)
        except LockTampered as error:
            # What was looked at is not what is there: nothing more is done with it
            failure = Failure(name="LockTampered", message=str(error))
            return RunFinished(run=wish.run, outcome="failed", text=str(error), failure=failure)
        except (ToolError, SkillUnavailable, UserError) as error:
            parts = (Text(text=str(error)),)
            return ToolReturned(run=wish.run, call=call.id, parts=parts, is_error=True)
        return ToolReturned(
            run=wish.run, call=call.id, parts=outcome.parts, is_error=outcome.is_error
        )


def backoff_s(attempt: int, failure: Failure) -> float:
    """Seconds to wait before trying again: what the provider asked, else a jittered doubling.

    attempt: failures so far, from 1. What was asked is lengthened by up to a tenth, so that many jobs that were
    refused together do not come back together.
    """
    if failure.retry_after_s is not None:
        return min(failure.retry_after_s, LONGEST_ASKED_S) * random.uniform(1.0, 1.1)
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)


def _failure(error: ModelError) -> Failure:
    return Failure(
        name=error.name,
        message=str(error),
        status=error.status,
        retryable=error.retryable,
        retry_after_s=error.retry_after_s,
    )


def _distinct(message: ExpertMessage) -> tuple[Call, ...]:
    """The calls of a reply, with ids that are unique in it (some servers repeat them)."""
    seen: set[str] = set()
    calls: list[Call] = []
    for place, call in enumerate(message.calls, 1):
        id = call.id if call.id and call.id not in seen else f"{call.id or 'call'}-{place}"
        seen.add(id)
        calls.append(call if id == call.id else replace(call, id=id))
    return tuple(calls)
