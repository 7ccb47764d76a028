"""The base of every activity."""

from __future__ import annotations

from perstack._value import Value, camel_tag


class DelegatedBy(Value, frozen=True, kw_only=True):
    """Whose call the run of an activity answers."""

    expert_key: str
    run_id: str


class Row(Value, frozen=True, kw_only=True, tag=camel_tag, tag_field="type"):
    """One row of the timeline.

    id: as documented, so made of the id of a call where there is one; a model may use that again in a later reply,
    and only `seq` and `id` together are unique. previous_activity_id: the one before it in the same run.
    reasoning: what the model thought before it did this; of several calls in one reply the first to be shown has
    it. seq, at: of the event that told of it.
    """

    id: str = ""
    expert_key: str = ""
    run_id: str = ""
    previous_activity_id: str | None = None
    delegated_by: DelegatedBy | None = None
    reasoning: str | None = None
    seq: int = 0
    at: float = 0.0
