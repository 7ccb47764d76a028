"""Try the skills of an Expert by hand: connect, see their tools as the Expert would, call one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import anyio
import msgspec

from perstack._version import version
from perstack.definition import BASE_SKILL, Expert, InteractiveSkill, RuntimeName
from perstack.engine import Equipment, drift, open_equipment, pinned_tools
from perstack.errors import PerstackError, SkillUnavailable, ToolError, UserError
from perstack.job import Job, Json, Notice, SkillConnected, Text
from perstack.lock import Lock, LockFile, Pin
from perstack.skills import NeedsAnswer, Outcome, Tool, Toolbox, base_tools, faults_in, toolbox_of

from .packages.locking import lock_of, read_lock
from .project import Flags, load_env, load_project, settle
from .walls.build import open_walls
from .walls.needs import needs_of

Hidden = Literal["", "omit", "pick"]


class TriedTool(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One tool of a skill.

    name: as its skill has it. shown_as: as the model is told of it, empty if it is not. hidden_by: which list
    keeps it from the model.
    """

    name: str
    shown_as: str
    hidden_by: Hidden
    title: str
    description: str
    reads_only: bool
    may_repeat: bool
    input_schema: dict[str, Json]


class TriedSkill(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One skill, tried. error: why it does not answer, empty if it does; stderr_tail: its last words then.

    server: name and version, as it says itself. ready_s: seconds from start to the list of tools. differs: from
    the lock, one line each; None if the lock does not know it.
    """

    skill: str
    type: str
    tools: tuple[TriedTool, ...] = ()
    error: str = ""
    stderr_tail: str = ""
    server: tuple[str, str] | None = None
    ready_s: float | None = None
    differs: tuple[str, ...] | None = None


class Called(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of a call by hand."""

    skill: str
    tool: str
    outcome: Outcome


class Trial(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All that was tried. called: None if no call was asked for."""

    expert: str
    skills: tuple[TriedSkill, ...]
    called: Called | None = None

    @property
    def failed(self) -> bool:
        """Whether a skill does not answer, or the call came back as an error."""
        broken = any(skill.error for skill in self.skills)
        return broken or (self.called is not None and self.called.outcome.is_error)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What to try.

    skill: None for all of the Expert's. tool: one to call, under its own name or the one the model sees; args:
    with these arguments. runtime, read: as for a run.
    """

    expert: str
    skill: str | None = None
    tool: str | None = None
    args: dict[str, Json] = msgspec.field(default_factory=dict[str, Json])
    config: str | None = None
    env_paths: tuple[str, ...] = ()
    runtime: RuntimeName | None = None
    read: tuple[Path, ...] = ()


async def try_skills(wish: Wish, env: Mapping[str, str], cwd: Path) -> Trial:
    """Open the skills, list their tools, make the call. env: the process environment. cwd: also the workspace.

    Raises UserError for a skill or a tool that is not there and for arguments that do not fit, UnknownExpert,
    DefinitionError.
    """
    loaded = load_project(wish.config, cwd, env)
    settings = settle(
        loaded.project if loaded else None, Flags(env_paths=wish.env_paths, runtime=wish.runtime)
    )
    variables = load_env(settings.env_paths, env, cwd, required=settings.env_required)
    file = read_lock(loaded) if loaded else None
    lock = (await lock_of([wish.expert], loaded, file, env=variables)).lock
    key = lock.key_of(wish.expert)
    expert = lock.expert(key)
    names = _chosen(expert, wish.skill)
    connected: dict[str, SkillConnected] = {}

    def hear(notice: Notice) -> None:
        if isinstance(notice, SkillConnected):
            connected[notice.skill] = notice

    job = Job(lock=lock, workspace=str(cwd), version=version())
    needs = tuple(
        need for need in needs_of(lock, (key,)) if need.expert == key and need.name in names
    )
    async with (
        open_walls(settings, needs, cwd, variables, wish.read) as walls,
        open_equipment(job, variables, hear, walls=walls) as equipment,
    ):
        found = await _opened(equipment, expert, names)
        tools = {
            name: tools for name, tools in found.items() if not isinstance(tools, PerstackError)
        }
        known = _pin_of(lock, key, file)
        # A name may be taken by a skill that is not tried: the base skill, or one the lock knows.
        others = {BASE_SKILL: base_tools(), **(pinned_tools(known) if known else {})}
        box = toolbox_of(expert, lock.delegates_of(key), {**others, **tools})
        skills = tuple(
            _tried(expert, name, found.get(name, ()), box, connected.get(name), known)
            for name in names
        )
        called = None
        if wish.tool is not None:
            called = await _call(equipment, key, wish.tool, wish.args, skills)
    return Trial(expert=key, skills=skills, called=called)


def _chosen(expert: Expert, skill: str | None) -> tuple[str, ...]:
    if skill is None:
        return tuple(expert.skills)
    if skill not in expert.skills:
        has = ", ".join(f'"{name}"' for name in expert.skills) or "none"
        raise UserError(f'"{expert.key}" has no skill "{skill}". It has: {has}.')
    return (skill,)


async def _opened(
    equipment: Equipment, expert: Expert, names: tuple[str, ...]
) -> dict[str, tuple[Tool, ...] | PerstackError]:
    """The tools of each server, or why there are none; all are opened side by side."""
    found: dict[str, tuple[Tool, ...] | PerstackError] = {}

    async def ask(name: str) -> None:
        try:
            found[name] = (await equipment.skill(expert.key, name)).tools
        except PerstackError as error:
            found[name] = error

    async with anyio.create_task_group() as tasks:
        for name in names:
            if not isinstance(expert.skills[name], InteractiveSkill):
                tasks.start_soon(ask, name)
    return found


def _tried(
    expert: Expert,
    name: str,
    tools: tuple[Tool, ...] | PerstackError,
    box: Toolbox,
    connected: SkillConnected | None,
    known: Pin | None,
) -> TriedSkill:
    skill = expert.skills[name]
    kind = str(skill.__struct_config__.tag)
    if isinstance(tools, PerstackError):
        if isinstance(tools, SkillUnavailable):
            tail = tools.stderr_tail
            return TriedSkill(skill=name, type=kind, error=tools.reason, stderr_tail=tail)
        return TriedSkill(skill=name, type=kind, error=str(tools))
    shown = {entry.own_name: entry for entry in box.entries.values() if entry.skill == name}
    if isinstance(skill, InteractiveSkill):
        offered, omit = tuple(entry.tool for entry in shown.values()), ()
    else:
        offered, omit = tools, skill.omit
    stages = (connected.spawn_s, connected.handshake_s, connected.discovery_s) if connected else ()
    return TriedSkill(
        skill=name,
        type=kind,
        tools=tuple(
            TriedTool(
                name=tool.name,
                shown_as=shown[tool.name].tool.name if tool.name in shown else "",
                hidden_by="" if tool.name in shown else "omit" if tool.name in omit else "pick",
                title=tool.title,
                description=tool.description,
                reads_only=tool.reads_only,
                may_repeat=tool.may_repeat,
                input_schema=tool.schema,
            )
            for tool in offered
        ),
        server=connected.server if connected else None,
        ready_s=sum(stage or 0.0 for stage in stages) if connected else None,
        differs=None
        if known is None or name not in known.tools or isinstance(skill, InteractiveSkill)
        else drift(known, name, tools),
    )


def _pin_of(lock: Lock, key: str, file: LockFile | None) -> Pin | None:
    """What the lock file says of the Expert, if it is about the same Definition."""
    known = file.lock.experts.get(key) if file is not None else None
    return known if known and known.integrity == lock.experts[key].integrity else None


async def _call(
    equipment: Equipment,
    key: str,
    tool: str,
    args: dict[str, Json],
    skills: tuple[TriedSkill, ...],
) -> Called:
    where, found = _tool(tool, skills)
    if where.type == InteractiveSkill.__struct_config__.tag:
        raise UserError(f'Tool "{tool}" is answered by a person; there is nothing to call.')
    if faults := faults_in(found.input_schema, args):
        raise UserError(f"Invalid arguments for {tool}: {'; '.join(faults)}.")
    skill = await equipment.skill(key, where.skill)
    try:
        outcome = await skill.use(found.name, args)
    except ToolError as error:
        outcome = Outcome(parts=(Text(text=str(error)),), is_error=True)
    except NeedsAnswer as error:
        text = f"The call was called off, since its server asks: {error.question.message}"
        outcome = Outcome(parts=(Text(text=text),), is_error=True)
    return Called(skill=where.skill, tool=found.name, outcome=outcome)


def _tool(name: str, skills: tuple[TriedSkill, ...]) -> tuple[TriedSkill, TriedTool]:
    """The tool that is shown under `name`, else the one that a single skill calls so itself."""
    every = [(skill, tool) for skill in skills for tool in skill.tools]
    for skill, tool in every:
        if tool.shown_as == name:
            return skill, tool
    own = [(skill, tool) for skill, tool in every if tool.name == name]
    if len(own) == 1:
        return own[0]
    if own:
        among = " or ".join(f'"{skill.skill}"' for skill, _ in own)
        raise UserError(f'More than one skill has a tool "{name}". Say which: {among}.')
    if broken := [skill for skill in skills if skill.error]:
        first = broken[0]
        raise SkillUnavailable(first.skill, first.error, first.stderr_tail)
    names = ", ".join(tool.shown_as or tool.name for _, tool in every) or "none"
    raise UserError(f'There is no tool "{name}". The tools are: {names}.')
