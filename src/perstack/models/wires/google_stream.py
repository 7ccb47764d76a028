"""Gemini's answers: server-sent events → deltas → Reply, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import TypeVar

import msgspec

from perstack.errors import ModelError
from perstack.job import Call, ExpertMessage, Json, ProviderPart, Text, Thought, Usage

from ..model import Delta, Finish, Reply, Request
from .calls import UNNAMED, with_ids
from .google_tools import answers, part_of, sources_of
from .loose import count, event_of, obj, objs, text, truncated
from .telling import put
from .wire import failed

P = TypeVar("P", Text, Thought)

_REFUSALS = frozenset(
    (
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    )
)
_FAULTS = {
    # Another try may go better: the model wrote a call it should not have, or Google does not say.
    "MALFORMED_FUNCTION_CALL": True,
    "MALFORMED_RESPONSE": True,
    "UNEXPECTED_TOOL_CALL": True,
    "TOO_MANY_TOOL_CALLS": True,
    "NO_IMAGE": True,
    "OTHER": True,
    "LANGUAGE": False,
    "MISSING_THOUGHT_SIGNATURE": False,
}


class GeminiDecoder:
    """One streamed answer."""

    def __init__(self, request: Request, provider: str, own_names: dict[str, str]) -> None:
        """own_names: of tools that were given other names for the provider, by these."""
        self._request = request
        self._model = f"{provider}/{request.model}"
        self._names = own_names
        self._thoughts: list[Thought] = []
        self._texts: list[Text] = []
        self._calls: list[Call] = []
        self._provided: list[ProviderPart] = []
        self._order = ""
        self._sources: tuple[dict[str, Json], ...] = ()
        self._counts: dict[str, int] = {}
        self._finish = ""

    def feed(self, event: str, data: bytes) -> Iterable[Delta]:
        chunk = event_of(data)
        if error := chunk.get("error"):
            raise reported(error, None)
        # Counts are running totals, and a later chunk may leave one out.
        for name, number in obj(chunk.get("usageMetadata")).items():
            if count(number):
                self._counts[name] = count(number)
        if obj(chunk.get("promptFeedback")).get("blockReason"):
            self._finish = "SAFETY"
        candidate = next(iter(objs(chunk.get("candidates"))), obj(None))
        parts = objs(obj(candidate.get("content")).get("parts"))
        self._sources = sources_of(candidate) or self._sources
        deltas = [delta for part in parts for delta in self._hear(part)]
        if reason := text(candidate.get("finishReason")):
            self._close(reason, text(candidate.get("finishMessage")))
        return deltas

    def _hear(self, part: dict[str, Json]) -> Iterable[Delta]:
        signature = text(part.get("thoughtSignature"))
        if self._request.provided and (provided := part_of(part)) is not None:
            put(self._provided, provided, answers)
            self._order += "p"
            return ()
        if call := obj(part.get("functionCall")):
            name = text(call.get("name"))
            self._calls.append(
                Call(
                    id=text(call.get("id")),
                    tool=self._names.get(name, name) or UNNAMED,
                    args=obj(call.get("args")),
                    fault="" if name else "The call names no tool.",
                    signature=signature,
                )
            )
            self._order += "c"
            return ()
        said = text(part.get("text"))
        if not said and not signature:
            return ()
        if part.get("thought"):
            self._thoughts.append(Thought(text=said, signature=signature))
            self._order += "t"
            return (Delta("thought", said),) if said else ()
        self._texts.append(Text(text=said, signature=signature))
        self._order += "w"
        return (Delta("text", said),) if said else ()

    def _close(self, reason: str, message: str) -> None:
        self._finish = reason
        if reason in _FAULTS:
            raise ModelError(
                f"The model stopped: {reason}{': ' + message if message else ''}.",
                name="BadReply",
                retryable=_FAULTS[reason],
            )

    def reply(self) -> Reply:
        if not self._finish:
            raise truncated()
        counts = self._counts
        thought_tokens = counts.get("thoughtsTokenCount", 0)
        usage = Usage(
            input_tokens=counts.get("promptTokenCount", 0)
            + counts.get("toolUsePromptTokenCount", 0),
            output_tokens=counts.get("candidatesTokenCount", 0) + thought_tokens,
            reasoning_tokens=thought_tokens,
            cached_input_tokens=counts.get("cachedContentTokenCount", 0),
        )
        return Reply(message=self._message(), usage=usage, finish=self._why())

    def _message(self) -> ExpertMessage:
        calls = with_ids(self._calls, self._request)
        if self._provided:
            split = ExpertMessage(
                thoughts=tuple(self._thoughts),
                texts=tuple(self._texts),
                calls=calls,
                model=self._model,
                provided=tuple(self._provided),
                order=self._order,
            )
            message = _in_place(split)
        else:
            message = ExpertMessage(
                thoughts=tuple(_together(self._thoughts)),
                texts=tuple(_together(self._texts)),
                calls=calls,
                model=self._model,
            )
        if not self._sources or not message.texts:
            return message
        last = msgspec.structs.replace(message.texts[-1], citations=self._sources)
        return msgspec.structs.replace(message, texts=(*message.texts[:-1], last))

    def _why(self) -> Finish:
        if self._finish in _REFUSALS:
            return "refusal"
        if self._finish in ("MAX_TOKENS", "CONTINUATION"):
            return "length"
        return "calls" if self._calls else "stop"


def _together(parts: list[P]) -> Iterator[P]:
    """`parts` with what was only split on its way put together; a signature keeps its part apart."""
    for signed, group in groupby(parts, lambda part: bool(part.signature)):
        if signed:
            yield from group
        else:
            run = tuple(group)
            yield msgspec.structs.replace(run[0], text="".join(part.text for part in run))


def _in_place(split: ExpertMessage) -> ExpertMessage:
    """`split` with what was only split on its way put together, and nothing moved over another part."""
    thoughts: list[Thought] = []
    texts: list[Text] = []
    order = ""
    said, thought = iter(split.texts), iter(split.thoughts)
    for letter, group in groupby(split.order):
        length = len(tuple(group))
        match letter:
            case "t":
                mused = tuple(_together(list(islice(thought, length))))
                thoughts += mused
                order += letter * len(mused)
            case "w":
                words = tuple(_together(list(islice(said, length))))
                texts += words
                order += letter * len(words)
            case _:
                order += letter * length
    return msgspec.structs.replace(split, thoughts=tuple(thoughts), texts=tuple(texts), order=order)


_BY_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 500,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def reported(error: Json, status: int | None) -> ModelError:
    """An error object as Google sends it, with an answer or in the middle of a stream."""
    fields = obj(error) or {"message": error}
    message = text(fields.get("message"))[:2000]
    word, code = text(fields.get("status")), count(fields.get("code"))
    if status is None:
        status = code if 400 <= code < 600 else _BY_STATUS.get(word, 500)
    details = objs(fields.get("details"))
    name: str | None = None
    if any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
        name, status = "Unauthorized", 401
    elif "input token count" in message.lower() or "number of tokens allowed" in message.lower():
        name = "ContextTooLong"
    elif status == 429 and any("PerDay" in quota for quota in _quotas(details)):
        # Until midnight in California; no use in trying again
        name, status = "PaymentRequired", 402
    elif "billing" in message.lower() and word == "FAILED_PRECONDITION":
        name = "PaymentRequired"
    failure = failed(status, message or f"the provider answered with HTTP {status}", name=name)
    if failure.retryable:
        waits = (_seconds(text(detail.get("retryDelay"))) for detail in details)
        failure.retry_after_s = next((wait for wait in waits if wait is not None), None)
    return failure


def _quotas(details: list[dict[str, Json]]) -> Iterator[str]:
    for detail in details:
        for violation in objs(detail.get("violations")):
            yield text(violation.get("quotaId"))


def _seconds(duration: str) -> float | None:
    """A protobuf Duration in JSON, such as "14.5s"."""
    return float(duration[:-1]) if re.fullmatch(r"\d+(\.\d+)?s", duration) else None
