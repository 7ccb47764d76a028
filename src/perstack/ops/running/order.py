"""What is asked for when an Expert is to run, and what that turns out to mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec

from perstack.engine import Plan
from perstack.job import Job, ModelChoice
from perstack.lock import Lock
from perstack.models import Model
from perstack.store import Store

from ..history.jobs import history_place, store_at
from ..packages.sources import Sources
from ..project import Flags, Settings

Opener = Callable[[Job], AbstractAsyncContextManager[Model]]
"""How the model that a job asks is opened."""


class GoOn(msgspec.Struct, frozen=True, kw_only=True):
    """Which job goes on, and how.

    job: its id, None for the one of this Expert that was written to last. checkpoint: from where, None for the
    end. answer: the query answers the question the job waits with. to_run: the run the query is for, "" for the
    root.
    """

    job: str | None = None
    checkpoint: str | None = None
    answer: bool = False
    to_run: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One request to run an Expert.

    expert: its key; query: what to tell it, may be empty only for a job that goes on where it stopped. cwd: where
    relative paths start, and the search for a perstack.toml. config: path of one, None to look for it. workspace:
    what the Expert works in; its history lies in there too. env: the process environment. job: id for a new job.
    go_on: a job to go on with instead of a new one. cassette: file with recorded replies to play instead of
    asking a model; record: file to record replies to. model: replies instead of a provider's (for embedding and
    tests). frozen: run exactly what perstack.lock says, or not at all. read: what else of this machine skills may
    read, besides the workspace and the system's programs. passed: names of variables that skills in containers get
    besides their own. drafts: it writes definitions in its workspace, which no other run may. sources: where
    published Experts come from.
    """

    expert: str
    cwd: Path
    workspace: Path
    env: Mapping[str, str]
    query: str = ""
    config: str | None = None
    flags: Flags = Flags()
    job: str | None = None
    go_on: GoOn | None = None
    cassette: Path | None = None
    record: Path | None = None
    model: Model | None = None
    store: Store | None = None
    proxy: str | None = None
    frozen: bool = False
    drafts: bool = False
    read: tuple[Path, ...] = ()
    sources: Sources = Sources()
    passed: tuple[str, ...] = ()


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How a job begins or goes on. lock: the Definitions in use; choice: the model it asks.

    warnings: what the user should look at, one sentence each.
    """

    plan: Plan
    lock: Lock
    choice: ModelChoice
    warnings: tuple[str, ...] = ()


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request with everything settled. settled: what that is, warnings: what to look at; a sentence each.

    env: the variables of the run, of which skills get what they name. remarks: what the runtime does not hold, to
    be said whether anybody asked or not.
    """

    order: Order
    settings: Settings
    plan: Plan
    lock: Lock
    store: Store
    open_model: Opener
    env: dict[str, str]
    settled: tuple[str, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def job(self) -> str:
        return self.plan.job


def store_of(order: Order) -> Store:
    """Where the history of `order`'s job lies: where it says, or the environment does, or in the workspace."""
    if order.store is not None:
        return order.store
    named = None if order.workspace == order.cwd else order.workspace
    return store_at(history_place(None, named, order.env, order.cwd), order.env)
