"""Where Definitions may come from, besides the project and what comes with Perstack."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

OFFLINE = "PERSTACK_OFFLINE"


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What a command line says of registries.

    registry: URL of the default one, None for that of environment and project file. offline: open no connection.
    prefer_offline: use what is known of registries, whatever its age. allow_disabled: take versions that their
    owner has disabled, if they are named exactly.
    """

    registry: str | None = None
    offline: bool = False
    prefer_offline: bool = False
    allow_disabled: bool = False

    def is_offline(self, env: Mapping[str, str]) -> bool:
        """Whether no connection may be opened: the command line or the environment says so."""
        return self.offline or env.get(OFFLINE, "").lower() in ("1", "true", "yes")
