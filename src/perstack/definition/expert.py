"""What an author says about an Expert: the structs of a definition.

Field by field this is `perstack.toml` after defaults are filled in; times are seconds. Reading the
file, with its limits and its faults, is `toml.py`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from perstack._value import Value
from perstack.errors import UserError

from .key import EXPERT_VERSION, RANGE, parse_version
from .ranges import selects

ProviderName = Literal[
    "anthropic",
    "google",
    "openai",
    "ollama",
    "azure-openai",
    "amazon-bedrock",
    "google-vertex",
    "deepseek",
]
RuntimeName = Literal["local", "sandbox", "docker", "cursor", "claude-code", "gemini"]
Reasoning = Literal["none", "minimal", "low", "medium", "high"] | int
"""How much the model may think: a named level, or a budget in tokens (0 is "none")."""

BASE_SKILL = "@perstack/base"


class StdioSkill(Value, frozen=True, tag="mcpStdioSkill", tag_field="type"):
    """A local MCP server spoken to over its standard input and output.

    startup_timeout_ms: to start and list its tools. tool_timeout_ms: for a call, between two signs of life. None:
    the usual times.
    """

    command: str
    package_name: str | None = None
    args: tuple[str, ...] = ()
    pick: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    required_env: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    lazy_init: bool = False
    startup_timeout_ms: int | None = msgspec.field(default=None, name="startupTimeout")
    tool_timeout_ms: int | None = msgspec.field(default=None, name="toolTimeout")
    description: str | None = None
    rule: str | None = None


class RemoteSkill(Value, frozen=True, tag="mcpSseSkill", tag_field="type"):
    """A remote MCP server.

    headers_env: by name of the header, the variable that holds its value, with words before it that stand
    before the value: "Bearer MY_TOKEN". startup_timeout_ms, tool_timeout_ms: as for a local server.
    """

    endpoint: str
    headers_env: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    startup_timeout_ms: int | None = msgspec.field(default=None, name="startupTimeout")
    tool_timeout_ms: int | None = msgspec.field(default=None, name="toolTimeout")
    pick: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    description: str | None = None
    rule: str | None = None


class InteractiveTool(Value, frozen=True):
    """One question a person can be asked. input_json_schema: JSON Schema as text."""

    input_json_schema: str
    description: str | None = None


class InteractiveSkill(Value, frozen=True, tag="interactiveSkill", tag_field="type"):
    """Tools whose answer comes from a person or from the embedding application."""

    tools: dict[str, InteractiveTool]
    description: str | None = None
    rule: str | None = None


Skill = StdioSkill | RemoteSkill | InteractiveSkill

DEFAULT_BASE = StdioSkill(description="Base skill", command="npx", args=("-y", BASE_SKILL))
"""What `@perstack/base` means when the author says nothing about it."""


class Expert(Value, frozen=True):
    """One Expert. key: the table key in the file, or the exact key it was published under.

    skills: by name, always with `@perstack/base` unless the author switched it off. approve, deny: texts of rules
    on its calls and on those of its delegates, see `approval`.
    """

    key: str
    name: str
    instruction: str
    version: str = "1.0.0"
    description: str | None = None
    min_runtime_version: str | None = None
    skills: dict[str, Skill] = msgspec.field(default_factory=dict[str, Skill])
    delegates: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    provider_tools: tuple[str, ...] = ()
    provider_skills: tuple[dict[str, str], ...] = ()
    provider_tool_options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    approve: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class Limits(Value, frozen=True):
    """What a job may use, over all its runs; None: as much as it likes.

    max_steps: replies of the model. max_retries: times one request is tried again. timeout_s: seconds for one
    reply. max_depth: delegates below delegates; max_fan_out: delegates called in one reply. max_tokens: input and
    output together. max_duration_s: seconds at work, waiting for people not counted. max_cost: US dollars.
    """

    max_steps: int = 100
    max_retries: int = 5
    timeout_s: float = 300.0
    max_depth: int = 5
    max_fan_out: int = 16
    max_tokens: int | None = None
    max_duration_s: float | None = None
    max_cost: float | None = None


class ProviderTable(Value, frozen=True):
    """`[provider]`: its name, and its settings by their camelCase names."""

    provider_name: ProviderName = "anthropic"
    setting: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class RegistryPlace(Value, frozen=True):
    """`[registries."@scope"]`: the one registry of a scope.

    key_env: the variable with its key. mirror: URL that is asked in its place.
    """

    url: str
    key_env: str | None = None
    mirror: str | None = None


class RegistryRules(Value, frozen=True):
    """`[registry]`: how versions are chosen.

    min_release_age_s: seconds a version must have been out before a range or a tag chooses it, but for the names
    in min_release_age_exclude (exact, or with a `*` at the end). mirror: URL that is asked in place of the default
    registry. prefer_local: let a range that names an Expert of the project mean that, if its version fits.
    require_attestations: types of predicates, or their short names, of which a published version must have an
    attestation each before it is locked.
    """

    min_release_age_s: float = msgspec.field(default=0.0, name="minReleaseAge")
    min_release_age_exclude: tuple[str, ...] = ()
    mirror: str | None = None
    prefer_local: bool = True
    require_attestations: tuple[str, ...] = ()


class Project(Value, frozen=True):
    """One `perstack.toml`, under the names it has there. None means the author said nothing.

    experts: those that can be used; the broken ones are kept by whoever read the file.
    """

    model: str | None = None
    provider: ProviderTable | None = None
    reasoning_budget: Reasoning | None = None
    runtime: RuntimeName | None = None
    max_steps: int | None = None
    max_retries: int | None = None
    timeout_s: float | None = msgspec.field(default=None, name="timeout")
    max_tokens: int | None = None
    max_duration_s: float | None = msgspec.field(default=None, name="maxDuration")
    max_cost: float | None = None
    experts: dict[str, Expert] = msgspec.field(default_factory=dict[str, Expert])
    api_base_url: str = msgspec.field(default="https://api.perstack.ai", name="perstackApiBaseUrl")
    base_skill_command: tuple[str, ...] = msgspec.field(default=(), name="perstackBaseSkillCommand")
    env_path: tuple[str, ...] | None = None
    registries: dict[str, RegistryPlace] = msgspec.field(default_factory=dict[str, RegistryPlace])
    registry: RegistryRules = RegistryRules()

    def local(self, key: str) -> Expert | None:
        """The Expert of this file that `key` names: its table key, alone or with its version or a range."""
        if key in self.experts:
            return self.experts[key]
        name = key[:1] + key[1:].partition("@")[0]
        expert = self.experts.get(name)
        return expert if expert is not None and self.means(key, expert.version) else None

    def means(self, key: str, version: str) -> bool:
        """Whether what stands after the name in `key` is `version`, or a range that may mean an own Expert's."""
        selector = key[1:].partition("@")[2]
        if EXPERT_VERSION.fullmatch(selector):
            return parse_version(selector) == parse_version(version)
        if not self.registry.prefer_local or not RANGE.fullmatch(selector) or selector == "x":
            return False
        try:
            return selects(selector, parse_version(version))
        except UserError:  # larger than ranges may be, which is said where it is resolved
            return False


def split_version(key: str) -> tuple[str, str | None]:
    """The name in `key`, and the exact version if it ends in one."""
    name, at, version = key.rpartition("@")
    if at and name and EXPERT_VERSION.fullmatch(version):
        return name, version
    return key, None
