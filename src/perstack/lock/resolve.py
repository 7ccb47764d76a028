"""A walk over delegates that asks for each Definition it needs.

Experts share no namespace, so two of them may want different versions of a third and both get theirs: there
is nothing to solve and nothing to undo. The walk is a generator; who drives it decides where Definitions come
from (a file, the shipped set, a registry, a test's dict). It asks for all it knows to be needed at once, so that
who drives it can look them up side by side: the Experts first, then all their delegates, then all of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping

from perstack.definition import Expert

from .document import digest_of, document_of
from .lock import Lock, Pin

Walk = Generator[tuple[str, ...], Mapping[str, Pin], Lock]


def resolve(roots: Iterable[str], keep: Mapping[str, Pin] | None = None) -> Walk:
    """Yields keys and delegate strings that must be looked up, each once; is sent their pins; returns the Lock.

    keep: pins already made, by the string they were made for; they win, so locking again changes little.
    """
    pins = dict(keep or {})
    experts: dict[str, Pin] = {}
    resolutions: dict[str, str] = {}
    seen: set[str] = set()
    front = tuple(dict.fromkeys(roots))
    while front:
        seen |= set(front)
        if unknown := tuple(spec for spec in front if spec not in pins):
            pins |= yield unknown
        for spec in front:
            key = pins[spec].expert.key
            experts[key] = pins[spec]
            if key != spec:
                resolutions[spec] = key
        wanted = dict.fromkeys(name for spec in front for name in pins[spec].expert.delegates)
        front = tuple(spec for spec in wanted if spec not in seen)
    return Lock(
        experts=dict(sorted(experts.items())), resolutions=dict(sorted(resolutions.items()))
    )


def pinned(expert: Expert) -> Pin:
    """`expert` with the digest of its document."""
    return Pin(expert=expert, integrity=digest_of(document_of(expert)))


def resolved(walk: Walk, look_up: Callable[[str], Expert]) -> Lock:
    """The walk driven by a plain function. Whatever `look_up` raises comes out."""
    try:
        specs = next(walk)
        while True:
            specs = walk.send({spec: pinned(look_up(spec)) for spec in specs})
    except StopIteration as end:
        lock: Lock = end.value
        return lock
