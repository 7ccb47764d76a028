"""Findings as SARIF 2.1.0, the form in which code hosts and editors read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .audit import RULES, Finding, Rule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif_of(found: Iterable[Finding], texts: Mapping[str, str], version: str) -> dict[str, Any]:
    """The log. texts: by `Finding.place`, the file, to find the lines of what is found. version: of Perstack."""
    rules = list(RULES.values())
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "perstack",
                        "version": version,
                        "rules": [_rule(rule) for rule in rules],
                    }
                },
                "results": [_result(each, rules, texts) for each in found],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": rule.id,
        "shortDescription": {"text": f"{rule.about}."},
        "defaultConfiguration": {"level": rule.level},
    }
    if rule.advice:
        told["help"] = {"text": rule.advice}
    return told


def _result(found: Finding, rules: list[Rule], texts: Mapping[str, str]) -> dict[str, Any]:
    line = _line(texts.get(found.place, ""), found.subject)
    return {
        "ruleId": found.rule,
        "ruleIndex": next(n for n, rule in enumerate(rules) if rule.id == found.rule),
        "level": found.level,
        "message": {"text": f"{found.what}. {found.advice}".rstrip()},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": found.place},
                    "region": {"startLine": line},
                }
            }
        ],
        # the same finding in the next report has the same fingerprint, whatever line it stands in
        "partialFingerprints": {"perstack/v1": f"{found.rule}:{found.subject}:{found.what}"},
    }


def _line(text: str, subject: str) -> int:
    """Where `subject` is first written, from 1; 1 if it is nowhere."""
    for number, line in enumerate(text.splitlines(), 1):
        if (
            f'"{subject}"' in line
            or f"'{subject}'" in line
            or line.strip() == f"[experts.{subject}]"
        ):
            return number
    return 1
