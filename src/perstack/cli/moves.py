"""How a change of what a project depends on is told, agreed to, and made."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from perstack.errors import UserError
from perstack.ops.packages.deps import Move, Plan, carry_out

from .asking import confirm, is_answered
from .plain import plain
from .text import as_json_text, say, warn

SIGNS = {"widen": "!", "narrow": "-", "neutral": " "}
"""Before each change: look at it, less than before, only another."""


def show_plan(plan: Plan, *, as_json: bool, written: bool = False) -> None:
    """Tell what would change, or did."""
    if as_json:
        told = {"delegates": plan.delegates, "moves": plan.moves, "written": written}
        say(as_json_text(told, pretty=True))
    else:
        say(_text(plan))


def settle_plan(plan: Plan, *, sure: bool, as_json: bool = False, quiet: bool = False) -> None:
    """Tell a plan, ask about it if it lets Experts touch more than before, and carry it out.

    sure: do not ask. Raises Cancelled; UserError where nobody can be asked.
    """
    warn(plan.warnings)
    if not as_json and not quiet:
        show_plan(plan, as_json=False)
    if plan.widens and not sure:
        if as_json or quiet:
            click.echo(_text(plan), err=True, nl=False)
        if not is_answered():
            raise UserError(
                "Experts could touch more than before. Look at what is marked with ! above, and repeat "
                "with --yes. Nothing was written."
            )
        confirm("Experts could touch more than before (marked with !). Go on?")
    written = carry_out(plan, at=time.time())
    if as_json:
        show_plan(plan, as_json=True, written=written)
    elif not quiet and written and any(move.after for move in plan.moves):
        click.echo("Run `perstack install` to lock their tools, too.", err=True)


def _text(plan: Plan) -> str:
    return "".join(f"{plain(line)}\n" for line in _lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    for expert, delegates in plan.delegates.items():
        for name, spec in delegates.items():
            yield (
                f"{expert} delegates to {spec}"
                if spec
                else f"{expert} no longer delegates to {name}"
            )
    for move in plan.moves:
        yield from _move(move)
    if not plan.delegates and not plan.moves:
        yield "Nothing changes."


def _move(move: Move) -> Iterator[str]:
    match move:
        case Move(before=None, after=str(after)):
            yield f"{after} (new)"
        case Move(before=str(before), after=None):
            yield f"{before} (no longer needed)"
        case Move(before=before, after=after):
            yield f"{before} -> {(after or '').rpartition('@')[2]}"
    for change in move.changes:
        yield f"  {SIGNS[change.effect]} {change.text}"
