"""The levels of a `perstack.toml` and the keys known at each; what may have been meant by an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import msgspec

from .expert import (
    Expert,
    InteractiveSkill,
    InteractiveTool,
    Project,
    ProviderTable,
    RegistryPlace,
    RegistryRules,
    RemoteSkill,
    StdioSkill,
)
from .provider import PROVIDERS, TABLE


def wire_names(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields of `struct` under the names they have in the file."""
    return tuple(item.encode_name for item in msgspec.structs.fields(struct))


TOP_KEYS = wire_names(Project)
PROVIDER_KEYS = wire_names(ProviderTable)
SETTING_KEYS = {name: tuple(TABLE[name].settings) for name in PROVIDERS}
REGISTRY_PLACE_KEYS = wire_names(RegistryPlace)
REGISTRY_RULE_KEYS = wire_names(RegistryRules)
# key and name are the key of the table itself
EXPERT_KEYS = (*(name for name in wire_names(Expert) if name not in ("key", "name")), "baseSkill")
SKILL_KEYS = {
    "mcpStdioSkill": ("type", *wire_names(StdioSkill)),
    "mcpSseSkill": ("type", *wire_names(RemoteSkill)),
    "interactiveSkill": ("type", *wire_names(InteractiveSkill)),
}
TOOL_KEYS = wire_names(InteractiveTool)
PROVIDER_SKILL_KEYS = {"builtin": ("type", "skillId"), "custom": ("type", "name", "definition")}
TOOL_OPTION_KEYS = {
    "webSearch": ("maxUses", "allowedDomains"),
    "webFetch": ("maxUses",),
    "fileSearch": ("vectorStoreIds", "maxNumResults"),
}


def advice(key: str, path: tuple[str, ...], known: tuple[str, ...]) -> str:
    """What may have been meant by `key`: the place where it counts, or the nearest name. Empty if unclear.

    path: the table in which it stands. known: the keys of that table.
    """
    if key == "name" and path[:1] == ("experts",):
        return "the name is the key of the table itself"
    for place, keys in _places(path):
        if key in keys:
            return f"it belongs {place}"
    if near := difflib.get_close_matches(key, known, n=1):
        return f'did you mean "{near[0]}"?'
    for place, keys in _places(path):
        if near := difflib.get_close_matches(key, keys, n=1, cutoff=0.8):
            return f'did you mean "{near[0]}"? It belongs {place}'
    return ""


def _places(path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if "providerToolOptions" in path:
        for tool, keys in TOOL_OPTION_KEYS.items():
            yield f"in [providerToolOptions.{tool}]", keys
    yield "at the top of the file, above the first [table]", TOP_KEYS
    yield "in [provider]", PROVIDER_KEYS
    yield "in [registry]", REGISTRY_RULE_KEYS
    yield 'in [registries."@scope"]', tuple(key for key in REGISTRY_PLACE_KEYS if key != "url")
    # Elsewhere words like "name" and "project" mean nothing of it
    if path[:1] in ((), ("provider",)):
        for name, keys in SETTING_KEYS.items():
            yield "in [provider.setting]" + (f" of {name}" if "setting" in path else ""), keys
    yield 'in [experts."<name>"]', EXPERT_KEYS
    yield "in a skill", ("type", "rule")
    for kind, keys in SKILL_KEYS.items():
        yield f"in a skill of type {kind}", keys
    yield "in a tool of an interactiveSkill", TOOL_KEYS
