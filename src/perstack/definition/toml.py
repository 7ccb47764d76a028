"""Text of a `perstack.toml` → Project.

A fault outside `[experts]` makes the file unusable: all such faults are raised together. A fault inside one
Expert breaks that Expert alone: it is kept, and raised when this Expert, or one that reaches it through its
delegates, is asked for. Unknown keys are never faults (other versions and tools may own them); each is a
warning with the nearest known name, or with the place where the key would count.

Does not read files, nor look anything up.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from typing import cast, get_args

import msgspec

from perstack._value import Value
from perstack.errors import DefinitionError, Fault, UnknownExpert

from . import rules
from .expert import Expert, Project, Reasoning, RuntimeName, split_version
from .expert_table import read_expert
from .key import EXPERT_VERSION
from .levels import TOP_KEYS
from .provider_tables import read_provider
from .registries import read_places, read_rules, registry_url_fault
from .table import Notes, RawTable, Table, as_table, dotted


class BrokenExpert(Value, frozen=True):
    """An Expert that cannot be used. version: None if that, too, could not be read."""

    version: str | None
    faults: tuple[Fault, ...]


class Parsed(Value, frozen=True):
    """One file, read.

    source: what to call the file in messages. broken: by table key. warnings: what was ignored.
    """

    source: str
    project: Project
    broken: dict[str, BrokenExpert] = msgspec.field(default_factory=dict[str, BrokenExpert])
    warnings: tuple[Fault, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All that is wrong with all Experts of the file."""
        return tuple(fault for broken in self.broken.values() for fault in broken.faults)

    @property
    def names(self) -> tuple[str, ...]:
        """Table keys of all Experts, broken ones too."""
        return (*self.project.experts, *self.broken)

    def find(self, key: str) -> Expert | None:
        """The Expert of this file that `key` names, None if it is not of this file.

        Raises DefinitionError if it, or an Expert of this file that it can reach, is broken.
        """
        if faults := tuple(self._faults_behind(key)):
            raise DefinitionError(self.source, faults)
        return self.project.local(key)

    def expert(self, key: str) -> Expert:
        """As `find`. Raises UnknownExpert, with the names most like it, if it is not of this file."""
        found = self.find(key)
        if found is None:
            close = difflib.get_close_matches(split_version(key)[0], self.names, n=3)
            raise UnknownExpert(key, close, self.source)
        return found

    def _faults_behind(self, key: str) -> Iterator[Fault]:
        todo, seen = [key], set[str]()
        while todo:
            if (key := todo.pop(0)) in seen:
                continue
            seen.add(key)
            if broken := self._broken(key):
                yield from broken.faults
            elif expert := self.project.local(key):
                todo.extend(expert.delegates)

    def _broken(self, key: str) -> BrokenExpert | None:
        name, _, selector = key[1:].partition("@")
        broken = self.broken.get(key[:1] + name)
        if broken is None or not selector or broken.version is None:
            return broken
        return broken if self.project.means(key, broken.version) else None


@lru_cache(maxsize=16)  # many jobs of one program begin with the same text
def parse_project(text: str, source: str, *, allow_loopback: bool = False) -> Parsed:
    """The project that `text` says. source: what to call it in messages, usually its path.

    allow_loopback: let remote skills be on this machine, as who develops a server wants it.
    Raises DefinitionError for what is wrong outside of the Experts.
    """
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DefinitionError(source, [_syntax_fault(str(error), text)]) from error
    notes = Notes(allow_loopback=allow_loopback)
    project = _project(Table(raw, (), notes, TOP_KEYS))
    if notes.faults:
        raise DefinitionError(source, notes.faults)
    experts: dict[str, Expert] = {}
    broken: dict[str, BrokenExpert] = {}
    for key, value in cast("RawTable", raw.get("experts", {})).items():
        own = Notes(warnings=notes.warnings, allow_loopback=allow_loopback)
        table = as_table(value)
        expert = None
        if table is None:
            own.faults.append(Fault(dotted(("experts", key)), "expected a table"))
        else:
            expert = read_expert(key, table, project.provider, own)
        if expert is None or own.faults:
            broken[key] = BrokenExpert(version=_version_of(table), faults=tuple(own.faults))
        else:
            experts[key] = expert
    return Parsed(
        source=source,
        project=msgspec.structs.replace(project, experts=experts),
        broken=broken,
        warnings=tuple(notes.warnings),
    )


def _syntax_fault(message: str, text: str) -> Fault:
    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if place is None:
        return Fault("", f"Invalid TOML document: {message or 'nested too deeply'}")
    line, column = place[1] or text.rstrip("\n").count("\n") + 1, place[2]
    where = f"line {line}, column {column}" if column else f"line {line}, at the end of the file"
    return Fault(where, f"Invalid TOML document: {message[: place.start()]}")


def _version_of(raw: RawTable | None) -> str | None:
    version = None if raw is None else raw.get("version", "1.0.0")
    return version if isinstance(version, str) and EXPERT_VERSION.fullmatch(version) else None


def _project(top: Table) -> Project:
    timeout_ms = top.number("timeout", least=0)
    duration_ms = top.number("maxDuration", least=1)
    command = top.texts("perstackBaseSkillCommand") or ()
    if command and not command[0]:
        at = ("perstackBaseSkillCommand",)
        top.fault(at, "perstackBaseSkillCommand must have at least one element")
    top.table("experts")
    return Project(
        model=top.take("model", str, rules.not_empty),
        provider=read_provider(top),
        reasoning_budget=_reasoning(top),
        runtime=cast("RuntimeName | None", top.choice("runtime", get_args(RuntimeName))),
        max_steps=top.count("maxSteps", least=1),
        max_retries=top.count("maxRetries", least=0),
        timeout_s=None if timeout_ms is None else timeout_ms / 1000,
        max_tokens=top.count("maxTokens", least=1),
        max_duration_s=None if duration_ms is None else duration_ms / 1000,
        max_cost=top.number("maxCost", least=0),
        api_base_url=top.take("perstackApiBaseUrl", str, registry_url_fault)
        or Project().api_base_url,
        base_skill_command=command,
        env_path=top.texts("envPath", rules.not_empty),
        registries=read_places(top),
        registry=read_rules(top),
    )


def _reasoning(top: Table) -> Reasoning | None:
    levels = ("none", "minimal", "low", "medium", "high")
    value = top.raw.get("reasoningBudget")
    if value is None or isinstance(value, str):
        return cast("Reasoning | None", top.choice("reasoningBudget", levels))
    if not isinstance(value, int) or isinstance(value, bool):
        at, listed = ("reasoningBudget",), ", ".join(f'"{level}"' for level in levels)
        top.fault(at, f"expected a whole number of tokens, or one of {listed}")
        return None
    tokens = top.count("reasoningBudget", least=0)
    return "none" if tokens == 0 else tokens
