"""Command → Event: ask the model, use the tool. The only place that turns errors into facts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import anyio
from msgspec.structs import replace

from perstack.errors import ModelError, SkillUnavailable, ToolError, WorldError
from perstack.job import (
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
    Text,
    ToolReturned,
    Use,
    Waiting,
)
from perstack.models import Delta, Model, Reply, Request, ToolSpec
from perstack.skills import Skill, Toolbox

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
LONGEST_ASKED_S = 600.0
"""What a provider asks beyond this is cut; the next refusal will ask again."""

Notify = Callable[[Notice], None]


class Performer:
    """Performs the commands of one job.

    model: answers Generate; it belongs to the caller. toolboxes: by Expert key. skills: by skill name. job: the
    settings that stay the same while the job runs (model choice, limits).
    """

    def __init__(
        self,
        job: Job,
        model: Model,
        toolboxes: Mapping[str, Toolbox],
        skills: Mapping[str, Skill],
        notify: Notify,
    ) -> None:
        self._choice = job.model
        self._timeout_s = job.limits.timeout_s
        self._model = model
        self._toolboxes = toolboxes
        self._skills = skills
        self._notify = notify
        self._specs: dict[str, tuple[ToolSpec, ...]] = {
            key: tuple(
                ToolSpec(name=tool.name, description=tool.description, schema=tool.schema)
                for tool in box.tools
            )
            for key, box in toolboxes.items()
        }

    async def __call__(self, command: Generate | Use) -> Event:
        match command:
            case Generate():
                return await self._generate(command)
            case Use():
                return await self._use(command)

    async def _generate(self, wish: Generate) -> Event:
        if wish.failure is not None:
            wait_s = backoff_s(wish.attempt, wish.failure)
            self._notify(
                Waiting(
                    run=wish.run,
                    seconds=wait_s,
                    attempt=wish.attempt + 1,
                    reason=wish.failure.message,
                )
            )
            await anyio.sleep(wait_s)
        request = Request(
            model=self._choice.model,
            instruction=wish.instruction,
            history=wish.history,
            tools=self._specs[wish.expert],
            reasoning=self._choice.reasoning,
            timeout_s=self._timeout_s,
            expert=wish.expert,
            path=wish.path,
            step=wish.step,
            concluding=wish.concluding,
        )

        def hear(delta: Delta) -> None:
            self._notify(
                Heard(
                    run=wish.run,
                    step=wish.step,
                    kind=delta.kind,
                    text=delta.text,
                    concluding=wish.concluding,
                )
            )

        try:
            with anyio.fail_after(self._timeout_s):
                reply = await self._model.reply(request, hear)
        except TimeoutError:
            text = f"The model did not finish its reply within {self._timeout_s:g} s."
            return ReplyFailed(
                run=wish.run, failure=Failure(name="Timeout", message=text, retryable=True)
            )
        except ModelError as error:
            return ReplyFailed(run=wish.run, failure=_failure(error))
        return self._replied(wish, reply)

    def _replied(self, wish: Generate, reply: Reply) -> Event:
        message = reply.message
        if reply.finish == "refusal":
            text = message.text or "The model refused to answer."
            refused = Failure(name="Refused", message=text)
            return ReplyFailed(run=wish.run, failure=refused, usage=reply.usage)
        cut = reply.finish == "length"
        if not cut and not wish.concluding and not message.calls and not message.text.strip():
            empty = Failure(
                name="EmptyReply", message="The model replied with nothing.", retryable=True
            )
            return ReplyFailed(run=wish.run, failure=empty, usage=reply.usage)
        box = self._toolboxes[wish.expert]
        calls = () if wish.concluding else tuple(box.complete(c) for c in _distinct(message))
        message = replace(
            message, calls=calls, model=f"{self._choice.provider}/{self._choice.model}"
        )
        return Replied(run=wish.run, message=message, usage=reply.usage, cut=cut)

    async def _use(self, wish: Use) -> Event:
        call = wish.call
        try:
            outcome = await self._skills[call.skill].use(call.tool, call.args)
        except (ToolError, SkillUnavailable) as error:
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


def _failure(error: ModelError | WorldError) -> Failure:
    if not isinstance(error, ModelError):
        return Failure(name=type(error).__name__, message=str(error))
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
