"""What the two screens one works on have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import SystemCommand
from textual.events import DescendantBlur, DescendantFocus
from textual.screen import Screen
from textual.widgets import Input

from ..widgets.prompt import Prompt

if TYPE_CHECKING:
    from ..app import Workbench

OPENING = "opening"
"""The group of workers that bring what a key asked for. The next key waits for them."""


class Bench(Screen[None]):
    """follows: whether it shows one job."""

    follows: ClassVar[bool] = False
    app: Workbench  # pyright: ignore[reportIncompatibleMethodOverride]  # it is always ours

    def offers(self) -> Iterable[SystemCommand]:
        """What can be done here, by name."""
        return ()

    @property
    def is_written_to(self) -> bool:
        """Whether letters are text now, and no commands."""
        return isinstance(self.focused, Prompt | Input)

    @on(DescendantFocus)
    @on(DescendantBlur)
    def _focus_moved(self) -> None:
        self.refresh_bindings()
