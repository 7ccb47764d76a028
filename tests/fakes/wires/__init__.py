"""The formats the fake model server speaks."""

from __future__ import annotations

import re

from ..script import WireName
from .anthropic import Anthropic
from .chat import Chat
from .gemini import Gemini
from .responses import Responses
from .wire import Fault, Peek, Wire, seal, sign

__all__ = ["WIRES", "Fault", "Peek", "Wire", "seal", "sign", "wire_of"]

WIRES: dict[WireName, Wire] = {
    wire.name: wire for wire in (Anthropic(), Chat(), Responses(), Gemini())
}


def wire_of(path: str) -> Wire | None:
    """The wire spoken at `path`, with or without a version segment."""
    plain = path.partition("?")[0]
    if plain.endswith("/messages"):
        return WIRES["anthropic"]
    if plain.endswith("/chat/completions"):
        return WIRES["chat"]
    if plain.endswith("/responses"):
        return WIRES["responses"]
    if re.search(r"/models/[^/:]+:(streamG|g)enerateContent$", plain):
        return WIRES["gemini"]
    return None
