"""What each run may still spend: a budget that is divided down the tree of runs, never counted twice.

The root has the whole budget of the job. A run that delegates is idle until its delegates have answered, so what
it has left is divided evenly among the delegates of that reply; what they did not use comes back with their
answers. So runs side by side cannot spend the same token, and a raised limit raises every share.

A limit is looked at before each request to the model; a reply under way is not cut short. A run can therefore
pass its share by the size of one reply.
"""

from __future__ import annotations

from perstack._value import Value

from .state import Acting, Job, Run


class Left(Value, frozen=True, kw_only=True):
    """What a run may still spend; None: as much as it likes. cost: millionths of a US dollar."""

    tokens: int | None = None
    cost: int | None = None

    @property
    def spent_up(self) -> str:
        """The limit that is reached, "" if none is."""
        if self.tokens is not None and self.tokens <= 0:
            return "maxTokens"
        if self.cost is not None and self.cost <= 0:
            return "maxCost"
        return ""


def left_for(job: Job, run: Run) -> Left:
    """What `run` may still spend."""
    limits = job.limits
    if limits.max_tokens is None and limits.max_cost is None:
        return Left()
    allowed = _allowed(job, run)
    return Left(
        tokens=None if allowed.tokens is None else allowed.tokens - run.tokens,
        cost=None if allowed.cost is None else allowed.cost - run.cost,
    )


def _allowed(job: Job, run: Run) -> Left:
    """What `run` may spend in all, with the delegates below it."""
    parent = job.parent_of(run)
    if parent is None:
        return Left(tokens=job.limits.max_tokens, cost=micro(job.limits.max_cost))
    assert isinstance(parent.phase, Acting)  # a parent waits for its delegates
    sharing = sum(
        1
        for flight in parent.phase.flights.values()
        if flight.call.kind == "delegate" and (flight.child or flight.result is None)
    )
    whole = left_for(job, parent)
    return Left(
        tokens=None if whole.tokens is None else whole.tokens // sharing,
        cost=None if whole.cost is None else whole.cost // sharing,
    )


def micro(dollars: float | None) -> int | None:
    """US dollars as millionths."""
    return None if dollars is None else round(dollars * 1_000_000)
