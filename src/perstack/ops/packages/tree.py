"""The graph of delegates in a lock, as a tree to read: downwards, upwards, and by what chain something got in.

An Expert is unfolded where it comes first and only named where it comes again, so a tree is never larger than its
graph. Pure: what is read is a Lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Literal

from perstack._value import Value
from perstack.definition import ExpertKey, parse_key, parse_version, short_of
from perstack.errors import UnknownExpert, UserError
from perstack.lock import Lock

Mark = Literal["", "cycle", "again", "missing"]


class Node(Value, frozen=True):
    """An Expert and whom it delegates to (or who delegates to it). spec: what was written, if not the very key.

    mark: cycle if it is one of those above it; again if it was unfolded before; missing if the lock has it not.
    """

    key: str
    spec: str = ""
    mark: Mark = ""
    below: tuple[Node, ...] = ()


Edges = Mapping[str, tuple[tuple[str, str], ...]]
"""By key, the (key, spec) of each neighbour."""


def tree_of(lock: Lock, roots: Iterable[str], depth: int | None = None) -> tuple[Node, ...]:
    """The trees below `roots`. depth: levels below them, None for all."""
    return _grown(roots, _downwards(lock), depth)


def inverted(lock: Lock, name: str, depth: int | None = None) -> tuple[Node, ...]:
    """Who delegates to `name`, in each version of it, upwards. name: with or without a version.

    Raises UnknownExpert.
    """
    return _grown(matching(lock, name), _upwards(lock), depth)


def duplicates(lock: Lock) -> tuple[Node, ...]:
    """The Experts that are there in several versions, with those who want each."""
    keys: dict[str, list[str]] = {}
    for key in lock.experts:
        keys.setdefault(parse_key(key).name, []).append(key)
    several = [key for found in keys.values() if len(found) > 1 for key in _by_version(found)]
    return _grown(several, _upwards(lock), 1)


def chains(lock: Lock, roots: Iterable[str], name: str) -> tuple[tuple[Node, ...], ...]:
    """By what delegates `name` is there: for each version of it, a shortest chain from each root that leads to it.

    Raises UnknownExpert.
    """
    wanted = matching(lock, name)
    found: list[tuple[Node, ...]] = []
    for root in roots:
        ways = reached(lock, root)
        found += (ways[goal] for goal in wanted if goal in ways)
    return tuple(sorted(found, key=lambda chain: (chain[-1].key, len(chain))))


def reached(lock: Lock, root: str) -> dict[str, tuple[Node, ...]]:
    """By key of each Expert that `root` leads to, itself among them: a shortest chain to it."""
    came = _came_from(root, _downwards(lock))
    return {key: _chain(key, came) for key in came if key in lock.experts}


def cycles(lock: Lock) -> tuple[tuple[str, ...], ...]:
    """Rings of Experts that delegate to each other, each once, from the first by name."""
    edges = _pruned(_downwards(lock))
    rings: set[tuple[str, ...]] = set()
    for start in edges:
        came = _came_from(start, edges)
        for key in came:
            if any(target == start for target, _ in edges.get(key, ())):
                ring = tuple(node.key for node in _chain(key, came))
                first = ring.index(min(ring))
                rings.add((*ring[first:], *ring[:first]))
    return tuple(sorted(_shortest(rings)))


def matching(lock: Lock, name: str) -> tuple[str, ...]:
    """The keys of the lock that `name` means: an exact key, or all versions of a name. Raises UnknownExpert."""
    keys = lock.experts
    if "@" in name[1:]:
        found = tuple(key for key in (name, lock.key_of(name)) if key in keys)[:1]
    else:
        found = _by_version(key for key in keys if parse_key(key).name == name)
    if not found:
        raise UnknownExpert(name, near_names(name, keys), "the lock")
    return found


def near_names(name: str, among: Iterable[str]) -> tuple[str, ...]:
    """Those of `among`, names or keys, that may be meant by `name`: with its last part, else spelt like it."""
    known, bare = tuple(among), name[:1] + name[1:].partition("@")[0]
    same = tuple(
        each for each in known if short_of(each[:1] + each[1:].partition("@")[0]) == short_of(bare)
    )
    return same or tuple(get_close_matches(name, known, n=2))


def lines_of(nodes: Iterable[Node]) -> Iterator[str]:
    """The trees as lines for people."""
    for node in nodes:
        yield _line(node)
        yield from _below(node, "")


def _below(node: Node, margin: str) -> Iterator[str]:
    for place, each in enumerate(node.below, 1):
        last = place == len(node.below)
        yield f"{margin}{'└─ ' if last else '├─ '}{_line(each)}"
        yield from _below(each, f"{margin}{'   ' if last else '│  '}")


def _line(node: Node) -> str:
    spec = f"  (as {node.spec})" if node.spec else ""
    return f"{node.key}{spec}{_MARKS[node.mark]}"


_MARKS = {
    "": "",
    "cycle": "  (cycle)",
    "again": "  (see above)",
    "missing": "  (not in the lock)",
}


def _grown(roots: Iterable[str], edges: Edges, depth: int | None) -> tuple[Node, ...]:
    shown: set[str] = set()

    def grow(key: str, spec: str, above: tuple[str, ...]) -> Node:
        if key in above:
            return Node(key=key, spec=spec, mark="cycle")
        if key not in edges:
            return Node(key=key, spec=spec, mark="missing")
        if not edges[key] or (depth is not None and len(above) >= depth):
            return Node(key=key, spec=spec)
        if key in shown:
            return Node(key=key, spec=spec, mark="again")
        shown.add(key)
        below = tuple(grow(target, by, (*above, key)) for target, by in edges[key])
        return Node(key=key, spec=spec, below=below)

    return tuple(grow(root, "", ()) for root in roots)


def _downwards(lock: Lock) -> Edges:
    edges: dict[str, tuple[tuple[str, str], ...]] = {}
    for key, pin in lock.experts.items():
        targets = [(lock.key_of(spec), spec) for spec in pin.expert.delegates]
        edges[key] = tuple((target, "" if target == spec else spec) for target, spec in targets)
    return edges


def _upwards(lock: Lock) -> Edges:
    above: dict[str, list[tuple[str, str]]] = {key: [] for key in lock.experts}
    for key, edges in _downwards(lock).items():
        for target, spec in edges:
            above.setdefault(target, []).append((key, spec))
    return {key: tuple(edges) for key, edges in above.items()}


def _pruned(edges: Edges) -> Edges:
    """Without those from whom no way leads back."""
    left = dict(edges)
    while ends := [key for key, out in left.items() if not any(to in left for to, _ in out)]:
        for key in ends:
            del left[key]
    return left


def _came_from(root: str, edges: Edges) -> dict[str, tuple[str, str]]:
    """By key that can be reached: from where first, and as what spec."""
    came, todo = {root: ("", "")}, deque([root])
    while todo:
        key = todo.popleft()
        for target, spec in edges.get(key, ()):
            if target not in came:
                came[target] = (key, spec)
                todo.append(target)
    return came


def _chain(goal: str, came: Mapping[str, tuple[str, str]]) -> tuple[Node, ...]:
    nodes: list[Node] = []
    while goal:
        above, spec = came[goal]
        nodes.append(Node(key=goal, spec=spec))
        goal = above
    return tuple(reversed(nodes))


def _shortest(rings: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Those rings in which no smaller ring lies."""
    known: list[tuple[str, ...]] = []
    for ring in sorted(rings, key=len):
        if not any(set(smaller) < set(ring) for smaller in known):
            known.append(ring)
            yield ring


def _by_version(keys: Iterable[str]) -> tuple[str, ...]:
    def order(key: ExpertKey) -> tuple[str, bool, object, str]:
        try:
            return (key.name, True, parse_version(key.version or ""), "")
        except UserError:
            return (key.name, False, 0, key.tag or "")

    return tuple(str(key) for key in sorted(map(parse_key, keys), key=order))
