"""`perstack show`: what the model would get."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
import msgspec

from perstack.definition import Limits
from perstack.ops.project import Flags
from perstack.ops.run import Order
from perstack.ops.show import Shown
from perstack.ops.show import show as shown_of

from ..options import run_settings


@click.command()
@click.argument("expert_key", metavar="expertKey")
@run_settings
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def show(
    expert_key: str,
    config: str | None,
    flags: Flags,
    as_json: bool,
) -> None:
    """Print the system text, the tools and the limits that `expertKey` would run with. No model is asked."""
    order = Order(
        expert=expert_key,
        config=config,
        cwd=Path().resolve(),
        workspace=Path().resolve(),
        env=os.environ,
        flags=flags,
    )
    shown = shown_of(order, time.time())
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
    lines += [f"Not shown  tools of {name}: its server knows them" for name in shown.starts_servers]
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
