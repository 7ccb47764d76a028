"""Walls on Linux, without a daemon or an image: bubblewrap's namespaces, and a second stage inside them.

Each server has a sandbox of its own, and so has each program that `exec` starts:

    guard or runtime → bwrap (new namespaces, the mounts, the baseline filter) → inside.py → the payload

The runtime, with the keys, the log and the model, stays outside. What goes in is a workspace, the variables that
were named, and a way out by a list of names, if there is one.

What stands outside or is the first process inside (guard, `sh`, bwrap) has an empty environment. The payload's
comes through a descriptor: a model may choose some of its names, and a loader, a shell or a C library outside
would obey them; and command lines can be read by others.

When the process that started it ends, a sandbox ends (PR_SET_PDEATHSIG), and with its first process every other in
it, in whatever session: nobody leaves a process namespace.
"""

from __future__ import annotations

import hashlib
import os
import resource
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from perstack._kept import Place
from perstack._net import public_addresses
from perstack.definition import StdioSkill
from perstack.errors import SandboxError, ToolError
from perstack.job import Notice, SkillWalled

from .egress import Egress, LookUp, open_egress
from .filters import baseline, strict
from .groups import into, process_group
from .held import Seen, held, hold, look_around, pinned
from .host import find, host_of, sys_python
from .launch import Launch, Wrap
from .layers import Layers, layers_of
from .names import rules_of
from .policy import Mount, Policy, WallLimits, policy_of
from .variables import proxy_variables

_HERE = Path(__file__).parent
_RUN = "/run/perstack"


