"""`perstack create`: set up a project, and build an Expert for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from typing import get_args

import anyio
import click
from msgspec.structs import replace

from perstack.definition import EXPERT_NAME, PROVIDERS, ProviderName, RuntimeName
from perstack.engine import Inbox
from perstack.errors import PerstackError, UserError
from perstack.job import Job
from perstack.lock import Change, widens
from perstack.ops.building.build import ROUNDS, Brief, Built, Draft, Unfinished, Workshop, build
from perstack.ops.building.detect import Detected, detect, missing_of, served
from perstack.ops.building.new import PROJECT_FILE, Choice, Proposal, read, setup_of, starter
from perstack.ops.project import Flags, LoadedProject, load_env, load_project
from perstack.ops.running.run import Order, carry_out, prepare, store_of
from perstack.ops.scratch import scratch

from ..exits import FAILED, exit_of
from ..live import live_account
from ..options import provider_option
from ..plain import plain
from ..session import stop_on_signals
from ..text import warn

FOREIGN: tuple[RuntimeName, ...] = ("claude-code", "cursor", "gemini")


@click.command()
@click.argument("name", metavar="[expertName]", required=False)
@click.argument("improvements", metavar="[description]", required=False)
@click.option(
    "--cwd",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The directory of the project [default: the working directory].",
)
@click.option("--description", help="What the Expert is for, or what to improve.")
@provider_option
@click.option("--model", help="Model, by the provider's name for it.")
@click.option(
    "--runtime", type=click.Choice(get_args(RuntimeName)), help="Where Experts of the project run."
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=ROUNDS,
    show_default=True,
    help="Times the Expert is drafted and checked at most.",
)
@click.option(
    "--setup-only", is_flag=True, help="Write the files of a project, and build no Expert."
)
@click.option("--yes", "-y", is_flag=True, help="Say yes to everything that would be asked.")
@click.option(
    "--cassette",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Replay recorded replies from this directory, one file for each run, instead of asking a model.",
)
@click.option(
    "--record",
    type=click.Path(file_okay=False, path_type=Path),
    help="Record all replies to this directory, one file for each run.",
)
def create(
    name: str | None,
    improvements: str | None,
    cwd: Path | None,
    description: str | None,
    provider: ProviderName | None,
    model: str | None,
    runtime: RuntimeName | None,
    rounds: int,
    setup_only: bool,
    yes: bool,
    cassette: Path | None,
    record: Path | None,
) -> int:
    """Build an Expert: name it or not, and say what it is for.

    If there is an Expert `expertName` already, it is improved. Nothing is written before you have seen it and said
    yes. Exit codes: 0 built and written; 1 not.
    """
    if name is not None and not EXPERT_NAME.fullmatch(name):
        raise click.UsageError(
            f"{name!r} is no name of an Expert: lower-case letters, digits, dashes and underscores. "
            "Say what it is for with --description."
        )
    place = (cwd or Path()).resolve()
    asker = _Asker(yes)
    if not (yes or asker.is_there):
        raise click.UsageError(
            "there is no terminal to ask you at: add --yes, and say what the Expert is for"
        )
    env = dict(load_env(None, os.environ, place))
    project = read(place / PROJECT_FILE)
    stands_in = cassette is not None
    known = load_project(str(place / PROJECT_FILE), place, env) if project is not None else None
    if known is not None:
        found = (*known.parsed.faults, *known.parsed.warnings)
        warn(f"{PROJECT_FILE}: {fault}" for fault in found)
    choice = _chosen(asker, known, env, provider, model, runtime, stands_in=stands_in)
    for proposal in setup_of(place, choice):
        asker.offer(proposal)
    if setup_only:
        asker.offer(_project_file(place, project, project or starter(choice)))
        return 0
    text = description or improvements
    if not (text and text.strip()):
        there = known is not None and name in known.parsed.names
        what = "What should be better?" if there else "What is the Expert for?"
        text = asker.text(what, "give --description")
    brief = Brief(name=name, description=text)
    flags = Flags(provider=provider, model=model, runtime=runtime)
    order = Order(expert="", cwd=place, workspace=place, env={**env, **choice.keys}, flags=flags)
    folder = scratch("perstack-create-")
    shop = Workshop(
        folder=folder,
        project=project if project is not None else starter(choice),
        order=replace(order, store=store_of(order)),
        cassettes=cassette,
        recordings=record,
    )
    if record is not None:
        record.mkdir(parents=True, exist_ok=True)
    try:
        built = anyio.run(_build, brief, shop, asker, rounds)
    except Unfinished as error:
        click.echo(f"error: {plain(str(error))}", err=True)
        click.echo(f"What there is of it lies in {folder}", err=True)
        return exit_of(error.job) or FAILED
    except PerstackError:
        rmtree(folder, ignore_errors=True)
        raise
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"\nWhat there is of it lies in {folder}", err=True)
        raise
    return _end(built, asker, place, project, folder)


# What is asked --------------------------------------------------------------------------------------------


class _Asker:
    """The person, if there is one. yes: nothing is asked, the answer is always yes."""

    def __init__(self, yes: bool) -> None:
        self.yes = yes
        self.is_there = sys.stdin.isatty() and sys.stderr.isatty()

    def text(self, what: str, instead: str, *, hidden: bool = False) -> str:
        """A line that is not blank. instead: what to do where nobody can be asked."""
        if not self.is_there:
            raise UserError(f"There is no terminal to ask you at: {instead}.")
        return click.prompt(what, hide_input=hidden, value_proc=_not_blank, err=True)

    def one_of(self, what: str, names: list[str]) -> str:
        click.echo(what, err=True)
        for number, name in enumerate(names, 1):
            click.echo(f"  {number}) {name}", err=True)

        def name_of(said: str) -> str:
            if said.strip() not in map(str, range(1, len(names) + 1)):
                raise click.BadParameter(f"give a number from 1 to {len(names)}.")
            return names[int(said) - 1]

        return click.prompt("Which", default="1", value_proc=name_of, err=True)

    def agrees(self, what: str, *, default: bool = True) -> bool:
        return self.yes or click.confirm(what, default=default, err=True)

    def offer(self, proposal: Proposal) -> bool:
        """Shows what would be written, and writes it after a yes."""
        if proposal.changes_nothing:
            return False
        name = proposal.path.name
        if not proposal.is_new or proposal.secrets or proposal.to_see:
            click.echo(plain(proposal.diff()), err=True)
        what = f"Write {name}?" if proposal.is_new else f"Change {name} like that?"
        if not self.agrees(what, default=proposal.is_new):
            return False
        proposal.write()
        click.echo(f"✓ {proposal.path}")
        return True


def _not_blank(said: str) -> str:
    if not said.strip():
        raise click.BadParameter("something has to be said; Ctrl+C ends this.")
    return said.strip()


def _chosen(
    asker: _Asker,
    known: LoadedProject | None,
    env: Mapping[str, str],
    provider: ProviderName | None,
    model: str | None,
    runtime: RuntimeName | None,
    *,
    stands_in: bool,
) -> Choice:
    """What the project uses: as its file says, as was said, as was found, and only then as is asked."""
    table = known.project.provider if known is not None else None
    runtime = runtime or (known.project.runtime if known is not None else None)
    if runtime in FOREIGN or stands_in:
        return Choice(provider=provider or "anthropic", model=model or "", runtime=runtime)
    if known is not None:
        provider = provider or (table.provider_name if table is not None else "anthropic")
        model = model or known.project.model
    if provider is None:
        found = anyio.run(detect, env)
        for name, version in found.runtimes:
            click.echo(f"Found {name}: {plain(version)}", err=True)
        provider, runtime = _pick(asker, found, runtime)
    if runtime in FOREIGN:
        return Choice(model=model or "", runtime=runtime)
    keys: dict[str, str] = {}
    for variable in missing_of(provider, env):
        instead = f"set {variable} in the environment or in a .env file"
        keys[variable] = asker.text(f"{variable} (not shown)", instead, hidden=True)
    return Choice(provider=provider, model=model or "", runtime=runtime, keys=keys)


def _pick(
    asker: _Asker, found: Detected, runtime: RuntimeName | None
) -> tuple[ProviderName, RuntimeName | None]:
    """The provider, and a runtime if another vendor's program is to be used."""
    ready: list[str] = [*found.providers, *(f"runtime {name}" for name, _ in found.runtimes)]
    if len(ready) == 1 or (ready and not asker.is_there) or (ready and asker.yes):
        chosen = ready[0]
    elif asker.is_there:
        others = [
            f"{name} ({'needs a key' if missing_of(name, {}) else 'does not run here'})"
            for name in served()
            if name not in found.providers
        ]
        chosen = asker.one_of("Who is to be asked?", [*ready, *others]).partition(" (")[0]
    else:
        raise UserError(
            "No provider is set up: set the key of one in the environment, or name one with --provider. "
            "`docs/reference/environment.md` lists them."
        )
    for name in FOREIGN:
        if chosen == f"runtime {name}":
            return "anthropic", name
    return next(name for name in PROVIDERS if name == chosen), runtime


