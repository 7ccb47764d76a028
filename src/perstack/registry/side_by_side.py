"""The same for many things at once, where one error is enough to know."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar, cast

import anyio

from perstack.errors import first_of

T = TypeVar("T")


async def side_by_side(act: Callable[[T], Coroutine[Any, Any, None]], items: Iterable[T]) -> None:
    """`act` on all `items`. Raises the first error alone; the others, which it ended, are not told."""
    try:
        async with anyio.create_task_group() as tasks:
            for item in items:
                tasks.start_soon(act, item)
    except BaseExceptionGroup as group:
        raise first_of(cast("BaseException", group)) from None
