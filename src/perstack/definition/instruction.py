"""Expert + delegates + rules → the text the model gets. First version, to be completed."""

from __future__ import annotations

from collections.abc import Sequence

from .expert import Expert


def compose_instruction(
    expert: Expert, delegates: Sequence[Expert], *, at: str, workspace: str
) -> str:
    """The whole system text of one run. at: ISO 8601 UTC."""
    parts = [f"Time: {at}\nWorking directory: {workspace}", expert.instruction]
    parts += [f"{delegate.name}: {delegate.description or ''}" for delegate in delegates]
    return "\n\n".join(parts)
