"""What an Expert wants of its provider: tools that run there, and whether the provider has them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import msgspec

from .expert import Expert, ProviderName
from .provider import TABLE


class ProviderFault(msgspec.Struct, frozen=True, kw_only=True):
    """Something a provider has not. at: the keys in the Expert's table that lead to it."""

    at: tuple[str, ...]
    what: str
    hint: str = ""


def uses_provider(expert: Expert) -> bool:
    """Whether `expert` wants anything of the provider besides replies."""
    return bool(expert.provider_tools or expert.provider_skills or expert.provider_tool_options)


def provider_faults(provider: ProviderName, expert: Expert) -> Iterator[ProviderFault]:
    """What of `expert` could not be sent to `provider`. Nothing of it may be left out in silence."""
    yield from _tools(provider, expert)
    yield from _options(provider, expert)
    yield from _skills(provider, expert)


def _tools(provider: ProviderName, expert: Expert) -> Iterator[ProviderFault]:
    has = TABLE[provider].tools
    every = sorted({tool for row in TABLE.values() for tool in row.tools})
    for n, name in enumerate(expert.provider_tools):
        at = ("providerTools", str(n))
        if name not in has:
            meant = difflib.get_close_matches(name, every, n=1)
            yield ProviderFault(
                at=at,
                what=f'provider "{provider}" has no tool "{name}"; it has: {", ".join(has) or "none"}',
                hint=f'did you mean "{meant[0]}"?' if meant and meant[0] != name else "",
            )
        elif name == "fileSearch" and not _option(expert, "fileSearch", "vectorStoreIds"):
            yield ProviderFault(
                at=at,
                what='"fileSearch" does not know where to search',
                hint="name the stores in providerToolOptions.fileSearch.vectorStoreIds",
            )


def _options(provider: ProviderName, expert: Expert) -> Iterator[ProviderFault]:
    row = TABLE[provider]
    for tool, options in expert.provider_tool_options.items():
        at = ("providerToolOptions", tool)
        if not options:
            continue
        if tool not in expert.provider_tools:
            yield ProviderFault(
                at=at,
                what=f'there are options for "{tool}", but the Expert does not have that tool',
                hint=f'add "{tool}" to providerTools, or take the options away',
            )
            continue
        takes = row.options.get(tool, ())
        for key in options:
            if tool in row.tools and key not in takes:
                yield ProviderFault(
                    at=(*at, key),
                    what=f'"{tool}" of provider "{provider}" takes no {key}; '
                    f"it takes: {', '.join(takes) or 'nothing'}",
                )


def _skills(provider: ProviderName, expert: Expert) -> Iterator[ProviderFault]:
    has = TABLE[provider].skills
    for n, skill in enumerate(expert.provider_skills):
        at = ("providerSkills", str(n))
        if not has:
            yield ProviderFault(at=at, what=f'provider "{provider}" has no skills')
        elif skill.get("type") != "builtin":
            yield ProviderFault(
                at=at,
                what=f'provider "{provider}" takes no skill by its definition, so '
                f'"{skill.get("name", "")}" cannot be sent',
                hint=f"it has: {', '.join(has)}",
            )
        elif skill.get("skillId") not in has:
            yield ProviderFault(
                at=at,
                what=f'provider "{provider}" has no skill "{skill.get("skillId", "")}"; '
                f"it has: {', '.join(has)}",
            )
        elif "codeExecution" not in expert.provider_tools:
            yield ProviderFault(
                at=at,
                what="skills of the provider need its code execution",
                hint='add "codeExecution" to providerTools',
            )


def _option(expert: Expert, tool: str, key: str) -> object:
    return expert.provider_tool_options.get(tool, {}).get(key)
