"""Which registry a name is of: this one, another that is mirrored here, or none.

    @acme=https://registry.acme.example @corp=local @internal=blocked *=https://registry.example

Each scope has one rule, so what is published here and what is published elsewhere never meet under one name. `_`
stands for the names without a scope, `*` for all that have no rule of their own; without `*` they are local.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from perstack._value import Value
from perstack.definition import plain_url, registry_url_fault, scope_of
from perstack.errors import UserError

VARIABLE = "PERSTACK_REGISTRY_UPSTREAMS"
KEY_VARIABLE = "PERSTACK_REGISTRY_UPSTREAM_KEY_"

UNSCOPED, ALL_ELSE = "_", "*"
_PATTERN = re.compile(r"@[a-z0-9][a-z0-9_-]*|_|\*", re.ASCII)


class Upstream(Value, frozen=True):
    """A registry that is mirrored. url: without a slash at its end."""

    url: str

    @property
    def name(self) -> str:
        """Host, and port where the URL has one: what it is called in paths."""
        return urlsplit(self.url).netloc.lower()

    @property
    def key_variable(self) -> str:
        """The variable with the mirror's key for it."""
        return KEY_VARIABLE + re.sub(r"[^A-Z0-9]", "_", self.name.upper())


Where = Upstream | Literal["local", "blocked"]


class Rules(Value, frozen=True):
    """by_scope: with `_` for names without a scope. rest: of the scopes that are not named."""

    by_scope: dict[str, Where]
    rest: Where = "local"

    def of(self, name: str) -> Where:
        """Where the Expert called `name`, which may have a selector after it, is published."""
        bare = name[:1] + name[1:].partition("@")[0]
        return self.by_scope.get(scope_of(bare) or UNSCOPED, self.rest)

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        found = (*self.by_scope.values(), self.rest)
        return tuple(dict.fromkeys(each for each in found if isinstance(each, Upstream)))

    @property
    def mirrored(self) -> dict[str, str]:
        """The URL of the registry by scope, `_` and `*`, of what is mirrored; empty for what is not."""
        every = self.by_scope | {ALL_ELSE: self.rest}
        told = {
            scope: each.url if isinstance(each, Upstream) else "" for scope, each in every.items()
        }
        if told[ALL_ELSE]:
            return told
        return {scope: url for scope, url in told.items() if url}


def rules_of(text: str) -> Rules:
    """The rules that `text` says, all names being local if it is empty. Raises UserError."""
    rules: dict[str, Where] = {}
    for word in text.split():
        scope, equals, told = word.partition("=")
        if not equals or not _PATTERN.fullmatch(scope):
            raise UserError(
                f'{VARIABLE}: "{word}" is no rule. Write @scope=https://…, @scope=local or @scope=blocked, with _ '
                "for names without a scope and * for all that are not named."
            )
        if scope in rules:
            raise UserError(f"{VARIABLE} has two rules for {scope}; a scope has one.")
        rules[scope] = _where(told)
    found = Rules(by_scope=rules, rest=rules.pop(ALL_ELSE, "local"))
    _check_apart(found.upstreams)
    return found


def _where(text: str) -> Where:
    match text:
        case "local" | "blocked":
            return text
        case _ if problem := registry_url_fault(text):
            raise UserError(f"{VARIABLE}: {problem}.")
        case _:
            return Upstream(url=plain_url(text))


def _check_apart(upstreams: tuple[Upstream, ...]) -> None:
    """A path names one upstream, and a variable holds the key of one."""
    by_variable: dict[str, str] = {}
    for each in upstreams:
        other = by_variable.setdefault(each.key_variable, each.url)
        if other != each.url:
            raise UserError(
                f"{VARIABLE}: {other} and {each.url} cannot be told apart by their hosts. Name one of them "
                "by another host."
            )


def keys_of(rules: Rules, environ: Mapping[str, str]) -> dict[str, str]:
    """The keys for upstreams, by URL, of those that have one."""
    found = {each.url: environ.get(each.key_variable, "").strip() for each in rules.upstreams}
    return {url: key for url, key in found.items() if key}
