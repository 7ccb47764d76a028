"""`perstack search`, `info` and `diff`: what registries have, without changing anything."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import anyio
import click

from perstack.ops.packages.access import Access
from perstack.ops.packages.attested import line_of
from perstack.ops.packages.queries import About, Difference
from perstack.ops.packages.queries import about as about_expert
from perstack.ops.packages.queries import diff as diff_experts
from perstack.ops.packages.queries import search as search_experts

from ..exits import DONE
from ..moves import SIGNS
from ..options import json_option, quiet_option, registry_access
from ..plain import plain
from ..text import as_json_text, cut, say, table

DESCRIPTION = 60
"""Characters of a description in a list."""

SHOWN = 10
"""Versions that are listed."""


@click.command()
@click.argument("words", metavar="[word]...", nargs=-1)
@registry_access()
@click.option("--scope", help="Only Experts of this scope, such as @acme.")
@click.option("--package", help="Only those with a skill of this package.")
@click.option("--env", "variable", metavar="NAME", help="Only those that want this variable.")
@click.option("--tag", help="Only those with this tag.")
@click.option(
    "--sort",
    type=click.Choice(("relevance", "downloads", "updatedAt")),
    help="What comes first [default: relevance].",
)
@click.option(
    "--take", type=click.IntRange(1, 100), default=20, help="How many, at most [default: 20]."
)
@click.option("--cursor", default="", help="Go on where the JSON of an earlier search ended.")
@json_option
@quiet_option
def search(
    access: Access,
    words: tuple[str, ...],
    scope: str | None,
    package: str | None,
    variable: str | None,
    tag: str | None,
    sort: str | None,
    take: int,
    cursor: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Search the default registry by words."""
    given = {"scope": scope, "package": package, "env": variable, "tag": tag, "sort": sort}
    filters = {name: value for name, value in given.items() if value is not None}
    found = anyio.run(
        partial(search_experts, access, " ".join(words), filters, take=take, cursor=cursor)
    )
    if as_json:
        say(as_json_text(found, pretty=True))
    elif not found.experts:
        say("" if quiet else "Nothing was found.\n")
    else:
        rows = [
            (plain(hit.name), plain(hit.version), hit.status, cut(hit.description, DESCRIPTION))
            for hit in found.experts
        ]
        say("".join(f"{line}\n" for line in table([("EXPERT", "LATEST", "STATUS", ""), *rows])))
        if found.total > len(found.experts) and not quiet:
            click.echo(f"{len(found.experts)} of {found.total}; --take shows more.", err=True)
    return DONE


@click.command()
@click.argument("spec", metavar="spec")
@registry_access()
@json_option
@quiet_option
def info(access: Access, spec: str, as_json: bool, quiet: bool) -> int:
    """Show a published Expert: as @acme/reader, or with a version, range or tag behind it."""
    found = anyio.run(about_expert, access, spec)
    if as_json:
        say(as_json_text(found, pretty=True))
    else:
        say("".join(f"{plain(line)}\n" for line in _about(found)))
    return DONE


@click.command()
@click.argument("before", metavar="spec")
@click.argument("after", metavar="spec")
@registry_access()
@json_option
@quiet_option
def diff(access: Access, before: str, after: str, as_json: bool, quiet: bool) -> int:
    """Show how two published versions differ: what each may touch, and what its instruction says."""
    found = anyio.run(diff_experts, access, before, after)
    if as_json:
        say(as_json_text(found, pretty=True))
    else:
        told = _difference(found) if found.changes or found.instruction or not quiet else ()
        say("".join(f"{plain(line)}\n" for line in told))
    return DONE


def _about(found: About) -> Iterator[str]:
    expert = found.expert
    yield f"{expert.key}  ({expert.status})"
    yield f"  {expert.description}"
    if expert.deprecation is not None:
        instead = expert.deprecation.replacement
        told = (expert.deprecation.message, f"use {instead}" if instead else "")
        yield f"  Deprecated: {'; '.join(text for text in told if text) or 'without a reason'}"
    yield f"  Published by {expert.owner.name or expert.owner.organization_id} at {expert.created_at}"
    if expert.digest:
        yield f"  {expert.digest}"
    if expert.tags:
        yield f"  Tags: {', '.join(expert.tags)}"
    yield from (f"  Attested: {line_of(each)}" for each in found.attested)
    yield ""
    yield "It"
    yield from (f"  {grant}" for grant in found.reach)
    if found.versions:
        yield ""
        yield "Versions"
        for each in found.versions[:SHOWN]:
            tags = f"  [{', '.join(each.tags)}]" if each.tags else ""
            status = "" if each.status == "available" else f"  {each.status}"
            yield f"  {each.version}{status}{tags}"
        if len(found.versions) > SHOWN:
            yield f"  and {len(found.versions) - SHOWN} more"


def _difference(found: Difference) -> Iterator[str]:
    yield f"{found.before} -> {found.after}"
    yield from (f"  {SIGNS[change.effect]} {change.text}" for change in found.changes)
    if not found.changes:
        yield "  They are the same."
    if found.instruction:
        yield ""
        yield from found.instruction.splitlines()
