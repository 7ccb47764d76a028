"""What there is to work with: the Experts that can be run, and the jobs that are kept. It changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

import anyio.to_thread
from msgspec.structs import replace

from perstack._value import Value
from perstack.definition import Expert, access_of
from perstack.errors import DefinitionError, Fault, MissingEnv, UserError
from perstack.job import Event
from perstack.ops.history.jobs import JobSummary
from perstack.ops.project import Flags, LoadedProject, load_env, load_project, settle
from perstack.ops.running.order import GoOn, Order, store_of
from perstack.ops.shipped import DEMOS, demo_of, shipped_project

Origin = Literal["project", "recent", "shipped", "registry"]

RECENT = 10
"""Experts of earlier jobs that are listed."""


class Entry(Value, frozen=True, kw_only=True):
    """One Expert that can be chosen. expert: None where only its key is known, or where it is broken."""

    key: str
    origin: Origin
    expert: Expert | None = None
    about: str = ""
    faults: tuple[Fault, ...] = ()

    @property
    def description(self) -> str:
        return (self.expert.description if self.expert is not None else None) or self.about


class Shelf(Value, frozen=True, kw_only=True):
    """The Experts at hand.

    path: of the perstack.toml, None if there is none. faults: what is wrong with all of it. model: what would be
    asked, "provider/name". missing: what has to be set before that, "" if nothing.
    """

    entries: tuple[Entry, ...] = ()
    path: Path | None = None
    faults: tuple[Fault, ...] = ()
    model: str = ""
    missing: str = ""

    def of(self, key: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.key == key), None)


Search = Callable[[str], Awaitable[Sequence[Entry]]]
"""Experts of registries for some words. Raises PerstackError."""


class Desk:
    """order: what the command line said, with no Expert in it. search: None where there is no registry."""

    def __init__(self, order: Order, search: Search | None = None) -> None:
        self.order = order
        self.search = search
        self.store = store_of(order)

    # What there is ----------------------------------------------------------------------------------------

    async def shelf(self) -> Shelf:
        return await anyio.to_thread.run_sync(self._shelf)

    async def jobs(self) -> tuple[JobSummary, ...]:
        """The job written to last first."""
        return await self.store.summaries()

    async def events(self, job: str) -> tuple[Event, ...]:
        return await self.store.read(job)

    async def stamp(self) -> float:
        """When the project file was last written to, 0 if there is none."""
        return await anyio.to_thread.run_sync(self._stamp)

    def _stamp(self) -> float:
        try:
            path = _path_of(self._load())
            return path.stat().st_mtime if path is not None else 0.0
        except (OSError, UserError):
            return 0.0

    def _load(self) -> LoadedProject | None:
        return load_project(self.order.config, self.order.cwd, self.order.env)

    def _shelf(self) -> Shelf:
        faults: tuple[Fault, ...] = ()
        loaded: LoadedProject | None = None
        try:
            loaded = self._load()
        except DefinitionError as error:
            faults = error.faults
        except UserError as error:
            faults = (Fault("", str(error)),)
        entries: list[Entry] = []
        if loaded is not None:
            entries += (
                Entry(key=key, origin="project", expert=expert)
                for key, expert in loaded.project.experts.items()
            )
            entries += (
                Entry(key=key, origin="project", faults=broken.faults)
                for key, broken in loaded.parsed.broken.items()
            )
        known = {entry.key for entry in entries}
        shipped = shipped_project().experts
        entries += (
            Entry(key=key, origin="shipped", expert=expert)
            for key, expert in shipped.items()
            if key not in known
        )
        model, missing = self._model(loaded)
        return Shelf(
            entries=tuple(entries),
            path=_path_of(loaded) or self._named(),
            faults=faults,
            model=model,
            missing=missing,
        )

    def _named(self) -> Path | None:
        """The file that was meant, where it could not be used."""
        named = self.order.config
        here = self.order.cwd / (named or "perstack.toml")
        return here if here.exists() else None

    def _model(self, loaded: LoadedProject | None) -> tuple[str, str]:
        """What would be asked, and why it cannot be."""
        settings = settle(loaded.project if loaded is not None else None, self.order.flags)
        name = f"{settings.provider}/{settings.model}" if settings.model else settings.provider
        if self.order.model is not None or self.order.cassette is not None:
            return "a recording" if self.order.cassette is not None else "custom", ""
        try:
            required = settings.env_required
            env = load_env(settings.env_paths, self.order.env, self.order.cwd, required=required)
            access_of(settings.provider, settings.provider_table, env)
        except MissingEnv as error:
            return name, f"{error}"
        except UserError as error:
            return name, str(error)
        return name, ""

    @property
    def plays_demo(self) -> bool:
        """Whether a recording that comes with Perstack stands in for the model."""
        cassette = self.order.cassette
        return cassette is not None and cassette in {demo_of(key).cassette for key in DEMOS}

    # What to order ----------------------------------------------------------------------------------------

    def new_job(self, expert: str, query: str) -> Order:
        return replace(self.order, expert=expert, query=query, go_on=None)

    def going_on(
        self,
        expert: str,
        job: str,
        query: str,
        checkpoint: str | None = None,
        *,
        answer: bool = False,
    ) -> Order:
        go_on = GoOn(job=job, checkpoint=checkpoint, answer=answer)
        return replace(self.order, expert=expert, query=query, job=None, go_on=go_on)

    def switch_model(self, flags: Flags) -> None:
        """From the next order on."""
        self.order = replace(self.order, flags=flags)


def with_recent(shelf: Shelf, jobs: Sequence[JobSummary]) -> tuple[Entry, ...]:
    """The Experts of `shelf`, and after those of the project the ones that only earlier jobs know."""
    known = {entry.key for entry in shelf.entries}
    keys = dict.fromkeys(job.expert for job in jobs if job.expert and job.expert not in known)
    recent = [Entry(key=key, origin="recent") for key in list(keys)[:RECENT]]
    own = [entry for entry in shelf.entries if entry.origin == "project"]
    return (*own, *recent, *(entry for entry in shelf.entries if entry.origin != "project"))


def has_demo(key: str) -> bool:
    return key in DEMOS


def _path_of(loaded: LoadedProject | None) -> Path | None:
    return loaded.path if loaded is not None else None
