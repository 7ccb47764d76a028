"""The tables of a `perstack.toml` about registries: which one a scope has, and how versions are chosen.

[registries."@acme"]
url = "https://registry.acme.example"
keyEnv = "ACME_REGISTRY_KEY"

[registry]
minReleaseAge = "24h"
"""

from __future__ import annotations

import json
import re

from . import rules
from .expert import RegistryPlace, RegistryRules
from .key import EXPERT_NAME, MAX_NAME
from .levels import REGISTRY_PLACE_KEYS, REGISTRY_RULE_KEYS
from .predicates import predicate_type_fault
from .table import Table

_SCOPE = re.compile(r"@[a-z0-9][a-z0-9_-]*", re.ASCII)
_AGE = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

MAX_SCOPES = 255


def read_places(top: Table) -> dict[str, RegistryPlace]:
    """`[registries]`, by scope."""
    places: dict[str, RegistryPlace] = {}
    for scope, raw in top.named("registries", most=MAX_SCOPES, longest=MAX_NAME):
        table = Table(raw, ("registries", scope), top.notes, REGISTRY_PLACE_KEYS)
        if not _SCOPE.fullmatch(scope):
            table.fault((), 'is no scope; write it as in [registries."@acme"]')
        url = table.need("url", str, registry_url_fault)
        key_env = table.take("keyEnv", str, rules.env_name_fault)
        places[scope] = RegistryPlace(
            url=plain_url(url or ""), key_env=key_env, mirror=_mirror_in(table)
        )
    return places


def read_rules(top: Table) -> RegistryRules:
    """`[registry]`."""
    table = top.table("registry", REGISTRY_RULE_KEYS)
    if table is None:
        return RegistryRules()
    return RegistryRules(
        min_release_age_s=parse_age(table.take("minReleaseAge", str, _age_fault) or "0s"),
        min_release_age_exclude=table.texts("minReleaseAgeExclude", _name_fault) or (),
        mirror=_mirror_in(table),
        prefer_local=table.take("preferLocal", bool) is not False,
        require_attestations=table.texts("requireAttestations", predicate_type_fault) or (),
    )


def _mirror_in(table: Table) -> str | None:
    mirror = table.take("mirror", str, registry_url_fault)
    return None if mirror is None else plain_url(mirror)


def registry_url_fault(text: str) -> str | None:
    """The address of a registry: https, or http on this machine."""
    if problem := rules.https_fault(text):
        if not rules.is_loopback_url(text):
            return problem
    if "?" in text or "#" in text or "@" in text:
        return f"{json.dumps(text)} is no base URL: it ends before any ?, # or user name"
    return None


def plain_url(url: str) -> str:
    """`url` without slashes at its end, as what follows is joined to it."""
    return url.rstrip("/")


def parse_age(text: str) -> float:
    """Seconds of an age such as `90m`, `24h` or `7d`. What is none counts as no age."""
    found = _AGE.fullmatch(text)
    return float(int(found[1]) * _UNITS[found[2]]) if found else 0.0


def _age_fault(text: str) -> str | None:
    if _AGE.fullmatch(text):
        return None
    return f"{json.dumps(text)} is no age; write a number and a unit: 90m, 24h, 7d"


def _name_fault(text: str) -> str | None:
    name = text[:-1] + "x" if text.endswith("*") else text
    if text == "*" or EXPERT_NAME.fullmatch(name):
        return None
    return f"{json.dumps(text)} is no name of an Expert; a * at its end stands for any rest"
