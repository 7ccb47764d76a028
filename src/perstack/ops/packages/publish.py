"""Publish Experts of a project: in which order, under which delegates, and what became of it.

A published version is for ever, so everything that can be known before is checked before. Above all: a delegate
that names an Expert *of this project* is never sent as that name alone, for another owner's public Expert may have
it too. Either the same Definition is published already, under its own version, or it is published first
(`recursive`), or nothing is. What is sent in its place is its exact key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from perstack._value import Value
from perstack.definition import Expert, parse_delegate
from perstack.errors import (
    DefinitionError,
    RegistryError,
    RegistryTampered,
    UnknownExpert,
    UserError,
)
from perstack.lock import digest_of
from perstack.registry import (
    PublishRequest,
    RegistryClient,
    RegistryExpert,
    document_of_request,
)

from ..project import LoadedProject
from .payload import lands_on_latest, request_of, stays_here

_PINNED = ("range", "number", "digest")
"""Kinds of delegates that are sent as the exact key they mean at present."""


class Choices(Value, frozen=True):
    """What the user chose. latest: None to decide by the version. tags: besides those of the Expert."""

    recursive: bool = False
    dry_run: bool = False
    latest: bool | None = None
    tags: tuple[str, ...] = ()


class Publication(Value, frozen=True):
    """One Expert, published or nearly. outcome: unchanged if the very same was published before.

    checked: whether the registry checked it; a dry run without a key is checked here only.
    """

    key: str
    outcome: Literal["published", "unchanged", "dryRun"]
    digest: str
    request: PublishRequest
    tags: tuple[str, ...] = ()
    checked: bool = True
    warnings: tuple[str, ...] = ()


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """An Expert to publish. local: by delegate as written, the Expert of the project that it names."""

    expert: Expert
    local: dict[str, Expert]

    @property
    def key(self) -> str:
        return exact_key(self.expert)

    @property
    def bound(self) -> Expert:
        """The Expert with exact keys in place of names that mean something in this project only."""
        pinned = {spec: exact_key(found) for spec, found in self.local.items()}
        delegates = tuple(pinned.get(spec, spec) for spec in self.expert.delegates)
        return replace(self.expert, delegates=delegates)


def exact_key(expert: Expert) -> str:
    return f"{expert.name}@{expert.version}"


def steps_of(loaded: LoadedProject, key: str) -> tuple[Step, ...]:
    """The Expert `key` and all of the project it delegates to, in an order in which they can be published.

    Raises UnknownExpert, DefinitionError; UserError if they delegate to each other in a ring.
    """
    steps: dict[str, Step] = {}
    _visit(loaded, loaded.expert(key), (), steps)
    return tuple(steps.values())


def _visit(
    loaded: LoadedProject, expert: Expert, above: tuple[str, ...], steps: dict[str, Step]
) -> None:
    if expert.key in above:
        ring = " -> ".join((*above[above.index(expert.key) :], expert.key))
        raise UserError(
            f"{ring} is a ring: each needs the exact version of the next, so none can be published first. "
            "Publish one of them without its delegate in an earlier version, and name that."
        )
    if expert.key in steps:
        return
    local = {spec: found for spec in expert.delegates if (found := loaded.project.local(spec))}
    for delegate in local.values():
        _visit(loaded, loaded.expert(delegate.key), (*above, expert.key), steps)
    steps[expert.key] = Step(expert=expert, local=local)


async def publish(
    loaded: LoadedProject,
    key: str,
    choices: Choices,
    client: RegistryClient,
    hear: Callable[[Publication], None],
) -> None:
    """Publish an Expert, after those of the project it delegates to if that is chosen. hear: gets each, once done.

    Raises UserError, DefinitionError, RegistryError; what was published until then stays.
    """
    steps = steps_of(loaded, key)
    _check_distinct(steps)
    last, source = steps[-1], loaded.parsed.source
    if not choices.recursive:
        await _check_published(steps, client, source)
        steps = (last,)
    planned: set[str] = set()
    for step in steps:
        chosen = choices if step is last else replace(choices, tags=(), latest=None)
        request = await _request(step, chosen, client, source)
        # a dry run leaves nothing there that a parent could be checked against
        waits = planned & {exact_key(each) for each in step.local.values()}
        publication = await _publish(step, request, chosen, client, asks=not waits)
        if publication.outcome == "dryRun":
            planned.add(step.key)
        hear(publication)


def local_check(loaded: LoadedProject, key: str, choices: Choices) -> Publication:
    """A dry run without a registry: the request as far as it can be known. Raises UserError, DefinitionError."""
    step = steps_of(loaded, key)[-1]
    _check_distinct((step,))
    request = request_of(
        step.bound,
        {},
        tags=choices.tags,
        set_latest=_set_latest(step.expert, choices, None),
        source=loaded.parsed.source,
    )
    return _publication(step, request, "dryRun", checked=False)


async def _request(
    step: Step, choices: Choices, client: RegistryClient, source: str
) -> PublishRequest:
    expert = step.bound
    request_of(expert, {}, tags=choices.tags, source=source)  # its faults, before anybody is asked
    pins = {
        spec: (await client.get(spec)).key
        for spec in expert.delegates
        if parse_delegate(spec).kind in _PINNED
    }
    latest = await _latest(expert.name, client) if choices.latest is None else None
    return request_of(
        expert,
        pins,
        tags=choices.tags,
        set_latest=_set_latest(expert, choices, latest),
        source=source,
    )


def _set_latest(expert: Expert, choices: Choices, latest: str | None) -> bool:
    return lands_on_latest(expert.version, latest) if choices.latest is None else choices.latest


async def _latest(name: str, client: RegistryClient) -> str | None:
    try:
        return (await client.versions(name)).latest or None
    except RegistryError as error:
        if error.status == 404:
            return None
        raise


async def _publish(
    step: Step, request: PublishRequest, choices: Choices, client: RegistryClient, *, asks: bool
) -> Publication:
    digest = digest_of(document_of_request(request))
    request = replace(request, expected_digest=digest)
    if choices.dry_run and not asks:
        return _publication(step, request, "dryRun", checked=False)
    try:
        if choices.dry_run:
            warnings = await _dry_run(request, digest, client)
            return _publication(step, request, "dryRun", warnings=warnings)
        published, warnings = await client.publish(request)
    except RegistryError as error:
        before = await _existing(step.key, client) if error.status == 400 else None
        if before is None:
            raise
        if same_definition(request, before):
            return _publication(step, request, "unchanged", published=before)
        raise UserError(
            f"{step.key} is published already, with another content, and a version never changes. "
            f'Raise the `version` of "{step.expert.key}". ({error.reason})'
        ) from error
    _check_digest(step.key, published.digest, digest)
    return _publication(step, request, "published", published=published, warnings=warnings)


class _Checked(msgspec.Struct, frozen=True):
    digest: str = ""


async def _dry_run(request: PublishRequest, digest: str, client: RegistryClient) -> tuple[str, ...]:
    """What the registry warns of. Raises RegistryError for what it would refuse."""
    body = msgspec.json.encode(request)
    checked, meta = await client.page("POST", "/experts/", _Checked, {"dryRun": "true"}, body)
    _check_digest(f"{request.name}@{request.version}", checked.digest, digest)
    return tuple(str(warning) for warning in meta.get("warnings", ()))


def _check_digest(key: str, made: str, sent: str) -> None:
    if made and made != sent:
        raise RegistryTampered(
            f"The registry made {made} of {key}, where {sent} was sent. Do not rely on it."
        )


def _publication(
    step: Step,
    request: PublishRequest,
    outcome: Literal["published", "unchanged", "dryRun"],
    *,
    published: RegistryExpert | None = None,
    checked: bool = True,
    warnings: tuple[str, ...] = (),
) -> Publication:
    return Publication(
        key=step.key,
        outcome=outcome,
        digest=(published.digest if published else "") or digest_of(document_of_request(request)),
        request=request,
        tags=published.tags if published else request.tags,
        checked=checked,
        warnings=(
            *stays_here(step.expert),
            *(warning.removeprefix("warning: ") for warning in warnings),
        ),
    )


async def _existing(key: str, client: RegistryClient) -> RegistryExpert | None:
    try:
        found = await client.get(key)
    except RegistryError:
        return None
    return found if found.key == key else None


def same_definition(request: PublishRequest, published: RegistryExpert) -> bool:
    """Whether what is published is what would be: delegates as their author wrote them."""
    return (
        request.description == published.description
        and request.instruction == published.instruction
        and _plain(request.skills) == _plain(published.skills)
        and (request.delegate_specs or request.delegates)
        == (published.delegate_specs or published.delegates)
        and request.provider_tools == published.provider_tools
        and _plain(request.provider_skills) == _plain(published.provider_skills)
        and _plain(request.provider_tool_options) == _plain(published.provider_tool_options)
    )


def _plain(value: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(value))


async def _check_published(steps: tuple[Step, ...], client: RegistryClient, source: str) -> None:
    """That those before the last are published as they are here. Raises UserError."""
    needed = {found.key for found in steps[-1].local.values()}
    for step in steps[:-1]:
        if step.expert.key not in needed:
            continue
        request = request_of(step.bound, {}, source=source)
        published = await _existing(step.key, client)
        if published is None or not same_definition(request, published):
            how = "is not published. Publish it first, or all of them with --recursive"
            if published is not None:
                how = "is published with another content. Raise its `version`, or take back what changed"
            raise UserError(
                f'"{steps[-1].expert.key}" delegates to "{step.expert.key}" of this project, and '
                f"{step.key} {how}."
            )


def _check_distinct(steps: tuple[Step, ...]) -> None:
    """That no two Experts would be published under one key. Raises UserError."""
    seen: dict[str, str] = {}
    for step in steps:
        if (other := seen.setdefault(step.key, step.expert.key)) != step.expert.key:
            raise UserError(f'"{other}" and "{step.expert.key}" would both be {step.key}.')


def need_one(loaded: LoadedProject, key: str | None) -> str | None:
    """The key of the Expert to publish; None if it has to be asked for.

    key: as the user named it, with its version or without. Raises UserError if there is none, DefinitionError if
    it may be one that has faults.
    """
    experts: Mapping[str, Expert] = loaded.project.experts
    if key is not None:
        if (found := loaded.project.local(key)) is not None:
            return found.key
        if loaded.find(key) is None:
            raise UnknownExpert(key, tuple(experts), loaded.parsed.source)
        return key
    if loaded.parsed.faults:  # the one that is meant may be among the faulty ones
        raise DefinitionError(loaded.parsed.source, loaded.parsed.faults)
    if not experts:
        raise UserError(f"{loaded.parsed.source} has no Experts to publish.")
    return next(iter(experts)) if len(experts) == 1 else None
