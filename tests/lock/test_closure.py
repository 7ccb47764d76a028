"""What an Expert may touch is read off its Definition; what it may besides is never missed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from msgspec.structs import replace

from perstack.definition import (
    BASE_SKILL,
    DEFAULT_BASE,
    Expert,
    InteractiveSkill,
    InteractiveTool,
    RemoteSkill,
    Skill,
    StdioSkill,
)
from perstack.lock import (
    Change,
    Reach,
    changes,
    closure_of,
    reach_of,
    resolve,
    resolved,
    widened,
    widens,
)


def expert(key: str = "reader", delegates: tuple[str, ...] = (), **skills: Skill) -> Expert:
    return Expert(
        key=key, name=key.partition("@")[0], instruction="Read.", skills=skills, delegates=delegates
    )


def based(skill: Skill) -> Expert:
    return replace(expert(), skills={BASE_SKILL: skill})


def stdio(package: str = "@acme/search@1.0.0", **members: Any) -> StdioSkill:
    return StdioSkill(command="npx", package_name=package, **members)


def told(before: Expert, after: Expert) -> list[tuple[str, str]]:
    return [(change.effect, change.text) for change in changes(before, after)]


def test_a_definition_says_all_it_may_touch() -> None:
    remote = RemoteSkill(
        endpoint="https://mcp.example.com/sse", headers_env={"X-Key": "Bearer DOCS_KEY"}
    )
    asks = InteractiveSkill(tools={"choose": InteractiveTool(input_json_schema="{}")})
    search = stdio(
        pick=("find", "send"),
        omit=("send",),
        required_env=("TOKEN",),
        allowed_domains=("*.acme.example",),
    )
    one = replace(
        expert("reader", ("@acme/helper@^1.2",), search=search, docs=remote, ask=asks),
        provider_tools=("webSearch",),
    )
    base = based(DEFAULT_BASE)
    assert [str(grant) for grant in (*reach_of(one).grants, *reach_of(base).grants)] == snapshot(
        [
            "may delegate to @acme/helper",
            "may reach *.acme.example, from npx @acme/search",
            "may talk to https://mcp.example.com/sse",
            "may run the package @acme/search by npx, version 1.0.0",
            "may use webSearch of the model's provider",
            "may ask you by choose",
            "may use all tools of https://mcp.example.com/sse",
            "may use the tool find of npx @acme/search",
            "may read DOCS_KEY, given to https://mcp.example.com/sse",
            "may read TOKEN, given to npx @acme/search",
            "may use all tools of @perstack/base, exec among them",
        ]
    )


def test_a_tree_may_touch_what_any_of_it_may() -> None:
    experts = {
        "lead": expert("lead", ("@acme/a@^1",)),
        "@acme/a@^1": expert("@acme/a@1.0.0", ("@acme/b",), one=stdio(required_env=("A",))),
        "@acme/b": expert("@acme/b@2.0.0", ("@acme/a@^1",), two=stdio(required_env=("B",))),
        "alone": expert("alone", (), three=stdio(required_env=("C",))),
    }
    lock = resolved(resolve(["lead", "alone"]), experts.__getitem__)
    assert closure_of(lock, "lead").names("variable") == ("A", "B")
    assert closure_of(lock, "@acme/b").names("variable") == ("A", "B")
    assert closure_of(lock, "alone").names("variable") == ("C",)
    assert closure_of(lock).names("variable") == ("A", "B", "C")
    assert closure_of(lock, "lead").names("delegate") == ("@acme/a", "@acme/b")


BASE_ONLY = stdio("@perstack/base", pick=("todo",))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (stdio(), stdio(required_env=("TOKEN",))),
        (stdio(allowed_domains=("a.example",)), stdio()),
        (stdio(allowed_domains=("a.example",)), stdio(allowed_domains=("*.a.example",))),
        (stdio(), stdio("@acme/search")),
        (stdio(), stdio("@other/search@1.0.0")),
        (stdio(pick=("find",)), stdio(pick=("find", "send"))),
        (stdio(pick=("find",)), stdio(omit=("send",))),
        (stdio(omit=("send",)), stdio()),
        (stdio(omit=("send", "find")), stdio(omit=("send", "other"))),
        (stdio(pick=("find",), omit=("find",)), stdio(pick=("find",))),
        (stdio(), StdioSkill(command="npx", args=("-y", "@acme/search@1.0.0", "--all"))),
        (stdio(), StdioSkill(command="bash", args=("-c", "true"))),
        (stdio(), RemoteSkill(endpoint="https://mcp.example.com")),
        (
            RemoteSkill(endpoint="https://mcp.example.com"),
            RemoteSkill(endpoint="https://mcp.example.com", headers_env={"X": "TOKEN"}),
        ),
        (
            InteractiveSkill(tools={}),
            InteractiveSkill(tools={"a": InteractiveTool(input_json_schema="{}")}),
        ),
    ],
)
def test_what_allows_more_widens_and_its_reverse_does_not_only(before: Skill, after: Skill) -> None:
    one, two = expert(skill=before), expert(skill=after)
    assert widens(changes(one, two))
    assert "narrow" in {change.effect for change in changes(two, one)}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            stdio(),
            stdio("@acme/search@1.1.0"),
            "the package @acme/search has version 1.1.0, before 1.0.0",
        ),
        (stdio(), stdio(rule="Be quick."), "the skill skill is worded otherwise"),
        (stdio(), stdio(startup_timeout_ms=10), None),
        (stdio("@acme/search"), StdioSkill(command="npx", args=("-y", "@acme/search")), None),
    ],
)
def test_what_allows_the_same_is_neutral(before: Skill, after: Skill, said: str | None) -> None:
    found = told(expert(skill=before), expert(skill=after))
    assert found == ([("neutral", said)] if said else [])


def test_a_skill_under_another_name_is_the_same_skill() -> None:
    assert told(expert(one=stdio()), expert(two=stdio())) == []


def test_programs_may_be_run_by_the_base_skill_or_a_command() -> None:
    assert reach_of(based(DEFAULT_BASE)).executes
    assert not reach_of(based(BASE_ONLY)).executes
    assert not reach_of(based(replace(DEFAULT_BASE, omit=("exec",)))).executes
    assert not reach_of(expert(search=stdio())).executes
    assert reach_of(expert(own=StdioSkill(command="python", args=("x.py",)))).executes


def test_a_delegate_counts_by_its_name() -> None:
    one, two = expert(delegates=("@acme/a@^1",)), expert(delegates=("@acme/a@^2", "b"))
    assert told(one, two) == [
        ("widen", "may delegate to b"),
        ("neutral", "delegates to @acme/a@^2, before @acme/a@^1"),
    ]


# Laws ------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(("a", "b", "c"))
FEW = st.lists(NAMES, max_size=2, unique=True).map(tuple)
DOMAINS = st.lists(
    st.sampled_from(("example", "a.example", "*.example", "*.a.example", "b.a.example")),
    max_size=2,
    unique=True,
).map(tuple)
STDIO = st.builds(
    StdioSkill,
    command=st.sampled_from(("npx", "uvx", "python")),
    package_name=st.sampled_from(("a", "a@1.0.0", "a@2.0.0", "b", "@perstack/base")),
    pick=FEW,
    omit=FEW,
    required_env=FEW,
    allowed_domains=DOMAINS,
)
REMOTE = st.builds(
    RemoteSkill,
    endpoint=st.sampled_from(("https://a.example", "https://b.example")),
    headers_env=st.dictionaries(NAMES, NAMES, max_size=2),
    pick=FEW,
    omit=FEW,
    allowed_domains=DOMAINS,
)
ASKS = st.builds(
    InteractiveSkill,
    tools=st.dictionaries(NAMES, st.just(InteractiveTool(input_json_schema="{}")), max_size=2),
)
EXPERTS = st.builds(
    Expert,
    key=NAMES,
    name=NAMES,
    instruction=NAMES,
    skills=st.dictionaries(
        st.sampled_from(("a", "b", BASE_SKILL)), STDIO | REMOTE | ASKS, max_size=3
    ),
    delegates=st.lists(st.sampled_from(("a", "a@^1", "@s/b@2.0.0")), max_size=2, unique=True).map(
        tuple
    ),
    provider_tools=FEW,
)
REACHES = EXPERTS.map(reach_of)


def gained(before: Reach, after: Reach) -> set[Change]:
    return {change for change in widened(before, after) if change.effect == "widen"}


@given(EXPERTS)
def test_equal_things_do_not_differ(one: Expert) -> None:
    assert changes(one, one) == ()
    assert changes(one, replace(one, key="other", version="9.9.9")) == ()


@given(REACHES, REACHES, REACHES)
def test_more_allowed_never_hides_a_widening(before: Reach, after: Reach, more: Reach) -> None:
    both = Reach(grants=(*after.grants, *more.grants))
    assert gained(before, after) <= gained(before, both)
    start = Reach(grants=(*before.grants, *more.grants))
    assert gained(start, after) <= gained(before, after)


@given(REACHES, REACHES, REACHES)
def test_harmless_steps_never_add_up_to_a_harmful_one(a: Reach, b: Reach, c: Reach) -> None:
    if not gained(a, b) and not gained(b, c):
        assert not gained(a, c)


@given(REACHES, REACHES)
def test_each_widening_is_a_narrowing_seen_from_the_other_side(before: Reach, after: Reach) -> None:
    there = {(c.kind, c.what, c.to) for c in widened(before, after) if c.effect == "widen"}
    back = {(c.kind, c.what, c.to) for c in widened(after, before) if c.effect == "narrow"}
    assert there == back
