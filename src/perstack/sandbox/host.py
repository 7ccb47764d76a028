"""What walls can be made of on this machine: its system directories, the programs of its user, its registries.

Everything here only looks. Programs may be installed anywhere: by a version manager (pyenv, nvm, uv, ...), in a
virtual environment, as one file in `~/.local/bin`. What is shown of them is the directory they are installed in,
and that only if it looks like one (`bin` with `lib` or `pyvenv.cfg` beside it); else the file itself. A home
directory, or what holds one, is never shown.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from perstack._kept import is_below, own_places

from .policy import CACHE, Host, Installer, Mount, outermost
from .variables import certificates

SYSTEM = (
    "/usr",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/sbin",
    "/nix/store",
    "/gnu/store",
)

SETTINGS = (
    "alternatives",
    "crypto-policies",
    "fonts",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "localtime",
    "mime.types",
    "os-release",
    "pki/ca-trust/extracted",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
)
"""What programs need of /etc. No key lies in any of it: /etc/ssl/private is left out. Each costs a part of a
millisecond at every start."""

OURS = ("group", "hosts", "nsswitch.conf", "passwd")

KNOWN = ("bun", "deno", "git", "node", "npm", "npx", "python", "python3", "uv", "uvx")
"""Programs that are looked for wherever they are installed."""

NPM = "https://registry.npmjs.org/"
PYPI = "https://pypi.org/simple"

_FILES = Path(__file__).parent / "etc"


def host_of(env: Mapping[str, str], commands: Iterable[str], workspace: str) -> Host:
    """This machine. env: the runtime's variables; commands: programs that are needed besides the usual ones.

    What is in the workspace shows nothing but itself: an Expert may have put a link there.
    A command that is a path shows nothing by that: it comes from a definition, and would name what it likes.
    """
    home = os.path.realpath(env.get("HOME") or Path.home())
    path = tuple(p for p in (env.get("PATH") or os.defpath).split(":") if os.path.isabs(p))
    trusted = trusted_path(env, workspace).split(":")
    programs = outermost(
        place
        for name in (sys_python(), *KNOWN, *(name for name in commands if "/" not in name))
        for found in [find(name, trusted)]
        if found is not None
        for place in places_of(found, home)
        if not any(is_below(place, system) for system in SYSTEM)
    )
    shown = (*SYSTEM, *programs, workspace)
    bins = dict.fromkeys(
        p for p in path if any(is_below(p, place) or is_below(place, p) for place in shown)
    )
    bundle = certificates(env)
    bundle = None if bundle is None else Path(os.path.realpath(bundle))
    readable = (
        (str(bundle),)
        if bundle is not None
        and not any(is_below(str(bundle), s) for s in (*SYSTEM, "/etc/ssl/certs"))
        else ()
    )
    return Host(
        system=system_mounts(),
        programs=outermost((*programs, *readable)),
        path=(*bins, *(p for p in ("/usr/local/bin", "/usr/bin", "/bin") if p not in bins)),
        own=own_places(),
        certificates=str(bundle) if bundle else None,
        installers={
            "npx": npm_installer(env, home),
            "npm": npm_installer(env, home),
            "uvx": uv_installer(env, home),
            "uv": uv_installer(env, home),
        },
        cache=str(Path(env.get("XDG_CACHE_HOME") or f"{home}/.cache") / "perstack" / "packages"),
    )


def trusted_path(env: Mapping[str, str], workspace: str) -> str:
    """PATH for what is looked up outside of walls: without directories that an Expert can write to.

    workspace: "" for none. Each is where it really lies, since a link in the workspace can be turned later.
    """
    named = (env.get("PATH") or os.defpath).split(":")
    real = dict.fromkeys(os.path.realpath(place) for place in named if os.path.isabs(place))
    return ":".join(place for place in real if not (workspace and is_below(place, workspace)))


@cache
def sys_python() -> str:
    """The interpreter that runs us, outside of any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def find(name: str, path: Iterable[str]) -> str | None:
    """Where the program `name` is, as it would be started."""
    candidates = [name] if "/" in name else [f"{directory}/{name}" for directory in path]
    for candidate in candidates:
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return os.path.abspath(candidate)
    return None


