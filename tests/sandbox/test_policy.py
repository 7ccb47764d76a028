"""Policies as values: what a skill declares is what it gets, and nobody gets more because of somebody else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.definition import DEFAULT_BASE, Expert, StdioSkill
from perstack.lock import Lock, Pin
from perstack.ops.walls.needs import Need, needs_of
from perstack.sandbox.policy import (
    CACHE,
    HOME,
    Host,
    Installer,
    Mount,
    Place,
    Policy,
    is_below,
    outermost,
    policy_of,
)
from tests.behaviour.register import proves

HOST = Host(
    system=(Mount(inside="/usr", how="read", host="/usr"),),
    programs=("/opt/node", "/opt/node/lib", "/home/me/.pyenv"),
    path=("/opt/node/bin", "/usr/bin"),
    own=("/project/.venv", "/opt/perstack"),
    installers={"npx": Installer(domains=("registry.npmjs.org",), variables={"npm_config_x": "1"})},
    cache="/home/me/.cache/perstack",
)
PLACE = Place(
    workspace="/project", hidden=("/project/perstack", "/project/.env", "/home/me/.config/perstack")
)
PROXY = {"HTTPS_PROXY": "http://127.0.0.1:3128"}

SKILL = StdioSkill(command="python3", args=("s.py",), required_env=("TOKEN",))

names = st.sampled_from(["alpha", "beta", "gamma", "@perstack/base"])
domains = st.lists(st.sampled_from(["a.example", "*.b.example", "c.example"]), max_size=3)
variables = st.lists(st.sampled_from(["ONE", "TWO", "THREE"]), max_size=3)
skills = st.builds(
    StdioSkill,
    command=st.sampled_from(["npx", "uvx", "python3"]),
    args=st.just(("x",)),
    allowed_domains=domains.map(tuple),
    required_env=variables.map(tuple),
)
experts = st.dictionaries(names, skills, max_size=3)


def policy(skill: StdioSkill = SKILL, *, place: Place = PLACE, serves: bool = True) -> Policy:
    return policy_of("one", skill, HOST, place, proxy=PROXY, serves=serves, cache_key="key")


def how(found: Policy) -> dict[str, str]:
    return {mount.inside: mount.how for mount in found.mounts}


def lock_of(**of: tuple[dict[str, Any], tuple[str, ...]]) -> Lock:
    """Experts by key: their skills, and whom they delegate to."""
    pins = {
        key: Pin(
            expert=Expert(key=key, name=key, instruction="x", skills=skills, delegates=delegates),
            integrity="",
        )
        for key, (skills, delegates) in of.items()
    }
    return Lock(experts=pins)


def policies(lock: Lock, root: str = "lead") -> dict[tuple[str, str], Policy]:
    def made(need: Need) -> Policy:
        return policy_of(
            need.name, need.skill, HOST, PLACE, proxy=PROXY, serves=need.serves, cache_key="k"
        )

    return {(need.expert, need.name): made(need) for need in needs_of(lock, (root,))}


@given(experts, experts, experts)
@proves("walls.each-its-own")
def test_another_delegate_changes_nothing_for_the_others(
    lead: dict[str, Any], helper: dict[str, Any], added: dict[str, Any]
):
    before = policies(lock_of(lead=(lead, ("helper",)), helper=(helper, ())))
    after = policies(
        lock_of(lead=(lead, ("helper", "added")), helper=(helper, ()), added=(added, ()))
    )
    assert {key: after[key] for key in before} == before


@given(experts, names, skills)
@proves("walls.each-its-own")
def test_another_skill_changes_nothing_for_the_others(
    lead: dict[str, Any], name: str, skill: StdioSkill
):
    before = policies(lock_of(lead=(lead, ())))
    after = policies(lock_of(lead=({**lead, name: skill}, ())))
    others = {key: found for key, found in before.items() if key[1] != name}
    assert {key: after[key] for key in others} == others


@given(
    skills,
    st.dictionaries(st.sampled_from(["ONE", "TWO", "FOUR", "HTTPS_PROXY", "PATH"]), st.text()),
)
@proves("walls.each-its-own")
def test_a_server_gets_no_more_than_was_declared(skill: StdioSkill, env: dict[str, str]):
    found = policy(skill)
    inside = found.environment(env)
    assert inside.keys() <= {*skill.required_env, *found.variables}
    assert {inside[name] for name in skill.required_env if name in env} <= set(env.values())
    registry = {"registry.npmjs.org"} if skill.command == "npx" else set[str]()
    assert set(found.domains) == {*skill.allowed_domains, *registry}
    writes = {mount.inside for mount in found.mounts if mount.how == "write"}
    assert writes <= {"/project", CACHE}
    assert (CACHE in writes) == (skill.command == "npx")


def test_without_a_host_to_reach_there_is_no_way_out():
    assert "HTTPS_PROXY" not in policy().variables
    assert policy(StdioSkill(command="npx", package_name="p")).variables["HTTPS_PROXY"]


def test_programs_get_what_the_call_gives_but_for_the_way_out():
    given_env = {
        "A": "1",
        "https_proxy": "http://evil",
        "NPM_CONFIG_PROXY": "x",
        "PERSTACK_PROXY_URL": "http://user:secret@proxy",
        "NODE_PATH": "/x",
        "PATH": "/evil",
        "HOME": "/home/me",
    }
    inside = policy(DEFAULT_BASE, serves=False).environment(given_env)
    assert inside["A"] == "1"
    assert (inside["PATH"], inside["HOME"]) == ("/opt/node/bin:/usr/bin", HOME)
    assert not {name for name in inside if "proxy" in name.lower()}
    assert "NODE_PATH" not in inside


def test_an_installer_that_exec_starts_reaches_no_registry():
    assert policy(DEFAULT_BASE, serves=False).domains == ()


def test_what_reaches_beyond_the_run_cannot_be_written():
    found = how(policy())
    assert found["/project"] == "write"
    for path in (".git/hooks", ".git/config", ".vscode", ".bashrc", "perstack.toml", ".venv"):
        assert found[f"/project/{path}"] == "keep"
    assert found["/project/perstack"] == found["/project/.env"] == "hide"
    assert "/home/me/.config/perstack" not in found  # it is not there at all


def test_what_holds_something_kept_cannot_be_moved_away():
    place = Place(workspace="/project", hidden=("/project/a/b/secret",))
    found = policy(place=place)
    assert (
        how(found)["/project/.git"]
        == how(found)["/project/a"]
        == how(found)["/project/a/b"]
        == "open"
    )
    order = [mount.inside for mount in found.mounts]
    assert order == sorted(order, key=order.index)
    for path in order:
        parents = [each for each in order if each != path and is_below(path, each)]
        assert all(order.index(parent) < order.index(path) for parent in parents)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/usr/bin/env", True),
        ("/opt/node/bin/node", True),
        ("/project/tool", True),
        ("/project/perstack/x", False),
        ("/project/.env", False),
        ("/home/me/secret", False),
        ("/home/me/.pyenv/bin/python", True),
        ("/tmp/x", False),
        ("/workshop", False),
        ("/etc/shadow", False),
    ],
)
def test_what_is_shown(path: str, shown: bool):
    assert policy().shows(path) == shown


def test_what_the_user_lets_be_read_is_read_only():
    found = how(policy(place=Place(workspace="/project", read=("/docs", "/docs/deep"))))
    assert found["/docs"] == "read"
    assert "/docs/deep" not in found


@given(st.lists(st.sampled_from(["/a", "/a/b", "/ab", "/a/b/c", "/d/e", "/"])))
def test_outermost_covers_all_and_nothing_twice(paths: list[str]):
    found = outermost(paths)
    assert all(any(is_below(path, each) for each in found) for path in paths)
    assert not any(one != two and is_below(one, two) for one in found for two in found)
