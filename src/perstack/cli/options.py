"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from perstack.definition import (
    PROVIDERS,
    SERVED,
    ProviderName,
    Reasoning,
    RuntimeName,
    not_served,
)
from perstack.ops.packages.sources import Sources
from perstack.ops.project import DEFAULT_RUNTIME, Flags

Command = TypeVar("Command", bound=Callable[..., Any])

config_option = click.option("--config", help="The perstack.toml to use.")

json_option = click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")

quiet_option = click.option(
    "--quiet", is_flag=True, help="Print nothing but what was asked for, warnings and errors."
)

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")

env_path_option = click.option(
    "--env-path",
    multiple=True,
    help="File with environment variables; repeatable, the first that sets a name wins "
    "[default: .env.local, .env].",
)

registry_option = click.option(
    "--registry",
    metavar="URL",
    help="The default registry [default: PERSTACK_API_BASE_URL, else perstackApiBaseUrl].",
)

offline_option = click.option("--offline", is_flag=True, help="Open no connection to a registry.")

prefer_offline_option = click.option(
    "--prefer-offline", is_flag=True, help="Use what is known of registries, whatever its age."
)

allow_disabled_option = click.option(
    "--allow-disabled",
    is_flag=True,
    help="Take versions that their owner has disabled, if they are named exactly.",
)

workspace_option = click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The directory the Expert works in [default: the working directory].",
)

cassette_option = click.option(
    "--cassette",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Replay recorded replies from this file instead of asking a model.",
)

output_option = click.option(
    "--output",
    type=click.Choice(("json", "text")),
    default="json",
    show_default=True,
    help="json: one event a line. text: a live account for people.",
)

full_events_option = click.option(
    "--full-events", is_flag=True, help="Events with whole histories in them."
)

verbose_option = click.option(
    "--verbose", is_flag=True, help="Also tell what the runtime itself does."
)

frozen_option = click.option(
    "--frozen",
    is_flag=True,
    help="Run exactly what perstack.lock says, tools of servers included, or not at all.",
)

demo_option = click.option(
    "--demo",
    is_flag=True,
    help="Play the shipped recording in a new directory; no model is asked.",
)


class _Provider(click.Choice[ProviderName]):
    """A provider that can be asked. One that a definition may name, and nobody can ask yet, is told apart."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> ProviderName:
        if value in PROVIDERS and value not in SERVED:
            self.fail(not_served(value), param, ctx)
        return super().convert(value, param, ctx)


provider_option = click.option("--provider", type=_Provider(SERVED), help="Provider of the model.")

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


def _stacked(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator; `--help` shows them in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


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


_model_options = _stacked(
    provider_option,
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


project_options = _stacked(
    config_option,
    env_path_option,
)
"""Where the definitions and the environment come from."""


job_options = _stacked(
    click.option("--job-id", help="Id for the new job."),
    click.option(
        "--continue",
        "continue_latest",
        is_flag=True,
        help="Go on with this Expert's latest job.",
    ),
    click.option("--continue-job", metavar="JOB", help="Go on with this job."),
    click.option(
        "--resume-from",
        metavar="CHECKPOINT",
        help="Go on from here; needs --continue-job.",
    ),
    click.option(
        "-i",
        "--interactive-tool-call-result",
        "answer",
        is_flag=True,
        help="The query answers the question the job waits with.",
    ),
)
"""Which job: a new one, or one that goes on, and from where. What they say together, `goes_on` checks."""


def goes_on(
    continue_latest: bool,
    continue_job: str | None,
    resume_from: str | None,
    answer: bool,
    query: str | None,
) -> bool:
    """Whether the job is one that goes on. Raises UsageError if the job options do not fit together."""
    if resume_from is not None and continue_job is None:
        raise click.UsageError("--resume-from requires --continue-job")
    if continue_latest and continue_job is not None:
        raise click.UsageError("--continue and --continue-job cannot be used together")
    found = continue_latest or continue_job is not None
    if answer and not found:
        raise click.UsageError("-i requires --continue or --continue-job")
    if answer and query is None:
        raise click.UsageError("-i requires a query: the answer")
    return found


rule_options = _stacked(
    click.option(
        "--approve",
        multiple=True,
        metavar="RULE",
        help='Ask you before a call that the rule is about, e.g. "exec(git push *)"; repeatable.',
    ),
    click.option(
        "--deny",
        multiple=True,
        metavar="RULE",
        help="Make no call that the rule is about; repeatable.",
    ),
)
"""Rules on calls, beside those of the Experts; the command gets them as `approve` and `deny`."""


wall_options = _stacked(
    click.option(
        "--runtime",
        type=click.Choice(get_args(RuntimeName)),
        help=f"Where it runs [default: {DEFAULT_RUNTIME}].",
    ),
    click.option(
        "--read",
        multiple=True,
        metavar="PATH",
        type=click.Path(exists=True, path_type=Path),
        help="A file or directory outside the workspace that programs in a sandbox may read; repeatable.",
    ),
)
"""Where programs run, and what they may read."""


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where published Experts come from; the command gets it as one argument, `sources`."""

    @wraps(command)
    def with_sources(
        registry: str | None,
        offline: bool,
        prefer_offline: bool,
        allow_disabled: bool,
        **given: Any,
    ) -> Any:
        sources = Sources(
            registry=registry,
            offline=offline,
            prefer_offline=prefer_offline,
            allow_disabled=allow_disabled,
        )
        return command(sources=sources, **given)

    return registry_option(
        offline_option(prefer_offline_option(allow_disabled_option(with_sources)))
    )


def registry_access(
    *, needs_project: bool = False, asks: bool = True, chooses: bool = False
) -> Callable[[Command], Command]:
    """The options that say which registries there are; the command gets what follows from them as `access`.

    asks: whether it cannot do without asking one; else what is known of them may be preferred. Those that have to
    ask take --offline, too: as all commands, they open no connection then, and say so. chooses: whether versions
    are chosen, of which some may be disabled.
    """

    def decorate(command: Command) -> Command:
        from perstack.ops.packages.access import access_of

        @wraps(command)
        def with_access(
            config: str | None,
            env_path: tuple[str, ...],
            registry: str | None,
            offline: bool,
            prefer_offline: bool = False,
            allow_disabled: bool = False,
            **given: Any,
        ) -> Any:
            sources = Sources(
                registry=registry,
                offline=offline,
                prefer_offline=prefer_offline,
                allow_disabled=allow_disabled,
            )
            access = access_of(
                config, env_path, sources, os.environ, Path().resolve(), needs_project=needs_project
            )
            return command(access=access, **given)

        wrapped: Any = with_access
        if not asks:
            wrapped = prefer_offline_option(wrapped)
        if chooses:
            wrapped = allow_disabled_option(wrapped)
        return config_option(env_path_option(registry_option(offline_option(wrapped))))

    return decorate
