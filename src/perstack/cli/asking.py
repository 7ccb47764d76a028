"""Questions to who sits at the terminal. They go to stderr, so stdout has results only.

Without a terminal nothing is asked: the command says instead which argument or option would have answered.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from perstack.errors import UserError

from .plain import plain
from .text import table

QUIT = "q"


class Cancelled(Exception):
    """Who was asked does not want to go on."""


def is_answered() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def need_answerer(instead: str) -> None:
    """Raises UserError if there is no terminal. instead: what to write on the command line."""
    if not is_answered():
        raise UserError(f"There is no terminal to ask at. {instead}")


def choose(title: str, rows: Sequence[Sequence[str]]) -> int:
    """Which of the rows, from 0. Raises Cancelled."""
    click.echo(title, err=True)
    lines = table(
        [[f"{number})", *map(plain, row)] for number, row in enumerate(rows, 1)], right=(0,)
    )
    for line in lines:
        click.echo(f"  {line}", err=True)
    while True:
        answer = str(click.prompt(f"Number, or {QUIT} to quit", err=True)).strip().lower()
        if answer == QUIT:
            raise Cancelled
        if answer.isdecimal() and 1 <= int(answer) <= len(rows):
            return int(answer) - 1
        click.echo(f"Please give a number from 1 to {len(rows)}.", err=True)


def write(title: str, default: str = "") -> str:
    """A line of text. Raises Cancelled."""
    answer = str(click.prompt(title, default=default, show_default=bool(default), err=True)).strip()
    return answer


def is_sure(question: str) -> bool:
    """Yes or no; no, if nothing is said."""
    return click.confirm(question, default=False, err=True)


def confirm(question: str) -> None:
    """Raises Cancelled for anything but a yes."""
    if not is_sure(question):
        raise Cancelled
