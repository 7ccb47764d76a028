"""`perstack attest` and `signing-key`: say something of a published version, signed, and the keys for that."""

from __future__ import annotations

from pathlib import Path

import anyio
import click

from perstack.definition import short_predicate_type
from perstack.ops.packages import attest as ops
from perstack.ops.packages.access import Access
from perstack.ops.packages.attest import AttestationKey

from ..exits import DONE
from ..options import json_option, quiet_option, registry_access
from ..plain import plain
from ..text import as_json_text, say, table

FILE = click.Path(path_type=Path)
SHOWN = 12
"""Digits of a key's id."""


@click.command()
@click.argument("key")
@registry_access()
@click.option(
    "--type",
    "kind",
    required=True,
    metavar="TYPE",
    help="What it is about: publish, provenance, evaluation, or the URI of another type.",
)
@click.option(
    "--predicate",
    type=FILE,
    metavar="FILE",
    help="What is attested, as a JSON object; publish needs none.",
)
@click.option(
    "--signing-key",
    type=FILE,
    metavar="FILE",
    help="Key to sign with [default: the one that `perstack signing-key add` made].",
)
@json_option
@quiet_option
def attest(
    access: Access,
    key: str,
    kind: str,
    predicate: Path | None,
    signing_key: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Attest something of the published version KEY, such as @acme/reader@1.0.0. It cannot be taken back."""
    made = anyio.run(ops.attest, access, key, kind, predicate, signing_key)
    if as_json:
        say(as_json_text({"attestation": made}, pretty=True))
    elif not quiet:
        ids = ", ".join(each.keyid[:SHOWN] for each in made.envelope.signatures)
        told = f"Attested {short_predicate_type(made.predicate_type)} of {key}, with the key {ids}"
        say(f"{plain(told)}\n")
    return DONE


@click.group("signing-key")
def signing_key() -> None:
    """The keys with which your organization attests."""


@signing_key.command("add")
@click.argument("name")
@registry_access()
@click.option(
    "--file",
    type=FILE,
    metavar="FILE",
    help="Where the key is, or is put if there is none [default: a file of yours].",
)
@json_option
@quiet_option
def add(access: Access, name: str, file: Path | None, as_json: bool, quiet: bool) -> int:
    """Let your organization attest with a key of yours, called NAME. Only its public half leaves this machine."""
    made, path = anyio.run(ops.add_key, access, name, file)
    if as_json:
        say(as_json_text({"key": made, "file": str(path)}, pretty=True))
    elif not quiet:
        say(f"{plain(made.organization)} attests with the key {made.id[:SHOWN]}, in {path}\n")
    return DONE


@signing_key.command("list")
@registry_access()
@json_option
@quiet_option
def list_keys(access: Access, as_json: bool, quiet: bool) -> int:
    """List the keys with which your organization attests."""
    found = anyio.run(ops.keys, access)
    if as_json:
        say(as_json_text({"keys": found}, pretty=True))
        return DONE
    rows = [*([] if quiet else [("ID", "NAME", "SINCE", "REVOKED")]), *map(_row, found)]
    say("".join(f"{line}\n" for line in table(rows)))
    return DONE


@signing_key.command("revoke")
@click.argument("which", metavar="key")
@registry_access()
@json_option
@quiet_option
def revoke(access: Access, which: str, as_json: bool, quiet: bool) -> int:
    """Take a key back, by the beginning of its id. What it signed is shown as signed by a revoked key."""
    gone = anyio.run(ops.revoke_key, access, which)
    if as_json:
        say(as_json_text({"id": gone.id, "name": gone.name}, pretty=True))
    elif not quiet:
        say(f"Revoked {gone.id[:SHOWN]} ({plain(gone.name)})\n")
    return DONE


def _row(key: AttestationKey) -> tuple[str, ...]:
    cells = (
        key.id[:SHOWN],
        key.name,
        key.created_at.partition("T")[0],
        key.revoked_at.partition("T")[0] or "-",
    )
    return tuple(plain(cell) for cell in cells)
