"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from perstack.definition import PROVIDERS, Reasoning
from perstack.ops.project import Flags

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


def run_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that settle how an Expert runs; the command gets them as one argument, `flags`."""

    @wraps(command)
    def with_flags(**given: Any) -> Any:
        timeout_ms, duration_ms = given.pop("timeout"), given.pop("max_duration")
        flags = Flags(
            provider=given.pop("provider"),
            model=given.pop("model"),
            reasoning=given.pop("reasoning_budget"),
            max_steps=given.pop("max_steps"),
            max_retries=given.pop("max_retries"),
            timeout_s=None if timeout_ms is None else timeout_ms / 1000,
            max_tokens=given.pop("max_tokens"),
            max_duration_s=None if duration_ms is None else duration_ms / 1000,
            max_cost=given.pop("max_cost"),
            env_paths=given.pop("env_path"),
        )
        return command(flags=flags, **given)

    return project_options(_model_options(with_flags))


def _model_options(command: Command) -> Command:
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
