"""Walls made of containers: each local server and each program that `exec` starts has one of its own.

    runtime → docker run → container.py (the first process of the container) → inside.py → the payload

The runtime, with the keys, the log and the model, stays outside, as it does with the walls of `native.py`, and the
policy is the same. What differs: programs are those of an image instead of this machine's, docker's limits and
filters hold besides ours, and there must be a daemon.

A container ends with its program; with the `docker` that started it, when that is asked to end; and with the
runtime, however that ends: the link through the door to the way out breaks. What a killed `docker` had made and
not started yet is removed when the walls are taken down, or by the next runtime that finds it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import get_args

import anyio
import msgspec

from perstack._kept import Place
from perstack._net import public_addresses
from perstack.definition import StdioSkill
from perstack.errors import SandboxError
from perstack.job import ContainerStatus, Notice, SkillWalled

from .daemon import client_env, owned, process_mark, remove, sweep
from .docker import BUNDLE, GIVEN, LIMITS, Box, Kind, run_argv
from .egress import Egress, LookUp, open_egress
from .filters import MACHINES, Machine, strict
from .held import Seen, held, hold, look_around, pinned
from .host import host_of
from .launch import Launch, Wrap
from .names import rules_of
from .policy import Host, Policy, policy_of
from .variables import certificates, proxy_variables

_CODE = Path(__file__).parent


Notify = Callable[[Notice], None]

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What programs find other programs by, where an image does not say."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image that skills run in. path: its PATH. machine: the processor it is for, as Linux says it."""

    name: str
    path: str
    machine: str


@asynccontextmanager
async def open_container_walls(
    image: Image,
    place: Place,
    env: Mapping[str, str],
    *,
    passed: Sequence[str] = (),
    look_up: LookUp = public_addresses,
) -> AsyncGenerator[ContainerWalls]:
    """Walls for the local servers and programs of one job. No container of theirs is left when the block is.

    env: the runtime's variables. passed: names of those that every skill gets besides its own. Raises
    SandboxError.
    """
    machine = next((each for each in get_args(Machine) if each == image.machine), None)
    if machine is None:
        raise SandboxError(
            f"There is no system call filter for {image.machine}, which the image {image.name} is for; there are "
            f"some for {', '.join(MACHINES)}."
        )
    docker = client_env(env, place.workspace)
    await sweep(docker)
    with tempfile.TemporaryDirectory(prefix="perstack-") as folder:
        _write_filter(Path(folder, "strict"), machine)
        walls = ContainerWalls(image, place, env, tuple(passed), look_up, Path(folder))
        try:
            yield walls
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(20):
                await remove(docker, await owned(docker, walls.owner))


