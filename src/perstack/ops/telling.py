"""Tells a job to whoever listens, in the documented words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from perstack.dialect import Voice, WireEvent, speak, tell_notice
from perstack.engine import Ears
from perstack.job import Event, Job, Notice, apply, lineage
from perstack.models import context_window

Listener = Callable[[Iterable[WireEvent]], None]
"""Told each group of events that follow from one fact or notice. Must not block."""


def telling(listener: Listener, *, full: bool = False) -> Ears:
    """Ears that pass everything on to `listener`. full: with whole histories in the events."""
    return _Telling(listener, full).ears()


class _Telling:
    def __init__(self, listener: Listener, full: bool) -> None:
        self._listener = listener
        self._voice = Voice(full=full, window_of=context_window)

    def ears(self) -> Ears:
        return Ears(past=self._past, fact=self._fact, notice=self._notice)

    def _past(self, events: Sequence[Event]) -> None:
        """Brings the voice to where the log stands, and tells nobody."""
        job = Job()
        for event in lineage(events):
            after = apply(job, event)
            self._voice, _ = speak(self._voice, job, event, after)
            job = after

    def _fact(self, before: Job, event: Event, after: Job) -> None:
        self._voice, told = speak(self._voice, before, event, after)
        if told:
            self._listener(told)

    def _notice(self, job: Job, notice: Notice) -> None:
        self._voice, told = tell_notice(self._voice, job, notice)
        if told:
            self._listener(told)
