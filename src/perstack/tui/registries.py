"""The way from the list of Experts to registries, which are asked only when somebody says so."""

from __future__ import annotations

from collections.abc import Sequence

import anyio.to_thread

from perstack.ops.packages.sources import Sources
from perstack.ops.running.order import Order

from .desk import Entry, Search

MOST = 30


def search_of(order: Order) -> Search:
    """Asks the default registry of the project that `order` is about."""

    async def search(words: str) -> Sequence[Entry]:
        from perstack.ops.packages.access import access_of
        from perstack.ops.packages.queries import search

        access = await anyio.to_thread.run_sync(
            access_of, order.config, order.flags.env_paths, Sources(), order.env, order.cwd
        )
        hits = await search(access, words, {}, take=MOST)
        return [
            Entry(
                key=hit.name,
                origin="registry",
                about=f"{hit.description}\n\nVersion {hit.version}, {hit.status}"
                + (f", of {hit.owner}" if hit.owner else ""),
            )
            for hit in hits.experts
        ]

    return search
