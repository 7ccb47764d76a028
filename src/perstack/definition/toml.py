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
from typing import Any, cast, get_args

import msgspec

from perstack._value import Value
from perstack.errors import DefinitionError, Fault, UnknownExpert, UserError

from . import rules
from .expert import (
    BASE_SKILL,
    DEFAULT_BASE,
    Expert,
    InteractiveSkill,
    InteractiveTool,
    Project,
    ProviderName,
    ProviderTable,
    Reasoning,
    RemoteSkill,
    RuntimeName,
    Skill,
    StdioSkill,
    split_version,
)
from .instruction import tool_name_clashes
from .key import EXPERT_NAME, EXPERT_VERSION, MAX_NAME, MAX_SELECTOR, TAG, parse_delegate, short_of
from .levels import (
    EXPERT_KEYS,
    PROVIDER_KEYS,
    PROVIDER_SKILL_KEYS,
    SKILL_KEYS,
    TOOL_KEYS,
    TOOL_OPTION_KEYS,
    TOP_KEYS,
)
from .provider import PROVIDERS, TABLE
from .table import Notes, RawTable, Table, as_table, dotted

_PROVIDER_SKILL_IDS = ("pdf", "docx", "pptx", "xlsx")


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
        name, version = split_version(key)
        broken = self.broken.get(name)
        return broken if broken and (version is None or broken.version in (None, version)) else None


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
            expert = _expert(key, table, project.provider, own)
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


# The levels of the file ----------------------------------------------------------------------------------


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
        provider=_provider(top),
        reasoning_budget=_reasoning(top),
        runtime=cast("RuntimeName | None", top.choice("runtime", get_args(RuntimeName))),
        max_steps=top.count("maxSteps", least=1),
        max_retries=top.count("maxRetries", least=0),
        timeout_s=None if timeout_ms is None else timeout_ms / 1000,
        max_tokens=top.count("maxTokens", least=1),
        max_duration_s=None if duration_ms is None else duration_ms / 1000,
        max_cost=top.number("maxCost", least=0),
        api_base_url=top.take("perstackApiBaseUrl", str, rules.https_fault)
        or Project().api_base_url,
        base_skill_command=command,
        env_path=top.texts("envPath", rules.not_empty),
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


def _provider(top: Table) -> ProviderTable | None:
    table = top.table("provider", PROVIDER_KEYS)
    if table is None:
        return None
    name = cast("ProviderName | None", table.choice("providerName", PROVIDERS, needed=True))
    if name is None:
        return None
    kinds = TABLE[name].settings
    setting = table.table("setting", kinds)
    if setting is None:
        return ProviderTable(provider_name=name)
    values: dict[str, Any] = {}
    for key, kind in kinds.items():
        match kind:
            case "https":
                values[key] = setting.take(key, str, rules.https_fault)
            case "flag":
                values[key] = setting.take(key, bool)
            case "headers":
                headers = setting.table(key)
                values[key] = headers and {name: headers.take(name, str) for name in headers.raw}
            case "text":
                values[key] = setting.take(key, str)
    return ProviderTable(
        provider_name=name,
        setting={key: value for key, value in values.items() if value is not None},
    )


_version_fault = rules.matching(EXPERT_VERSION, "a version; write three numbers like 1.2.0")
_tag_fault = rules.matching(TAG, "a tag: lower-case letters, digits, dashes, underscores")
_tool_fault = rules.matching(rules.TOOL_NAME, "a tool name: letters, digits, dashes, underscores")


def _delegate_fault(text: str) -> str | None:
    try:
        parse_delegate(text)
    except UserError as error:
        return str(error)
    return None


def _expert(key: str, raw: RawTable, provider: ProviderTable | None, notes: Notes) -> Expert:
    """The Expert under `key`. With faults in `notes` it is not to be used."""
    table = Table(raw, ("experts", key), notes, EXPERT_KEYS)
    if rules.utf16_length(key) > MAX_NAME:
        table.fault((), f"the name has more than {MAX_NAME} characters")
    elif not EXPERT_NAME.fullmatch(key):
        table.fault(
            (),
            "an Expert's name holds lower-case letters, digits, dashes and underscores, "
            "with at most one scope before it, as in @scope/name",
            "the version goes into its own key `version`" if "@" in key[1:] else "",
        )
    size = rules.sized(rules.MAX_INSTRUCTION, least=1)
    expert = Expert(
        key=key,
        name=key,
        instruction=table.need("instruction", str, size) or "",
        version=table.take("version", str, rules.sized(MAX_SELECTOR), _version_fault) or "1.0.0",
        description=table.take("description", str, rules.sized(rules.MAX_DESCRIPTION, least=1)),
        min_runtime_version=table.take("minRuntimeVersion", str, rules.not_empty),
        skills=_skills(table),
        delegates=table.texts("delegates", _delegate_fault, most=rules.MAX_DELEGATES) or (),
        tags=table.texts("tags", _tag_fault, rules.sized(rules.MAX_TAG), most=rules.MAX_TAGS) or (),
        provider_tools=_provider_tools(table, provider),
        provider_skills=_provider_skills(table),
        provider_tool_options=_tool_options(table),
    )
    if not notes.faults:  # else the positions might not be those in the file
        _check_tool_names(table, expert)
    return expert


