"""Whose word counts for which job of which repository it is that speaks, and where their tokens say it. Pure.

A kind of issuer is a row: the names of its claims, and the values with which no token is taken. An issuer that is
*named* by its URL in the settings may be in a private network; one that is known by a short name may not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from perstack._net import is_loopback
from perstack.errors import UserError

MAX_CLAIM = 512
"""Characters of a claim that is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How the tokens of one kind of CI are read.

    repository, owner, workflows, commit: names of claims; of `workflows` the first that is there counts. place:
    what comes before the path of the workflow in it. repositories: the form of a repository's name. folder: where
    a workflow is that is given as a file name alone. refused: values, by claim, of jobs that strangers can start.
    """

    repository: str
    owner: str
    workflows: tuple[str, ...]
    commit: str
    place: str
    repositories: re.Pattern[str]
    folder: str
    refused: Mapping[str, re.Pattern[str]]


_PART = r"[a-z0-9_.-]+"

KINDS: Mapping[str, Kind] = {
    "github": Kind(
        repository="repository",
        owner="repository_owner_id",
        workflows=("job_workflow_ref", "workflow_ref"),
        commit="sha",
        place="{repository}/",
        repositories=re.compile(f"{_PART}/{_PART}"),
        folder=".github/workflows/",
        refused={
            "event_name": re.compile("pull_request.*|workflow_run"),
            "ref": re.compile("(?!refs/heads/|refs/tags/).*"),
        },
    ),
    "gitlab": Kind(
        repository="project_path",
        owner="namespace_id",
        workflows=("ci_config_ref_uri",),
        commit="sha",
        place="{host}/{repository}//",
        repositories=re.compile(f"{_PART}(/{_PART})+"),
        folder="",
        refused={
            "pipeline_source": re.compile("merge_request_event|external_pull_request_event"),
            "ref_type": re.compile("(?!(branch|tag)$).*"),
        },
    ),
}

KNOWN = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.com",
}
"""Issuers with a short name, which is the name of their kind, too."""

_SITES = {KNOWN["github"]: "https://github.com"}
"""Where repositories are to be seen, if that is not the issuer's own address."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """url: as tokens say it. named: whether the settings have its address, and not only a short name."""

    url: str
    kind: Kind
    named: bool

    def is_at(self, url: str) -> bool:
        """Whether `url` is of the server that the settings name."""
        return self.named and _origin(url) == _origin(self.url)


class Unfit(Exception):
    """A claim is not as it must be. reason: about the token alone, never about what others have set up."""

    def __init__(self, claim: str, reason: str = "does not fit") -> None:
        super().__init__(f"The token's claim {claim} {reason}")
        self.claim = claim


class Identity(NamedTuple):
    """Which job it is that speaks, by its token. repository: as the issuer spells it; expires_at: ms."""

    issuer: str
    jti: str
    subject: str
    repository: str
    owner: str
    workflow: str
    environment: str
    ref: str
    commit: str
    expires_at: int


def issuers_of(setting: str) -> dict[str, Issuer]:
    """The issuers that `oidc_issuers` names, by URL: `github`, `gitlab`, `URL=kind`, with spaces between.

    Raises UserError.
    """
    found: dict[str, Issuer] = {}
    for word in setting.split():
        url, named, kind = word.rpartition("=")
        url = url if named else KNOWN.get(word, "")
        if not named:
            kind = word
        parts = urlsplit(url)
        safe = parts.scheme == "https" or (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        )
        if kind not in KINDS or not safe or not parts.hostname or parts.query or parts.fragment:
            raise UserError(
                f'The issuer "{word}" cannot be read. Write {", ".join(KNOWN)}, or https://host=kind with one of '
                f"{', '.join(KINDS)}."
            )
        found[url] = Issuer(url, KINDS[kind], bool(named))
    return found


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port


def site_of(issuer: str, repository: str) -> str:
    """Where people see a repository."""
    site = _SITES.get(issuer) or issuer.removesuffix("/_services/token")
    return f"{site}/{repository}"


def repository_fault(kind: Kind, text: str) -> str | None:
    fine = kind.repositories.fullmatch(text.lower())
    return None if fine else "Expected a repository as in its address, such as acme/experts"


def workflow_fault(text: str) -> str | None:
    parts = text.split("/")
    plain = re.fullmatch(r"[A-Za-z0-9_./ -]+\.ya?ml", text) and ".." not in parts and parts[0]
    return None if plain else "Expected the path of a YAML file in the repository"


def workflow_path(kind: Kind, text: str) -> str:
    """The path of a workflow in its repository; a file name alone is of the usual folder."""
    return text if "/" in text else kind.folder + text


def identity_of(issuer: Issuer, claims: Mapping[str, Any], expires_at: int) -> Identity:
    """What a token says that is genuine and in force. Raises Unfit."""
    kind = issuer.kind
    for claim, refused in kind.refused.items():
        if refused.fullmatch(_text(claims, claim)):
            raise Unfit(claim, "is of a job that publishes nothing")
    repository = _text(claims, kind.repository)
    return Identity(
        issuer=issuer.url,
        jti=_text(claims, "jti"),
        subject=_text(claims, "sub"),
        repository=repository,
        owner=_text(claims, kind.owner),
        workflow=_workflow(issuer, claims, repository),
        environment=_text(claims, "environment") if claims.get("environment") else "",
        ref=_text(claims, "ref"),
        commit=_text(claims, kind.commit),
        expires_at=expires_at,
    )


def _workflow(issuer: Issuer, claims: Mapping[str, Any], repository: str) -> str:
    """The path of the workflow, which must be in the repository itself."""
    names = issuer.kind.workflows
    claim = next((name for name in names if claims.get(name)), names[0])
    host = issuer.url.partition("://")[2].rstrip("/")
    place = issuer.kind.place.format(host=host, repository=repository)
    text = _text(claims, claim)
    path, at, _ = text.partition("@refs/")  # names of tags may have an @, too
    if not at:
        path, at, _ = text.rpartition("@")  # a commit
    if not at or not path.startswith(place):
        raise Unfit(claim)
    return path.removeprefix(place)


def _text(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_CLAIM or not value.isprintable():
        raise Unfit(claim, "is missing, or is not a text")
    return value
