"""JSON from a server that may not keep to its own format: what is not as expected is as if it were not there."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from perstack.errors import ModelError
from perstack.job import Json

_EVENT = msgspec.json.Decoder(dict[str, Any])


def event_of(data: bytes) -> dict[str, Json]:
    """The object in one server-sent event. Raises ModelError (retryable) if there is none."""
    try:
        return _EVENT.decode(data)
    except msgspec.MsgspecError as error:
        raise unreadable(error) from error


def unreadable(error: msgspec.MsgspecError) -> ModelError:
    """An event is not the JSON it should be."""
    return ModelError(
        f"the provider sent an event that cannot be read: {error}",
        name="StreamBroken",
        retryable=True,
    )


def truncated() -> ModelError:
    """The stream ended before the reply did."""
    return ModelError(
        "the answer ended before it was complete", name="StreamBroken", retryable=True
    )


def obj(value: Json) -> dict[str, Json]:
    """`value` if it is an object, else an empty one."""
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}


def objs(value: Json) -> list[dict[str, Json]]:
    """The objects in `value`, if it is an array."""
    return [obj(item) for item in cast("list[Json]", value)] if isinstance(value, list) else []


def text(value: Json) -> str:
    """`value` if it is a string, else ""."""
    return value if isinstance(value, str) else ""


def count(value: Json) -> int:
    """`value` if it is a number, else 0."""
    return int(value) if isinstance(value, int | float) else 0
