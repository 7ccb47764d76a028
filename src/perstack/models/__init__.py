"""Models: what replies to a conversation, and how the replies are got.

`open_model` is the door: a provider's models over HTTP. `load_cassette` gives a model that replays what
`open_recorder` has recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .cassette import Cassette, Recorder, load_cassette, open_recorder
from .catalog import default_model, ending, open_model, provider_tools_refusal, traits_of
from .model import Delta, Finish, Hear, Model, ProviderTools, Reply, Request, ToolSpec
from .prices import price_of
from .wires.wire import Traits

if TYPE_CHECKING:
    from .connections import Connections
    from .http import HttpModel

ALLOW_REQUESTS = True
"""Set to False, no connection is made to any host but this machine. For tests."""

__all__ = [
    "ALLOW_REQUESTS",
    "Cassette",
    "Connections",
    "Delta",
    "Finish",
    "Hear",
    "HttpModel",
    "Model",
    "ProviderTools",
    "Recorder",
    "Reply",
    "Request",
    "ToolSpec",
    "Traits",
    "default_model",
    "ending",
    "load_cassette",
    "open_model",
    "open_recorder",
    "price_of",
    "provider_tools_refusal",
    "traits_of",
]


def __getattr__(name: str) -> Any:
    # The two that need the network are loaded when they are asked for: `--help` and replays do without.
    if name == "Connections":
        from .connections import Connections

        return Connections
    if name == "HttpModel":
        from .http import HttpModel

        return HttpModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
