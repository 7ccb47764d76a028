"""What the Experts of one job work with: their skills, opened when first needed, and their toolboxes.

A skill is opened once for a job and shared by all its runs that ask for the same server with the same variables;
it stays until the job ends. Each is held by a task of its own, since what an MCP client opens must be closed by
the task that opened it. Servers an Expert needs start side by side.

A skill whose tools are pinned in the lock is not waited for: the toolbox is made from the pins, and the server is
opened when one of its tools is first used. Its own tools are compared with the pins then. The pins hold all the
same, since they are what somebody looked at; the difference is told, and ends a run that must keep to the lock.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from time import monotonic

import anyio
import anyio.abc
import msgspec
from msgspec.structs import replace

from perstack.definition import BASE_SKILL, Expert, InteractiveSkill, RemoteSkill, StdioSkill
from perstack.errors import LockTampered, MissingEnv, PerstackError, SkillUnavailable
from perstack.job import Answer, Call, Job, Notice, SkillConnected, SkillDisconnected, ToolsDiffer
from perstack.lock import Lock, Pin
from perstack.skills import (
    STARTUP_S,
    TOOL_S,
    Outcome,
    Skill,
    Tool,
    Toolbox,
    base_tools,
    is_bundled,
    loopback_allowed,
    open_base,
    toolbox_of,
)

from .pins import drift, is_served, pinned_tools
from .walls import NO_WALLS, Walls

ServerSkill = StdioSkill | RemoteSkill


def toolboxes_of(lock: Lock) -> dict[str, Toolbox]:
    """The toolbox of every Expert in `lock` by Expert key, without the tools that only servers know.

    Raises DefinitionError.
    """
    return {
        key: toolbox_of(
            pin.expert, lock.delegates_of(key), {BASE_SKILL: base_tools(), **pinned_tools(pin)}
        )
        for key, pin in lock.experts.items()
    }


@asynccontextmanager
async def open_equipment(
    job: Job,
    env: Mapping[str, str],
    notify: Callable[[Notice], None],
    *,
    frozen: bool = False,
    walls: Walls = NO_WALLS,
) -> AsyncGenerator[Equipment]:
    """The equipment of `job`. Whatever it opened is closed when the block is left.

    frozen: a skill whose tools are not those that are pinned may not be used. walls: what is built around each
    local server and each program.
    """
    async with anyio.create_task_group() as tasks:
        try:
            yield Equipment(job, env, notify, tasks, frozen, walls)
        finally:
            tasks.cancel_scope.cancel()


class _Slot:
    """A skill that is open, or about to be."""

    def __init__(self) -> None:
        self.ready = anyio.Event()
        self.skill: Skill | None = None
        self.error: PerstackError | None = None

    async def get(self) -> Skill:
        await self.ready.wait()
        if self.error is not None:
            raise self.error
        assert self.skill is not None
        return self.skill


class Equipment:
    """The skills and toolboxes of one job's Experts."""

    def __init__(
        self,
        job: Job,
        env: Mapping[str, str],
        notify: Callable[[Notice], None],
        tasks: anyio.abc.TaskGroup,
        frozen: bool,
        walls: Walls,
    ) -> None:
        self._frozen = frozen
        self._walls = walls
        self._lock = job.lock
        self._workspace = Path(job.workspace)
        self._version = job.version
        self._env = env
        self._notify = notify
        self._tasks = tasks
        self._slots: dict[Hashable, _Slot] = {}
        self._boxes: dict[str, Toolbox] = {}
        self._compared: dict[tuple[str, str], tuple[tuple[Tool, ...], LockTampered | None]] = {}
        self._told: set[ToolsDiffer] = set()

    async def warm_up(self, key: str) -> None:
        """The toolbox of an Expert is ready, but for the skills that a run does not wait for: they are starting.

        Raises as `toolbox` does.
        """
        pin = self._pin(key)
        pinned = pinned_tools(pin)
        open_now = {name: s for name, s in _servers(pin.expert).items() if name not in pinned}
        slots = {name: self._slot(name, skill) for name, skill in open_now.items()}
        late = {n for n, s in open_now.items() if isinstance(s, StdioSkill) and s.lazy_init}
        for name, slot in slots.items():
            if name not in late:
                await slot.get()
        if not late:
            await self.toolbox(key)

    async def toolbox(self, key: str) -> Toolbox:
        """The tools of an Expert; skills that are not pinned are started, side by side, if they are not open yet.

        Raises UserError for what the Definition or the environment lacks, SkillUnavailable.
        """
        if key not in self._boxes:
            pin = self._pin(key)
            tools = pinned_tools(pin)
            servers = _servers(pin.expert)
            slots = {name: self._slot(name, servers[name]) for name in servers if name not in tools}
            for name in tools:
                _check_env(name, servers[name], self._env)
            for name, slot in slots.items():
                tools[name] = (await slot.get()).tools
            self._boxes[key] = toolbox_of(pin.expert, self._lock.delegates_of(key), tools)
        return self._boxes[key]

    async def skill(self, key: str, name: str) -> Skill:
        """The skill `name` of the Expert `key`, opened if it is not open yet.

        Raises as `toolbox` does, and LockTampered if it must keep to pins and does not.
        """
        pin = self._pin(key)
        skill = await self._slot(name, _servers(pin.expert)[name]).get()
        if is_served(pin.expert, name) and name in pin.tools:
            self._compare(pin, name, skill.tools)
        return skill

    async def use(self, key: str, call: Call, answers: Sequence[Answer] = ()) -> Outcome:
        """The outcome of a call by the Expert `key`. Raises what `Skill.use` raises, and what `toolbox` does."""
        box = await self.toolbox(key)
        entry = box.entries.get(call.tool)
        if entry is None:  # asked for by a process that offered other tools
            raise SkillUnavailable(call.skill, f'it no longer offers a tool "{call.tool}"')
        return await (await self.skill(key, entry.skill)).use(entry.own_name, call.args, answers)

    def _pin(self, key: str) -> Pin:
        return self._lock.experts[self._lock.expert(key).key]

    def _compare(self, pin: Pin, name: str, tools: tuple[Tool, ...]) -> None:
        """Tell how `tools` differ from the pins, once; raises LockTampered if they may not."""
        place = pin.expert.key, name
        known, error = self._compared.get(place, (None, None))
        if known is not tools:
            error = None
            if found := drift(pin, name, tools):
                notice = ToolsDiffer(skill=name, differences=found)
                error = LockTampered(notice.text) if self._frozen else None
                if notice not in self._told:
                    self._told.add(notice)
                    self._notify(notice)
            self._compared[place] = tools, error
        if error is not None:
            raise error

    def _slot(self, name: str, skill: ServerSkill) -> _Slot:
        place = _identity(name, skill)
        if place not in self._slots:
            slot = self._slots[place] = _Slot()
            self._tasks.start_soon(self._hold, name, skill, slot)
        return self._slots[place]

    async def _hold(self, name: str, skill: ServerSkill, slot: _Slot) -> None:
        """Opens a skill and keeps it open until the job ends."""
        try:
            async with self._opened(name, skill) as opened:
                slot.skill = opened
                slot.ready.set()
                await anyio.sleep_forever()
        except PerstackError as error:
            slot.error = error
        finally:
            slot.ready.set()

    def _opened(self, name: str, skill: ServerSkill) -> AbstractAsyncContextManager[Skill]:
        if name == BASE_SKILL and isinstance(skill, StdioSkill) and is_bundled(skill):
            return self._base(skill)
        if isinstance(skill, StdioSkill):
            return self._local(name, skill)
        from perstack.skills import open_remote_skill  # costs a second

        startup_s = _seconds(skill.startup_timeout_ms, STARTUP_S)
        tool_s = _seconds(skill.tool_timeout_ms, TOOL_S)
        return open_remote_skill(
            name,
            skill,
            self._env,
            hear=self._notify,
            startup_s=startup_s,
            tool_s=tool_s,
            allow_loopback=loopback_allowed(self._env),
        )

    @asynccontextmanager
    async def _local(self, name: str, skill: StdioSkill) -> AsyncGenerator[Skill]:
        from perstack.skills import open_stdio_skill  # costs a second

        async with (
            self._walls.around_server(name, skill, self._notify) as wrap,
            open_stdio_skill(
                name,
                skill,
                self._env,
                self._workspace,
                hear=self._notify,
                startup_s=_seconds(skill.startup_timeout_ms, STARTUP_S),
                tool_s=_seconds(skill.tool_timeout_ms, TOOL_S),
                wrap=wrap,
            ) as opened,
        ):
            yield opened

    @asynccontextmanager
    async def _base(self, skill: StdioSkill) -> AsyncGenerator[Skill]:
        missing = [variable for variable in skill.required_env if not self._env.get(variable)]
        if missing:
            raise MissingEnv(missing, f"Skill {BASE_SKILL}")
        given = {variable: self._env[variable] for variable in skill.required_env}
        began = monotonic()
        async with (
            self._walls.around_programs(skill, self._notify) as wrap,
            open_base(
                self._workspace, self._env, given=given, wrap=wrap, place=self._walls.place
            ) as base,
        ):
            self._notify(
                SkillConnected(
                    skill=BASE_SKILL,
                    server=(BASE_SKILL, self._version),
                    spawn_s=0.0,
                    handshake_s=0.0,
                    discovery_s=monotonic() - began,
                )
            )
            try:
                yield base
            finally:
                self._notify(SkillDisconnected(skill=BASE_SKILL))


def _servers(expert: Expert) -> dict[str, ServerSkill]:
    return {
        name: skill
        for name, skill in expert.skills.items()
        if not isinstance(skill, InteractiveSkill)
    }


def _check_env(name: str, skill: ServerSkill, env: Mapping[str, str]) -> None:
    """What a server that starts later will need is missed before the model is asked. Raises MissingEnv."""
    if isinstance(skill, StdioSkill):
        missing = [variable for variable in skill.required_env if not env.get(variable)]
        if missing:
            raise MissingEnv(missing, f"skill {name}")


def _seconds(ms: int | None, usual_s: float) -> float:
    return usual_s if ms is None else ms / 1000


def _identity(name: str, skill: ServerSkill) -> Hashable:
    """What two skills have in common that may share one server: all but how its tools are shown."""
    shared = replace(skill, pick=(), omit=(), description=None, rule=None)
    return name, msgspec.json.encode(shared)
