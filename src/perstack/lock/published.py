"""Published Definitions: the pin of a document, and whether a document is the one that was pinned."""

from __future__ import annotations

from perstack.definition import REGISTRY_KEY, Expert, StdioSkill
from perstack.errors import LockTampered, UserError

from .document import digest_of, document_of
from .lock import Lock, Origin, Pin

COMMANDS = ("npx", "uvx")
"""What a skill of a published Expert may start: programs that fetch a package by its name."""


def published(document: bytes, said: Expert, origin: Origin) -> Pin:
    """The pin of a published Definition. document: its canonical bytes; said: the Definition in them."""
    return Pin(expert=said, integrity=digest_of(document), origin=origin)


def check_published(pin: Pin, document: bytes, said: Expert, source: str) -> None:
    """Pass if `document`, in which the Definition `said` is, is what `pin` says of it.

    source: what to call the lock in messages. Raises LockTampered.
    """
    key = pin.expert.key
    if digest_of(document) != pin.integrity:
        raise LockTampered(
            f"The document of {key} is not the one {source} pins ({pin.integrity}). Nothing of it was used."
        )
    if said != pin.expert and document_of(said) != document_of(pin.expert):
        raise LockTampered(
            f"{source} was changed: what it says of {key} is not what was published. "
            "Look at what changed it, then take the tables of this Expert out and run `perstack install`."
        )


def check_rules(lock: Lock) -> None:
    """Pass if no published Expert in `lock` has a skill that no registry should have let it have.

    Whoever publishes could else run any program here, or be given the key of the registry. Raises UserError.
    """
    for key, pin in lock.experts.items():
        if pin.origin is not None:
            for name, skill in pin.expert.skills.items():
                if isinstance(skill, StdioSkill) and (fault := _fault(skill)):
                    raise UserError(
                        f'"{key}" of {pin.origin.registry} is not used: its skill "{name}" {fault}.'
                    )


def _fault(skill: StdioSkill) -> str | None:
    if skill.command not in COMMANDS:
        return f'starts "{skill.command}", where published Experts may start {" and ".join(COMMANDS)} only'
    if skill.args:
        return "has arguments, which published Experts may not have"
    keys = [name for name in skill.required_env if name.upper().startswith(REGISTRY_KEY)]
    return f"asks for {keys[0]}, the key of a registry" if keys else None