def places_of(program: str, home: str) -> Iterator[str]:
    """What must be seen so that `program` runs: directories, or single files."""
    real = os.path.realpath(program)
    # pyenv, asdf: a script that looks around there
    if os.path.basename(os.path.dirname(program)) == "shims":
        yield from _fit(os.path.dirname(os.path.dirname(program)), home) or (program,)
    for each in dict.fromkeys((program, real)):
        folder = os.path.dirname(each)
        prefix = os.path.dirname(folder)
        if os.path.basename(folder) == "bin" and _is_prefix(prefix) and _fit(prefix, home):
            yield prefix
        else:
            yield each


def _is_prefix(path: str) -> bool:
    return any(os.path.exists(f"{path}/{name}") for name in ("lib", "lib64", "pyvenv.cfg"))


def _fit(path: str, home: str) -> tuple[str, ...]:
    """`path`, unless it holds a home directory or what programs keep for a user."""
    holds = (home, f"{home}/.local", f"{home}/.local/share", f"{home}/.config", f"{home}/.cache")
    unfit = any(
        is_below(place, path) for place in (*holds, "/root", "/home", "/etc", "/var", "/run")
    )
    return () if unfit else (path,)


@cache
def system_mounts() -> tuple[Mount, ...]:
    """The operating system, to be read."""
    found: list[Mount] = []
    for path in SYSTEM:
        if os.path.islink(path):
            found.append(Mount(inside=path, how="link", host=os.readlink(path)))
        elif os.path.isdir(path):
            found.append(Mount(inside=path, how="read", host=path))
    settings = (f"/etc/{name}" for name in SETTINGS)
    found += [
        Mount(inside=path, how="read", host=path) for path in settings if os.path.exists(path)
    ]
    found += [Mount(inside=f"/etc/{name}", how="read", host=str(_FILES / name)) for name in OURS]
    return tuple(found)


def npm_installer(env: Mapping[str, str], home: str) -> Installer:
    """How packages come from npm's registry, the one that is configured. Its credentials stay outside."""
    lowered = {name.lower(): value for name, value in env.items()}
    registry = lowered.get("npm_config_registry")
    for path in (lowered.get("npm_config_userconfig") or f"{home}/.npmrc", "/etc/npmrc"):
        registry = registry or _setting(path, "registry")
    registry = registry or NPM
    return Installer(
        domains=_hosts(registry),
        variables={
            "npm_config_registry": _plain(registry),
            "npm_config_cache": f"{CACHE}/npm",
            "npm_config_update_notifier": "false",
            "npm_config_fund": "false",
            "npm_config_audit": "false",
        },
    )


def uv_installer(env: Mapping[str, str], home: str) -> Installer:
    """How packages come from a Python index, the one that is configured. Its credentials stay outside."""
    index = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL")
    config = env.get("XDG_CONFIG_HOME") or f"{home}/.config"
    for path in (f"{config}/uv/uv.toml", "/etc/uv/uv.toml"):
        index = index or _uv_index(path)
    index = index or PYPI
    domains = _hosts(index)
    if domains == ("pypi.org",):
        domains = ("pypi.org", "files.pythonhosted.org")
    return Installer(
        domains=domains,
        variables={
            "UV_DEFAULT_INDEX": _plain(index),
            "UV_CACHE_DIR": f"{CACHE}/uv",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_CONFIG": "1",
        },
    )


def _setting(path: str, name: str) -> str | None:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^\s*{name}\s*=\s*(\S+)\s*$", text, re.MULTILINE)
    return found[1].strip("\"'") if found else None


class _Index(msgspec.Struct):
    url: str
    default: bool = False


class _UvSettings(msgspec.Struct, rename="kebab"):
    index_url: str | None = None
    index: list[_Index] = msgspec.field(default_factory=list[_Index])


def _uv_index(path: str) -> str | None:
    try:
        settings = msgspec.toml.decode(Path(path).read_bytes(), type=_UvSettings)
    except (OSError, msgspec.DecodeError):
        return None
    return next((index.url for index in settings.index if index.default), settings.index_url)


def _hosts(url: str) -> tuple[str, ...]:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return ()
    return (host,) if host and urlsplit(url).scheme == "https" else ()


def _plain(url: str) -> str:
    """`url` without the user and the password in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
