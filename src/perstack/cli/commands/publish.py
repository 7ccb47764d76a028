"""`perstack publish`: put an Expert of the project into its registry, for good."""

from __future__ import annotations

import anyio
import click

from perstack.ops.packages.access import Access
from perstack.ops.packages.account import Key
from perstack.ops.packages.ci_key import open_for_publishing
from perstack.ops.packages.publish import Choices, Publication, exact_key, local_check, need_one
from perstack.ops.packages.publish import publish as publish_expert
from perstack.ops.project import LoadedProject

from ..asking import Cancelled, choose, confirm, need_answerer
from ..exits import DONE
from ..options import json_option, quiet_option, registry_access
from ..plain import plain
from ..text import as_json_text, say, warn


@click.command()
@click.argument("expert", metavar="[expert]", required=False, default=None)
@registry_access(needs_project=True)
@click.option(
    "--dry-run", is_flag=True, help="Check everything, here and in the registry; publish nothing."
)
@click.option("--tag", "tags", multiple=True, help="Give the new version this tag; repeatable.")
@click.option(
    "--latest/--no-latest",
    default=None,
    help="Whether it becomes `latest` [default: unless it is a pre-release, or older than what is].",
)
@click.option(
    "--recursive", is_flag=True, help="First publish the Experts of the project it delegates to."
)
@json_option
@quiet_option
def publish(
    access: Access,
    expert: str | None,
    dry_run: bool,
    tags: tuple[str, ...],
    latest: bool | None,
    recursive: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Publish an Expert of perstack.toml under its name and version.

    Without a name: the only one, or, at a terminal, the one you choose. What was published before with the same
    content is not published again, and that is no failure.
    """
    loaded = access.project
    choices = Choices(recursive=recursive, dry_run=dry_run, latest=latest, tags=tags)
    try:
        key = need_one(loaded, expert) or _chosen(access, loaded, choices)
    except Cancelled:
        say("Cancelled\n")
        return DONE
    done: list[Publication] = []

    def hear(publication: Publication) -> None:
        done.append(publication)
        warn(publication.warnings)
        if not (as_json or quiet):
            say(_told(publication))

    def tell_key(made: Key) -> None:
        names = ", ".join(made.patterns)
        click.echo(f"Publishing as {plain(made.name)}, trusted by {plain(names)}", err=True)

    async def ask() -> None:
        async with open_for_publishing(access, key, tell_key) as client:
            await publish_expert(loaded, key, choices, client, hear)

    try:
        if dry_run and not access.place(key).key:
            click.echo("warning: there is no key, so the registry was not asked", err=True)
            hear(local_check(loaded, key, choices))
        else:
            anyio.run(ask)
    finally:
        if as_json and done:  # also what was published before something failed
            say(as_json_text({"publications": done}, pretty=True))
    return DONE


def _chosen(access: Access, loaded: LoadedProject, choices: Choices) -> str:
    """The Expert that is chosen at the terminal. Raises Cancelled; UserError without a terminal."""
    experts = loaded.project.experts
    need_answerer(f"Name the Expert to publish: {', '.join(experts)}.")
    rows = [(key, each.version, each.description or "") for key, each in experts.items()]
    key = list(experts)[choose("Which Expert?", rows)]
    if not choices.dry_run:
        place = access.place(key)
        confirm(
            f"Publish {exact_key(experts[key])} to {place.url}? It cannot be changed afterwards."
        )
    return key


def _told(publication: Publication) -> str:
    key = plain(publication.key)
    match publication.outcome:
        case "published":
            return f"Published {key}\n"
        case "unchanged":
            return f"Already published {key}, with the same content\n"
        case "dryRun":
            checked = "checked by the registry" if publication.checked else "checked here only"
            return (
                f"Would publish {key}, {checked}:\n{as_json_text(publication.request, pretty=True)}"
            )
