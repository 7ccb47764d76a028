"""`perstack trust`: which jobs of CI may publish an Expert without a stored key."""

from __future__ import annotations

import anyio
import click

from perstack.ops.packages import trust as ops
from perstack.ops.packages.access import Access
from perstack.ops.packages.trust import Publisher

from ..exits import DONE
from ..options import json_option, quiet_option, registry_access
from ..plain import plain
from ..text import as_json_text, say, table


@click.group()
def trust() -> None:
    """Which jobs of CI may publish an Expert without a stored key."""


@trust.command("add")
@click.argument("name")
@registry_access()
@click.option(
    "--issuer",
    default="github",
    help="Whose CI it is: github, gitlab, or the address of another [default: github].",
)
@click.option(
    "--repository", required=True, metavar="PATH", help="As in its address: acme/experts."
)
@click.option(
    "--workflow",
    required=True,
    metavar="FILE",
    help="File of the workflow: publish.yml, .gitlab-ci.yml.",
)
@click.option("--environment", help="Only jobs in this environment.")
@click.option(
    "--owner-id", metavar="ID", help="Number of the repository's owner [default: the first job's]."
)
@json_option
@quiet_option
def add(
    access: Access,
    name: str,
    issuer: str,
    repository: str,
    workflow: str,
    environment: str | None,
    owner_id: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Let the jobs of a workflow publish the Expert NAME, which need not be published yet."""
    wish = {
        "issuer": issuer,
        "repository": repository,
        "workflow": workflow,
        "environment": environment or "",
        "ownerId": owner_id or "",
    }
    made = anyio.run(ops.add, access, name, wish)
    if as_json:
        say(as_json_text({"publisher": made}, pretty=True))
    elif not quiet:
        say(f"{plain(name)} trusts {plain(_told(made))}\n")
    return DONE


@trust.command("list")
@click.argument("name")
@registry_access()
@json_option
@quiet_option
def list_publishers(access: Access, name: str, as_json: bool, quiet: bool) -> int:
    """List the workflows that the Expert NAME trusts."""
    found = anyio.run(ops.trust_of, access, name)
    if as_json:
        say(as_json_text(found, pretty=True))
        return DONE
    titles = ("ID", "WORKFLOW", "OWNER", "LAST USED")
    rows = [*([] if quiet else [titles]), *map(_row, found.publishers)]
    say("".join(f"{line}\n" for line in table(rows)))
    if not quiet:
        refused = "are refused" if found.trusted_only else "may publish it, too"
        say(f"Stored keys {refused}.\n")
    return DONE


@trust.command("remove")
@click.argument("name")
@click.argument("id")
@registry_access()
@json_option
@quiet_option
def remove(access: Access, name: str, id: str, as_json: bool, quiet: bool) -> int:
    """Trust a workflow no longer, by the ID that `perstack trust list` shows."""
    anyio.run(ops.remove, access, name, id)
    if as_json:
        say(as_json_text({"id": id}, pretty=True))
    elif not quiet:
        say(f"{plain(name)} trusts {plain(id)} no longer\n")
    return DONE


@trust.command("only")
@click.argument("name")
@registry_access()
@click.option("--off", is_flag=True, help="Let stored keys publish it again.")
@json_option
@quiet_option
def only(access: Access, name: str, off: bool, as_json: bool, quiet: bool) -> int:
    """Let no stored key publish the Expert NAME any more: only jobs that it trusts."""
    anyio.run(ops.set_only, access, name, not off)
    if as_json:
        say(as_json_text({"name": name, "trustedOnly": not off}, pretty=True))
    elif not quiet:
        who = "Stored keys may publish" if off else "Only jobs that it trusts publish"
        say(f"{who} {plain(name)}\n")
    return DONE


def _told(publisher: Publisher) -> str:
    where = f" in {publisher.environment}" if publisher.environment else ""
    return f"{publisher.repository}, {publisher.workflow}{where}"


def _row(publisher: Publisher) -> tuple[str, ...]:
    cells = (
        publisher.id,
        _told(publisher),
        publisher.owner_id or "-",
        publisher.used_at.partition("T")[0] or "-",
    )
    return tuple(plain(cell) for cell in cells)
