"""`perstack verify`: whether what is locked is what was published, asked anew."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import click

from perstack.ops.packages.access import Access
from perstack.ops.packages.attested import line_of
from perstack.ops.packages.verify import Verified, failures
from perstack.ops.packages.verify import verify as verify_lock

from ..exits import DONE, INTEGRITY
from ..options import json_option, quiet_option, registry_access
from ..plain import plain
from ..text import as_json_text, say


@click.command()
@click.argument("name", metavar="[expert]", required=False, default=None)
@registry_access(needs_project=True, asks=False)
@json_option
@quiet_option
def verify(access: Access, name: str | None, as_json: bool, quiet: bool) -> int:
    """Check that the published Experts of perstack.lock, or those named, are what their registries published.

    Exit codes: 0 they are; 4 something was changed that must not change.
    """
    found = anyio.run(verify_lock, access, name)
    if as_json:
        say(as_json_text({"experts": found}, pretty=True))
    elif not found:
        say("" if quiet else "The lock has no published Experts.\n")
    else:
        told = failures(found) if quiet else found
        say("".join(f"{plain(line)}\n" for each in told for line in _lines(each)))
    return INTEGRITY if failures(found) else DONE


def _lines(each: Verified) -> Iterator[str]:
    yield _line(each)
    yield from (f"  attested: {line_of(one)}" for one in each.attested)


def _line(each: Verified) -> str:
    match each.outcome:
        case "verified" if each.log is not None:
            return f"{each.key}  verified, entry {each.log} of the log"
        case "verified":
            return f"{each.key}  verified, by no log"
        case "notAtHand":
            return f"{each.key}  not at hand, so not verified"
        case "failed":
            return f"{each.key}  FAILED: {each.what}"