# Building -------------------------------------------------------------------------------------------------


async def _build(brief: Brief, shop: Workshop, asker: _Asker, rounds: int) -> Built:
    def told(text: str) -> None:
        click.echo(plain(text), err=True)

    def consent(draft: Draft) -> bool:
        lines = [change for change in draft.changes if change.effect == "widen"]
        told(f'The draft of "{draft.expert.key}":')
        _show_changes(lines)
        return asker.agrees("May it be tried?")

    return await build(brief, shop, _run, consent=consent, told=told, rounds=rounds)


async def _run(order: Order) -> Job:
    """One run, shown on stderr; a signal puts it down."""
    prepared = await prepare(order)
    for line in (*prepared.warnings, *prepared.remarks):
        click.echo(plain(line), err=True)
    inbox = Inbox()
    jobs: list[Job] = []
    with ExitStack() as stack:
        stack.callback(inbox.close)
        ears = stack.enter_context(live_account(sys.stderr, lambda error: None))
        async with anyio.create_task_group() as tasks:
            await tasks.start(stop_on_signals, inbox)
            jobs.append(await carry_out(prepared, inbox, ears))
            tasks.cancel_scope.cancel()
    if jobs[0].stopped is not None and jobs[0].stopped.reason != "limit":
        raise Unfinished(jobs[0], f"It was stopped: {jobs[0].stopped.what}.")
    return jobs[0]


