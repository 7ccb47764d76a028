"""`perstack registry`: host a registry, and look after its organizations and keys on the server's own machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import anyio
import click

from perstack.errors import UserError, sole
from perstack.server import Settings, settings_of
from perstack.server.extra import SERVING, need
from perstack.server.identity.keys import SCOPES
from perstack.server.queries import organizations as orgs
from perstack.server.queries.audit import Actor
from perstack.server.queries.organizations import Organization
from perstack.server.storage.repository import Session, open_repository, sqlite_path
from perstack.server.wire.http import Refused
from perstack.server.wire.telling import date
from perstack.server.writes.holders import (
    DEFAULT_DAYS,
    account_fault,
    create_organization,
    days_ms,
    issue_key,
    network_fault,
    organization_fault,
    pattern_fault,
    revoke_key,
)

from ..exits import INTEGRITY
from ..plain import plain

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

TYPES = ("team", "personal", "personalPlus", "serviceAdmin")
OPERATOR = Actor("local", subject="operator")
"""Who works on the database itself."""


@click.group()
def registry() -> None:
    """Host a registry, and look after it.

    All commands but `serve` work on the database itself, also while a server uses it.
    """


def database_option(command: Command) -> Command:
    return click.option(
        "--database",
        "database_url",
        metavar="URL",
        help="A file, or postgresql://… [env: PERSTACK_REGISTRY_DATABASE_URL] "
        "[default: perstack-registry.db].",
    )(command)


@registry.command()
@database_option
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one [default: 7717]."
)
@click.option(
    "--public-url", help="How clients write the server's address, such as https://registry.example."
)
@click.option("--tls-cert", help="File with the certificate chain (PEM).")
@click.option("--tls-key", help="File with its key (PEM).")
@click.option(
    "--plain",
    is_flag=True,
    default=None,
    help="Listen beyond this machine without TLS: a proxy does it.",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that answer [default: 1].")
@click.option(
    "--private",
    is_flag=True,
    help="Ask for a key for reading, too.",
)
@click.option(
    "--upstreams",
    metavar="RULES",
    help="Other registries to mirror, such as '@acme=https://registry.acme.example @mine=local @no=blocked'.",
)
def serve(private: bool, **flags: Any) -> None:
    """Answer as a registry until SIGTERM or SIGINT.

    The first time it makes its database and an administrator's key, shown once.
    """
    need(*SERVING)
    from perstack.server.serving import serve as answer

    given = flags | ({"anonymous_read": False} if private else {})
    answer(settings_of(os.environ, given), lambda line: click.echo(line, err=True))


@registry.command()
@database_option
def migrate(database_url: str | None) -> None:
    """Make the database, or bring its tables up to date. `serve` does so, too."""
    settings = _settings(database_url)
    _write(settings, lambda _: None)
    click.echo("Up to date")


# Organizations --------------------------------------------------------------------------------------------


@registry.group()
def org() -> None:
    """Organizations: who may own Experts."""


@org.command("create")
@click.argument("name")
@click.option(
    "--type", "kind", type=click.Choice(TYPES), default="team", help="What it is [default: team]."
)
@click.option("--owner", help="Name of the account that owns it; made if there is none.")
@database_option
def create_org(name: str, kind: Any, owner: str | None, database_url: str | None) -> None:
    """Make an organization. A team publishes @NAME/…, a person names without a scope."""
    _no_fault(f"the name {name}", organization_fault(name, kind))
    if owner is not None:
        _no_fault(f"the account {owner}", account_fault(owner))
    made = _write(
        _settings(database_url),
        lambda session: create_organization(
            session, OPERATOR, _now(), name=name, type=kind, owner=owner
        ),
    )
    click.echo(f"{made.name}  {made.id}")


@org.command("list")
@database_option
def list_orgs(database_url: str | None) -> None:
    """Print name, type, status and id of every organization."""
    for found in _write(_there(database_url), orgs.organizations):
        click.echo(f"{plain(found.name or '-')}  {found.type}  {found.status}  {found.id}")


# Keys -----------------------------------------------------------------------------------------------------


@registry.group()
def key() -> None:
    """Keys: who may do what."""


@key.command("create")
@click.argument("organization")
@click.option("--name", default="made by the operator", help="What it is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it allows; repeatable [default: all].",
)
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    help="Experts it is for, @acme/* for example; repeatable.",
)
@click.option(
    "--network", "networks", multiple=True, help="Addresses it may be used from; repeatable."
)
@click.option(
    "--days",
    type=click.IntRange(1, 365),
    default=DEFAULT_DAYS,
    help="Until it expires [default: 90].",
)
@click.option("--account", help="Whose it is; without it: a machine's own.")
@database_option
def create_key(
    organization: str,
    name: str,
    scopes: tuple[Any, ...],
    patterns: tuple[str, ...],
    networks: tuple[str, ...],
    days: int,
    account: str | None,
    database_url: str | None,
) -> None:
    """Make a key of ORGANIZATION and print it, this once."""
    for pattern in patterns:
        _no_fault(f"the pattern {pattern}", pattern_fault(pattern))
    for network in networks:
        _no_fault(f"the network {network}", network_fault(network))

    def make(session: Session) -> str:
        where = _organization(session, organization)
        holder = None
        if account is not None:
            members = {member.name: member.account for member in orgs.members(session, where.id)}
            if account not in members:
                raise UserError(f"{account} is not a member of {organization}.")
            holder = members[account]
        made = issue_key(
            session,
            OPERATOR,
            where,
            _now(),
            name=name,
            scopes=scopes or SCOPES,
            patterns=patterns,
            networks=networks,
            account=holder,
            lasts_ms=days_ms(days),
        )
        return made.secret

    click.echo(_write(_there(database_url), make))


@key.command("list")
@click.argument("organization", required=False)
@database_option
def list_keys(organization: str | None, database_url: str | None) -> None:
    """Print the keys of ORGANIZATION, or of all, without their secrets."""

    def look(session: Session) -> list[orgs.Key]:
        if organization is None:
            return orgs.all_keys(session)
        return orgs.keys(session, _organization(session, organization).id)

    for found in _write(_there(database_url), look):
        state = "revoked" if found.revoked_at else f"until {date(found.expires_at)[:10]}"
        click.echo(f"{found.id}  {found.prefix}…  {state}  {found.scopes}  {plain(found.name)}")


@key.command("revoke")
@click.argument("which", metavar="KEY")
@database_option
def revoke(which: str, database_url: str | None) -> None:
    """Take a key back, by its id or by the prefix that `perstack registry key list` prints."""

    def take_back(session: Session) -> orgs.Key:
        found = [each for each in orgs.all_keys(session) if which in (each.id, each.prefix)]
        used = [each for each in found if each.revoked_at is None]
        if len(used) == 1:
            revoke_key(session, OPERATOR, used[0].id, _now())
            return used[0]
        how = "There is no key" if not found else "Several keys begin with"
        if found and not used:
            raise UserError(f'The key "{which}" was revoked before.')
        raise UserError(
            f'{how} "{which}" here. `perstack registry key list` prints the ids of all.'
        )

    gone = _write(_there(database_url), take_back)
    click.echo(f"Revoked {gone.id}")


# Upkeep ---------------------------------------------------------------------------------------------------


@registry.command()
@click.option(
    "--seen",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint of the log that a client has kept; the log must begin with it.",
)
@database_option
def verify(seen: Path | None, database_url: str | None) -> None:
    """Work out every digest, the log's tree and the audit chain anew.

    Prints what is not as it was written, one difference a line, and then exits with 4.
    """
    from perstack.server.extensions.log import verifier_key
    from perstack.server.storage import tlog
    from perstack.server.upkeep.verifying import differences, unlike_seen

    settings = _there(database_url)

    def look(session: Session) -> tuple[list[str], str]:
        key = verifier_key(session, settings)
        found = list(differences(session, key))
        if seen is not None:
            found += unlike_seen(session, key, seen.read_text("utf-8"))
        latest = tlog.latest_checkpoint(session)
        return found, f"{latest.size} entries, root {latest.root.hex()}" if latest else "empty"

    found, state = _read(settings, look)
    for line in found:
        click.echo(plain(line))
    if found:
        raise SystemExit(INTEGRITY)
    click.echo(f"All is as it was written: {state}")


@registry.command()
@click.argument("file", type=click.Path(path_type=Path))
@database_option
def backup(file: Path, database_url: str | None) -> None:
    """Copy an SQLite database to FILE, as it is at one moment, also while a server uses it.

    The copy holds all the database holds, the log's key included: only its owner may read it.
    """
    from perstack.server.upkeep.copying import copy_database

    settings = _settings(database_url)
    size = anyio.run(anyio.to_thread.run_sync, copy_database, settings.database_url, file)
    click.echo(f"{file}  {size} bytes")


@registry.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--log-key", is_flag=True, help="Also the secret key that signs the log.")
@database_option
def export_registry(file: Path, log_key: bool, database_url: str | None) -> None:
    """Write the whole registry to FILE, a tar: documents, log, and all else by table.

    It serves to move a registry, also between SQLite and PostgreSQL. Without the log's key the new server signs
    with another, which clients of the old one refuse.
    """
    from perstack.server.upkeep.copying import new_file
    from perstack.server.upkeep.moving import Manifest, export

    def read(session: Session) -> Manifest:
        with new_file(file) as to:
            return export(session, to, log_key=log_key)

    made = _read(_there(database_url), read)
    click.echo(f"{file}  {made.size} log entries, root {made.root}")


@registry.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@database_option
def import_registry(file: Path, database_url: str | None) -> None:
    """Fill an empty database with what `export` wrote. All of it comes in, unchanged, or nothing."""
    from perstack.server.extensions.log import take_over
    from perstack.server.upkeep.moving import Manifest, take_in

    settings = _settings(database_url)

    def write(session: Session) -> Manifest:
        with file.open("rb") as source:
            made = take_in(session, source)
        take_over(session, settings)
        return made

    made = _write(settings, write)
    click.echo(f"{made.size} log entries, root {made.root}")


# In common ------------------------------------------------------------------------------------------------


def _settings(database_url: str | None) -> Settings:
    return settings_of(os.environ, {"database_url": database_url})


def _there(database_url: str | None) -> Settings:
    """The settings for a database that has to be there: none is made by looking for it. Raises UserError."""
    settings = _settings(database_url)
    path = sqlite_path(settings.database_url)
    if path is not None and not Path(path).exists():
        raise UserError(
            f"There is no database {path}. Name it with --database; `perstack registry serve` makes a new one."
        )
    return settings


def _organization(session: Session, name: str) -> Organization:
    found = orgs.organization_named(session, name)
    if found is None:
        raise UserError(
            f"There is no organization {name}; make one with perstack registry org create."
        )
    return found


def _no_fault(what: str, fault: str | None) -> None:
    if fault is not None:
        raise UserError(f"{what} cannot be used: {fault}.")


def _now() -> int:
    return time.time_ns() // 1_000_000


def _write(settings: Settings, work: Callable[[Session], T]) -> T:
    """What `work` gives, kept in the database."""

    async def go() -> T:
        async with open_repository(settings.database_url) as repository:
            return await repository.write(work)

    return _run(go)


def _read(settings: Settings, work: Callable[[Session], T]) -> T:
    """What `work` finds at one moment, however long that takes."""
    from perstack.server.upkeep.copying import snapshot

    def look(session: Session) -> T:
        with snapshot(session):
            return work(session)

    async def go() -> T:
        async with open_repository(settings.database_url) as repository:
            return await repository.read_slowly(look)

    return _run(go)


def _run(go: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return anyio.run(go)
    except ExceptionGroup as group:
        cause = sole(group)
        if isinstance(cause, Refused):
            raise UserError(str(cause.reason)) from None
        raise cause from None
