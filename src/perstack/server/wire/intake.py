"""What a publish request must be, member by member. All that is wrong with it is told at once (422).

What needs the database (does this delegate exist?) is asked in `publishing`. Members that nobody knows are left
out, and named in a warning; inside of a skill they are refused, since a consumer's runtime would get them.
"""

from __future__ import annotations

import json
from typing import Any, cast, get_args

import msgspec

from perstack.definition import (
    DIGEST,
    EXPERT_NAME,
    EXPERT_VERSION,
    MAX_NAME,
    MAX_SELECTOR,
    PACKAGE,
    TAG,
    TOOL_NAME,
    domain_fault,
    endpoint_fault,
    env_name_fault,
    parse_delegate,
    utf16_length,
)
from perstack.errors import UserError
from perstack.registry import PublishRequest, Visibility

from .reading import Path, Reading, matching

MAX_TAGS = 8
"""Of one version; `latest` is not counted."""

MAX_README_BYTES = 64 * 1024
MAX_DEPTH = 64
MAX_EXACT = 2**53 - 1
"""The largest number that every reader of JSON reads as it was written."""

a_tag = matching(TAG, "a tag: lower-case letters, digits, dashes and underscores")


def publish_request(body: dict[str, Any]) -> tuple[PublishRequest, list[str]]:
    """The request in `body`, and warnings. Raises Refused (422) with all that is wrong."""
    read = Reading(body)
    _check_values(read, body)
    delegates = read.texts("delegates", 255, 511, _delegate_fault)
    specs = read.texts("delegateSpecs", 255, 511, _delegate_fault)
    if specs and len(specs) != len(delegates):
        read.wrong("delegateSpecs", "invalid_length", "Needs one entry for each delegate")
    tags = read.texts("tags", MAX_TAGS + 1, 255, a_tag)
    if len(set(tags) - {"latest"}) > MAX_TAGS:
        read.wrong("tags", "too_big", f"At most {MAX_TAGS} tags are allowed")
    request = PublishRequest(
        name=read.text(
            "name", MAX_NAME, least=1, required=True, check=matching(EXPERT_NAME, _A_NAME)
        ),
        version=read.text(
            "version",
            MAX_SELECTOR,
            least=1,
            required=True,
            check=matching(EXPERT_VERSION, _A_VERSION),
        ),
        min_runtime_version=read.one_of("minRuntimeVersion", ("v1.0",), required=True),
        description=read.text("description", 2048, least=1, required=True),
        instruction=read.text("instruction", 20480, least=1, required=True),
        skills=_skills(read),
        delegates=delegates,
        tags=tuple(dict.fromkeys(tags)),
        delegate_specs=specs,
        provider_tools=read.texts("providerTools", 255, 255),
        provider_skills=_provider_skills(read),
        provider_tool_options=read.object("providerToolOptions"),
        visibility=cast("Visibility", read.one_of("visibility", get_args(Visibility))),
        set_latest=read.flag("setLatest", True),
        expected_digest=read.text("expectedDigest", 71, check=_digest_fault),
        readme=_readme(read),
        repository=read.text("repository", 2048),
        license=read.text("license", 255),
        keywords=read.texts("keywords", 32, 64),
    )
    read.known.add("attestations")
    read.end()
    return request, [f"The member {name} is not known and was left out" for name in read.unknown]


_A_NAME = (
    "a name: lower-case letters, digits, dashes and underscores, with a scope before it or not"
)
_A_VERSION = "a version such as 1.2.0"


def _digest_fault(text: str) -> str | None:
    return None if not text or DIGEST.fullmatch(text) else "Must be sha256: and 64 hex digits"


def _delegate_fault(text: str) -> str | None:
    try:
        parse_delegate(text)
    except UserError as error:
        return str(error)
    return None


def _readme(read: Reading) -> str:
    text = read.text("readme", MAX_README_BYTES)
    if len(text.encode(errors="replace")) > MAX_README_BYTES:
        read.wrong("readme", "too_big", f"At most {MAX_README_BYTES} bytes are allowed")
    return text


