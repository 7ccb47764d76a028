"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from perstack.definition import PROVIDERS, Reasoning

Command = TypeVar("Command", bound=Callable[..., Any])

LEVELS = ("none", "minimal", "low", "medium", "high")


class ReasoningBudget(click.ParamType[Reasoning]):
    """A named level, or a number of tokens."""

    name = "level|tokens"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Reasoning:
        text = str(value)
        for level in LEVELS:
            if text == level:
                return level
        if text.isdecimal():
            return int(text)
        self.fail(f"{text!r} is neither {', '.join(LEVELS)} nor a number of tokens.", param, ctx)


def model_options(command: Command) -> Command:
    """Which model, and how much of it."""
    for option in reversed(
        (
            click.option("--provider", type=click.Choice(PROVIDERS), help="Provider of the model."),
            click.option("--model", help="Model, by the provider's name for it."),
            click.option(
                "--reasoning-budget",
                type=ReasoningBudget(),
                help="How much the model may think: none, minimal, low, medium, high or tokens.",
            ),
            click.option(
                "--max-steps",
                type=click.IntRange(min=1),
                help="Replies of the model, over all runs of the job [default: 100].",
            ),
            click.option(
                "--max-retries",
                type=click.IntRange(min=0),
                help="Times a failed request is tried again [default: 5].",
            ),
            click.option(
                "--timeout",
                type=click.IntRange(min=1),
                help="Milliseconds one reply of the model may take [default: 300000].",
            ),
            click.option(
                "--max-tokens",
                type=click.IntRange(min=1),
                help="Input and output tokens, over all runs of the job.",
            ),
            click.option(
                "--max-duration",
                type=click.IntRange(min=1),
                help="Milliseconds the job may work, waiting for you not counted.",
            ),
            click.option(
                "--max-cost",
                type=click.FloatRange(min=0, min_open=True),
                help="US dollars the model may cost, over all runs of the job.",
            ),
        )
    ):
        command = option(command)
    return command


def project_options(command: Command) -> Command:
    """Where the definitions and the environment come from."""
    for option in reversed(
        (
            click.option("--config", help="The perstack.toml to use."),
            click.option(
                "--env-path",
                multiple=True,
                help="File with environment variables; repeatable, the first that sets a name wins "
                "[default: .env.local, .env].",
            ),
        )
    ):
        command = option(command)
    return command
