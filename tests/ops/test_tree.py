"""A lock is read as a tree, and never longer than its graph."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from perstack.definition import Expert
from perstack.errors import UnknownExpert
from perstack.lock import Lock, pinned
from perstack.ops.packages.tree import (
    Node,
    chains,
    cycles,
    duplicates,
    inverted,
    lines_of,
    matching,
    tree_of,
)


def locked(edges: dict[str, list[str]], resolutions: dict[str, str] | None = None) -> Lock:
    """key → delegates as written."""
    experts = {
        key: pinned(
            Expert(key=key, name=key.partition("@")[0], instruction="x", delegates=tuple(delegates))
        )
        for key, delegates in edges.items()
    }
    return Lock(experts=experts, resolutions=resolutions or {})


LOCK = locked(
    {
        "lead": ["helper", "@acme/a@^1"],
        "helper": ["@acme/b@2.0.0", "lead"],
        "@acme/a@1.4.0": ["@acme/b@2.0.0", "@acme/b"],
        "@acme/b@2.0.0": [],
        "@acme/b@10.0.0": ["@acme/gone@1.0.0"],
        "alone": [],
    },
    {"@acme/a@^1": "@acme/a@1.4.0", "@acme/b": "@acme/b@10.0.0"},
)


def test_a_tree_unfolds_each_expert_once() -> None:
    assert "\n".join(lines_of(tree_of(LOCK, ["lead", "alone"]))) == snapshot("""\
lead
├─ helper
│  ├─ @acme/b@2.0.0
│  └─ lead  (cycle)
└─ @acme/a@1.4.0  (as @acme/a@^1)
   ├─ @acme/b@2.0.0
   └─ @acme/b@10.0.0  (as @acme/b)
      └─ @acme/gone@1.0.0  (not in the lock)
alone\
""")


def test_a_tree_may_be_cut() -> None:
    assert "\n".join(lines_of(tree_of(LOCK, ["lead"], depth=1))) == snapshot("""\
lead
├─ helper
└─ @acme/a@1.4.0  (as @acme/a@^1)\
""")


def test_upwards_is_who_wants_it() -> None:
    assert "\n".join(lines_of(inverted(LOCK, "@acme/b"))) == snapshot("""\
@acme/b@2.0.0
├─ helper
│  └─ lead
│     └─ helper  (cycle)
└─ @acme/a@1.4.0
   └─ lead  (as @acme/a@^1)  (see above)
@acme/b@10.0.0
└─ @acme/a@1.4.0  (as @acme/b)  (see above)\
""")
    assert list(lines_of(inverted(LOCK, "@acme/b@10.0.0", depth=1))) == snapshot(
        ["@acme/b@10.0.0", "└─ @acme/a@1.4.0  (as @acme/b)"]
    )


def test_duplicates_are_experts_in_several_versions() -> None:
    assert "\n".join(lines_of(duplicates(LOCK))) == snapshot("""\
@acme/b@2.0.0
├─ helper
└─ @acme/a@1.4.0
@acme/b@10.0.0
└─ @acme/a@1.4.0  (as @acme/b)\
""")
    assert duplicates(locked({"a": [], "b": []})) == ()


def test_a_chain_says_why_something_is_there() -> None:
    found = chains(LOCK, ["lead", "alone"], "@acme/b")
    assert [[node.key for node in chain] for chain in found] == [
        ["lead", "@acme/a@1.4.0", "@acme/b@10.0.0"],
        ["lead", "helper", "@acme/b@2.0.0"],
    ]
    assert found[0][1] == Node(key="@acme/a@1.4.0", spec="@acme/a@^1")
    assert chains(LOCK, ["alone"], "@acme/b") == ()


def test_a_name_that_nothing_has_is_told_with_those_like_it() -> None:
    with pytest.raises(UnknownExpert) as caught:
        matching(LOCK, "@other/b")
    assert caught.value.close_matches == ("@acme/b@2.0.0", "@acme/b@10.0.0")


def test_cycles_are_told_once() -> None:
    assert cycles(LOCK) == (("helper", "lead"),)
    ring = locked({"c": ["a"], "a": ["b"], "b": ["c", "b"]})
    assert cycles(ring) == (("b",),)
    assert cycles(locked({"c": ["a"], "a": ["b"], "b": ["c"]})) == (("a", "b", "c"),)


KEYS = [f"e{n}" for n in range(6)]


@given(
    st.dictionaries(st.sampled_from(KEYS), st.lists(st.sampled_from(KEYS), max_size=4, unique=True))
)
def test_a_tree_is_no_larger_than_its_graph(edges: dict[str, list[str]]) -> None:
    lock = locked(edges)
    lines = list(lines_of(tree_of(lock, edges)))
    assert len(lines) <= len(edges) + sum(map(len, edges.values()))
    for root in edges:
        reached = {chain[-1].key for key in edges for chain in chains(lock, [root], key)}
        unfolded = {line.strip("├└─│ ").split()[0] for line in lines_of(tree_of(lock, [root]))}
        assert reached == unfolded & edges.keys()