def _end(built: Built, asker: _Asker, place: Path, project: str | None, folder: Path) -> int:
    draft = built.draft
    if built.faults:
        click.echo("error: The Expert is not as it should be:", err=True)
        for fault in built.faults:
            click.echo(f"  - {plain(fault)}", err=True)
        click.echo(f"Nothing was written. The last draft lies in {folder / 'draft'}", err=True)
        return FAILED
    assert draft is not None  # a draft without faults
    for number, test in enumerate(draft.tests, 1):
        click.echo(f"✓ test {number}: {plain(test.name)}", err=True)
    if draft.before is not None:
        _show_changes(draft.changes)
        if widens(draft.changes):
            click.echo(f'"{draft.expert.key}" may do more than before.', err=True)
    written = asker.offer(_project_file(place, project, draft.text, show=True))
    if not written and draft.text != project:
        click.echo(f"Nothing was written. The draft lies in {folder / 'draft'}", err=True)
        return FAILED
    rmtree(folder, ignore_errors=True)
    click.echo(f'Run it with: perstack run {draft.expert.key} "..."', err=True)
    return 0


def _project_file(place: Path, before: str | None, after: str, *, show: bool = False) -> Proposal:
    return Proposal(path=place / PROJECT_FILE, before=before, after=after, to_see=show)


def _show_changes(changes: list[Change] | tuple[Change, ...]) -> None:
    for change in changes:
        mark = {"widen": "+", "narrow": "-", "neutral": " "}[change.effect]
        click.echo(f"  {mark} {plain(change.text)}", err=True)
