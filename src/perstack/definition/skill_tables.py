"""The tables of an Expert's skills: `[experts.<name>.skills.<name>]`."""

from __future__ import annotations

from typing import TypedDict

from . import rules
from .expert import (
    BASE_SKILL,
    DEFAULT_BASE,
    InteractiveSkill,
    InteractiveTool,
    RemoteSkill,
    Skill,
    StdioSkill,
)
from .levels import SKILL_KEYS, TOOL_KEYS
from .table import Notes, RawTable, Table, as_table

_tool_fault = rules.matching(rules.TOOL_NAME, "a tool name: letters, digits, dashes, underscores")


class _Said(TypedDict):
    """What every skill may say of itself."""

    description: str | None
    rule: str | None


class _Bounds(TypedDict):
    """What is offered of a server's tools, and where it may connect."""

    pick: tuple[str, ...]
    omit: tuple[str, ...]
    allowed_domains: tuple[str, ...]


def read_skills(expert: Table) -> dict[str, Skill]:
    """The skills of an Expert by name, with the base skill unless it is switched off."""
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
    said = _Said(
        description=table.take("description", str, rules.sized(rules.MAX_DESCRIPTION)),
        rule=table.take("rule", str, rules.sized(rules.MAX_RULE)),
    )
    if kind == "interactiveSkill":
        if name == BASE_SKILL:
            what = f"{BASE_SKILL} cannot be an interactiveSkill"
            table.fault(("type",), what, "give the skill another name")
        return InteractiveSkill(tools=_interactive_tools(table), **said)
    entry = rules.sized(rules.MAX_TOOL_NAME, least=1)
    bounds = _Bounds(
        pick=table.texts("pick", entry, most=rules.MAX_FILTER) or (),
        omit=table.texts("omit", entry, most=rules.MAX_FILTER) or (),
        allowed_domains=table.texts("allowedDomains", rules.domain_fault) or (),
    )
    if kind == "mcpSseSkill":
        return _remote_skill(table, said, bounds)
    return _stdio_skill(name, table, said, bounds)


def _remote_skill(table: Table, said: _Said, bounds: _Bounds) -> RemoteSkill:
    return RemoteSkill(
        endpoint=table.need("endpoint", str, _endpoint_check(table.notes)) or "",
        headers_env=_headers_env(table),
        startup_timeout_ms=table.count("startupTimeout", least=1),
        tool_timeout_ms=table.count("toolTimeout", least=1),
        **said,
        **bounds,
    )


def _stdio_skill(name: str, table: Table, said: _Said, bounds: _Bounds) -> StdioSkill:
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
        required_env=required or (),
        lazy_init=bool(table.take("lazyInit", bool)) and name != BASE_SKILL,
        startup_timeout_ms=table.count("startupTimeout", least=1),
        tool_timeout_ms=table.count("toolTimeout", least=1),
        **said,
        **bounds,
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
