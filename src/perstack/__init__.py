"""Perstack: define Experts in TOML, run them isolated, observable and replayable.

What is exported here, in `perstack.errors` and in `perstack.testing` is public; everything else may change.
Names are loaded when they are first used, so `import perstack` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import PerstackError, UserError, WorldError
    from .job import Job
    from .models import Model
    from .ops.embed import Running, run, run_sync, start
    from .store import Store

_HOMES = {
    "Job": "job",
    "Model": "models",
    "PerstackError": "errors",
    "Running": "ops.embed",
    "Store": "store",
    "UserError": "errors",
    "WorldError": "errors",
    "run": "ops.embed",
    "run_sync": "ops.embed",
    "start": "ops.embed",
}

__all__ = [
    "Job",
    "Model",
    "PerstackError",
    "Running",
    "Store",
    "UserError",
    "WorldError",
    "run",
    "run_sync",
    "start",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
