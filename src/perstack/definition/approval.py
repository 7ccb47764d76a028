"""Rules of who may call what: calls that a person must allow, and calls that are not made at all.

    rule    = tool [ "(" pattern ")" ]
    tool    = NAME | "mcp:" SKILL "/" NAME      both with * and ? for what may stand there
    pattern = WORD ...                          of `exec`: a command line
            | NAME=TEXT, NAME=TEXT ...          of any other tool: arguments, texts with * and ?

Theory of operation
-------------------
Rules only ever take away, so in doubt a rule is about a call.

1. A tool is meant by the name the model is shown and by its own, so that a server that is added later, which can
   lengthen the names of others, takes no rule out of force.
2. A command line is never joined to be looked at: pattern and call are compared word by word, so what one argument
   holds cannot pass for two. A word `*` stands for any number of words, none too. The program is
   meant by its name wherever it lies: `git` is also `/usr/bin/git`.
3. A program that runs other programs (a shell, `env`, `xargs`, `python3 -c`) can hide any command. A rule with a
   pattern is *perhaps* about such a call, and a person is asked, even where the rule says that it is not made.
4. An argument that is a text is compared as it is, as the path it comes to (`a/../b` is `b`), and as a path in the
   workspace. With `~` it may be in any directory above the workspace, since which one is home is not known here.
   Of a list, each entry is compared too. Anything else is compared as JSON.
5. A rule that cannot be read (of a later version, in a log) is perhaps about every call.

This is a net against mistakes and against words that lead a model astray; it is not a wall. A file that one call
writes can be run by another, links are not followed, and what a tool makes of its arguments is its own affair.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Literal, cast

import msgspec

from perstack._value import Value
from perstack.errors import UserError

MAX_RULE_TEXT = 2048
MAX_APPROVALS = 255

EXEC = "exec"

RUNS_OTHERS = frozenset(
    "ash awk bash bunx busybox bwrap choom chroot chrt csh dash doas env eval exec expect fakeroot find fish "
    "flatpak-spawn flock gawk i386 ionice ksh linux32 linux64 ltrace mawk mksh nawk nice nohup npx nsenter "
    "parallel pkexec prlimit pwsh rbash runuser script setarch setpriv setsid sh ssh start-stop-daemon stdbuf "
    "strace su sudo systemd-run taskset tcsh time timeout toybox unshare uvx watch x86_64 xargs yash zsh".split()
)
"""Programs whose arguments are, or hold, other commands."""

_LOADER = re.compile(r"ld(-linux|-musl|\.so|64\.so|-[0-9.]+\.so).*")
_INTERPRETER = re.compile(
    r"(python|pypy|perl|ruby|node|nodejs|deno|bun|php|lua|luajit|tclsh)[0-9.]*"
)
_PROGRAM_TEXT = re.compile(r"-[A-Za-z0-9]*[ceEpr].*|--(eval|print|require|import|run).*|eval|-")
"""A word that gives an interpreter its program, before the name of a file would."""

_RULE = re.compile(
    r"(?:mcp:(?P<skill>[^()]+)/)?(?P<tool>[^\s/():]+)(?:\((?P<pattern>.*)\))?", re.DOTALL
)
_PAIRS = re.compile(r",\s*(?=[\w.-]+=)")
_PAIR = re.compile(r"(?P<name>[\w.-]+)=(?P<text>.*)", re.DOTALL)

Match = Literal["no", "perhaps", "yes"]


class Rules(Value, frozen=True):
    """Texts of rules. approve: calls that a person must allow. deny: calls that are not made."""

    approve: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def __or__(self, other: Rules) -> Rules:
        """The rules of both, in order and each once."""
        return Rules(
            approve=tuple(dict.fromkeys((*self.approve, *other.approve))),
            deny=tuple(dict.fromkeys((*self.deny, *other.deny))),
        )

    def __bool__(self) -> bool:
        return bool(self.approve or self.deny)


class Rule(Value, frozen=True):
    """One rule, read. words: of a command line; pairs: (name, text) of arguments. None: whatever they are."""

    tool: str
    skill: str | None = None
    words: tuple[str, ...] | None = None
    pairs: tuple[tuple[str, str], ...] | None = None


class Deed(Value, frozen=True, kw_only=True):
    """What a call would do. tools: the names its tool goes by. workspace: absolute path."""

    tools: tuple[str, ...]
    skill: str
    args: Mapping[str, Any]
    workspace: str = ""


class Ruling(Value, frozen=True, kw_only=True):
    """What becomes of a call, and the rule that says so."""

    kind: Literal["approve", "deny"]
    rule: str


def parse_rule(text: str) -> Rule:
    """The rule that `text` says. Raises UserError."""
    found = _RULE.fullmatch(text)
    if found is None:
        raise UserError(
            f"{text!r} is no rule; write a tool, exec or mcp:skill/tool, perhaps with a pattern: "
            "exec(git push *), writeTextFile(path=*.toml)"
        )
    tool, skill, pattern = found["tool"], found["skill"], found["pattern"]
    if pattern is None:
        return Rule(tool=tool, skill=skill)
    if tool == EXEC:
        try:
            words = tuple(shlex.split(pattern))
        except ValueError as error:
            raise UserError(f"{text!r} is no rule: its command line has an open quote") from error
        if not words:
            raise UserError(f"{text!r} is no rule: between ( and ) stands a command line")
        return Rule(tool=tool, skill=skill, words=words)
    pairs = [_PAIR.fullmatch(pair) for pair in _PAIRS.split(pattern.strip())]
    read = tuple((pair["name"], pair["text"]) for pair in pairs if pair is not None)
    if len(read) < len(pairs):
        raise UserError(
            f"{text!r} is no rule: between ( and ) stand arguments, as in {tool}(path=*.toml); "
            "only exec takes a command line"
        )
    return Rule(tool=tool, skill=skill, pairs=read)


def rule_fault(text: str) -> str | None:
    """Why `text` is no rule, None if it is one."""
    try:
        parse_rule(text)
    except UserError as error:
        return str(error)
    return None


def ruling_of(layers: Iterable[Rules], deed: Deed) -> Ruling | None:
    """What `layers` together say of a call; None: it may be made.

    What is surely denied by one is not made; else whatever any of them may be about, a person decides.
    """
    asking: Ruling | None = None
    for rules in layers:
        for text in rules.deny:
            match _match_text(text, deed):
                case "yes":
                    return Ruling(kind="deny", rule=text)
                case "perhaps":
                    asking = asking or Ruling(kind="approve", rule=text)
                case "no":
                    pass
        for text in rules.approve:
            if asking is None and _match_text(text, deed) != "no":
                asking = Ruling(kind="approve", rule=text)
    return asking


@lru_cache(maxsize=1024)
def _read(text: str) -> Rule | None:
    try:
        return parse_rule(text)
    except UserError:
        return None


def _match_text(text: str, deed: Deed) -> Match:
    rule = _read(text)
    return "perhaps" if rule is None else about(rule, deed)


def about(rule: Rule, deed: Deed) -> Match:
    """Whether `rule` is about a call."""
    if not any(fnmatchcase(tool, rule.tool) for tool in deed.tools):
        return "no"
    if rule.skill is not None and not fnmatchcase(deed.skill, rule.skill):
        return "no"
    if rule.words is not None:
        return _match_command(rule.words, deed.args)
    if rule.pairs is not None:
        fits = all(_match_argument(name, text, deed) for name, text in rule.pairs)
        return "yes" if fits else "no"
    return "yes"


def _match_command(pattern: tuple[str, ...], args: Mapping[str, Any]) -> Match:
    command, rest = args.get("command"), args.get("args")
    if not isinstance(command, str) or not isinstance(rest, list | tuple):
        return "perhaps"  # it takes its command in another form
    words = [str(word) for word in cast("Sequence[Any]", rest)]
    name = posixpath.basename(command)
    if _match_words(pattern, [command, *words]) or _match_words(pattern, [name, *words]):
        return "yes"
    return "perhaps" if _runs_others(name, words) else "no"


def _runs_others(name: str, words: Sequence[str]) -> bool:
    """Whether the program `name` may run what `words` say, or hold."""
    if name in RUNS_OTHERS or _LOADER.fullmatch(name):
        return True
    if not _INTERPRETER.fullmatch(name):
        return False
    for word in words:
        if _PROGRAM_TEXT.fullmatch(word):
            return True
        if not word.startswith("-"):
            return False  # a file, which is its own affair
    return False


def _match_words(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Whether `words` are what `pattern` says; a word `*` of it stands for any number of them."""
    at, star, resume = 0, -1, 0
    place = 0
    while place < len(words):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, place
            at += 1
        elif at < len(pattern) and fnmatchcase(words[place], pattern[at]):
            at, place = at + 1, place + 1
        elif star >= 0:  # the last star takes one word more
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return all(word == "*" for word in pattern[at:])


