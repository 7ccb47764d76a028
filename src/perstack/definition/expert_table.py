"""The table of one Expert: `[experts.<name>]`."""

from __future__ import annotations

from perstack.errors import UserError

from . import approval, rules
from .expert import Expert, InteractiveSkill, ProviderTable
from .instruction import COMPLETION_TOOL, tool_name_clashes
from .key import EXPERT_NAME, EXPERT_VERSION, MAX_NAME, MAX_SELECTOR, TAG, parse_delegate, short_of
from .levels import EXPERT_KEYS
from .provider_tables import (
    check_provider_use,
    read_provider_skills,
    read_provider_tools,
    read_tool_options,
)
from .ranges import parse_range
from .skill_tables import read_skills
from .table import Notes, RawTable, Table

_version_fault = rules.matching(EXPERT_VERSION, "a version; write three numbers like 1.2.0")
_tag_fault = rules.matching(TAG, "a tag: lower-case letters, digits, dashes, underscores")


def _delegate_fault(text: str) -> str | None:
    try:
        spec = parse_delegate(text)
        if spec.kind == "range":
            parse_range(spec.selector or "")
    except UserError as error:
        return str(error)
    return None


def read_expert(key: str, raw: RawTable, provider: ProviderTable | None, notes: Notes) -> Expert:
    """The Expert under `key`. With faults in `notes` it is not to be used.

    provider: the `[provider]` table of the file, None if it has none. notes: of this Expert alone.
    """
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
        skills=read_skills(table),
        delegates=table.texts("delegates", _delegate_fault, most=rules.MAX_DELEGATES) or (),
        tags=table.texts("tags", _tag_fault, rules.sized(rules.MAX_TAG), most=rules.MAX_TAGS) or (),
        provider_tools=read_provider_tools(table, provider),
        provider_skills=read_provider_skills(table),
        provider_tool_options=read_tool_options(table),
        approve=_rules(table, "approve"),
        deny=_rules(table, "deny"),
    )
    # After a fault the positions might not be those in the file
    if not notes.faults:
        _check_tool_names(table, expert)
        _check_rules(table, expert)
        check_provider_use(table, expert, provider)
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


def _rules(expert: Table, key: str) -> tuple[str, ...]:
    checks = (rules.sized(approval.MAX_RULE_TEXT, least=1), approval.rule_fault)
    return expert.texts(key, *checks, most=approval.MAX_APPROVALS) or ()


def _check_rules(table: Table, expert: Expert) -> None:
    """A rule is about tools of skills; one that names what is none would never say anything."""
    others = {short_of(parse_delegate(text).name): "a delegate" for text in expert.delegates}
    for skill in expert.skills.values():
        if isinstance(skill, InteractiveSkill):
            others |= dict.fromkeys(skill.tools, "a question to a person")
    others |= dict.fromkeys(("todo", "clearTodo", COMPLETION_TOOL), "no work on anything")
    for key in ("approve", "deny"):
        for place, text in enumerate(getattr(expert, key)):
            tool = approval.parse_rule(text).tool
            if tool in others:
                table.fault(
                    (key, str(place)),
                    f'"{tool}" is {others[tool]}; rules are about tools of skills',
                    "rules hold for delegates too: name the tools that they call",
                )
