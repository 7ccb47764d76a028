"""What attestations can be about: the types of their predicates, and shorter names for those that are known."""

from __future__ import annotations

import json
import re

PROVENANCE = "https://slsa.dev/provenance/v1"
PUBLISH = "https://perstack.ai/attestations/publish/v1"
EVALUATION = "https://perstack.ai/attestations/evaluation/v1"
SHORT_NAMES = {"publish": PUBLISH, "provenance": PROVENANCE, "evaluation": EVALUATION}
"""By what may be written for it, each type that is known."""

MAX_TYPE = 255

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", re.ASCII)


def predicate_type_of(text: str) -> str:
    """The type that a short name stands for; other texts stand for themselves."""
    return SHORT_NAMES.get(text, text)


def short_predicate_type(predicate_type: str) -> str:
    """The short name of a type, else the type."""
    return next(
        (name for name, known in SHORT_NAMES.items() if known == predicate_type), predicate_type
    )


def predicate_type_fault(text: str) -> str | None:
    """What is wrong with a type, which must be a URI or a short name."""
    if text in SHORT_NAMES or (_URI.fullmatch(text) and len(text) <= MAX_TYPE):
        return None
    return f"{json.dumps(text)} is no type of attestation; write {', '.join(SHORT_NAMES)}, or a URI"
