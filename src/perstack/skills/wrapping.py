"""What is started instead of a program: the seam at which a sandbox puts its launcher in front.

Nothing of sandboxes is known here. Whoever has walls gives a `Wrap`; who has none gives `unwrapped`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol


class Launch(Protocol):
    """A process to start. fds: descriptors it inherits besides the usual three, under the same numbers."""

    @property
    def argv(self) -> Sequence[str]: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def fds(self) -> Sequence[int]: ...


Wrap = Callable[[Sequence[str], Mapping[str, str], str], AbstractContextManager[Launch]]
"""(argv, environment, absolute working directory) → what to start instead, within the block; descriptors it names
are open until then. Raises PerstackError if that cannot be, OSError for what the system says."""


class _Plain(NamedTuple):
    argv: Sequence[str]
    env: Mapping[str, str]
    fds: Sequence[int] = ()


@contextmanager
def unwrapped(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Generator[Launch]:
    """The program itself, without walls."""
    yield _Plain(argv, env)
