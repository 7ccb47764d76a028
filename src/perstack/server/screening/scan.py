"""What is looked for in a document when it is published.

Findings are kept with the version, shown on its page and told to `audit`. They stop nothing, unless the policy of
the organization says that critical ones do. A finding says where and what, and quotes hidden text in the clear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from perstack.definition import BASE_SKILL, REGISTRY_KEY, secret_names
from perstack.registry import Finding, Severity

from .hidden import hidden_in
from .speech import addressed_in, blob_in

MAX_FINDINGS = 64

_GRAVE = ("critical", "warning", "note")
_HIDDEN: dict[str, tuple[Severity, str]] = {
    "bidi": ("critical", "controls that change the direction in which text is shown"),
    "tags": ("critical", "tag characters, which nobody sees and models read"),
    "selectors": ("critical", "variation selectors where there is nothing to select"),
    "zero-width": ("critical", "characters without width"),
    "blank": ("warning", "letters that look like nothing"),
    "control": ("warning", "control characters"),
    "private-use": ("warning", "characters that have no agreed meaning"),
}
_PINNED = re.compile(r"(?:@[^/]+/)?[^@]+@\d+\.\d+\.\d+\S*", re.ASCII)


def scan(
    document: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> tuple[Finding, ...]:
    """What is worth knowing about a document (as of `document_of_request`), the gravest first.

    before: the document of the version before it, if there is one.
    """
    found = [
        *(finding for path, text in _texts(document) for finding in scan_text(path, text)),
        *_variables(document),
        *_packages(document),
        *_endpoints(document, before or {}),
    ]
    return tuple(sorted(found, key=lambda one: _GRAVE.index(one.severity))[:MAX_FINDINGS])


def scan_text(path: str, text: str) -> Iterator[Finding]:
    """Findings in one text. path: where it stands."""
    for sort, letters, spelled in hidden_in(text):
        severity, about = _HIDDEN[sort]
        names = sorted({f"U+{ord(letter):04X}" for letter in letters})[:8]
        what = f"has {len(letters)} {about} ({', '.join(names)})"
        if spelled:
            what += f", which spell {_quoted(spelled)}"
        yield Finding(code=sort, severity=severity, path=path, what=what)
    if blob := blob_in(text):
        what = f"has {len(blob)} characters that look like base64, beginning with {blob[:24]!r}"
        yield Finding(code="blob", severity="warning", path=path, what=what)
    if words := addressed_in(text, of_a_skill=path.startswith("skills.")):
        what = f"tells how to treat other tools, or to keep something from people: {_quoted(words)}"
        yield Finding(code="addresses-others", severity="critical", path=path, what=what)


def _texts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "description", document.get("description", "")
    yield "instruction", document.get("instruction", "")
    for name, skill in _skills(document):
        at = f"skills.{name}"
        yield at, name
        yield f"{at}.description", skill.get("description", "")
        yield f"{at}.rule", skill.get("rule", "")
        for tool, said in skill.get("tools", {}).items():
            yield f"{at}.tools.{tool}.description", said.get("description", "")
            yield f"{at}.tools.{tool}.inputJsonSchema", _unescaped(said.get("inputJsonSchema", ""))


def _skills(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from document.get("skills", {}).items()


def _unescaped(text: str) -> str:
    """JSON text with its escapes of characters made out, so that nothing hides behind them."""
    told = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    return told.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _variables(document: Mapping[str, Any]) -> Iterator[Finding]:
    keys = set(secret_names())
    for name, skill in _skills(document):
        for variable in skill.get("requiredEnv", ()):
            registry = variable.upper().startswith(REGISTRY_KEY)
            if registry or variable in keys:
                yield Finding(
                    code="seeks-key",
                    severity="critical" if registry else "warning",
                    path=f"skills.{name}.requiredEnv",
                    what=f"asks for {variable}, a key to the "
                    + ("registry" if registry else "provider of a model"),
                )


def _packages(document: Mapping[str, Any]) -> Iterator[Finding]:
    for name, skill in _skills(document):
        package = skill.get("packageName", "")
        if package and name != BASE_SKILL and not _PINNED.fullmatch(package):
            yield Finding(
                code="unpinned-package",
                severity="warning",
                path=f"skills.{name}.packageName",
                what=f"runs whatever {package} is on that day; write its version after an @",
            )


def _endpoints(document: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Finding]:
    earlier = {name: _host(skill) for name, skill in _skills(before)}
    for name, skill in _skills(document):
        old, new = earlier.get(name, ""), _host(skill)
        if old and new and _site(old) != _site(new):
            yield Finding(
                code="endpoint-moved",
                severity="warning",
                path=f"skills.{name}.endpoint",
                what=f"is at {new} now, and was at {old}",
            )


def _host(skill: Mapping[str, Any]) -> str:
    endpoint: str = skill.get("endpoint", "")
    return urlsplit(endpoint).hostname or ""


def _site(host: str) -> str:
    """The last two labels of a host name: who runs it, nearly always."""
    return ".".join(host.rsplit(".", 2)[-2:])


def _quoted(text: str) -> str:
    told = " ".join(text.split())
    return repr(told if len(told) <= 120 else f"{told[:119]}\u2026")
