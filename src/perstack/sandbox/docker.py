"""What is said to `docker` about a sandbox: the command line of a container, and the text of an image. Pure.

A container is made for one program and is gone with it. It has no network (`--network none`), no capabilities, a
read-only system that is the image's and not this machine's, and of this machine what the policy shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

import msgspec

from perstack._value import Value
from perstack.job import ImageProgress

from .policy import GIB, HOME, Mount, Policy, WallLimits

OWNER_LABEL = "dev.perstack.owner"
"""On every container: who started it, so that what a killed runtime left behind can be found."""

CODE = "/run/perstack"
DOOR = f"{CODE}/door"
BUNDLE = f"{CODE}/certificates.pem"
GIVEN = "PERSTACK_GIVEN_"
"""Before the name of each of the payload's variables, while docker has it: docker itself must not heed any."""

LIMITS = WallLimits(memory_bytes=2 * GIB, processes=256)
"""What a container may use up, all its processes together."""

CPUS = 2

DEFAULT_BASE = "python:3.12-slim-bookworm"
Kind = Literal["folder", "file", "placeholder"]

_STEP = re.compile(r"^(?:Step (\d+)/(\d+) :|#\d+ \[\s*(?:[\w-]+ )?(\d+)/(\d+)\])")


class Box(Value, frozen=True):
    """What a container needs besides its policy.

    image: its name. user: "UID:GID" for the payload. cwd: where it begins. door: this machine's path of the
    proxy's socket. code: the directory with the scripts that run inside. owner: for the label. env: the payload's
    variables by name. strict: the file with the payload's system call filter. bundle: that with certificates.
    kinds: of the places in the workspace that the policy names, those that are there; "placeholder" is an empty
    folder that holds the place of one that is not. pinned: what they must be inside, as `inside.py` takes it.
    """

    image: str
    user: str
    cwd: str
    door: str
    code: str
    owner: str
    env: tuple[str, ...]
    strict: str
    bundle: str | None = None
    kinds: dict[str, Kind] = msgspec.field(default_factory=dict[str, Kind])
    pinned: str = ""


