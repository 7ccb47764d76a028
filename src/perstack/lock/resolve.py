"""A walk over delegates that asks for each Definition it needs.

Experts share no namespace, so two of them may want different versions of a third and both get theirs: there
is nothing to solve and nothing to undo. The walk is a generator; who drives it decides where Definitions come
from (a file, the shipped set, a registry, a test's dict).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping

from perstack.definition import Expert

from .document import digest_of, document_of
from .lock import Lock, Pin

Walk = Generator[str, Expert, Lock]


def resolve(roots: Iterable[str], keep: Mapping[str, Pin] | None = None) -> Walk:
    """Yields each key or delegate string that must be looked up; returns the Lock.

    keep: pins already made, by the string they were made for; they win, so locking again changes little.
    """
    known = keep or {}
    experts: dict[str, Pin] = {}
    resolutions: dict[str, str] = {}
    seen: set[str] = set()
    todo = deque(roots)
    while todo:
        spec = todo.popleft()
        if spec in seen:
            continue
        seen.add(spec)
        pin = known.get(spec) or pinned((yield spec))
        key = pin.expert.key
        experts[key] = pin
        if key != spec:
            resolutions[spec] = key
        todo.extend(pin.expert.delegates)
    return Lock(
        experts=dict(sorted(experts.items())), resolutions=dict(sorted(resolutions.items()))
    )


def pinned(expert: Expert) -> Pin:
    """`expert` with the digest of its document."""
    return Pin(expert=expert, integrity=digest_of(document_of(expert)))


def resolved(walk: Walk, look_up: Callable[[str], Expert]) -> Lock:
    """The walk driven by a plain function. Whatever `look_up` raises comes out."""
    try:
        spec = next(walk)
        while True:
            spec = walk.send(look_up(spec))
    except StopIteration as end:
        lock: Lock = end.value
        return lock
