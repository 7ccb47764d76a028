"""What the programs of one skill will see, reach and use up: a value, made before anything runs.

    policy_of(name, skill, host, place) -> Policy

Nothing is looked up here; what there is on the machine comes in as `Host`, what the run is about as `Place`. A
policy depends on one skill only: other skills, other Experts and delegates change nothing in it. Whatever it does
not name is not there inside.

Paths are the same inside and outside, so that what a tool says of a file is true for all others. The home
directory, /tmp and the like are the exception: they are new and empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from perstack._kept import How as Keeps
from perstack._kept import Place, is_below, kept_in
from perstack._value import Value
from perstack.definition import StdioSkill

HOME = "/home/expert"
"""The home directory inside. It begins empty and is gone with the process."""

CACHE = "/var/cache/packages"
"""Where the installers of packages keep what they fetched; of one skill in one workspace, and kept."""

GIB = 1024**3
MIB = 1024**2

_OUTSIDE = re.compile(
    r".*_proxy|npm_config_.*proxy|perstack_proxy_url|node_path|node_use_env_proxy|xdg_runtime_dir",
    re.IGNORECASE | re.DOTALL,
)
"""Variables that are about the way out, or about places, of the machine around the sandbox."""

How = Literal["read", "write", "scratch", "link", Keeps]


class Mount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing to see inside.

    how: "read" and "write" show `host`; "scratch" is empty memory of `size` bytes; "link" leads to `host`. In the
    workspace: "keep" is read only; "open" can be written, but neither moved nor replaced; "hide" is empty and read
    only; each of them if it is there. held: if it is not, something harmless is there in its place.
    """

    inside: str
    how: How
    host: str = ""
    size: int = 0
    held: bool = False


class WallLimits(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one sandbox may use up. memory_bytes: written to, for each process; processes: all together."""

    memory_bytes: int = 4 * GIB
    processes: int = 512
    open_files: int = 4096
    file_bytes: int = 8 * GIB
    scratch_bytes: int = 512 * MIB


class Policy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The walls around one server, or around each program that `exec` starts.

    passed: the variables that come through by name (None: whatever the call gives, unless protected). variables:
    those that are set, and to what. domains: the hosts that may be reached, on port 443, by TLS only. registries:
    those of them that packages come from; this machine's settings say so, and they may be on a private network.
    """

    skill: str
    serves: bool
    workspace: str
    mounts: tuple[Mount, ...]
    passed: tuple[str, ...] | None
    variables: dict[str, str]
    domains: tuple[str, ...] = ()
    registries: tuple[str, ...] = ()
    limits: WallLimits = WallLimits()

    @property
    def names(self) -> tuple[str, ...]:
        """The variables inside, but for those a call gives."""
        return tuple({*(self.passed or ()), *self.variables})

    def shows(self, path: str) -> bool:
        """Whether `path`, absolute and without links, is seen inside as it is outside."""
        shown = False
        for mount in self.mounts:  # the last one that has it counts
            if is_below(path, mount.inside):
                shown = (
                    mount.how in ("read", "write", "keep", "open") and mount.inside == mount.host
                )
        return shown

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """The variables inside. given: those the skill would get without walls."""
        if self.passed is None:
            passed = {name: value for name, value in given.items() if not _OUTSIDE.fullmatch(name)}
        else:
            passed = {name: given[name] for name in self.passed if name in given}
        return passed | self.variables


class Installer(Value, frozen=True):
    """What a command needs to fetch its package. domains: the registry's hosts; variables: how it is told."""

    domains: tuple[str, ...]
    variables: dict[str, str]


class Host(Value, frozen=True):
    """What there is on this machine that walls are made of.

    system: directories and links of the operating system. programs: directories and files with further programs,
    to be read. path: for PATH inside. own: what the runtime itself is made of, never to be written. certificates:
    the file of those that the system trusts. installers: by command. cache: the directory for what they fetch.
    """

    system: tuple[Mount, ...]
    programs: tuple[str, ...]
    path: tuple[str, ...]
    own: tuple[str, ...] = ()
    certificates: str | None = None
    installers: dict[str, Installer] = msgspec.field(default_factory=dict[str, Installer])
    cache: str = ""


def policy_of(
    name: str,
    skill: StdioSkill,
    host: Host,
    place: Place,
    *,
    proxy: Mapping[str, str],
    serves: bool,
    cache_key: str = "",
) -> Policy:
    """The walls of `skill`.

    proxy: the variables by which programs find the way out, where there is one. serves: it is a server; else each
    program that `exec` starts. cache_key: which of the package caches is its own.
    """
    installer = host.installers.get(skill.command) if serves else None
    domains = (*skill.allowed_domains, *(installer.domains if installer else ()))
    limits = WallLimits()
    mounts = [
        *host.system,
        Mount(inside="/tmp", how="scratch", size=limits.scratch_bytes),
        Mount(inside="/var/tmp", how="scratch", size=limits.scratch_bytes),
        Mount(inside="/dev/shm", how="scratch", size=limits.scratch_bytes),
        Mount(inside=HOME, how="scratch", size=limits.scratch_bytes),
        *(Mount(inside=path, how="read", host=path) for path in outermost(host.programs)),
        *(Mount(inside=path, how="read", host=path) for path in outermost(place.read)),
        *_hidden_in(place, (*host.programs, *place.read)),
        *_workspace(host, place),
    ]
    variables = {
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "LOGNAME": "expert",
        "PATH": ":".join(host.path),
        "SHELL": "/bin/sh",
        "TMPDIR": "/tmp",
        "USER": "expert",
    }
    if installer is not None:
        mounts.append(Mount(inside=CACHE, how="write", host=f"{host.cache}/{cache_key}"))
        variables |= installer.variables
    return Policy(
        skill=name,
        serves=serves,
        workspace=place.workspace,
        mounts=tuple(mounts),
        passed=skill.required_env if serves else None,
        variables=variables | (dict(proxy) if domains else {}),
        domains=tuple(dict.fromkeys(domains)),
        registries=installer.domains if installer else (),
        limits=limits,
    )


def _hidden_in(place: Place, shown: Iterable[str]) -> Iterator[Mount]:
    """What is hidden, where it lies in something that is shown besides the workspace."""
    directories = tuple(shown)
    for path in sorted({*place.hidden, *place.keys}):
        seen = any(is_below(path, each) for each in directories)
        if seen and not is_below(path, place.workspace):
            yield Mount(inside=path, how="hide", host=path)


def _workspace(host: Host, place: Place) -> Iterator[Mount]:
    """The workspace to write in, but for what would reach beyond the run."""
    yield Mount(inside=place.workspace, how="write", host=place.workspace)
    for path, kept in kept_in(place, host.own).items():
        yield Mount(inside=path, how=kept.how, host=path, held=kept.held)


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """`paths` without those that lie in others of them, in order."""
    found: list[str] = []
    for path in sorted(set(paths)):
        if not found or not is_below(path, found[-1]):
            found.append(path)
    return tuple(found)
