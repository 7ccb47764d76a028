"""`perstack audit`: what there is to say against the lock of a project."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import click
import msgspec

from perstack._version import version
from perstack.definition import RuntimeName
from perstack.errors import UserError
from perstack.ops.atomic import replace_file
from perstack.ops.packages.access import Access, access_of
from perstack.ops.packages.audit import LEVELS, Finding, Level, at_least
from perstack.ops.packages.auditing import Report, Starting, plan_fix
from perstack.ops.packages.auditing import audit as audit_project
from perstack.ops.packages.sarif import sarif_of

from ..asking import Cancelled
from ..exits import DONE, FINDINGS
from ..moves import settle_plan
from ..options import json_option, quiet_option, registry_access, wall_options, yes_option
from ..plain import plain
from ..text import as_json_text, say


@click.command()
@registry_access(needs_project=True, asks=False)
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="warning",
    help="From which level on findings count [default: warning].",
)
@click.option(
    "--since", metavar="FILE", help="An older perstack.lock: find what may be touched besides."
)
@click.option(
    "--tools",
    is_flag=True,
    help="Start the servers of skills, and find what tools of theirs are others now.",
)
@wall_options
@click.option("--fix", is_flag=True, help="Mend what another version or a range mends.")
@click.option("--sarif", metavar="FILE", help="Also write the findings there, as SARIF 2.1.0.")
@yes_option
@json_option
@quiet_option
def audit(
    access: Access,
    level: Level,
    since: str | None,
    tools: bool,
    runtime: RuntimeName | None,
    read: tuple[Path, ...],
    fix: bool,
    sarif: str | None,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Find what there is to say against perstack.lock, and ask the registries what they say of it now.

    Exit codes: 0 nothing at or above the level; 3 findings; 4 the lock was changed by hand.
    """
    if (runtime or read) and not tools:
        raise click.UsageError("--runtime and --read are for the servers that --tools starts")
    servers = Starting(runtime=runtime, read=read) if tools else None
    report = _audited(access, since, servers)
    if fix:
        plan = anyio.run(plan_fix, access, report)
        try:
            settle_plan(plan, sure=yes, quiet=as_json or quiet)
        except Cancelled:
            say("Cancelled\n")
            return DONE
        report = _audited(_afresh(access), since, servers)
    if sarif is not None:
        _write_sarif(report, Path(sarif))
    counting = at_least(report.found, level)
    if as_json:
        told = {
            "findings": report.found,
            "level": level,
            "registriesAsked": report.asked,
            "serversAsked": report.servers_asked,
        }
        say(as_json_text(told, pretty=True))
    elif not quiet:
        say("".join(f"{plain(line)}\n" for line in _lines(report.found)))
    return FINDINGS if counting else DONE


def _audited(access: Access, since: str | None, servers: Starting | None) -> Report:
    report = anyio.run(partial(audit_project, access, since=since, servers=servers))
    if not report.asked:
        click.echo("warning: offline, so no registry was asked what it says now", err=True)
    return report


def _afresh(access: Access) -> Access:
    """The same, with the project file as it is now."""
    path = str(access.project.path)
    return access_of(path, (), access.sources, access.env, access.cwd, needs_project=True)


def _write_sarif(report: Report, path: Path) -> None:
    log = sarif_of(report.found, report.texts, version())
    try:
        replace_file(path, msgspec.json.format(msgspec.json.encode(log), indent=2) + b"\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def _lines(found: tuple[Finding, ...]) -> Iterator[str]:
    if not found:
        yield "Nothing was found."
        return
    advised: set[str] = set()
    for each in found:
        yield f"{each.level:8} {each.rule:17} {each.what}"
        if each.advice and each.rule not in advised:
            advised.add(each.rule)
            yield f"{'':26} {each.advice}"
    counts = [(level, sum(each.level == level for each in found)) for level in reversed(LEVELS)]
    yield ", ".join(
        f"{count} {level}{'s' if count != 1 else ''}" for level, count in counts if count
    )