class NativeWalls:
    """Walls for the local servers and programs of one job. place: what it is about."""

    def __init__(
        self,
        place: Place,
        env: Mapping[str, str],
        *,
        look_up: LookUp = public_addresses,
    ) -> None:
        self.place = place
        self._env = env
        self._look_up = look_up

    @asynccontextmanager
    async def around_server(
        self, name: str, skill: StdioSkill, notify: Callable[[Notice], None]
    ) -> AsyncGenerator[Wrap]:
        """The walls of one local server. Raises SandboxError if they cannot be built."""
        layers = layers_of(self.place.workspace)
        policy = policy_for(name, skill, self._env, self.place, serves=True)
        _check_arguments(name, skill, policy)
        async with self._standing(policy, layers, notify) as wrap:
            yield wrap

    @asynccontextmanager
    async def around_programs(
        self, skill: StdioSkill, notify: Callable[[Notice], None]
    ) -> AsyncGenerator[Wrap]:
        """The walls of each program; if they cannot be built, each is refused and told why."""
        try:
            layers = layers_of(self.place.workspace)
        except SandboxError as error:
            why = str(error)

            @contextmanager
            def refuse(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Generator[Launch]:
                raise ToolError(f"No program can be run: {why}")
                yield  # the shape of a context manager

            yield refuse
            return
        policy = policy_for("@perstack/base", skill, self._env, self.place, serves=False)
        async with self._standing(policy, layers, notify) as wrap:
            yield wrap

    @asynccontextmanager
    async def _standing(
        self, policy: Policy, layers: Layers, notify: Callable[[Notice], None]
    ) -> AsyncGenerator[Wrap]:
        with ExitStack() as stack:
            standing = Standing(policy, layers, stack)
            notify(SkillWalled(skill=policy.skill, walls=summary(policy, layers)))
            if not policy.domains:
                yield standing.wrap
                return
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perstack-")))
            async with open_egress(
                rules_of(policy.domains, policy.registries),
                skill=policy.skill,
                tell=notify,
                look_up=self._look_up,
            ) as egress:
                standing.let_out(egress, folder)
                yield standing.wrap


def policy_for(
    name: str, skill: StdioSkill, env: Mapping[str, str], place: Place, *, serves: bool
) -> Policy:
    """The policy of one skill on this machine."""
    host = host_of(env, (skill.command,) if serves else (), place.workspace)
    settled = msgspec.json.encode((place.workspace, name, skill))
    return policy_of(
        name,
        skill,
        host,
        place,
        proxy=proxy_variables(host.certificates),
        serves=serves,
        cache_key=hashlib.sha256(settled).hexdigest()[:32],
    )


def _check_arguments(name: str, skill: StdioSkill, policy: Policy) -> None:
    """Raises SandboxError for an argument that names a place which is there, and not inside."""
    for argument in skill.args:
        path = os.path.realpath(argument)
        if os.path.isabs(argument) and os.path.exists(path) and not policy.shows(path):
            raise SandboxError(
                f'Skill "{name}" has the argument {argument}, which its sandbox does not show. Move it into the '
                f"workspace, let it be read with --read {argument}, or accept no walls with --runtime local."
            )


def summary(policy: Policy, layers: Layers) -> str:
    """The walls that stand around a skill, in a sentence."""
    out = ", ".join(policy.domains) or "nowhere"
    gaps = f"; not held: {'; '.join(layers.gaps)}" if layers.gaps else ""
    return (
        f"namespaces (bubblewrap {'.'.join(map(str, layers.version))}), seccomp, Landlock {layers.landlock}; "
        f"writes in {policy.workspace}; reaches {out}{gaps}"
    )


class Standing:
    """The walls of one skill, from the first thing that is started to the last."""

    def __init__(self, policy: Policy, layers: Layers, stack: ExitStack) -> None:
        self._policy = policy
        self._layers = layers
        self._stack = stack
        self._held = False
        self._group: Path | None = None
        self._egress: Egress | None = None
        self._folder = Path()
        self._doors = 0

    def let_out(self, egress: Egress, folder: Path) -> None:
        """There is a way out; its doors are made in `folder`."""
        self._egress, self._folder = egress, folder

    def _begin(self) -> None:
        """Before the first program."""
        self._stack.enter_context(held(self._policy))
        if self._layers.groups is not None:
            most = self._policy.limits.processes
            self._group = self._stack.enter_context(process_group(self._layers.groups, most))
        self._held = True

    def _door(self) -> str:
        """A door for one sandbox, "" if there is no way out."""
        if self._egress is None:
            return ""
        self._doors += 1
        door = self._folder / str(self._doors)
        self._egress.open_door(door, once=True)
        return str(door)

    @contextmanager
    def wrap(self, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Generator[Launch]:
        """`argv` behind walls. Raises OSError if there is no such program inside, SandboxError."""
        policy = self._policy
        inner = policy.environment(env)
        program = _program(argv[0], policy, inner, cwd)
        if not self._held:
            self._begin()
        hold(policy)
        door = self._door()
        seen = look_around(policy)
        with (
            _readable(baseline(self._layers.machine)) as base,
            _readable(strict(self._layers.machine)) as last,
            _readable(_environment_args(inner)) as variables,
        ):
            yield Launch(
                argv=(
                    *into(self._group),
                    self._layers.bwrap,
                    *bwrap_args(policy, self._layers, seen, door),
                    *("--args", str(variables), "--seccomp", str(base), "--chdir", cwd),
                    *("--", sys_python(), "-I", "-S", f"{_RUN}/inside.py"),
                    f"{_RUN}/door" if door else "",
                    str(last),
                    str(self._layers.landlock),
                    limits_arg(policy.limits),
                    "\n".join(writable(policy)),
                    pinned(policy, seen),
                    program,
                    *argv[1:],
                ),
                env={},
                fds=(base, last, variables),
            )


def _program(name: str, policy: Policy, env: Mapping[str, str], cwd: str) -> str:
    """The program to start inside. Raises FileNotFoundError if it is not there."""
    if "/" in name:
        found = os.path.normpath(os.path.join(cwd, name))
        found = found if os.path.isfile(found) and os.access(found, os.X_OK) else None
    else:
        shown = (
            place
            for place in env["PATH"].split(":")
            if policy.shows(os.path.realpath(place)) or policy.shows(f"{place}/{name}")
        )
        found = find(name, shown)
    if found is None:
        raise FileNotFoundError(2, "there is no such program inside the sandbox", name)
    if not (policy.shows(found) or policy.shows(os.path.realpath(found))):
        raise FileNotFoundError(
            2, "it lies outside of what the sandbox shows; name its directory with --read", name
        )
    return name if "/" in name else found


def bwrap_args(
    policy: Policy, layers: Layers, seen: Mapping[str, Seen], door: str = ""
) -> tuple[str, ...]:
    """The mounts and namespaces of `policy` as bubblewrap takes them.

    seen: what there is of the places it names in the workspace. door: the socket of the way out.
    """
    args = [
        *("--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"),
        *(("--disable-userns",) if layers.version >= (0, 8) else ()),
        *("--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--proc", "/proc", "--dev", "/dev"),
    ]
    sized = layers.version >= (0, 8)
    for mount in policy.mounts:
        args += _mounted(mount, seen.get(mount.inside), sized)
    for script in ("inside.py", "listener.py"):
        args += ("--ro-bind", str(_HERE / script), f"{_RUN}/{script}")
    if door:
        args += ("--ro-bind", door, f"{_RUN}/door")
    # Of the kernel's settings some ask who wants to write, and not with what rights: for them root is root.
    args += ("--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/")
    return tuple(args)


def _mounted(mount: Mount, seen: Seen | None, sized: bool) -> tuple[str, ...]:
    path = mount.inside
    match mount.how:
        case "link":
            return ("--symlink", mount.host, path)
        case "read":
            return ("--ro-bind", mount.host, path)
        case "write":
            os.makedirs(mount.host, mode=0o700, exist_ok=True)
            return ("--bind", mount.host, path)
        case "scratch":
            return (*(("--size", str(mount.size)) if sized else ()), "--tmpfs", path)
        case "keep" | "open" | "hide":
            return () if seen is None else _in_workspace(mount, seen)


def _in_workspace(mount: Mount, seen: Seen) -> tuple[str, ...]:
    path, kind = mount.inside, seen.kind
    if mount.how == "hide" and kind == "folder":
        return ("--tmpfs", path, "--remount-ro", path)
    if mount.how == "hide":
        return ("--ro-bind", str(_HERE / "etc" / "empty"), path)
    if mount.how == "open" and kind == "folder" and not seen.placeholder:
        return ("--bind", path, path)
    return ("--ro-bind", path, path)


def writable(policy: Policy) -> Iterator[str]:
    """The places inside that can be written to."""
    yield "/dev"
    for mount in policy.mounts:
        if mount.how in ("write", "scratch"):
            yield mount.inside


def limits_arg(limits: WallLimits) -> str:
    """The limits as the second stage takes them."""
    values = {
        resource.RLIMIT_DATA: limits.memory_bytes,
        resource.RLIMIT_NPROC: limits.processes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_CORE: 0,
    }
    return ",".join(f"{number}={value}" for number, value in values.items())


def _environment_args(env: Mapping[str, str]) -> bytes:
    """The environment as bubblewrap reads it from a descriptor."""
    words = ["--clearenv"]
    for name, value in env.items():
        words += ("--setenv", name, value)
    return b"".join(os.fsencode(word) + b"\0" for word in words)


@contextmanager
def _readable(content: bytes) -> Generator[int]:
    """A descriptor that `content` can be read from, once."""
    descriptor = os.memfd_create("perstack")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
