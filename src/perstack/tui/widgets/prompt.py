"""Where a person writes: grows with what is written, sends with Enter."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.widgets import TextArea


class Prompt(TextArea):
    """Enter sends; Ctrl+J, or Shift+Enter where a terminal tells it, begins a line. Up brings back the last."""

    class Sent(Message):
        """text: may be empty."""

        def __init__(self, prompt: Prompt, text: str) -> None:
            super().__init__()
            self.prompt = prompt
            self.text = text

        @property
        def control(self) -> Prompt:
            return self.prompt

    def __init__(self, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(
            id=id,
            placeholder=placeholder,
            soft_wrap=True,
            show_line_numbers=False,
            compact=True,
            highlight_cursor_line=False,
        )
        self._sent: list[str] = []
        self._back = 0

    async def _on_key(self, event: events.Key) -> None:
        match event.key:
            case "enter":
                event.stop()
                event.prevent_default()
                self._send()
            case "ctrl+j" | "shift+enter" | "alt+enter":
                event.stop()
                event.prevent_default()
                self.insert("\n")
            case "up" if self.cursor_location[0] == 0 and self._back < len(self._sent):
                event.stop()
                event.prevent_default()
                self._recall(self._back + 1)
            case "down" if self._back and self.cursor_location[0] == self.document.line_count - 1:
                event.stop()
                event.prevent_default()
                self._recall(self._back - 1)
            case _:
                await super()._on_key(event)

    def _send(self) -> None:
        text = self.text.strip()
        if text and (not self._sent or self._sent[-1] != text):
            self._sent.append(text)
        self._back = 0
        self.post_message(self.Sent(self, text))

    def _recall(self, back: int) -> None:
        self._back = back
        self.text = self._sent[-back] if back else ""
        self.move_cursor(self.document.end)
