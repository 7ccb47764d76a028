"""Credentials: who needs which variable, and that the file's settings go to their own provider only."""

from __future__ import annotations

from typing import Any

import pytest

from perstack.definition import (
    PROVIDERS,
    ProviderAccess,
    ProviderName,
    ProviderTable,
    access_of,
    provider_row,
    secret_names,
    variable_names,
)
from perstack.errors import MissingEnv

AWS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "eu"}


@pytest.mark.parametrize(
    ("provider", "env", "access"),
    [
        (
            "anthropic",
            {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"},
            {"api_key": "k", "base_url": "http://127.0.0.1:1"},
        ),
        (
            "google",
            {"GOOGLE_GENERATIVE_AI_API_KEY": "k", "GOOGLE_GENERATIVE_AI_BASE_URL": "https://g"},
            {"api_key": "k", "base_url": "https://g"},
        ),
        (
            "openai",
            {"OPENAI_API_KEY": "k", "OPENAI_ORGANIZATION": "o", "OPENAI_PROJECT": "p"},
            {"api_key": "k", "settings": {"organization": "o", "project": "p"}},
        ),
        ("ollama", {}, {}),
        ("ollama", {"OLLAMA_BASE_URL": "http://host:11434"}, {"base_url": "http://host:11434"}),
        (
            "azure-openai",
            {"AZURE_API_KEY": "k", "AZURE_RESOURCE_NAME": "r", "AZURE_API_VERSION": "v"},
            {"api_key": "k", "settings": {"resourceName": "r", "apiVersion": "v"}},
        ),
        (
            "azure-openai",
            {"AZURE_API_KEY": "k", "AZURE_BASE_URL": "https://a"},
            {"api_key": "k", "base_url": "https://a"},
        ),
        (
            "amazon-bedrock",
            {**AWS, "AWS_SESSION_TOKEN": "t"},
            {
                "settings": {
                    "accessKeyId": "id",
                    "secretAccessKey": "key",
                    "region": "eu",
                    "sessionToken": "t",
                }
            },
        ),
        ("google-vertex", {}, {}),
        (
            "google-vertex",
            {
                "GOOGLE_VERTEX_PROJECT": "p",
                "GOOGLE_VERTEX_LOCATION": "l",
                "GOOGLE_VERTEX_BASE_URL": "https://v",
                "GOOGLE_APPLICATION_CREDENTIALS": "/a.json",
            },
            {
                "base_url": "https://v",
                "settings": {"project": "p", "location": "l", "credentialsFile": "/a.json"},
            },
        ),
        (
            "deepseek",
            {"DEEPSEEK_API_KEY": "k", "DEEPSEEK_BASE_URL": "https://d"},
            {"api_key": "k", "base_url": "https://d"},
        ),
    ],
)
def test_each_provider_reads_its_own_variables(
    provider: ProviderName, env: dict[str, str], access: dict[str, Any]
):
    others = {"OTHER": "x", "EMPTY": ""}
    assert access_of(provider, None, env | others) == ProviderAccess(provider=provider, **access)


@pytest.mark.parametrize(
    ("provider", "names"),
    [
        ("anthropic", ["ANTHROPIC_API_KEY"]),
        ("google", ["GOOGLE_GENERATIVE_AI_API_KEY"]),
        ("openai", ["OPENAI_API_KEY"]),
        ("azure-openai", ["AZURE_API_KEY", "AZURE_RESOURCE_NAME"]),
        ("amazon-bedrock", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"]),
        ("deepseek", ["DEEPSEEK_API_KEY"]),
    ],
)
def test_all_that_is_missing_is_told_at_once_and_empty_is_missing(
    provider: ProviderName, names: list[str]
):
    with pytest.raises(MissingEnv) as caught:
        access_of(provider, None, dict.fromkeys(variable_names(provider), ""))
    assert list(caught.value.names) == names
    text = str(caught.value)
    assert all(name in text for name in names)
    assert provider in text
    assert ".env" in text


def test_azure_says_that_an_address_will_do_instead_of_a_name():
    with pytest.raises(MissingEnv, match="AZURE_RESOURCE_NAME or baseUrl"):
        access_of("azure-openai", None, {"AZURE_API_KEY": "k"})


def test_the_file_wins_over_the_environment():
    table = ProviderTable(
        provider_name="anthropic",
        setting={"baseUrl": "https://file.example", "headers": {"X-Team": "red"}},
    )
    env = {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "https://env.example"}
    assert access_of("anthropic", table, env) == ProviderAccess(
        provider="anthropic",
        api_key="k",
        base_url="https://file.example",
        headers={"X-Team": "red"},
    )
    assert table.setting["headers"] == {"X-Team": "red"}


def test_a_required_value_may_stand_in_the_file():
    table = ProviderTable(provider_name="amazon-bedrock", setting={"region": "us"})
    env = {name: value for name, value in AWS.items() if name != "AWS_REGION"}
    assert access_of("amazon-bedrock", table, env).settings["region"] == "us"


def test_the_settings_of_one_provider_never_reach_another():
    table = ProviderTable(
        provider_name="openai",
        setting={"baseUrl": "https://proxy.example", "headers": {"Authorization": "x"}},
    )
    access = access_of("anthropic", table, {"ANTHROPIC_API_KEY": "k"})
    assert access == ProviderAccess(provider="anthropic", api_key="k")


def test_settings_that_are_no_text_are_kept():
    table = ProviderTable(
        provider_name="azure-openai",
        setting={"useDeploymentBasedUrls": False, "resourceName": "r"},
    )
    access = access_of("azure-openai", table, {"AZURE_API_KEY": "k"})
    assert access.settings == {"useDeploymentBasedUrls": False, "resourceName": "r"}


def test_what_holds_secrets_does_not_show_them():
    access = access_of("amazon-bedrock", None, AWS | {"AWS_SECRET_ACCESS_KEY": "topsecret"})
    assert "topsecret" not in repr(access) + str(access)


def test_every_key_is_known_as_a_secret_and_no_address_is():
    assert set(secret_names()) == {
        "ANTHROPIC_API_KEY",
        "GOOGLE_GENERATIVE_AI_API_KEY",
        "OPENAI_API_KEY",
        "AZURE_API_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "DEEPSEEK_API_KEY",
        "PERSTACK_API_KEY",
        "GEMINI_API_KEY",
        "CURSOR_API_KEY",
    }


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_required_setting_can_always_be_given_somehow(provider: ProviderName):
    row = provider_row(provider)
    assert len({item.name for item in row.variables}) == len(row.variables)
    assert len({item.gives for item in row.variables}) == len(row.variables)
    assert not [item for item in row.variables if item.secret and item.gives in row.settings]