def _check_tool_names(table: Table, expert: Expert) -> None:
    """A tool is known by its name alone, so no two delegates or interactive tools may share one."""
    owners = [
        (short_of(parse_delegate(text).name), (f"delegate {text}", ("delegates", str(n))))
        for n, text in enumerate(expert.delegates)
    ]
    for name, skill in expert.skills.items():
        if isinstance(skill, InteractiveSkill):
            owners += [
                (tool, (f"skill {name}", ("skills", name, "tools", tool))) for tool in skill.tools
            ]
    for (_, at), tool, (holder, _) in tool_name_clashes(owners):
        what = f'the tool name "{tool}" is already taken by {holder}'
        table.fault(
            at, what, "a delegate's tool is named by what follows its scope; keep one of them"
        )


def _skills(expert: Table) -> dict[str, Skill]:
    switched_off = expert.take("baseSkill", bool) is False
    skills: dict[str, Skill] = {}
    names = as_table(expert.raw.get("skills")) or {}
    if switched_off and BASE_SKILL in names:
        what = f"is false, but there is a skill {BASE_SKILL}"
        expert.fault(("baseSkill",), what, "remove one of them")
    elif not switched_off and BASE_SKILL not in names:
        skills[BASE_SKILL] = DEFAULT_BASE
    named = expert.named("skills", most=rules.MAX_SKILLS, longest=rules.MAX_SKILL_NAME)
    for name, raw in named:
        skill = _skill(name, raw, (*expert.path, "skills", name), expert.notes)
        if skill is not None:
            skills[name] = skill
    return skills


def _skill(name: str, raw: RawTable, path: tuple[str, ...], notes: Notes) -> Skill | None:
    kind = Table(raw, path, notes).choice("type", tuple(SKILL_KEYS), needed=True)
    if kind is None:
        return None
    table = Table(raw, path, notes, SKILL_KEYS[kind])
    description = table.take("description", str, rules.sized(rules.MAX_DESCRIPTION))
    rule = table.take("rule", str, rules.sized(rules.MAX_RULE))
    if kind == "interactiveSkill":
        if name == BASE_SKILL:
            what = f"{BASE_SKILL} cannot be an interactiveSkill"
            table.fault(("type",), what, "give the skill another name")
        tools = _interactive_tools(table)
        return InteractiveSkill(tools=tools, description=description, rule=rule)
    entry = rules.sized(rules.MAX_TOOL_NAME, least=1)
    pick = table.texts("pick", entry, most=rules.MAX_FILTER) or ()
    omit = table.texts("omit", entry, most=rules.MAX_FILTER) or ()
    domains = table.texts("allowedDomains", rules.domain_fault) or ()
    if kind == "mcpSseSkill":
        return RemoteSkill(
            endpoint=table.need("endpoint", str, _endpoint_check(notes)) or "",
            headers_env=_headers_env(table),
            startup_timeout_ms=table.count("startupTimeout", least=1),
            tool_timeout_ms=table.count("toolTimeout", least=1),
            pick=pick,
            omit=omit,
            allowed_domains=domains,
            description=description,
            rule=rule,
        )
    required = table.texts("requiredEnv", rules.env_name_fault, most=rules.MAX_REQUIRED_ENV)
    package, args = table.take("packageName", str), table.texts("args")
    if not table.raw.get("packageName") and not table.raw.get("args"):
        table.fault((), f"Skill {name} has no packageName or args. Please provide one of them.")
    if package and args:
        what = f"Skill {name} has both packageName and args. Please provide only one of them."
        table.fault((), what)
    return StdioSkill(
        command=table.need("command", str, rules.not_empty) or "",
        package_name=package or None,
        args=args or (),
        pick=pick,
        omit=omit,
        required_env=required or (),
        allowed_domains=domains,
        lazy_init=bool(table.take("lazyInit", bool)) and name != BASE_SKILL,
        startup_timeout_ms=table.count("startupTimeout", least=1),
        tool_timeout_ms=table.count("toolTimeout", least=1),
        description=description,
        rule=rule,
    )