class ContainerWalls:
    """Builds containers. owner: what their label says. place: what the job is about."""

    def __init__(
        self,
        image: Image,
        place: Place,
        env: Mapping[str, str],
        passed: tuple[str, ...],
        look_up: LookUp,
        folder: Path,
    ) -> None:
        self.owner = f"{process_mark(os.getpid())}.{token_hex(4)}"
        self._image = image
        self.place = place
        self._env = env
        self._passed = passed
        self._look_up = look_up
        self._folder = folder
        self._numbers = count(1)
        found = os.stat(place.workspace)
        mine = (os.getuid(), os.getgid()) if os.getuid() else (found.st_uid, found.st_gid)
        self._user = f"{mine[0]}:{mine[1]}"

    @asynccontextmanager
    async def around_server(
        self, name: str, skill: StdioSkill, notify: Notify
    ) -> AsyncGenerator[Wrap]:
        """The walls of one local server."""
        policy = self.policy(name, skill, serves=True)
        try:
            async with self._standing(policy, notify, notify) as wrap:
                yield wrap
        finally:
            notify(ContainerStatus(status="stopped", service=name, text="Its container is gone"))

    @asynccontextmanager
    async def around_programs(self, skill: StdioSkill, notify: Notify) -> AsyncGenerator[Wrap]:
        """The walls of each program. Nothing is told of them coming and going."""
        policy = self.policy("@perstack/base", skill, serves=False)
        async with self._standing(policy, notify, lambda _: None) as wrap:
            yield wrap

    def policy(self, name: str, skill: StdioSkill, *, serves: bool) -> Policy:
        """What a skill will see, reach and use up in its container."""
        return container_policy(
            name,
            skill,
            self._env,
            self.place,
            passed=self._passed,
            serves=serves,
            image=self._image,
        )

    @asynccontextmanager
    async def _standing(
        self, policy: Policy, notify: Notify, tell: Callable[[ContainerStatus], None]
    ) -> AsyncGenerator[Wrap]:
        with ExitStack() as stack:
            async with open_egress(
                rules_of(policy.domains, policy.registries),
                skill=policy.skill,
                tell=notify,
                look_up=self._look_up,
            ) as egress:
                notify(SkillWalled(skill=policy.skill, walls=self._summary(policy)))
                holding = False

                @contextmanager
                def wrap(
                    argv: Sequence[str], env: Mapping[str, str], cwd: str
                ) -> Generator[Launch]:
                    nonlocal holding
                    if not holding:  # with the first that is started
                        stack.enter_context(held(policy))
                        holding = True
                    hold(policy)
                    yield self._launch(policy, egress, argv, env, cwd, tell)

                yield wrap

    def _summary(self, policy: Policy) -> str:
        """The walls that stand around a skill, in a sentence."""
        out = ", ".join(policy.domains) or "nowhere"
        return f"a container of {self._image.name}, seccomp; writes in {policy.workspace}; reaches {out}"

    def _launch(
        self,
        policy: Policy,
        egress: Egress,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        tell: Callable[[ContainerStatus], None],
    ) -> Launch:
        service = policy.skill
        door = self._folder / f"door-{next(self._numbers)}"
        tell(ContainerStatus(status="starting", service=service, text="Starting its container"))
        egress.open_door(
            door,
            once=True,
            entered=lambda: tell(
                ContainerStatus(status="running", service=service, text="Its container runs")
            ),
        )
        inner = policy.environment({**env, **self._given()})
        seen = look_around(policy)
        box = Box(
            image=self._image.name,
            user=self._user,
            cwd=cwd,
            door=str(door),
            code=str(_CODE),
            owner=self.owner,
            env=tuple(sorted(inner)),
            strict=str(self._folder / "strict"),
            bundle=bundle_of(self._env),
            kinds=kinds_of(seen),
            pinned=pinned(policy, seen),
        )
        for mount in policy.mounts:
            if mount.how == "write" and mount.host != policy.workspace:
                self._make(mount.host)
        given = {f"{GIVEN}{name}": value for name, value in inner.items()}
        return Launch(
            argv=run_argv(policy, box, argv),
            env=client_env(self._env, self.place.workspace) | given,
        )

    def _make(self, folder: str) -> None:
        """A directory that the payload can write to."""
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if os.getuid() == 0:
            uid, _, gid = self._user.partition(":")
            os.chown(folder, int(uid), int(gid))

    def _given(self) -> dict[str, str]:
        return {name: self._env[name] for name in self._passed if self._env.get(name)}


def _write_filter(path: Path, machine: Machine) -> None:
    path.write_bytes(strict(machine))
    path.chmod(0o644)  # whoever the payload is


def container_policy(
    name: str,
    skill: StdioSkill,
    env: Mapping[str, str],
    place: Place,
    *,
    passed: Sequence[str] = (),
    serves: bool,
    image: Image | None = None,
) -> Policy:
    """The policy of one skill where programs are those of `image`. None: of one that is not built yet."""
    path = USUAL_PATH if image is None else image.path
    host = host_of(env, (), place.workspace)
    within = Host(
        system=(),
        programs=(),
        path=tuple(path.split(":")),
        own=host.own,
        installers=host.installers,
        cache=f"{host.cache}/images",
    )
    policy = policy_of(
        name,
        skill,
        within,
        place,
        proxy=proxy_variables(BUNDLE if bundle_of(env) else None),
        serves=serves,
        cache_key=sha256(msgspec.json.encode((place.workspace, name, skill))).hexdigest()[:32],
    )
    named = None if policy.passed is None else tuple(dict.fromkeys((*policy.passed, *passed)))
    return msgspec.structs.replace(policy, passed=named, limits=LIMITS)


def bundle_of(env: Mapping[str, str]) -> str | None:
    """The file of certificates this machine trusts, which may be more than the image does."""
    found = certificates(env)
    return None if found is None else os.path.realpath(found)


def kinds_of(seen: Mapping[str, Seen]) -> dict[str, Kind]:
    """What there is of the places in the workspace, as a container is told of it."""
    return {
        path: "placeholder" if each.placeholder else "folder" if each.kind == "folder" else "file"
        for path, each in seen.items()
    }
