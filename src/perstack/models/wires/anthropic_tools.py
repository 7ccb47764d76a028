"""Anthropic's own tools: how they are asked for, and what the blocks they leave in a reply say.

The blocks go back as they came (`anthropic.py`); what is told of them here is for people. The versions are the
oldest that do what `providerTools` promises. Skills need a later code execution, which has files and a shell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from perstack.job import Json, ProviderPart

from ..model import ProviderTools
from .loose import obj, objs, text
from .telling import in_short, told

NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
NAME_BESIDE = re.compile(
    r"(?!(?:web_search|web_fetch|code_execution|bash_code_execution|text_editor_code_execution)\Z)"
    + NAME.pattern
)
"""What a tool of ours may be called beside Anthropic's own."""

CONTAINER = "container"
"""The `type` we give to what is said of a reply's container. It is no block of the reply."""

_CODE_BETA = "code-execution-2025-05-22"
_SKILLS_BETA = "skills-2025-10-02"

Block = dict[str, Any]


def allowed_names(provided: ProviderTools) -> re.Pattern[str]:
    """The names that tools of ours may have."""
    return NAME_BESIDE if provided else NAME


def tools_of(provided: ProviderTools) -> list[Block]:
    """The members of `tools` for the provider's own."""
    return [_tool(name, provided) for name in dict.fromkeys(provided.names)]


def _tool(name: str, provided: ProviderTools) -> Block:
    options = provided.of(name)
    match name:
        case "webSearch":
            tool: Block = {"type": "web_search_20250305", "name": "web_search"}
            domains = {"allowed_domains": options.get("allowedDomains")}
        case "webFetch":
            tool, domains = {"type": "web_fetch_20250910", "name": "web_fetch"}, {}
        case "codeExecution":
            version = "20250825" if provided.skills else "20250522"
            return {"type": f"code_execution_{version}", "name": "code_execution"}
        case _:
            raise AssertionError(f"{name} was not refused")  # `provider_faults` does
    limits = {"max_uses": options.get("maxUses")} | domains
    return tool | {key: value for key, value in limits.items() if value}


def betas_of(provided: ProviderTools) -> tuple[str, ...]:
    """What the `anthropic-beta` header must name."""
    if provided.skills:
        return (_SKILLS_BETA,)
    return (_CODE_BETA,) if "codeExecution" in provided.names else ()


def with_betas(betas: tuple[str, ...], headers: Mapping[str, str]) -> dict[str, str]:
    """The header that names `betas`, with those that the user's own headers name."""
    if not betas:
        return {}
    own = next((value for name, value in headers.items() if name.lower() == "anthropic-beta"), "")
    named = [word.strip() for word in own.split(",") if word.strip()]
    return {"anthropic-beta": ",".join(dict.fromkeys((*named, *betas)))}


def container_of(provided: ProviderTools, last: Block | None, at: float) -> Json:
    """The member `container`, None for none. last: the container that the conversation had last.

    at: the time of the request, seconds since 1970; a container that is over by then is not asked for again.
    """
    id = ""
    if last is not None and "codeExecution" in provided.names and not _is_over(last, at):
        id = text(last.get("id"))
    if not provided.skills:
        return id or None
    skills = [
        {"type": "anthropic", "skill_id": skill, "version": "latest"}
        for skill in dict.fromkeys(provided.skills)
    ]
    return ({"id": id} if id else {}) | {"skills": skills}


def _is_over(container: Block, at: float) -> bool:
    try:
        ends = datetime.fromisoformat(text(container.get("expires_at")))
    except ValueError:
        return True
    return (ends if ends.tzinfo else ends.replace(tzinfo=UTC)).timestamp() <= at


# --- what came back


def is_provided(kind: str) -> bool:
    """Whether a block of this type is of the provider's own tools."""
    return kind in ("server_tool_use", "container_upload") or kind.endswith("_tool_result")


def part_of(block: Block) -> ProviderPart:
    """One block, told by itself."""
    match text(block.get("type")):
        case "server_tool_use":
            asked = obj(block.get("input"))
            return ProviderPart(data=block, tool=text(block.get("name")), asked=told(asked))
        case "container_upload":
            return ProviderPart(data=block, tool="file", gave=text(block.get("file_id")))
        case kind:
            gave, failed = _gave(block.get("content"))
            tool = kind.removesuffix("_tool_result")
            return ProviderPart(data=block, tool=tool, gave=gave, failed=failed)


def _gave(content: Json) -> tuple[str, bool]:
    """What a tool gave, and whether it failed."""
    if isinstance(content, list):
        found = [
            f"{text(row.get('title'))} {text(row.get('url'))}".strip() for row in objs(content)
        ]
        return in_short("\n".join(found)) or "nothing found", False
    result = obj(content)
    if "error_code" in result:
        return text(result["error_code"]) or "error", True
    if "url" in result:
        title = text(obj(result.get("content")).get("title"))
        return in_short(f"{title} {text(result['url'])}".strip()), False
    if "stdout" in result or "stderr" in result:
        said = "\n".join(filter(None, (text(result.get(key)) for key in ("stdout", "stderr"))))
        code = result.get("return_code")
        return in_short(said or f"return code {code}"), bool(code)
    return "", False
