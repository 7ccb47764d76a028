"""`perstack login`, `logout`, `whoami` and `key`: keys of registries. None is an argument, or printed twice."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import click

from perstack.ops.packages import account
from perstack.ops.packages.access import Access
from perstack.ops.packages.account import Identity, Key

from ..asking import is_answered
from ..exits import DONE
from ..options import json_option, quiet_option, registry_access
from ..plain import plain
from ..text import as_json_text, say, table


@click.command()
@registry_access()
@json_option
@quiet_option
def login(access: Access, as_json: bool, quiet: bool) -> int:
    """Keep a key for the default registry, in a file that only you can read.

    The key is asked for at a terminal, and read from stdin without one.
    """
    url = access.place().url
    if is_answered():
        key = str(click.prompt(f"Key for {url}", hide_input=True, err=True))
    else:
        key = sys.stdin.readline()
    identity = anyio.run(account.login, access, key.strip())
    if as_json:
        say(as_json_text({"registry": url, "identity": identity}, pretty=True))
    elif quiet:
        pass
    elif identity is None:
        say(f"The key for {url} is kept. The registry does not say whose it is.\n")
    else:
        say(f"The key for {url} is kept: {plain(_whose(identity))}.\n")
    return DONE


@click.command()
@registry_access()
@click.option("--revoke", is_flag=True, help="Have the registry forget the key, too.")
@json_option
@quiet_option
def logout(access: Access, revoke: bool, as_json: bool, quiet: bool) -> int:
    """Delete the key that is kept for the default registry."""

    async def leave() -> bool:
        return await account.logout(access, revoke=revoke)

    had = anyio.run(leave)
    url = access.place().url
    if as_json:
        say(as_json_text({"registry": url, "deleted": had}, pretty=True))
    elif not quiet:
        say(f"The key for {url} is deleted.\n" if had else f"There was no key for {url}.\n")
    return DONE


@click.command()
@registry_access()
@json_option
@quiet_option
def whoami(access: Access, as_json: bool, quiet: bool) -> int:
    """Show whose key is used for the default registry, and what it may do."""
    identity = anyio.run(account.whoami, access)
    if as_json:
        say(as_json_text(identity, pretty=True))
    else:
        say(f"{plain(_whose(identity))}\n")
        if quiet:
            return DONE
        say(f"  Registry: {access.place().url}\n")
        say(f"  Key: {plain(identity.key.prefix)}..., until {plain(identity.key.expires_at)}\n")
        say(f"  May: {plain(', '.join(identity.scopes) or 'nothing')}\n")
    return DONE


@click.group()
def key() -> None:
    """The keys of your organization."""


@key.command("list")
@registry_access()
@json_option
@quiet_option
def list_keys(access: Access, as_json: bool, quiet: bool) -> int:
    """List the keys of your organization."""
    found = anyio.run(account.keys, access)
    if as_json:
        say(as_json_text({"keys": found}, pretty=True))
        return DONE
    titles = ("PREFIX", "NAME", "MAY", "ONLY", "UNTIL", "LAST USED")
    rows = [*([] if quiet else [titles]), *map(_row, found)]
    say("".join(f"{line}\n" for line in table(rows)))
    return DONE


@key.command("create")
@click.argument("name")
@registry_access()
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="What it may do: read, publish-new, publish-update, status, tag, unpublish, owners, keys, audit; "
    "repeatable [default: what your key may].",
)
@click.option(
    "--pattern",
    "patterns",
    metavar="NAME",
    multiple=True,
    help="Only this Expert, or all with a * at the end; repeatable.",
)
@click.option(
    "--network", "networks", metavar="CIDR", multiple=True, help="Only from there; repeatable."
)
@click.option("--days", type=click.IntRange(1, 365), help="Days until it expires [default: 90].")
@json_option
@quiet_option
def create_key(
    access: Access,
    name: str,
    scopes: tuple[str, ...],
    patterns: tuple[str, ...],
    networks: tuple[str, ...],
    days: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Make a key. It is printed this once, alone on stdout."""
    given: dict[str, Any] = {
        "scopes": scopes,
        "patterns": patterns,
        "networks": networks,
        "expiresInDays": days,
    }
    wish = {"name": name, **{member: value for member, value in given.items() if value}}
    made = anyio.run(account.create_key, access, wish)
    if as_json:
        say(as_json_text({"key": made}, pretty=True))
    else:
        if not quiet:
            told = f"Made a key, good until {plain(made.expires_at)}. It is shown this once:"
            click.echo(told, err=True)
        say(f"{plain(made.secret)}\n")
    return DONE


@key.command("revoke")
@click.argument("which", metavar="key")
@registry_access()
@json_option
@quiet_option
def revoke_key(access: Access, which: str, as_json: bool, quiet: bool) -> int:
    """Take a key back, by its id or by the prefix that `perstack key list` shows."""
    gone = anyio.run(account.revoke_key, access, which)
    if as_json:
        say(as_json_text({"id": gone.id, "prefix": gone.prefix}, pretty=True))
    elif not quiet:
        say(f"Revoked {plain(gone.prefix)}... ({plain(gone.name)})\n")
    return DONE


def _whose(identity: Identity) -> str:
    organization = identity.organization.name or identity.organization.id
    if identity.account is None:
        return organization
    role = f", {identity.role}" if identity.role else ""
    return f"{identity.account.name or identity.account.id} of {organization}{role}"


def _row(key: Key) -> tuple[str, ...]:
    until, _, _ = (key.revoked_at or key.expires_at).partition("T")
    cells = (
        f"{key.prefix}...",
        key.name,
        ", ".join(key.scopes),
        ", ".join((*key.patterns, *key.networks)) or "-",
        f"revoked {until}" if key.revoked_at else until,
        key.used_at.partition("T")[0] or "-",
    )
    return tuple(plain(cell) for cell in cells)
