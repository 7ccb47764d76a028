"""The program `perstack`: finds the command, runs it, and turns what goes wrong into words and an exit code.

A command's module is imported when the command is called, so `--help` and `--version` load none of them.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from perstack.errors import PerstackError, sole

from .exits import FAILED, exit_for
from .plain import plain

COMMANDS = {
    "run": ("run:run", "Run an Expert; events go to stdout, one JSON object a line."),
    "show": ("show:show", "Print what the model would get: system text, tools, limits."),
    "log": ("log:log", "Show what happened in a job."),
    "replay": ("replay:replay", "Tell a job again from its log, or check that the log is whole."),
    "compare": ("compare:compare", "Show where two jobs part."),
    "fork": ("fork:fork", "Start a new job from a place in another."),
    "install": ("install:install", "Lock the Experts of perstack.toml, with their tools."),
    "skill": ("skill:skill", "Try the skills of an Expert."),
    "base": ("base:base", "Offer the base skill's tools as an MCP server on stdio."),
}


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
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


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
    """Perstack: define, run and share agents ("Experts")."""


def main(args: list[str] | None = None) -> None:
    """The console script. Never returns."""
    sys.exit(status_of(sys.argv[1:] if args is None else args))


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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        cause = sole(error)  # tasks raise in groups
        if not isinstance(cause, PerstackError):
            raise
        click.echo(f"error: {plain(str(cause))}", err=True)
        return exit_for(cause)


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
