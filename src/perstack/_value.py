"""The base of every struct of ours that is written down."""

from __future__ import annotations

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A frozen value whose wire names are camelCase and whose defaults are left out."""


def camel_tag(name: str) -> str:
    """The tag of a struct on the wire, of its class name: `runStarted` of `RunStarted`."""
    return name[0].lower() + name[1:]
