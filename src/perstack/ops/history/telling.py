"""Tells a job to whoever listens, in the documented words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perstack.dialect import Voice, WireEvent, speak, take_up, tell_notice, voice_of
from perstack.engine import Ears
from perstack.job import Event, Job, ModelChoice, Notice
from perstack.models import price_of, traits_of

Listener = Callable[[Sequence[WireEvent]], None]
"""Told each group of events that follow from one fact or notice. Must not block."""


def telling(listener: Listener, *, full: bool = False) -> Ears:
    """Ears that pass everything on to `listener`. full: with whole histories in the events."""
    teller = _Teller(listener, full)
    return Ears(past=teller.past, fact=teller.fact, ready=teller.ready, notice=teller.notice)


def context_window(model: ModelChoice) -> int | None:
    """Tokens the model can take in, None if that is not known."""
    if model.provider in ("cassette", "custom"):
        return None
    return traits_of(model.provider, model.model).context_window


def cost_so_far(job: Job) -> int | None:
    """What a job cost in millionths of a US dollar, None if its model's price is not known.

    Where nobody limited the cost it is that of all its tokens by the model it asks now, so about right. The first
    call loads the price data, which takes a while.
    """
    if job.cost or job.model.provider in ("cassette", "custom"):
        return job.cost or None
    return price_of(job.model.provider, job.model.model, job.usage)


class _Teller:
    def __init__(self, listener: Listener, full: bool) -> None:
        self._listener = listener
        self._voice = Voice(full=full, window_of=context_window)

    def past(self, events: Sequence[Event]) -> None:
        """Brings the voice to where the log stands, and tells nobody."""
        self._voice = voice_of(events, self._voice)

    def fact(self, before: Job, event: Event, after: Job) -> None:
        self._pass_on(speak(self._voice, before, event, after))

    def ready(self, job: Job) -> None:
        self._pass_on(take_up(self._voice, job))

    def notice(self, job: Job, notice: Notice) -> None:
        self._pass_on(tell_notice(self._voice, job, notice))

    def _pass_on(self, told: tuple[Voice, list[WireEvent]]) -> None:
        self._voice, events = told
        if events:
            self._listener(events)