def _endpoint_check(notes: Notes) -> rules.Check:
    """As `endpoint_fault`; a server on this machine passes where that was allowed."""

    def check(text: str) -> str | None:
        if notes.allow_loopback and rules.is_loopback_url(text):
            return None
        return rules.endpoint_fault(text)

    return check


def _headers_env(skill: Table) -> dict[str, str]:
    table = skill.table("headersEnv")
    if table is None:
        return {}
    if len(table.raw) > rules.MAX_HEADERS:
        table.fault((), f"has {len(table.raw)} entries; at most {rules.MAX_HEADERS} are allowed")
    headers: dict[str, str] = {}
    for name in table.raw:
        if problem := rules.header_name_fault(name):
            table.fault((name,), problem)
        headers[name] = table.take(name, str, rules.header_value_fault) or ""
    return headers


def _interactive_tools(skill: Table) -> dict[str, InteractiveTool]:
    if "tools" not in skill.raw:
        skill.fault(("tools",), "is required")
    tools: dict[str, InteractiveTool] = {}
    named = skill.named("tools", most=rules.MAX_TOOLS, longest=rules.MAX_TOOL_NAME)
    for name, raw in named:
        table = Table(raw, (*skill.path, "tools", name), skill.notes, TOOL_KEYS)
        if problem := _tool_fault(name):
            table.fault((), problem)
        tools[name] = InteractiveTool(
            input_json_schema=table.need("inputJsonSchema", str, rules.json_schema_fault) or "{}",
            description=table.take("description", str, rules.sized(rules.MAX_DESCRIPTION)),
        )
    return tools


def _provider_tools(expert: Table, provider: ProviderTable | None) -> tuple[str, ...]:
    """Without a [provider] table the provider may come from the command line: then nothing is a fault."""
    names = expert.texts("providerTools") or ()
    every = sorted({tool for row in TABLE.values() for tool in row.tools})
    for n, name in enumerate(names):
        at = ("providerTools", str(n))
        meant = difflib.get_close_matches(name, every, n=1)
        hint = f'did you mean "{meant[0]}"?' if meant and meant[0] != name else ""
        if provider is not None and name not in TABLE[provider.provider_name].tools:
            own = ", ".join(TABLE[provider.provider_name].tools) or "none"
            what = f'provider "{provider.provider_name}" has no tool "{name}"; it has: {own}'
            expert.fault(at, what, hint)
        elif name not in every:
            expert.warn(at, f'no provider has a tool "{name}"', hint)
    return names


def _provider_skills(expert: Table) -> tuple[dict[str, str], ...]:
    skills: list[dict[str, str]] = []
    for n, raw in enumerate(expert.take("providerSkills", list[dict[str, Any]]) or ()):
        path = (*expert.path, "providerSkills", str(n))
        kind = Table(raw, path, expert.notes).choice(
            "type", tuple(PROVIDER_SKILL_KEYS), needed=True
        )
        if kind is None:
            continue
        table = Table(raw, path, expert.notes, PROVIDER_SKILL_KEYS[kind])
        if kind == "builtin":
            chosen = table.choice("skillId", _PROVIDER_SKILL_IDS, needed=True)
            skills.append({"type": kind, "skillId": chosen or ""})
        else:
            name = table.need("name", str, rules.sized(rules.MAX_SKILL_NAME, least=1))
            definition = table.need("definition", str, rules.json_object_fault)
            skills.append({"type": kind, "name": name or "", "definition": definition or ""})
    return tuple(skills)


def _tool_options(expert: Table) -> dict[str, Any]:
    options = expert.table("providerToolOptions", TOOL_OPTION_KEYS)
    if options is None:
        return {}
    read: dict[str, Any] = {}
    for tool, keys in TOOL_OPTION_KEYS.items():
        table = options.table(tool, keys)
        if table is None:
            continue
        options_of: dict[str, Any] = {
            key: table.count(key, least=1)
            if key.startswith("max")
            else list(table.texts(key) or ())
            for key in keys
        }
        read[tool] = {key: value for key, value in options_of.items() if key in table.raw}
    return read
