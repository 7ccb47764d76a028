"""What of a history is sent.

Providers refuse a conversation in which a call has no result, a result has no call, a message is empty, or the
model has the last word. Our logs may hold all of these: a crash between call and result, a branch, a reply cut
off at its limit. So a history is repaired on its way out, and only there: the log stays what happened.

The repair goes forward and never looks back, so the part of a conversation that was sent once is sent the same
again: providers cache by prefix, and some refuse their own reasoning once something before it has changed.
Which thoughts go along is the wire's choice, by `written_by`.
"""

from __future__ import annotations

from perstack.job import (
    Call,
    ExpertMessage,
    Message,
    Text,
    ToolMessage,
    UserMessage,
    said,
)

NO_RESULT = "No result was recorded for this call: it was interrupted, or never made."
GO_ON = "Continue."


class Repair:
    """Messages go in one by one, those to send come out.

    reader: the provider they are sent to, which alone can read what its own tools did.
    """

    def __init__(self, reader: str = "") -> None:
        self._reader = reader
        self._open: dict[str, Call] = {}
        self._ours = False

    def add(self, message: Message) -> tuple[Message, ...]:
        """What to send for `message`: usually itself; with results before it that are missing; or nothing."""
        match message:
            case ToolMessage():
                if self._open.pop(message.call, None) is None:
                    return ()
                self._ours = False
                return (message,)
            case UserMessage():
                if not any(
                    not isinstance(part, Text) or part.text.strip() for part in message.parts
                ):
                    return ()
                missing = self._missing()
                self._open = {}
                self._ours = False
                return (*missing, message)
            case ExpertMessage():
                # Thoughts alone are an unfinished reply; providers refuse them without what they led to.
                own = written_by(self._reader, message)
                if not message.calls and not message.text.strip():
                    if not (own and message.provided):
                        return ()
                missing = self._missing()
                self._open = {call.id: call for call in message.calls}
                # To go on from a pause, the provider must have had the last word
                self._ours = not (own and message.paused)
                return (*missing, message)

    def rest(self) -> tuple[Message, ...]:
        """What must follow so that the conversation can be sent as it stands. Changes nothing here."""
        if self._open:
            return self._missing()
        return (said(GO_ON),) if self._ours else ()

    def _missing(self) -> tuple[Message, ...]:
        return tuple(
            ToolMessage(call=call.id, tool=call.tool, parts=(Text(text=NO_RESULT),), is_error=True)
            for call in self._open.values()
        )


def written_by(provider: str, message: ExpertMessage) -> bool:
    """Whether `provider` wrote it, so that its thoughts and signatures mean something there."""
    return message.model.startswith(f"{provider}/")
