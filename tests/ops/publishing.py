"""A project that uses published Experts, and its own cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perstack.models import Model
from perstack.ops.packages.install import Installation, keep_tools, resolve_all, write_lock
from perstack.ops.packages.sources import Sources
from perstack.ops.running.run import Order

from ..lock.hashes import rehashed
from .locked import Locked


class User(Locked):
    """A directory with a perstack.toml. url: of the default registry. env: what its commands have."""

    def __init__(self, place: Path, url: str, *delegates: str, more: str = "") -> None:
        super().__init__(place)
        self.cache = place.parent / f"{place.name}-cache"
        self.env = {
            "PERSTACK_API_BASE_URL": url,
            "PERSTACK_CACHE_DIR": str(self.cache),
            "HOME": str(place.parent),
        }
        self.write(*delegates, more=more)

    def write(self, *delegates: str, more: str = "") -> None:
        """`lead` delegates to these. more: further tables."""
        listed = ", ".join(f'"{spec}"' for spec in delegates)
        text = f'[experts.lead]\ninstruction = "Lead."\ndelegates = [{listed}]\n{more}'
        (self.place / "perstack.toml").write_text(text)

    def relock(self, text: str) -> None:
        """Write `text` as the lock, with the digest over the whole of it: only what else is held to it counts."""
        self.path.write_text(rehashed(text))

    @property
    def keys(self) -> list[str]:
        """What is locked besides `lead`."""
        return [key for key in self.lock.lock.experts if key != "lead"]

    async def resolve(self, *, frozen: bool = False, **sources: Any) -> Installation:
        return await resolve_all(
            None, (), self.env, self.place, frozen=frozen, sources=Sources(**sources)
        )

    async def install(self, *, frozen: bool = False, **sources: Any) -> tuple[str, ...]:
        """The warnings."""
        found = await self.resolve(frozen=frozen, **sources)
        write_lock(found, keep_tools(found), at=1.0, frozen=frozen)
        return found.warnings

    def order(
        self, model: Model, *, expert: str = "lead", frozen: bool = False, **sources: Any
    ) -> Order:
        return Order(
            expert=expert,
            query="Go",
            cwd=self.place,
            workspace=self.place,
            env=self.env,
            model=model,
            frozen=frozen,
            sources=Sources(**sources),
        )

    def files(self) -> Mapping[str, bytes]:
        """All files of the cache that are about what was published, by their paths there."""
        return {
            str(path.relative_to(self.cache)): path.read_bytes()
            for path in self.cache.rglob("*")
            if path.is_file()
        }
