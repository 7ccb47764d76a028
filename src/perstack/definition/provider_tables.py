"""The tables that are about a provider: `[provider]`, and what an Expert wants of it."""

from __future__ import annotations

import difflib
from typing import Any, cast

from . import rules
from .expert import Expert, ProviderName, ProviderTable
from .levels import PROVIDER_KEYS, PROVIDER_SKILL_KEYS, TOOL_OPTION_KEYS
from .provider import PROVIDERS, TABLE
from .provider_needs import provider_faults
from .table import Table

_PROVIDER_SKILL_IDS = TABLE["anthropic"].skills


def read_provider(top: Table) -> ProviderTable | None:
    """`[provider]`, None if there is none or its name is no provider's."""
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


def read_provider_tools(expert: Table, provider: ProviderTable | None) -> tuple[str, ...]:
    """`providerTools` of an Expert.

    provider: the `[provider]` table. Without one the provider may come from the command line, and a name that none
    has is only warned of.
    """
    names = expert.texts("providerTools") or ()
    every = sorted({tool for row in TABLE.values() for tool in row.tools})
    for n, name in enumerate(names):
        if provider is None and name not in every:
            meant = difflib.get_close_matches(name, every, n=1)
            hint = f'did you mean "{meant[0]}"?' if meant else ""
            expert.warn(("providerTools", str(n)), f'no provider has a tool "{name}"', hint)
    return names


def check_provider_use(table: Table, expert: Expert, provider: ProviderTable | None) -> None:
    """What `expert` wants of a provider is what `provider` has. Without one nothing is a fault here."""
    if provider is not None:
        for fault in provider_faults(provider.provider_name, expert):
            table.fault(fault.at, fault.what, fault.hint)


def read_provider_skills(expert: Table) -> tuple[dict[str, str], ...]:
    """`providerSkills` of an Expert, each as its members under the names they have in the file."""
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


def read_tool_options(expert: Table) -> dict[str, Any]:
    """`providerToolOptions` of an Expert: by tool, the options that are set, under their names in the file."""
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
