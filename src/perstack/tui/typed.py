"""Keys, one after the other: each is given on when those before it have done all they do.

A key goes to the widget that has the focus, and what it is bound to is looked up only when it comes back from
there. Keys that come faster than that, because they were typed while the program was loading, would go past the
screen or the field which the first of them opens. So they wait here for their turn, and for a screen that can take
them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from textual.dom import DOMNode
from textual.events import Key, Paste
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, TextArea

LAPS = 2
"""Times to follow a key: what it does itself, and what comes of the message it leaves behind."""

PATIENCE = 30
"""Beats to wait for a key that does not come back."""

AT_ONCE = ("ctrl+c", "ctrl+q")
"""Keys that do not wait: to stop, and to leave."""


class Passed(Message):
    """Follows a key from the widget that got it to the program. laps: times it has still to go."""

    def __init__(self, begin: Widget, laps: int) -> None:
        super().__init__()
        self.begin = begin
        self.laps = laps


class Typed:
    """ready: the widget that gets the next key, None while there is none. give: hands one to the screen."""

    def __init__(
        self,
        ready: Callable[[], Widget | None],
        give: Callable[[Key | Paste], Awaitable[None]],
    ) -> None:
        self._ready = ready
        self._give = give
        self._waiting: deque[Key | Paste] = deque()
        self._followed: Widget | None = None
        self._beats = 0

    async def take(self, event: Key | Paste) -> None:
        """One more, to be given on in its turn."""
        if isinstance(event, Key) and event.key in AT_ONCE:
            await self._give(event)
            return
        self._waiting.append(event)
        await self.go_on()

    async def beat(self) -> None:
        """Called now and then, for what waits for a screen, or for a key that was lost on its way."""
        self._beats += 1
        if self._beats > PATIENCE:
            self._followed = None
        await self.go_on()

    async def passed(self, message: Passed) -> None:
        """A key has come to its end, or has another lap to go."""
        if message.begin is not self._followed:
            return
        if message.laps > 1 and message.begin.post_message(Passed(message.begin, message.laps - 1)):
            return
        self._followed = None
        await self.go_on()

    async def go_on(self) -> None:
        """Give on what can be given on now."""
        while self._waiting and self._followed is None:
            widget = self._ready()
            if widget is None:
                return
            event = self._waiting.popleft()
            follow = not _is_written(event, widget)
            if follow:
                self._followed, self._beats = widget, 0
            await self._give(event)
            if follow and not widget.post_message(Passed(widget, LAPS)):
                self._followed = None


def _is_written(event: Key | Paste, widget: DOMNode) -> bool:
    """Whether all that comes of it is text in a field."""
    is_text = isinstance(event, Paste) or event.is_printable
    return is_text and isinstance(widget, Input | TextArea)
