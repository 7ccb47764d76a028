"""What walls start instead of a program. The skills say the same of what they take; neither knows the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple


class Launch(NamedTuple):
    """What is started instead of a program. fds: descriptors it inherits."""

    argv: tuple[str, ...]
    env: dict[str, str]
    fds: tuple[int, ...] = ()


Wrap = Callable[[Sequence[str], Mapping[str, str], str], AbstractContextManager[Launch]]
"""(argv, environment, working directory) → what to start instead, within the block."""
