"""What a child process gets to see of the environment."""

from __future__ import annotations

import re

import pytest

from perstack.skills.environment import INHERITED, PROTECTED, clean_env, is_protected

RUNTIME = {
    "PATH": "/usr/bin",
    "HOME": "/home/me",
    "TERM": "",
    "LANG": "C.UTF-8",
    "HTTPS_PROXY": "http://proxy:3128",
    "ANTHROPIC_API_KEY": "sk-1",
    "AWS_SECRET_ACCESS_KEY": "aws",
    "DATABASE_URL": "postgres://",
    "GITHUB_TOKEN": "ghp",
    "NODE_OPTIONS": "--require=/tmp/x",
    "LD_PRELOAD": "/tmp/x.so",
}


def test_only_named_variables_that_are_set_pass():
    assert clean_env(RUNTIME, {}) == {
        "PATH": "/usr/bin",
        "HOME": "/home/me",
        "HTTPS_PROXY": "http://proxy:3128",
    }


def test_no_inherited_name_speaks_of_a_secret():
    assert len(INHERITED) == 14
    assert not [name for name in INHERITED if re.search("secret|token|password|key", name, re.I)]


def test_what_the_caller_names_is_added():
    extra = {"ANTHROPIC_API_KEY": "asked for", "MY_VAR": "1", "EMPTY": ""}
    assert clean_env({"PATH": "/bin"}, extra) == {"PATH": "/bin", **extra}


@pytest.mark.parametrize("name", sorted(PROTECTED))
def test_a_protected_name_cannot_be_added_in_any_case(name: str):
    extra = {name: "evil", name.lower(): "evil", name.title(): "evil"}
    assert clean_env({"PATH": "/bin"}, extra) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "name",
    [
        "Path",
        "Ld_Preload",
        "LD_AUDIT",
        "LD_LIBRARY_PATH",
        "DYLD_INSERT_LIBRARIES",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_KEY_0",
        "npm_config_registry",
        "npm_config_@acme:registry",
        "npm_config_script-shell",
        "BASH_FUNC_ls%%",
        "PYTHONSTARTUP",
    ],
)
def test_names_that_choose_what_code_runs_are_protected(name: str):
    assert is_protected(name)


@pytest.mark.parametrize(
    "name", ["HTTP_PROXY", "LANG", "NPM_CONFIG_LOGLEVEL", "GITHUB_TOKEN", "LDFLAGS"]
)
def test_other_names_are_not(name: str):
    assert not is_protected(name)


def test_names_no_environment_can_hold_are_left_out():
    assert clean_env({}, {"": "x", "A=B": "x", "A\0B": "x", "A": "x"}) == {"A": "x"}
