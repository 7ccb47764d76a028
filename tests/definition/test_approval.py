"""Which calls a rule is about."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.definition import Deed, Rules, Ruling, parse_project, parse_rule, ruling_of
from perstack.definition.approval import about
from perstack.errors import UserError

BASE = "@perstack/base"


def command(line: str) -> Deed:
    name, *args = shlex.split(line)
    return Deed(tools=("exec",), skill=BASE, args={"command": name, "args": args, "cwd": "."})


def call(tool: str, skill: str = "files", **args: Any) -> Deed:
    return Deed(tools=(tool,), skill=skill, args=args, workspace="/project")


def ask(rule: str) -> Ruling:
    return Ruling(kind="approve", rule=rule)


@pytest.mark.parametrize(
    ("rule", "deed", "found"),
    [
        ("push", call("push"), "yes"),
        ("push", call("pushes"), "no"),
        ("pu*", call("push"), "yes"),
        ("*", call("push"), "yes"),
        ("Push", call("push"), "no"),
        ("mcp:git/push", call("push", "git"), "yes"),
        ("mcp:git/push", call("push", "hg"), "no"),
        ("mcp:git*/*", call("push", "github"), "yes"),
        ("mcp:@perstack/base/exec", command("ls"), "yes"),
        ("mcp:@perstack/base/exec(ls)", command("ls"), "yes"),
        ("mcp:*/exec(ls)", command("ls -l"), "no"),
        ("drop", Deed(tools=("db__drop", "drop"), skill="db", args={}), "yes"),
        ("db__drop", Deed(tools=("db__drop", "drop"), skill="db", args={}), "yes"),
    ],
)
def test_a_rule_is_about_tools_by_name_and_skill(rule: str, deed: Deed, found: str):
    assert about(parse_rule(rule), deed) == found


@pytest.mark.parametrize(
    ("rule", "line", "found"),
    [
        ("exec(git push)", "git push", "yes"),
        ("exec(git push)", "git push origin", "no"),
        ("exec(git push *)", "git push", "yes"),
        ("exec(git push *)", "git push origin main", "yes"),
        ("exec(git push *)", "git pull", "no"),
        ("exec(git * push *)", "git -C /elsewhere push origin", "yes"),
        ("exec(git * push)", "git push origin", "no"),
        ("exec(rm * -r* *)", "rm -v -rf /", "yes"),
        ("exec(git push *)", "/usr/bin/git push", "yes"),
        ("exec(/usr/bin/git push)", "/usr/bin/git push", "yes"),
        ("exec(git push *)", "'git push'", "no"),
        ("exec(git push *)", "git 'push origin'", "no"),
        ("exec(git commit -m 'a b')", "git commit -m 'a b'", "yes"),
        ("exec(git commit -m 'a b')", "git commit -m a b", "no"),
        ("exec(git push *)", "sh -c 'git push'", "perhaps"),
        ("exec(git push *)", "/bin/env git push", "perhaps"),
        ("exec(git push *)", "flock lock git push", "perhaps"),
        ("exec(git push *)", "find . -exec git push ;", "perhaps"),
        ("exec(git push *)", "/lib64/ld-linux-x86-64.so.2 /usr/bin/git push", "perhaps"),
        ("exec(git push *)", "python3.12 -Ic 'import os; os.system(\"git push\")'", "perhaps"),
        ("exec(git push *)", "node --eval=x", "perhaps"),
        ("exec(git push *)", "perl -ne x", "perhaps"),
        ("exec(git push *)", "python3 -m pytest -c x", "no"),
        ("exec(git push *)", "python3 made.py -c x", "no"),
        ("exec(sh *)", "sh -c ls", "yes"),
        ("exec(* --force *)", "git push --force", "yes"),
    ],
)
def test_a_command_line_is_compared_word_by_word(rule: str, line: str, found: str):
    assert about(parse_rule(rule), command(line)) == found


def test_a_command_in_another_form_may_be_any_command():
    assert about(parse_rule("exec(ls)"), call("exec", line="rm -rf /")) == "perhaps"
    assert about(parse_rule("exec(ls)"), call("exec", command="rm", args="x")) == "perhaps"


@pytest.mark.parametrize(
    ("rule", "args", "found"),
    [
        ("write(path=*.toml)", {"path": "perstack.toml"}, "yes"),
        ("write(path=*.toml)", {"path": "a.txt"}, "no"),
        ("write(path=*.toml)", {"file": "perstack.toml"}, "no"),
        ("write(path=secrets/*)", {"path": "notes/../secrets/a"}, "yes"),
        ("write(path=secrets/*)", {"path": "./secrets/a"}, "yes"),
        ("write(path=secrets/*)", {"path": "/project/secrets/a"}, "yes"),
        ("write(path=secrets/*)", {"path": "/project/notes/../secrets//a"}, "yes"),
        ("write(path=/etc/*)", {"path": "../etc/passwd"}, "yes"),
        ("write(path=secrets/*)", {"path": "~/project/secrets/a"}, "yes"),
        ("write(path=secrets/*)", {"path": "~/./project//x/../secrets/a"}, "yes"),
        ("write(path=/project/secrets/*)", {"path": "~/project/secrets/a"}, "yes"),
        ("write(path=secrets/*)", {"path": "~/elsewhere/secrets/a"}, "no"),
        ("write(path=secrets/*)", {"path": "~other/secrets/a"}, "no"),
        ("write(path=/project/secrets/*)", {"path": "//project/secrets/a"}, "yes"),
        ("write(path=/project/secrets/*)", {"path": "///project/secrets/a"}, "yes"),
        ("write(path=secrets/*)", {"path": ["a", "secrets/b"]}, "yes"),
        ("pay(to=*, amount=1000)", {"to": "x", "amount": 1000}, "yes"),
        ("pay(to=*, amount=1000)", {"to": "x", "amount": 100}, "no"),
        ("pay(note=a, b)", {"note": "a, b"}, "yes"),
        ("pay(sure=true)", {"sure": True}, "yes"),
        ("pay(to=*id*)", {"to": {"id": 4}}, "yes"),
        ("say(text=*secret*)", {"text": "line\nsecret\n"}, "yes"),
    ],
)
def test_arguments_are_compared_one_by_one(rule: str, args: dict[str, Any], found: str):
    tool = rule.partition("(")[0]
    assert about(parse_rule(rule), call(tool, **args)) == found


@pytest.mark.parametrize(
    "text", ["", "(", "a b", "exec()", "exec( )", "exec('a)", "write(a.txt)", "a/b", "mcp:a", "x(y"]
)
def test_what_is_no_rule_is_refused(text: str):
    with pytest.raises(UserError, match="is no rule"):
        parse_rule(text)


def test_denied_wins_over_approved_and_a_command_that_may_hide_another_is_asked_about():
    rules = Rules(approve=("exec",), deny=("exec(rm *)",))
    assert ruling_of([rules], command("rm -rf x")) == Ruling(kind="deny", rule="exec(rm *)")
    assert ruling_of([rules], command("ls")) == ask("exec")
    assert ruling_of([Rules(deny=("exec(rm *)",))], command("sh -c x")) == ask("exec(rm *)")
    assert ruling_of([Rules(deny=("exec(rm *)",))], command("ls")) is None


def test_a_rule_that_cannot_be_read_is_about_every_call():
    assert ruling_of([Rules(approve=("of a later version",))], call("look")) is not None
    found = ruling_of([Rules(deny=("of a later version",))], call("look"))
    assert found is not None
    assert found.kind == "approve"


words = st.lists(st.sampled_from(["git", "push", "-f", "a b", "", "*x"]), max_size=6)
patterns = st.lists(st.sampled_from(["git", "push", "*", "-*"]), min_size=1, max_size=5)
rule_texts = st.sampled_from(["exec", "exec(git *)", "exec(* push *)", "mcp:a/*", "x(y=*)"])
layers = st.lists(st.builds(Rules, approve=st.lists(rule_texts), deny=st.lists(rule_texts)))


@given(words=words, pattern=patterns)
def test_a_pattern_says_the_same_as_the_plain_definition_of_it(
    words: list[str], pattern: list[str]
):
    from fnmatch import fnmatchcase

    def says(pattern: list[str], words: list[str]) -> bool:
        if not pattern:
            return not words
        if pattern[0] == "*":
            return any(says(pattern[1:], words[n:]) for n in range(len(words) + 1))
        return bool(words) and fnmatchcase(words[0], pattern[0]) and says(pattern[1:], words[1:])

    deed = Deed(tools=("exec",), skill=BASE, args={"command": "none", "args": words})
    rule = parse_rule(f"exec(none {shlex.join(pattern)})")
    assert (about(rule, deed) == "yes") == says(pattern, words)


_STRENGTH = {None: 0, "approve": 1, "deny": 2}


@given(before=layers, more=layers, line=st.sampled_from(["git push", "ls", "sh -c x"]))
def test_more_rules_never_allow_more(before: list[Rules], more: list[Rules], line: str):
    fewer, all_of_them = (ruling_of(rules, command(line)) for rules in (before, before + more))
    assert _STRENGTH[all_of_them and all_of_them.kind] >= _STRENGTH[fewer and fewer.kind]


@given(one=layers, line=st.sampled_from(["git push", "ls", "sh -c x"]))
def test_rules_put_together_say_what_they_say_apart(one: list[Rules], line: str):
    together = Rules()
    for rules in one:
        together |= rules
    found, joined = ruling_of(one, command(line)), ruling_of([together], command(line))
    assert (found and found.kind) == (joined and joined.kind)


TOML = """
[experts.worker]
instruction = "Work."
delegates = ["helper"]
approve = ["exec(git push *)", "{rule}"]

[experts.helper]
instruction = "Help."
deny = ["mcp:db/drop*"]
"""


def test_rules_of_the_file_are_part_of_the_definition():
    parsed = parse_project(TOML.format(rule="push"), "perstack.toml")
    assert parsed.warnings == ()
    assert parsed.expert("worker").approve == ("exec(git push *)", "push")
    assert parsed.expert("helper").deny == ("mcp:db/drop*",)


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("helper", "rules are about tools of skills"),
        ("todo", "rules are about tools of skills"),
        ("attemptCompletion", "rules are about tools of skills"),
        ("exec()", "is no rule"),
        ("a b", "is no rule"),
    ],
)
def test_a_rule_that_would_never_say_anything_is_a_fault(rule: str, what: str):
    (fault,) = parse_project(TOML.format(rule=rule), "perstack.toml").faults
    assert fault.path == "experts.worker.approve.1"
    assert what in fault.what
