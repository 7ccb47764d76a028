"""Where the tag `latest` points, which nobody sets by hand."""

from __future__ import annotations

from ..queries import experts, writing
from ..storage.repository import Session
from ..storage.rows import ExpertRow


def after_publish(session: Session, expert: ExpertRow, n: int, at: int, *, wanted: bool) -> None:
    """wanted: whether the publisher lets it move."""
    if expert.latest_policy == "highest-stable":
        follow_policy(session, expert, at)
    if wanted or expert.latest is None:
        if expert.latest_policy != "highest-stable" or _now(session, expert) is None:
            writing.set_latest(session, expert.n, n, at)


def after_unpublish(session: Session, expert: ExpertRow, n: int, at: int) -> None:
    """Version `n` is a tombstone now."""
    if _now(session, expert) == n:
        writing.set_latest(session, expert.n, experts.newest(session, expert.n), at)
    follow_policy(session, expert, at)


def after_hiding(session: Session, expert: ExpertRow, n: int, at: int) -> None:
    """Version `n` was disabled or quarantined."""
    if _now(session, expert) == n:
        _move_to_highest(session, expert, at)


def follow_policy(session: Session, expert: ExpertRow, at: int) -> None:
    """`highest-stable`: the highest available release, where there is one."""
    if expert.latest_policy == "highest-stable":
        best = experts.highest(session, expert.n, stable=True)
        if best is not None:
            writing.set_latest(session, expert.n, best, at)


def _move_to_highest(session: Session, expert: ExpertRow, at: int) -> None:
    best = experts.highest(session, expert.n, stable=True)
    if best is None:
        best = experts.highest(session, expert.n, stable=False)
    if best is not None:
        writing.set_latest(session, expert.n, best, at)


def _now(session: Session, expert: ExpertRow) -> int | None:
    return experts.expert_by_n(session, expert.n).latest
