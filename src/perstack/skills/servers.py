"""MCP servers as skills: local ones over stdin and stdout, remote ones over HTTP.

Here what a Definition says of a server is put together: how it is started or reached (`launch.py`, `access.py`),
what one connection to it does (`mcp.py`), and that there is one as long as the skill is open (`keeper.py`).

A server may ask a person something during a call (elicitation). Unless somebody is there to answer (`Ask`), the
call is then cancelled at the server and says what was asked (`NeedsAnswer`), and is made again, from the start,
once there is an answer.

Not done here: which tools an Expert may use (`toolbox.py`), and whether arguments fit the schema.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from perstack.definition import RemoteSkill, StdioSkill
from perstack.job import SkillStarting, SkillStderr

from .access import Access
from .keeper import Changed, Hear, Keeper, Limits, opened
from .launch import Murmur, command_of, environment_of, open_process
from .mcp import Local, Remote, Way, connected
from .oauth import SignIn
from .questions import Ask
from .skill import STARTUP_S, TOOL_S, Skill
from .wrapping import Wrap, unwrapped


@asynccontextmanager
async def open_stdio_skill(
    name: str,
    skill: StdioSkill,
    env: Mapping[str, str],
    workspace: Path,
    *,
    hear: Hear,
    startup_s: float = STARTUP_S,
    tool_s: float = TOOL_S,
    wrap: Wrap = unwrapped,
    ask: Ask | None = None,
    changed: Changed | None = None,
) -> AsyncGenerator[Skill]:
    """The local server `skill`, running in `workspace`, until the block is left. All it started has then ended.

    Must be entered and left in the same task. name: the skill's. env: the variables of the run, of which the
    server gets a short list and what `requiredEnv` names. wrap: puts a sandbox's launcher in front.

    Raises UserError and MissingEnv for what the Definition or the environment lacks, SkillUnavailable if the
    server cannot be started or does not answer within `startup_s`.
    """
    command = command_of(name, skill)
    child_env = environment_of(name, skill, env)
    murmur = Murmur(lambda text: hear(SkillStderr(skill=name, text=text)))

    @asynccontextmanager
    async def way() -> AsyncGenerator[Way]:
        hear(SkillStarting(skill=name, command=command[0], args=command[1:]))
        async with open_process(name, command, child_env, workspace, murmur, wrap=wrap) as process:
            yield Local(process)

    limits = Limits(startup_s=startup_s, tool_s=tool_s, again=1)
    connect = partial(connected, name, way, tool_s, ask)
    keeper = Keeper(name, connect, limits, hear, changed, lambda: murmur.tail)
    async with opened(keeper):
        yield keeper


@asynccontextmanager
async def open_remote_skill(
    name: str,
    skill: RemoteSkill,
    env: Mapping[str, str],
    *,
    hear: Hear,
    startup_s: float = STARTUP_S,
    tool_s: float = TOOL_S,
    allow_loopback: bool = False,
    ask: Ask | None = None,
    changed: Changed | None = None,
    sign_in: SignIn | None = None,
) -> AsyncGenerator[Skill]:
    """The remote server `skill`, connected until the block is left.

    Must be entered and left in the same task. name: the skill's. env: where the variables of `headersEnv` and
    the proxy settings are looked up. allow_loopback: let the server be this machine, and then without TLS.
    sign_in: how a person signs in if the server wants it; without it a stored sign-in is used. A header
    `Authorization` makes both unnecessary.

    Raises UserError and MissingEnv for what the Definition or the environment lacks, SkillUnavailable if the
    server cannot be reached, may not be, or does not answer within `startup_s`.
    """
    access = Access(name, skill, env, tool_s=tool_s, allow_loopback=allow_loopback, sign_in=sign_in)

    @asynccontextmanager
    async def way() -> AsyncGenerator[Way]:
        yield Remote(access)

    limits = Limits(startup_s=startup_s, tool_s=tool_s, again=None)
    connect = partial(connected, name, way, tool_s, ask)
    async with opened(Keeper(name, connect, limits, hear, changed)) as keeper:
        yield keeper
