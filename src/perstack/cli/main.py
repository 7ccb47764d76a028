"""The program `perstack`: finds the command, runs it, and turns what goes wrong into words and an exit code.

A command's module is imported when the command is called, so `--help` and `--version` load none of them.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module

import click

from perstack.errors import PerstackError, SkillUnavailable, sole

from .exits import FAILED, exit_for
from .plain import plain

SECTIONS = {
    "Run Experts": {
        "run": ("run:run", "Run an Expert; events go to stdout, one JSON object a line."),
        "start": ("start:start", "Choose, follow and steer Experts on one screen."),
        "create": ("create:create", "Set up a project, and build an Expert for it."),
        "show": ("show:show", "Print what the model would get: system text, tools, limits."),
    },
    "What happened": {
        "log": ("log:log", "Show what happened in a job."),
        "replay": (
            "replay:replay",
            "Tell a job again from its log, or check that the log is whole.",
        ),
        "compare": ("compare:compare", "Show where two jobs part."),
        "fork": ("fork:fork", "Start a new job from a place in another."),
    },
    "Delegates of the project, and their lock": {
        "install": ("install:install", "Lock the Experts of perstack.toml, with their tools."),
        "add": ("add:add", "Let an Expert delegate to published ones."),
        "remove": ("add:remove", "Let an Expert no longer delegate to others."),
        "update": ("update:update", "Lock newer versions of published Experts."),
        "outdated": ("update:outdated", "Show which locked Experts have newer versions."),
        "audit": ("audit:audit", "Find what there is to say against the lock."),
        "verify": ("verify:verify", "Check that what is locked is what was published."),
        "tree": ("tree:tree", "Show who delegates to whom."),
        "why": ("tree:why", "Show by what delegates an Expert got into the lock."),
    },
    "Registries": {
        "search": ("search:search", "Search a registry."),
        "info": ("search:info", "Show a published Expert."),
        "diff": ("search:diff", "Show how two published versions differ."),
        "publish": ("publish:publish", "Put an Expert into its registry, for good."),
        "unpublish": ("upkeep:unpublish", "Take a version out of its registry."),
        "tag": ("upkeep:tag", "Give a published version other tags."),
        "status": ("upkeep:status", "Deprecate or disable a published version."),
        "login": ("account:login", "Keep a key for a registry."),
        "logout": ("account:logout", "Delete the key kept for a registry."),
        "whoami": ("account:whoami", "Show whose key is used for a registry."),
        "key": ("account:key", "List, make and revoke keys of your organization."),
        "trust": ("trust:trust", "Let jobs of CI publish an Expert without a stored key."),
        "attest": ("attest:attest", "Attest something of a published version, signed."),
        "signing-key": (
            "attest:signing_key",
            "Look after the keys your organization attests with.",
        ),
        "registry": ("registry:registry", "Host a registry, and look after it."),
    },
    "Tools": {
        "skill": ("skill:skill", "Try the skills of an Expert."),
        "docker": ("docker:docker", "Look after the images of the docker runtime."),
        "base": ("base:base", "Offer the base skill's tools as an MCP server on stdio."),
    },
}

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Why a file that stdout goes to may take no more."""

COMMANDS = {name: told for section in SECTIONS.values() for name, told in section.items()}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(f"perstack.cli.commands.{module}"), name)
        assert isinstance(command, click.Command)
        if isinstance(command, click.Group):
            _tell_whole(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(f"{name:{width}}", about) for name, (_, about) in commands.items()]
                )


def _tell_whole(group: click.Group) -> None:
    """So that its list has the first sentence of each command whole: click cuts those longer than a line."""
    for command in group.commands.values():
        command.short_help = command.get_short_help_str(limit=1000)
        if isinstance(command, click.Group):
            _tell_whole(command)


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from perstack._version import version

        click.echo(f"perstack {version()}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: perstack run fitness-assistant --demo --output text",
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Perstack: define, run and share agents ("Experts").

    `perstack COMMAND --help` tells the rest.
    """


def main(args: list[str] | None = None) -> None:
    """The console script. Never returns."""
    sys.exit(status_of(sys.argv[1:] if args is None else args))


def create_expert() -> None:
    """The console script `create-expert`: `perstack create`. Never returns."""
    args = sys.argv[1:]
    main(args if args in (["--version"], ["-V"]) else ["create", *args])


def status_of(args: list[str]) -> int:
    """Run one command line and give its exit code."""
    _take_low_descriptors()
    if fault := _unusable(args):
        click.echo(f"error: {fault}", err=True)
        return FAILED
    try:
        status = cli.main(args, prog_name="perstack", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return FAILED
    except click.UsageError as error:
        where = f"\nSee: {error.ctx.command_path} --help" if error.ctx else ""
        click.echo(f"error: {_said(error)}{where}", err=True)
        return FAILED
    except click.Abort:
        return 130
    except click.exceptions.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        _leave_stdout()
        return FAILED
    except Exception as error:
        cause = sole(error)  # tasks raise in groups
        if isinstance(cause, OSError) and cause.errno in FULL and cause.filename is None:
            _leave_stdout()
            click.echo(f"error: The output cannot be written: {cause.strerror}.", err=True)
            return FAILED
        if not isinstance(cause, PerstackError):
            raise
        click.echo(f"error: {plain(str(cause))}", err=True)
        if isinstance(cause, SkillUnavailable) and args[0] != "skill":
            name = plain(cause.skill)
            click.echo(f"Try it by hand: perstack skill test <expertKey> {name}", err=True)
        return exit_for(cause)


def _leave_stdout() -> None:
    """What is still to be written to stdout goes nowhere, and is not tried again when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _said(error: click.UsageError) -> str:
    match error:
        case click.MissingParameter(param=click.Argument() as argument):
            return f"missing required argument '{argument.human_readable_name}'"
        case _:
            return error.format_message()


def _unusable(args: list[str]) -> str:
    """What no command can work with, "" if it is all right."""
    for arg in args:
        try:
            arg.encode()
        except UnicodeEncodeError:
            return f"the argument {arg.encode(errors='replace').decode()!r} is not UTF-8 text"
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working directory does not exist any more; change to another"
    return ""


def _take_low_descriptors() -> None:
    """So that no file of ours becomes standard input, output or error where one of these was closed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


if __name__ == "__main__":
    main()