def _provider_skills(read: Reading) -> tuple[dict[str, str], ...]:
    read.known.add("providerSkills")
    found = read.value.get("providerSkills", [])
    try:
        skills = msgspec.convert(found, list[dict[str, str]])
    except msgspec.ValidationError:
        read.wrong("providerSkills", "invalid_type", "Expected an array of objects of strings")
        return ()
    if len(skills) > 255:
        read.wrong("providerSkills", "too_big", "At most 255 entries are allowed")
    return tuple(skills)


def _check_values(read: Reading, value: Any, path: Path = ()) -> None:
    """Refuses what different readers of JSON read differently, and what is nested too deeply."""
    if len(path) > MAX_DEPTH:
        read.wrong(path, "too_deep", f"At most {MAX_DEPTH} levels are allowed")
        return
    match value:
        case bool() | None:
            pass
        case int() if abs(value) > MAX_EXACT:
            read.wrong(path, "invalid_number", "The number is too large to be exact")
        case float() if not value.is_integer() or abs(value) > MAX_EXACT:
            read.wrong(path, "invalid_number", "Only whole numbers are allowed")
        case dict():
            for name, member in cast("dict[str, Any]", value).items():
                _check_values(read, member, (*path, name))
        case list():
            for at, item in enumerate(cast("list[Any]", value)):
                _check_values(read, item, (*path, at))
        case _:
            pass


# Skills ---------------------------------------------------------------------------------------------------

_TYPES = ("mcpStdioSkill", "mcpSseSkill", "interactiveSkill")


def _skills(read: Reading) -> dict[str, dict[str, Any]]:
    skills = read.object("skills", required=True)
    if len(skills) > 255:
        read.wrong("skills", "too_big", "At most 255 skills are allowed")
        return {}
    for name, value in skills.items():
        place = ("skills", name)
        if not PACKAGE.fullmatch(name) or not 1 <= utf16_length(name) <= 255:
            read.wrong(place, "invalid_string", "The name of a skill is that of a package")
        if (skill := read.below(place, value)) is not None:
            _skill(skill)
    return skills


def _skill(read: Reading) -> None:
    kind = read.one_of("type", _TYPES, required=True)
    read.text("description", 2048, least=1, required=True)
    read.text("rule", 2048)
    match kind:
        case "mcpStdioSkill":
            read.one_of("command", ("npx", "uvx"), required=True)
            read.text(
                "packageName",
                255,
                least=1,
                required=True,
                check=matching(PACKAGE, "the name of a package"),
            )
            read.texts("requiredEnv", 255, 255, env_name_fault)
            _choices(read)
        case "mcpSseSkill":
            read.text("endpoint", 2048, least=1, required=True, check=endpoint_fault)
            _choices(read)
        case _:
            _tools(read)
    read.refuse_unknown()


def _choices(read: Reading) -> None:
    read.texts("pick", 255, 255)
    read.texts("omit", 255, 255)
    read.flag("lazyInit", False)
    read.texts("allowedDomains", 255, 253, domain_fault)


def _tools(read: Reading) -> None:
    tools = read.object("tools", required=True)
    if len(tools) > 255:
        read.wrong("tools", "too_big", "At most 255 tools are allowed")
        return
    for name, value in tools.items():
        place = ("tools", name)
        if not TOOL_NAME.fullmatch(name) or utf16_length(name) > 255:
            read.wrong(place, "invalid_string", "Must be the name of a tool")
        if (tool := read.below(place, value)) is not None:
            tool.text("description", 2048, least=1, required=True)
            tool.text("inputJsonSchema", 20480, least=1, required=True, check=_json_object_fault)
            tool.refuse_unknown()


def _json_object_fault(text: str) -> str | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "Must be a JSON object, as text"
    return None if isinstance(value, dict) else "Must be a JSON object, as text"
