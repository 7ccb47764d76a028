"""What exactly will run: Definitions pinned by key and digest."""

from __future__ import annotations

import msgspec

from perstack._value import Value
from perstack.definition import Expert
from perstack.errors import UnknownExpert


class Pin(Value, frozen=True):
    """One Definition in use. integrity: "sha256:" and the hex digest of its canonical document."""

    expert: Expert
    integrity: str


class Lock(Value, frozen=True):
    """The Definitions of one job.

    experts: by exact key. resolutions: what a delegate string turned out to mean, where that is another key.
    """

    experts: dict[str, Pin] = msgspec.field(default_factory=dict[str, Pin])
    resolutions: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    def key_of(self, spec: str) -> str:
        """The exact key a delegate string stands for."""
        return self.resolutions.get(spec, spec)

    def expert(self, spec: str) -> Expert:
        """The Definition behind a key or a delegate string. Raises UnknownExpert."""
        pin = self.experts.get(self.key_of(spec))
        if pin is None:
            raise UnknownExpert(spec, looked_in="the lock")
        return pin.expert

    def delegates_of(self, spec: str) -> tuple[Expert, ...]:
        """The Definitions an Expert may delegate to, in its own order."""
        return tuple(self.expert(delegate) for delegate in self.expert(spec).delegates)
