"""Exit codes: one table for all commands."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from perstack.errors import CorruptLog, LockOutOfDate, LockTampered, RegistryTampered

if TYPE_CHECKING:
    from perstack.job import Job

DONE = 0
"""Done, or waiting for your answer."""
FAILED = 1
"""Failed; usage errors too."""
FINDINGS = 3
"""Findings at or above the threshold."""
INTEGRITY = 4
"""Something was changed that must not change."""
LOCK_OUT_OF_DATE = 5
"""The lock is out of date, under `--frozen`."""
LIMIT = 6
"""Stopped at a limit; can be resumed."""


def exit_of(job: Job) -> int:
    """The exit code that tells how `job` stands."""
    if job.done is not None:
        return DONE if job.done.outcome == "completed" else FAILED
    if job.stopped is None:
        return DONE
    match job.stopped.reason:
        case "limit":
            return LIMIT
        case "bug":
            return FAILED
        case "interrupted":
            number = getattr(signal, job.stopped.what, None)
            return 128 + number if isinstance(number, signal.Signals) else FAILED


def exit_for(error: BaseException) -> int:
    """The exit code for an error that ended a command."""
    match error:
        case CorruptLog() | LockTampered() | RegistryTampered():
            return INTEGRITY
        case LockOutOfDate():
            return LOCK_OUT_OF_DATE
        case _:
            return FAILED
