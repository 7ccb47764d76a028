"""What publishing sends: one Expert of a project as the registry takes it. Pure; asks nobody.

A registry holds no paths and no command lines of anybody's machine: a skill is a package that `npx` or `uvx`
fetches, an address, or questions. What cannot be said so is a fault here, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from perstack.definition import (
    BASE_SKILL,
    PACKAGE,
    TAG,
    Expert,
    InteractiveSkill,
    RemoteSkill,
    Skill,
    StdioSkill,
    endpoint_fault,
    parse_version,
)
from perstack.errors import DefinitionError, Fault
from perstack.registry import PublishRequest

RUNTIME = "v1.0"
"""The only `minRuntimeVersion` there is."""

LATEST = "latest"
LAUNCHERS = ("npx", "uvx")
MAX_TAGS = 8

_PATIENCE = ("startupTimeout", "toolTimeout")
"""Members about the author's machine, which are left out."""

_FETCH = {"npx": "-y", "uvx": ""}


def request_of(
    expert: Expert,
    pins: Mapping[str, str],
    *,
    tags: tuple[str, ...] = (),
    set_latest: bool = True,
    source: str = "perstack.toml",
) -> PublishRequest:
    """The request that publishes `expert`.

    pins: by delegate as written, what to send in its place; what is not in it is sent as it is. tags: besides
    those of the Expert. source: what to call the project file. Raises DefinitionError with all that cannot be
    published.
    """
    faults = list(_faults(expert, (*expert.tags, *tags)))
    skills: dict[str, dict[str, Any]] = {}
    for name, skill in expert.skills.items():
        try:
            skills[name] = _skill(name, skill)
        except _Unpublishable as fault:
            faults.append(Fault(_path(expert, "skills", name), str(fault), fault.hint))
    if faults:
        raise DefinitionError(source, faults)
    delegates = tuple(pins.get(spec, spec) for spec in expert.delegates)
    own = dict.fromkeys(tag for tag in (*expert.tags, *tags) if tag != LATEST)
    return PublishRequest(
        name=expert.name,
        version=expert.version,
        min_runtime_version=RUNTIME,
        description=expert.description or "",
        instruction=expert.instruction,
        skills=skills,
        delegates=delegates,
        delegate_specs=expert.delegates if delegates != expert.delegates else (),
        tags=((LATEST,) if set_latest else ()) + tuple(own),
        set_latest=set_latest,
        provider_tools=expert.provider_tools,
        provider_skills=expert.provider_skills,
        provider_tool_options=expert.provider_tool_options,
    )


def lands_on_latest(version: str, latest: str | None) -> bool:
    """Whether a new version should become `latest`: if it is stable and not older than what is."""
    new = parse_version(version)
    return latest is None or (not new.is_prerelease and new >= parse_version(latest))


def stays_here(expert: Expert) -> tuple[str, ...]:
    """What a definition says that publishing it leaves behind, and its users would miss; a sentence each."""
    rules = [name for name, found in (("approve", expert.approve), ("deny", expert.deny)) if found]
    if not rules:
        return ()
    return (
        f'The rules of "{expert.key}" ({" and ".join(rules)}) are not published: registries keep none. Who uses '
        "it is asked before a call only by rules of their own, so say in the description which they should have.",
    )


class _Unpublishable(Exception):
    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


def _faults(expert: Expert, tags: tuple[str, ...]) -> Iterator[Fault]:
    if not expert.description:
        hint = "say in a sentence what it is for: others, and models, choose it by that"
        yield Fault(_path(expert, "description"), "is required to publish", hint)
    if BASE_SKILL not in expert.skills:
        hint = f"leave baseSkill out; a skill {BASE_SKILL} that picks only attemptCompletion reaches nothing"
        yield Fault(
            _path(expert, "baseSkill"), "is false; registries insist on the base skill", hint
        )
    if wrong := [tag for tag in tags if not TAG.fullmatch(tag) or tag.isdigit()]:
        hint = "lower case letters, digits, - and _, not digits alone"
        yield Fault(_path(expert, "tags"), f'"{wrong[0]}" is no tag', hint)
    if len({*tags} - {LATEST}) > MAX_TAGS:
        yield Fault(_path(expert, "tags"), f"there are more than {MAX_TAGS}")


def _skill(name: str, skill: Skill) -> dict[str, Any]:
    if not PACKAGE.fullmatch(name):
        raise _Unpublishable(
            "its name cannot be published",
            "lower case letters, digits, -, _ and dots, as of a package",
        )
    match skill:
        case StdioSkill():
            members = _members(skill, drop=("args", *_PATIENCE))
            members["packageName"] = _package(name, skill)
        case RemoteSkill():
            members = _members(skill, drop=_PATIENCE)
            if skill.headers_env:
                raise _Unpublishable(
                    "it has headersEnv, which cannot be published",
                    "leave it out: who uses the Expert signs in with `perstack skill login`",
                )
            if problem := endpoint_fault(skill.endpoint):
                raise _Unpublishable(f"its endpoint {problem}")
        case InteractiveSkill():
            members = _members(skill)
            members["tools"] = {
                tool: {
                    "description": question.description or f"{tool} tool",
                    "inputJsonSchema": question.input_json_schema,
                }
                for tool, question in skill.tools.items()
            }
    members["description"] = skill.description or f"{name} skill"
    return members


def _members(skill: Skill, drop: tuple[str, ...] = ()) -> dict[str, Any]:
    """The members that are not as by default, under the names of the file."""
    told: dict[str, Any] = msgspec.to_builtins(skill)
    return {
        name: value for name, value in told.items() if name not in drop and value not in ([], {})
    }


def _package(name: str, skill: StdioSkill) -> str:
    """The package that a local skill runs. Raises _Unpublishable if it runs anything else."""
    if skill.command not in LAUNCHERS:
        raise _Unpublishable(
            f'its command is "{skill.command}"; only {" and ".join(LAUNCHERS)} can be published',
            "publish its server as a package first",
        )
    words = [word for word in skill.args if word != _FETCH[skill.command]]
    package = skill.package_name or (words[0] if len(words) == 1 else name if not words else "")
    if not PACKAGE.fullmatch(package):
        raise _Unpublishable(
            "it has arguments, which cannot be published", "name the package alone, as packageName"
        )
    return package


def _path(expert: Expert, *names: str) -> str:
    return ".".join(("experts", expert.key, *names))
