"""Providers: their tables in the file, and the one list of credentials and variable names.

Everything that must know which variable holds what (the models, the sandbox that keeps keys out, the
container that needs them passed in, the docs) asks here. Which models exist, and how a provider is spoken
to, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import msgspec

from perstack._value import Value
from perstack.errors import MissingEnv

from .expert import ProviderName, ProviderTable

PROVIDERS: tuple[ProviderName, ...] = get_args(ProviderName)
SERVED: tuple[ProviderName, ...] = ("anthropic", "google", "openai", "deepseek", "ollama")
"""Those that can be asked. A definition may name the others, too."""
DEFAULT_PROVIDER: ProviderName = "anthropic"

REGISTRY_KEY = "PERSTACK_API_KEY"
FOREIGN_KEYS = ("GEMINI_API_KEY", "CURSOR_API_KEY")
"""Keys of other vendors' command line agents, which can serve as runtimes."""


class ProviderAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one provider: what `[provider]` and the environment say together.

    api_key: empty where the provider wants none. base_url: as given (with or without its version segment),
    None for the provider's own. settings: the rest by camelCase name: `region`, `resourceName`,
    `organization`, ...; for Amazon also `accessKeyId`, `secretAccessKey` and `sessionToken`, for Google
    Vertex `credentialsFile`, the path of the account file. What nobody set is absent.
    Holds secrets: it is never written down, and its repr hides them.
    """

    provider: ProviderName
    api_key: str = ""
    base_url: str | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    settings: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def __repr__(self) -> str:
        return f"ProviderAccess(provider={self.provider!r}, base_url={self.base_url!r}, ...)"


def not_served(provider: str) -> str:
    """What to say of a provider that is not in `SERVED`."""
    return (
        f'The provider "{provider}" is not served yet; it comes in a later version. '
        f"These work today: {', '.join(SERVED)}."
    )


class Variable(Value, frozen=True):
    """One environment variable that a provider reads.

    gives: the setting it stands for; a setting of that name in the file wins. secret: it lets its holder in.
    """

    name: str
    gives: str
    required: bool = False
    secret: bool = False


SettingKind = Literal["text", "https", "flag", "headers"]


class ProviderRow(Value, frozen=True):
    """What can be said about one provider.

    settings: keys of `[provider.setting]`, and what each may hold.
    tools: names allowed in `providerTools`; options: what each may be told in `providerToolOptions`.
    skills: ids of its own skills, allowed in `providerSkills`.
    """

    settings: dict[str, SettingKind]
    variables: tuple[Variable, ...]
    tools: tuple[str, ...] = ()
    options: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict[str, tuple[str, ...]])
    skills: tuple[str, ...] = ()


def _key(name: str, gives: str = "apiKey") -> Variable:
    return Variable(name=name, gives=gives, required=True, secret=True)


_FILE_SEARCH = {"fileSearch": ("vectorStoreIds", "maxNumResults")}
_BASE_AND_HEADERS: dict[str, SettingKind] = {"baseUrl": "https", "headers": "headers"}

TABLE: dict[ProviderName, ProviderRow] = {
    "anthropic": ProviderRow(
        settings=_BASE_AND_HEADERS,
        variables=(_key("ANTHROPIC_API_KEY"), Variable(name="ANTHROPIC_BASE_URL", gives="baseUrl")),
        tools=("webSearch", "webFetch", "codeExecution"),
        options={"webSearch": ("maxUses", "allowedDomains"), "webFetch": ("maxUses",)},
        skills=("pdf", "docx", "pptx", "xlsx"),
    ),
    "google": ProviderRow(
        settings=_BASE_AND_HEADERS,
        variables=(
            _key("GOOGLE_GENERATIVE_AI_API_KEY"),
            Variable(name="GOOGLE_GENERATIVE_AI_BASE_URL", gives="baseUrl"),
        ),
        tools=("googleSearch", "codeExecution", "urlContext", "fileSearch", "googleMaps"),
        options=_FILE_SEARCH,
    ),
    "openai": ProviderRow(
        settings={
            **_BASE_AND_HEADERS,
            "organization": "text",
            "project": "text",
            "name": "text",
        },
        variables=(
            _key("OPENAI_API_KEY"),
            Variable(name="OPENAI_BASE_URL", gives="baseUrl"),
            Variable(name="OPENAI_ORGANIZATION", gives="organization"),
            Variable(name="OPENAI_PROJECT", gives="project"),
        ),
        tools=("webSearch", "fileSearch", "codeInterpreter", "imageGeneration"),
        options={"webSearch": ("allowedDomains",), **_FILE_SEARCH},
    ),
    "ollama": ProviderRow(
        settings={"baseUrl": "text", "headers": "headers"},
        variables=(Variable(name="OLLAMA_BASE_URL", gives="baseUrl"),),
    ),
    "azure-openai": ProviderRow(
        settings={
            **_BASE_AND_HEADERS,
            "resourceName": "text",
            "apiVersion": "text",
            "useDeploymentBasedUrls": "flag",
        },
        variables=(
            _key("AZURE_API_KEY"),
            Variable(name="AZURE_RESOURCE_NAME", gives="resourceName"),
            Variable(name="AZURE_BASE_URL", gives="baseUrl"),
            Variable(name="AZURE_API_VERSION", gives="apiVersion"),
        ),
        tools=("webSearchPreview", "fileSearch", "codeInterpreter", "imageGeneration"),
        options=_FILE_SEARCH,
    ),
    "amazon-bedrock": ProviderRow(
        settings={"region": "text"},
        variables=(
            _key("AWS_ACCESS_KEY_ID", "accessKeyId"),
            _key("AWS_SECRET_ACCESS_KEY", "secretAccessKey"),
            Variable(name="AWS_REGION", gives="region", required=True),
            Variable(name="AWS_SESSION_TOKEN", gives="sessionToken", secret=True),
        ),
    ),
    "google-vertex": ProviderRow(
        settings={**_BASE_AND_HEADERS, "project": "text", "location": "text"},
        variables=(
            Variable(name="GOOGLE_VERTEX_PROJECT", gives="project"),
            Variable(name="GOOGLE_VERTEX_LOCATION", gives="location"),
            Variable(name="GOOGLE_VERTEX_BASE_URL", gives="baseUrl"),
            Variable(name="GOOGLE_APPLICATION_CREDENTIALS", gives="credentialsFile", secret=True),
        ),
        tools=("codeExecution", "urlContext", "googleSearch", "enterpriseWebSearch", "googleMaps"),
    ),
    "deepseek": ProviderRow(
        settings=_BASE_AND_HEADERS,
        variables=(_key("DEEPSEEK_API_KEY"), Variable(name="DEEPSEEK_BASE_URL", gives="baseUrl")),
    ),
}


def access_of(
    provider: ProviderName, table: ProviderTable | None, env: Mapping[str, str]
) -> ProviderAccess:
    """How to reach `provider`, from the file's table and the environment. The file wins, empty is unset.

    table: used only if it is about the same provider, so no key goes to another provider's address.
    Raises MissingEnv with all names that are needed and not set.
    """
    row = TABLE[provider]
    own = dict(table.setting) if table is not None and table.provider_name == provider else {}
    headers = own.pop("headers", {})
    found = {item.gives: env[item.name] for item in row.variables if env.get(item.name)}
    found.update({name: value for name, value in own.items() if value != ""})
    missing = [item.name for item in row.variables if item.required and item.gives not in found]
    hint = "Set it in the environment, or write it as NAME=value into a .env file."
    if provider == "azure-openai" and not ("resourceName" in found or "baseUrl" in found):
        missing.append("AZURE_RESOURCE_NAME")
        hint += " AZURE_RESOURCE_NAME or baseUrl must be set; both may stand in [provider.setting]."
    if missing:
        hint += "".join(
            f" {name} is set: --provider {other} uses it." for other, name in _ready(env)
        )
        raise MissingEnv(missing, f'provider "{provider}"', hint)
    return ProviderAccess(
        provider=provider,
        api_key=found.pop("apiKey", ""),
        base_url=found.pop("baseUrl", None),
        headers=headers,
        settings=found,
    )


def provider_row(provider: ProviderName) -> ProviderRow:
    """What can be said about `provider`."""
    return TABLE[provider]


def _ready(env: Mapping[str, str]) -> Iterator[tuple[ProviderName, str]]:
    """The providers whose key is set, with its name."""
    for provider in SERVED:
        for item in TABLE[provider].variables:
            if item.required and item.secret and env.get(item.name):
                yield provider, item.name


def variable_names(provider: ProviderName) -> tuple[str, ...]:
    """Every variable that `provider` reads, secrets and addresses alike."""
    return tuple(item.name for item in TABLE[provider].variables)


def secret_names() -> tuple[str, ...]:
    """Every variable that holds a credential: of providers, of the registry, of foreign runtimes."""
    own = (item.name for row in TABLE.values() for item in row.variables if item.secret)
    return (*own, REGISTRY_KEY, *FOREIGN_KEYS)
