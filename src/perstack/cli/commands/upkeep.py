"""`perstack unpublish`, `tag` and `status`: what an owner does to published versions.

Without arguments each asks: for an Expert of the project, one of its versions, and what to do with it.
"""

from __future__ import annotations

from functools import partial

import anyio
import click

from perstack.errors import UserError
from perstack.ops.packages.access import Access
from perstack.ops.packages.upkeep import (
    MOVES,
    Version,
    custom_tags,
    one_version,
    set_status,
    set_tags,
    status_named,
    versioned,
    versions_of,
)
from perstack.ops.packages.upkeep import unpublish as unpublish_version

from ..asking import Cancelled, choose, confirm, is_answered, need_answerer, write
from ..exits import DONE
from ..options import json_option, quiet_option, registry_access
from ..plain import plain
from ..text import as_json_text, say


@click.command()
@click.argument("key", metavar="[expertKey]", required=False, default=None)
@registry_access()
@click.option("--yes", "-y", "--force", "force", is_flag=True, help="Do not ask.")
@json_option
@quiet_option
def unpublish(access: Access, key: str | None, force: bool, as_json: bool, quiet: bool) -> int:
    """Take a version out of its registry. Its number stays used, and who locked it may lose it."""
    try:
        if key is None:
            key = _asked_version(
                access, "unpublish", "Name the version, as in @acme/reader@1.0.0."
            ).key
        key = versioned(key)
        if not force:
            if not is_answered():
                raise UserError(f"Unpublishing {key} cannot be undone. Add --yes if you mean it.")
            confirm(f"Unpublish {plain(key)}? That cannot be undone, and its number stays used.")
    except Cancelled:
        return _cancelled()
    anyio.run(unpublish_version, access, key)
    if as_json:
        say(as_json_text({"key": key}, pretty=True))
    elif not quiet:
        say(f"Unpublished {plain(key)}\n")
    return DONE


@click.command()
@click.argument("key", metavar="[expertKey]", required=False, default=None)
@click.argument("tags", metavar="[tag]...", nargs=-1)
@registry_access()
@json_option
@quiet_option
def tag(access: Access, key: str | None, tags: tuple[str, ...], as_json: bool, quiet: bool) -> int:
    """Give a version these tags, in place of those it has. `latest` is moved by publishing only."""
    try:
        if key is None:
            version = _asked_version(access, "tag", "Name the version and its tags.")
            key, tags = version.key, _asked_tags(version)
        elif not tags:
            raise UserError(
                f"Name the tags for {one_version(key)}. Those it has are replaced by them."
            )
    except Cancelled:
        return _cancelled()
    found = anyio.run(set_tags, access, key, tags)
    _tell(found, f"  Tags: {', '.join(found.tags) or '(none)'}\n", as_json=as_json, quiet=quiet)
    return DONE


@click.command()
@click.argument("key", metavar="[expertKey]", required=False, default=None)
@click.argument("status", metavar="[status]", required=False, default=None)
@registry_access()
@click.option("--message", default="", help="Say why it is deprecated.")
@click.option("--replacement", metavar="KEY", default="", help="Say what to use instead.")
@json_option
@quiet_option
def status(
    access: Access,
    key: str | None,
    status: str | None,
    message: str,
    replacement: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Make a version `deprecated` (its users are warned) or `disabled` (nobody new can use it)."""
    try:
        if key is None:
            version = _asked_version(access, "change", "Name the version and its new status.")
            key, status = version.key, _asked_status(version)
        elif status is None:
            raise UserError(f"Name the new status of {key}: available, deprecated or disabled.")
    except Cancelled:
        return _cancelled()
    change = partial(set_status, message=message, replacement=replacement)
    found = anyio.run(change, access, key, status_named(status))
    _tell(found, f"  Status: {found.status}\n", as_json=as_json, quiet=quiet)
    return DONE


def _tell(found: Version, line: str, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        say(as_json_text(found, pretty=True))
    elif not quiet:
        say(f"Updated {plain(found.key)}\n{plain(line)}")


def _cancelled() -> int:
    say("Cancelled\n")
    return DONE


# Asking ----------------------------------------------------------------------------------------------------


def _asked_version(access: Access, what: str, instead: str) -> Version:
    """A version of an Expert of the project. Raises Cancelled; UserError without a terminal or a project."""
    need_answerer(instead)
    experts = list(access.loaded.project.experts) if access.loaded else []
    if not experts:
        raise UserError(f"There are no Experts of a perstack.toml to choose from. {instead}")
    name = (
        experts[0]
        if len(experts) == 1
        else experts[choose(f"{what.capitalize()} what?", [(e,) for e in experts])]
    )
    versions = anyio.run(versions_of, access, name)
    rows = [(each.version, each.status, ", ".join(each.tags)) for each in versions]
    return versions[choose(f"Which version of {plain(name)}?", rows)]


def _asked_tags(version: Version) -> tuple[str, ...]:
    text = write("Tags, with commas between them", ", ".join(custom_tags(version.tags)))
    tags = tuple(part.strip() for part in text.split(",") if part.strip())
    if custom_tags(tags) != tags:
        click.echo("warning: latest is moved by publishing only, and was left out", err=True)
    confirm(
        f"Give {plain(version.key)} the tags {plain(', '.join(custom_tags(tags)) or '(none)')}?"
    )
    return custom_tags(tags)


def _asked_status(version: Version) -> str:
    moves = MOVES[version.status]
    if not moves:
        raise UserError(
            f"{version.key} is {version.status}, and stays so. Publish a new version instead."
        )
    status = moves[
        choose(f"{plain(version.key)} is {version.status}. It becomes:", [(m,) for m in moves])
    ]
    confirm(f"Make {plain(version.key)} {status}? That cannot be undone.")
    return status
