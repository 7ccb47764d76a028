"""Taking over a terminal on which a first picture is shown already."""

from __future__ import annotations

from typing import Any, Protocol

from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message import Message

ENTER = "\x1b[?1049h"

ARROW = "\x1b[A"
"""What a terminal sends for a key without a character, or as much of it."""


class Opening(Protocol):
    """A picture on the alternate screen. taken: whether it is somebody else's by now.

    early: bytes that were typed before it was drawn, when the terminal still told Enter as the end of a line.
    """

    taken: bool
    early: int

    def hand_over(self) -> list[Any]:
        """The attributes the terminal had before. Who calls this restores them, and leaves the screen."""
        ...


def taking_over(opening: Opening) -> type[Driver]:
    """A driver that goes on where `opening` stands: the picture stays until the next is drawn over it."""

    class TakingOver(LinuxDriver):
        def start_application_mode(self) -> None:
            self._early = 0 if opening.taken else opening.early
            super().start_application_mode()
            if not opening.taken and self.attrs_before is not None:
                self.attrs_before = opening.hand_over()

        def write(self, data: str) -> None:
            # The screen is entered, and some terminals would clear it
            if opening.taken or data != ENTER:
                super().write(data)

        def process_message(self, message: Message) -> None:
            if self._early > 0 and isinstance(message, Key):
                self._early -= len((message.character or ARROW).encode())
                if message.key == "ctrl+j":
                    message = Key("enter", "\r")
            super().process_message(message)

    return TakingOver
