"""Which jobs of CI may publish an Expert without a stored key: look, add, remove, and let nobody else."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from perstack._value import Value

from .access import Access, open_registry


class Publisher(Value, frozen=True):
    """A workflow whose jobs are trusted. environment: empty for any, or none. owner_id: empty until a job came."""

    id: str
    issuer: str
    repository: str
    workflow: str
    created_at: str
    environment: str = ""
    owner_id: str = ""
    used_at: str = ""


class Trust(Value, frozen=True):
    """Whom an Expert trusts. trusted_only: whether stored keys are refused."""

    publishers: tuple[Publisher, ...]
    trusted_only: bool


class _One(msgspec.Struct, frozen=True):
    publisher: Publisher


async def trust_of(access: Access, name: str) -> Trust:
    """Raises UserError without a key, RegistryError."""
    async with open_registry(access, name, needs_key=True) as client:
        return await client.data("GET", _path(name), Trust)


async def add(access: Access, name: str, wish: dict[str, str]) -> Publisher:
    """Trust a workflow. wish: `issuer`, `repository`, `workflow`, and if need be `environment`, `ownerId`."""
    async with open_registry(access, name, needs_key=True) as client:
        body = msgspec.json.encode(wish)
        return (await client.data("POST", _path(name), _One, body=body)).publisher


async def remove(access: Access, name: str, id: str) -> None:
    async with open_registry(access, name, needs_key=True) as client:
        await client.request("DELETE", f"{_path(name)}/{quote(id, safe='')}")


async def set_only(access: Access, name: str, on: bool) -> None:
    """Whether stored keys are refused when they publish it."""
    async with open_registry(access, name, needs_key=True) as client:
        body = msgspec.json.encode({"trustedOnly": on})
        await client.request("POST", f"/experts/{quote(name, safe='')}/settings", body=body)


def _path(name: str) -> str:
    return f"/experts/{quote(name, safe='')}/trusted-publishers"
