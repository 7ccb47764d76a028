"""A lock is a walk over delegates that asks for each Definition once."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.definition import DEFAULT_BASE, Expert, StdioSkill
from perstack.errors import UnknownExpert
from perstack.lock import Lock, digest_of, document_of, pinned, resolve, resolved


def expert(key: str, *delegates: str) -> Expert:
    return Expert(key=key, name=key.split("@")[0] or key, instruction="Work.", delegates=delegates)


def asked(known: dict[str, Expert], *roots: str, keep: dict[str, Expert] | None = None):
    """The lock, and what was looked up for it, in order."""
    specs: list[str] = []

    def look_up(spec: str) -> Expert:
        specs.append(spec)
        return known[spec]

    pins = {spec: pinned(kept) for spec, kept in (keep or {}).items()}
    return resolved(resolve(roots, pins), look_up), specs


def test_each_definition_is_asked_for_once():
    lock, specs = asked({"a": expert("a", "b", "c"), "b": expert("b", "c"), "c": expert("c")}, "a")
    assert specs == ["a", "b", "c"]
    assert list(lock.experts) == ["a", "b", "c"]
    assert lock.resolutions == {}


def test_experts_may_delegate_in_a_circle():
    lock, specs = asked({"a": expert("a", "b"), "b": expert("b", "a")}, "a")
    assert specs == ["a", "b"]
    assert [delegate.key for delegate in lock.delegates_of("b")] == ["a"]


def test_two_experts_may_each_have_another_version_of_a_third():
    known = {
        "a": expert("a", "b", "@x/c@1"),
        "b": expert("b", "@x/c@2"),
        "@x/c@1": expert("@x/c@1.4.0"),
        "@x/c@2": expert("@x/c@2.0.0"),
    }
    lock, _ = asked(known, "a")
    assert lock.resolutions == {"@x/c@1": "@x/c@1.4.0", "@x/c@2": "@x/c@2.0.0"}
    assert [d.key for d in lock.delegates_of("a")] == ["b", "@x/c@1.4.0"]
    assert [d.key for d in lock.delegates_of("b")] == ["@x/c@2.0.0"]


def test_two_strings_for_one_definition_share_its_pin():
    one = expert("@x/c@1.4.0")
    lock, _ = asked({"a": expert("a", "@x/c", "@x/c@1"), "@x/c": one, "@x/c@1": one}, "a")
    assert list(lock.experts) == ["@x/c@1.4.0", "a"]
    assert lock.key_of("@x/c") == lock.key_of("@x/c@1") == "@x/c@1.4.0"


def test_what_is_pinned_already_is_not_asked_for_again():
    kept = {"@x/c": expert("@x/c@1.0.0", "d")}
    lock, specs = asked({"a": expert("a", "@x/c"), "d": expert("d")}, "a", keep=kept)
    assert specs == ["a", "d"]
    assert lock.key_of("@x/c") == "@x/c@1.0.0"


def test_what_the_look_up_raises_comes_out():
    def nobody(spec: str) -> Expert:
        raise UnknownExpert(spec)

    with pytest.raises(UnknownExpert):
        resolved(resolve(["a"]), nobody)


def test_a_lock_knows_only_what_is_in_it():
    lock, _ = asked({"a": expert("a")}, "a")
    assert lock.expert("a").key == "a"
    with pytest.raises(UnknownExpert) as caught:
        lock.expert("b")
    assert (caught.value.key, caught.value.looked_in) == ("b", "the lock")


def test_a_lock_of_nothing_is_empty():
    assert asked({})[0] == Lock()


keys = st.sampled_from("abcde")


@given(graph=st.dictionaries(keys, st.lists(keys, max_size=3, unique=True)), root=keys)
def test_a_lock_holds_exactly_what_can_be_reached(graph: dict[str, list[str]], root: str):
    known = {key: expert(key, *graph.get(key, ())) for key in "abcde"}
    lock, specs = asked(known, root)
    reached, rest = set[str](), [root]
    while rest:
        key = rest.pop()
        if key not in reached:
            reached.add(key)
            rest.extend(known[key].delegates)
    assert set(lock.experts) == reached
    assert sorted(specs) == sorted(reached)
    assert list(lock.experts) == sorted(lock.experts)


# Documents ------------------------------------------------------------------------------------------------


def test_a_document_is_short_and_in_order():
    full = Expert(
        key="@x/c@1.0.0",
        name="@x/c",
        instruction="Work.",
        skills={"z": StdioSkill(command="npx", args=("-y", "z")), "@perstack/base": DEFAULT_BASE},
    )
    document = document_of(full)
    told = json.loads(document)
    assert json.dumps(told, sort_keys=True, separators=(",", ":")).encode() == document
    assert set(told["skills"]["z"]) == {"args", "command", "type"}
    assert msgspec.json.decode(document, type=Expert) == full


def test_the_order_of_skills_does_not_change_a_digest():
    one, other = StdioSkill(command="one"), StdioSkill(command="other")
    ab = Expert(key="a", name="a", instruction="i", skills={"a": one, "b": other})
    ba = Expert(key="a", name="a", instruction="i", skills={"b": other, "a": one})
    assert digest_of(document_of(ab)) == digest_of(document_of(ba)) == pinned(ab).integrity


@given(left=st.text(max_size=3), right=st.text(max_size=3))
def test_definitions_with_one_digest_are_one(left: str, right: str):
    a, b = (Expert(key="a", name="a", instruction=text) for text in (left, right))
    assert (pinned(a).integrity == pinned(b).integrity) == (left == right)


def test_the_form_of_a_digest():
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", pinned(expert("a")).integrity)