def _match_argument(name: str, pattern: str, deed: Deed) -> bool:
    if name not in deed.args:
        return False
    return any(fnmatchcase(form, pattern) for form in _forms(deed.args[name], deed.workspace))


def _forms(value: Any, workspace: str) -> Iterator[str]:
    """The texts that an argument comes to."""
    match value:
        case str():
            yield value
            yield _tidied(value)
            if workspace:
                for full in _meant(value, workspace):
                    yield full
                    yield posixpath.relpath(full, workspace)
        case list() | tuple():
            yield msgspec.json.encode(value).decode()
            for item in cast("Sequence[Any]", value):
                yield from _forms(item, workspace)
        case _:
            yield msgspec.json.encode(value).decode()


def _meant(path: str, workspace: str) -> Iterator[str]:
    """The absolute paths that `path` may stand for."""
    yield _tidied(posixpath.join(workspace, path))
    if path == "~" or path.startswith("~/"):
        parts = workspace.split("/")
        for count in range(len(parts), 0, -1):
            yield _tidied("/".join((*parts[:count], path[2:])))


def _tidied(path: str) -> str:
    """`path` without `.`, `..` and doubled slashes; two leading ones mean one, as to those who open it."""
    tidy = posixpath.normpath(path)
    return tidy[1:] if tidy.startswith("//") else tidy
