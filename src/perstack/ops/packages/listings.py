"""What registries say of the versions of an Expert."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from perstack.errors import RegistryError, UserError
from perstack.lock import Listing
from perstack.registry import (
    Cache,
    Place,
    RegistryClient,
    cache_place,
    check_follows,
    listing_of,
    open_client,
    parse_index,
    side_by_side,
)

from .access import Access


@asynccontextmanager
async def open_registries(
    access: Access, names: Iterable[str]
) -> AsyncGenerator[dict[str, RegistryClient]]:
    """By name, the client of its registry; closed at the end. Raises UserError offline."""
    if access.sources.is_offline(access.env):
        raise UserError(
            "This has to ask registries. Leave out --offline, or unset PERSTACK_OFFLINE."
        )
    cache = Cache(cache_place(access.env))
    async with AsyncExitStack() as stack:
        clients: dict[Place, RegistryClient] = {}
        found: dict[str, RegistryClient] = {}
        for name in names:
            place = access.place(name)
            if place not in clients:
                clients[place] = await stack.enter_async_context(open_client(place, cache))
            found[name] = clients[place]
        yield found


async def listings(access: Access, names: Iterable[str]) -> dict[str, Listing]:
    """By name, its versions and tags. What its registry does not know is left out.

    Offline, and for what is known where that is preferred: as they were last seen.
    """
    wanted = tuple(dict.fromkeys(names))
    offline = access.sources.is_offline(access.env)
    found: dict[str, Listing] = {}
    if offline or access.sources.prefer_offline:
        cache = Cache(cache_place(access.env))
        for name in wanted:
            if (kept := cache.answer(access.place(name).url, name)) is not None:
                found[name] = parse_index(kept.body, name)
    missing = [name for name in wanted if name not in found]
    if offline or not missing:
        return found

    async with open_registries(access, missing) as clients:

        async def look(name: str) -> None:
            if (listing := await listing_from(clients[name], name)) is not None:
                found[name] = listing

        await side_by_side(look, missing)
    return found


async def listing_from(client: RegistryClient, name: str) -> Listing | None:
    """All versions of a name, as its registry has them now; None if it has none. Raises RegistryError."""
    body = await client.index(name, partial(check_follows, client, name))
    if body is not None:
        return parse_index(body, name)
    if await client.config() is not None:
        return None  # it has an index, and there the name is not
    try:
        return listing_of(await client.versions(name), name)
    except RegistryError as error:
        if error.status != 404:
            raise
        return None
