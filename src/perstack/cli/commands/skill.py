"""`perstack skill`: try the skills of an Expert by hand, sign in to remote ones and out again."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import click
import msgspec

from perstack.definition import RuntimeName
from perstack.job import Json, Text
from perstack.ops.skill_test import Called, Trial, TriedSkill, TriedTool, Wish, try_skills

from ..exits import DONE, FAILED
from ..options import project_options, wall_options
from ..plain import plain


class JsonObject(click.ParamType[dict[str, Json]]):
    """Arguments of a tool."""

    name = "json"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Json]:
        if isinstance(value, dict):
            return value  # pyright: ignore[reportUnknownVariableType]  # the default, which is ours
        try:
            return msgspec.json.decode(str(value), type=dict[str, Any])
        except msgspec.DecodeError as error:
            self.fail(f"{value!r} is no JSON object: {error}", param, ctx)


@click.group()
def skill() -> None:
    """Try the skills of an Expert, and sign in to them."""


@skill.command()
@click.argument("expert_key", metavar="expertKey")
@click.argument("skill_name", metavar="[skill]", required=False, default=None)
@project_options
@wall_options
@click.option("--tool", help="A tool to call, by its own name or by the one the model sees.")
@click.option("--args", type=JsonObject(), help="Its arguments, a JSON object [default: {}].")
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def test(
    expert_key: str,
    skill_name: str | None,
    config: str | None,
    env_path: tuple[str, ...],
    runtime: RuntimeName | None,
    read: tuple[Path, ...],
    tool: str | None,
    args: dict[str, Json] | None,
    as_json: bool,
) -> int:
    """Connect the skills of `expertKey`, or one of them, and list their tools. With --tool, call one.

    Exit codes: 0 all of it worked; 1 a skill does not answer, or the call came back as an error.
    """
    if args is not None and tool is None:
        raise click.UsageError("--args requires --tool")
    wish = Wish(
        expert=expert_key,
        skill=skill_name,
        tool=tool,
        args=args or {},
        config=config,
        env_paths=env_path,
        runtime=runtime,
        read=read,
    )
    trial = anyio.run(try_skills, wish, os.environ, Path().resolve())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(trial), indent=2))
    else:
        for line in _as_text(trial):
            click.echo(plain(line))
    return FAILED if trial.failed else DONE


@skill.command()
@click.argument("expert_key", metavar="expertKey")
@click.argument("skill_name", metavar="skill")
@project_options
@click.option("--no-browser", is_flag=True, help="Only print the address to sign in at.")
def login(
    expert_key: str,
    skill_name: str,
    config: str | None,
    env_path: tuple[str, ...],
    no_browser: bool,
) -> int:
    """Sign in to a remote skill of `expertKey` with OAuth, keep that for later runs, and list its tools."""
    from perstack.ops.skill_login import Account, sign_in  # loads MCP's library

    async def show(url: str) -> None:
        click.echo(f"Sign in here:\n{plain(url)}")
        if not no_browser:
            await anyio.to_thread.run_sync(webbrowser.open, url, abandon_on_cancel=True)

    account = Account(expert=expert_key, skill=skill_name, config=config, env_paths=env_path)
    done = anyio.run(sign_in, account, os.environ, Path().resolve(), show)
    how = "Signed in" if done.stored else "It did not ask for a sign-in"
    click.echo(f"{how}. {plain(skill_name)}: {len(done.tools)} tool(s)")
    for tool in done.tools:
        click.echo(f"  {plain(tool)}")
    return DONE


@skill.command()
@click.argument("expert_key", metavar="expertKey")
@click.argument("skill_name", metavar="skill")
@project_options
def logout(expert_key: str, skill_name: str, config: str | None, env_path: tuple[str, ...]) -> int:
    """Delete what is stored of a sign-in to a remote skill of `expertKey`."""
    from perstack.ops.skill_login import Account, sign_out  # loads MCP's library

    account = Account(expert=expert_key, skill=skill_name, config=config, env_paths=env_path)
    had = anyio.run(sign_out, account, os.environ, Path().resolve())
    click.echo("Signed out." if had else "There was no sign-in.")
    return DONE


def _as_text(trial: Trial) -> Iterator[str]:
    if trial.called is not None:
        for each in trial.skills:
            if each.error:
                yield from _failure(each)
        yield from _result(trial.called)
        return
    for each in trial.skills:
        if each.error:
            yield from _failure(each)
            continue
        server = f", {' '.join(each.server)}" if each.server else ""
        ready = f", ready after {each.ready_s:.2f} s" if each.ready_s is not None else ""
        yield f"{each.skill}: {len(each.tools)} tool(s){server}{ready}"
        if each.differs:
            yield "  It has other tools than perstack.lock says:"
            yield from (f"    - {line}" for line in each.differs)
        for tool in each.tools:
            yield from _tool(tool)
        yield ""


def _tool(tool: TriedTool) -> Iterator[str]:
    hints = (("reads only", tool.reads_only), ("may repeat", tool.may_repeat))
    marks = [name for name, is_so in hints if is_so]
    if tool.hidden_by:
        marks.append(f"hidden by {tool.hidden_by}")
    elif tool.shown_as != tool.name:
        marks.append(f"shown as {tool.shown_as}, since another tool has its name")
    yield f"  {tool.name}" + (f"  [{'; '.join(marks)}]" if marks else "")
    yield from (f"    {line}" for line in tool.description.splitlines())
    yield f"    {msgspec.json.encode(tool.input_schema).decode()}"


def _failure(each: TriedSkill) -> Iterator[str]:
    yield f"{each.skill}: not available: {each.error}"
    if each.stderr_tail:
        yield "  Its last output:"
        yield from (f"    {line}" for line in each.stderr_tail.splitlines())
    yield ""


def _result(called: Called) -> Iterator[str]:
    outcome = called.outcome
    yield f"{called.tool} of {called.skill} {'failed' if outcome.is_error else 'answered'}:"
    for part in outcome.parts:
        if isinstance(part, Text):
            yield part.text
        else:
            yield f"[{part.mime_type}, {len(part.data) * 3 // 4} bytes]"
