"""What the reference's client needs of an answer, written anew from its published schemas.

Unknown members are let pass at every level; required ones must be there and of their type; optional ones may be
left out and are never null.
"""

from __future__ import annotations

import re
from typing import Any, cast

ID = re.compile(r"[a-z0-9]{24}", re.ASCII)
ORGANIZATION = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII)
NAME = re.compile(r"(@[a-z0-9][a-z0-9_-]*/)?[a-z0-9][a-z0-9_-]*", re.ASCII)
_VERSION = r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[\w.-]+)?(?:\+[\w.-]+)?"
VERSION = re.compile(_VERSION, re.ASCII)
TAG = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
KEY = re.compile(
    rf"((?:@[a-z0-9][a-z0-9_.-]*/)?[a-z0-9][a-z0-9_.-]*)(?:@({_VERSION})|@([a-z0-9][a-z0-9_.-]*))?",
    re.ASCII,
)
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)

STATUSES = ("available", "deprecated", "disabled")


class Mismatch(AssertionError):
    """The client would say "Response validation failed"."""


def need(holds: bool, what: str) -> None:
    if not holds:
        raise Mismatch(what)


def no_nulls(value: Any, path: str = "") -> None:
    need(value is not None, f"{path} is null")
    if isinstance(value, dict):
        for name, member in cast("dict[str, Any]", value).items():
            no_nulls(member, f"{path}.{name}")
    elif isinstance(value, list):
        for at, item in enumerate(cast("list[Any]", value)):
            no_nulls(item, f"{path}[{at}]")


def text(value: Any, pattern: re.Pattern[str] | None, path: str) -> None:
    need(isinstance(value, str), f"{path} is no string")
    need(pattern is None or pattern.fullmatch(value) is not None, f"{path} is {value!r}")


def owner(value: Any) -> None:
    need(isinstance(value, dict), "owner is no object")
    text(value.get("organizationId"), ID, "owner.organizationId")
    text(value.get("createdAt"), DATE, "owner.createdAt")
    if "name" in value:
        text(value["name"], ORGANIZATION, "owner.name")


def skill(value: Any) -> None:
    kinds = {
        "mcpStdioSkill": ("description", "command", "packageName"),
        "mcpSseSkill": ("description", "endpoint"),
        "interactiveSkill": ("description",),
    }
    need(value.get("type") in kinds, f"skill type {value.get('type')}")
    for member in kinds[value["type"]]:
        text(value.get(member), None, f"skill.{member}")
    if value["type"] == "mcpStdioSkill":
        need(value["command"] in ("npx", "uvx"), "skill.command")
    if value["type"] == "interactiveSkill":
        for tool in value["tools"].values():
            text(tool["description"], None, "tool.description")
            text(tool["inputJsonSchema"], None, "tool.inputJsonSchema")


def _version(value: Any, kind: str) -> None:
    need(isinstance(value, dict), "no object")
    need(value.get("type") == kind, f"type {value.get('type')}")
    text(value.get("id"), ID, "id")
    text(value.get("key"), KEY, "key")
    text(value.get("name"), NAME, "name")
    need(value.get("minRuntimeVersion") == "v1.0", "minRuntimeVersion")
    text(value.get("description"), None, "description")
    owner(value.get("owner"))
    for member in ("createdAt", "updatedAt"):
        text(value.get(member), DATE, member)
    need(isinstance(value.get("tags"), list), "tags")
    for tag in value["tags"]:
        text(tag, TAG, "tag")
    need(value["key"] == f"{value['name']}@{value['version']}", "key is not that of the version")


def registry_expert(value: Any) -> None:
    _version(value, "registryExpert")
    text(value.get("version"), VERSION, "version")
    need(value.get("status") in STATUSES, f"status {value.get('status')}")
    text(value.get("instruction"), None, "instruction")
    need(isinstance(value.get("skills"), dict), "skills")
    for found in value["skills"].values():
        need("name" not in found, "a skill has a name")
        skill(found)
    need(isinstance(value.get("delegates"), list), "delegates")
    for delegate in value["delegates"]:
        text(delegate, KEY, "delegate")


def expert_digest(value: Any) -> None:
    _version(value, "expertDigest")
    if "version" in value:
        text(value["version"], VERSION, "version")


def one(body: Any) -> Any:
    """The answer to R1, R4, R5."""
    no_nulls(body)
    registry_expert(body["data"]["expert"])
    return body["data"]["expert"]


def versions(body: Any) -> Any:
    """The answer to R2."""
    no_nulls(body)
    for found in body["data"]["versions"]:
        expert_digest(found)
    text(body["data"]["latest"], VERSION, "latest")
    need(isinstance(body["meta"]["total"], int), "meta.total")
    return body["data"]


def page(body: Any) -> Any:
    """The answer to R3."""
    no_nulls(body)
    for found in body["data"]["experts"]:
        registry_expert(found)
    for member in ("total", "take", "skip"):
        need(isinstance(body["meta"][member], int), f"meta.{member}")
    return body["data"]["experts"]


def refusal(body: Any) -> tuple[str, Any]:
    """What its user is told, and the reason."""
    text(body.get("error"), None, "error")
    return body["error"], body.get("reason")
