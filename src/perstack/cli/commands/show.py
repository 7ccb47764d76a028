"""`perstack show`: what the model would get."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import click
import msgspec
from msgspec.structs import replace

from perstack.definition import Limits, RuntimeName
from perstack.ops.packages.sources import Sources
from perstack.ops.project import Flags
from perstack.ops.running.provided import sentence_of
from perstack.ops.running.run import Order
from perstack.ops.show import Shown
from perstack.ops.show import show as shown_of

from ..options import run_settings, source_options, wall_options
from ..walls import policy_lines


@click.command()
@click.argument("expert_key", metavar="expertKey")
@run_settings
@source_options
@wall_options
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def show(
    expert_key: str,
    config: str | None,
    flags: Flags,
    sources: Sources,
    runtime: RuntimeName | None,
    read: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Print the system text, the tools, the limits and the walls that `expertKey` would run with.

    No model is asked.
    """
    order = Order(
        expert=expert_key,
        config=config,
        cwd=Path().resolve(),
        workspace=Path().resolve(),
        env=os.environ,
        flags=replace(flags, runtime=runtime),
        read=read,
        sources=sources,
    )
    shown = anyio.run(shown_of, order, time.time())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2))
    else:
        click.echo(_as_text(shown))


def _budget(limits: Limits) -> str:
    parts = (
        limits.max_tokens and f"{limits.max_tokens} tokens",
        limits.max_duration_s and f"{limits.max_duration_s:g} s of work",
        limits.max_cost and f"{limits.max_cost:g} US dollars",
    )
    return "".join(f", {part}" for part in parts if part)


def _as_text(shown: Shown) -> str:
    limits = shown.limits
    lines = [
        f"Expert     {shown.key} (version {shown.version})",
        f"Digest     {shown.integrity}",
        f"Model      {shown.provider}/{shown.model}, reasoning {shown.reasoning}",
        f"Limits     {limits.max_steps} steps, {limits.max_retries} retries, "
        f"{limits.timeout_s:g} s a reply, delegates {limits.max_depth} deep and {limits.max_fan_out} wide"
        f"{_budget(limits)}",
        f"Delegates  {', '.join(shown.delegates) or 'none'}",
    ]
    lines += [f"Asks you   before {rule}" for rule in shown.approve]
    lines += [f"Denied     {rule}" for rule in shown.deny]
    lines += [f"Not shown  tools of {name}: its server knows them" for name in shown.starts_servers]
    lines += [f"Outside    {sentence_of(row, shown.provider)}" for row in shown.provided]
    lines += ["", *policy_lines(shown.runtime, shown.walls)]
    lines += ["", f"Tools ({len(shown.tools)})", ""]
    for tool in shown.tools:
        schema = msgspec.json.encode(tool.input_schema).decode()
        lines += [
            f"  {tool.name}  [{tool.answered_by}]",
            f"    {tool.description}",
            f"    {schema}",
            "",
        ]
    lines += ["System text", "", shown.instruction]
    return "\n".join(lines)