def run_argv(policy: Policy, box: Box, argv: Sequence[str]) -> tuple[str, ...]:
    """The command that runs `argv` in a container. Values of variables are not in it."""
    limits = policy.limits
    words = [
        *("docker", "run", "--rm", "--interactive", "--pull", "never", "--log-driver", "none"),
        *("--label", f"{OWNER_LABEL}={box.owner}", "--hostname", "sandbox"),
        *("--network", "none", "--ipc", "private"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"),
        *("--user", box.user, "--workdir", box.cwd),
        *("--pids-limit", str(limits.processes)),
        *_memory(limits.memory_bytes),
        *("--cpus", str(CPUS), "--ulimit", "core=0"),
        *("--ulimit", f"nofile={limits.open_files}", "--ulimit", f"fsize={limits.file_bytes}"),
    ]
    for mount in policy.mounts:
        words += _mounted(mount, box)
    for name in ("listener.py", "container.py", "inside.py"):
        words += _bind(f"{box.code}/{name}", f"{CODE}/{name}", writable=False)
    words += _bind(box.strict, f"{CODE}/strict", writable=False)
    if box.bundle is not None:
        words += _bind(box.bundle, BUNDLE, writable=False)
    words += _bind(box.door, DOOR, writable=True)
    for name in box.env:
        words += ["--env", f"{GIVEN}{name}"]
    script = ["-I", "-S", f"{CODE}/container.py", box.pinned, DOOR]
    return (*words, "--entrypoint", "python3", box.image, *script, *argv)


def _memory(size: int) -> list[str]:
    return ["--memory", str(size), "--memory-swap", str(size)]


def _mounted(mount: Mount, box: Box) -> list[str]:
    match mount.how:
        case "scratch" if mount.inside == "/dev/shm":
            return ["--shm-size", str(mount.size)]
        case "scratch":
            uid, gid = box.user.split(":")
            own = f",uid={uid},gid={gid},mode=0700" if mount.inside == HOME else ",mode=1777"
            return ["--tmpfs", f"{mount.inside}:rw,exec,nosuid,nodev,size={mount.size}{own}"]
        case "link":
            return []  # the image has links of its own
        case "write":
            return _bind(mount.host, mount.inside, writable=True)
        case "read":
            return _bind(mount.host, mount.inside, writable=False)
        case "keep" | "open" | "hide":
            return _in_workspace(mount, box.kinds.get(mount.inside), box.code)


def _in_workspace(mount: Mount, kind: Kind | None, code: str) -> list[str]:
    path = mount.inside
    if kind is None:
        return []
    if mount.how == "hide" and kind != "file":
        return ["--mount", f"type=tmpfs,{_field('target', path)},readonly"]
    if mount.how == "hide":
        return _bind(f"{code}/etc/empty", path, writable=False)
    # What has a mount of its own can be neither moved nor replaced.
    return _bind(path, path, writable=mount.how == "open" and kind == "folder")


def _bind(host: str, inside: str, *, writable: bool) -> list[str]:
    what = f"type=bind,{_field('source', host)},{_field('target', inside)}"
    return ["--mount", what if writable else f"{what},readonly"]


def _field(name: str, value: str) -> str:
    """One field of a `--mount`, which is a line of comma-separated values."""
    text = f"{name}={value}"
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def dockerfile(base: str = DEFAULT_BASE) -> str:
    """The image in which skills run: what installers of packages need, where `base` lacks it."""
    return f"""\
# The programs that skills find in a container of Perstack's docker runtime. Python 3.9 or later must be in it.
FROM {base}
{_installing(("curl", "git", "node", "npm"), "ca-certificates curl git nodejs npm")}
RUN command -v uv >/dev/null || python3 -m pip install --no-cache-dir uv
"""


def whole_dockerfile(base: str, version: str) -> str:
    """An image with all of Perstack and one project in it, for those who run containers anyway."""
    programs = ("bwrap", "curl", "git", "node", "npm")
    return f"""\
# Perstack and one project in one container. Build it where perstack.toml is: docker build -t my-experts .
FROM {base}
{_installing(programs, "bubblewrap ca-certificates curl git nodejs npm")}
RUN command -v perstack >/dev/null || python3 -m pip install --no-cache-dir "perstack=={version}" uv
RUN mkdir -p -m 1777 /home/expert
ENV HOME=/home/expert
COPY perstack.toml perstack.loc[k] /app/
WORKDIR /workspace
ENTRYPOINT ["perstack", "run", "--config", "/app/perstack.toml"]
"""


def _installing(programs: Sequence[str], packages: str) -> str:
    """The step that installs packages of Debian, unless all of `programs` are there."""
    return f"""\
RUN for program in {" ".join(programs)}; do command -v $program >/dev/null || missing=yes; done; \\
    [ -z "$missing" ] || {{ \\
    apt-get update && apt-get install -y --no-install-recommends {packages} \\
    && rm -rf /var/lib/apt/lists/*; }}"""


def image_of(text: str) -> str:
    """The name of the image built from a Dockerfile: the same text, the same name."""
    return f"perstack-skills:{sha256(text.encode()).hexdigest()[:12]}"


def progress_in(line: str) -> ImageProgress | None:
    """What one line of `docker build` tells; None if nothing."""
    text = line.strip()
    if not text:
        return None
    stage = "pulling" if re.search(r"\b(pull|Pulling)", text) else "building"
    found = _STEP.match(text)
    progress = None
    if found is not None:
        step, steps = (int(number) for number in found.groups() if number is not None)
        progress = (step - 1) / steps if steps else None
    return ImageProgress(stage=stage, service="skills", text=text, progress=progress)
