"""The docker of this machine, and the image that skills run in.

The job runs here, as it does with the other runtimes; around each local server and each program of `exec` stands a
container (`sandbox/containers.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import which
from subprocess import PIPE, STDOUT

import anyio
import msgspec
from anyio.streams.text import TextReceiveStream

from perstack._version import version
from perstack.errors import SandboxError
from perstack.job import ImageProgress, Notice
from perstack.sandbox import (
    DEFAULT_BASE,
    USUAL_PATH,
    Image,
    client_env,
    docker_told,
    dockerfile,
    image_of,
    progress_in,
    whole_dockerfile,
)

IMAGE_VARIABLE = "PERSTACK_DOCKER_IMAGE"
"""Names an image of one's own; none is built then."""

BASE_VARIABLE = "PERSTACK_BASE_IMAGE"
"""Names what our image is built on."""

_INSTEAD = "Or use --runtime sandbox (Linux), or accept no walls with --runtime local."


async def check_daemon(env: Mapping[str, str], workspace: Path | None = None) -> None:
    """Whether there is a docker to use, outside of `workspace`. Raises SandboxError, which says what to do."""
    docker = _client_env(env, workspace)
    if which("docker", path=docker.get("PATH")) is None:
        raise SandboxError(
            "Docker CLI is not installed or not in PATH. Install it: https://docs.docker.com/get-docker/ "
            f"(Debian, Ubuntu: `apt install docker.io`). {_INSTEAD}"
        )
    try:
        system = await docker_told(docker, "info", "--format", "{{.OperatingSystem}}")
    except SandboxError as error:
        raise SandboxError(
            "Docker daemon is not running, or you may not use it. Start it: "
            "https://docs.docker.com/config/daemon/start/; to use it without root, be a member of the group "
            f"`docker`. {_INSTEAD} ({error})"
        ) from error
    if "Docker Desktop" in system:
        raise SandboxError(
            "Docker Desktop runs containers in another machine, where the way out of a sandbox cannot be handed "
            f"over. Use a docker on this machine. {_INSTEAD}"
        )


def base_image(env: Mapping[str, str]) -> str:
    """What our image is built on."""
    return env.get(BASE_VARIABLE) or DEFAULT_BASE


def dockerfile_for(whole: bool, env: Mapping[str, str]) -> str:
    """The Dockerfile of the image that skills run in; or of one with everything, runtime and project, in it."""
    base = base_image(env)
    return whole_dockerfile(base, version()) if whole else dockerfile(base)


def _client_env(env: Mapping[str, str], workspace: Path | None) -> dict[str, str]:
    return client_env(env, os.path.realpath(workspace) if workspace else "")


async def load_image(
    env: Mapping[str, str], tell: Callable[[Notice], None], workspace: Path | None = None
) -> Image:
    """The image that skills run in: the one that is named, else ours, built if it is not there yet.

    env: the process environment. workspace: no docker is taken from there. Raises SandboxError.
    """
    docker = _client_env(env, workspace)
    if named := env.get(IMAGE_VARIABLE):
        try:
            return await _inspected(docker, named)
        except SandboxError as error:
            raise SandboxError(
                f"There is no image {named} here, which {IMAGE_VARIABLE} names. Build it "
                f"(`perstack docker init` shows how), or pull it: docker pull {named}. ({error})"
            ) from error
    text = dockerfile(base_image(env))
    name = image_of(text)
    try:
        return await _inspected(docker, name)
    except SandboxError:
        await _build(docker, name, text, tell)
        return await _inspected(docker, name)


class _Config(msgspec.Struct, rename="pascal"):
    env: list[str] | None = None


class _Inspected(msgspec.Struct, rename="pascal"):
    architecture: str
    config: _Config | None = None


async def _inspected(docker: Mapping[str, str], name: str) -> Image:
    said = await docker_told(docker, "image", "inspect", name)
    found = msgspec.json.decode(said, type=list[_Inspected])[0]
    variables = found.config.env if found.config is not None else None
    paths = [line.removeprefix("PATH=") for line in variables or () if line.startswith("PATH=")]
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(found.architecture, found.architecture)
    return Image(name=name, path=paths[0] if paths else USUAL_PATH, machine=machine)


async def _build(
    docker: Mapping[str, str], name: str, text: str, tell: Callable[[Notice], None]
) -> None:
    """Builds the image and tells how far it is. Raises SandboxError with the last that was said."""

    def say(notice: ImageProgress) -> None:
        tell(notice)

    say(ImageProgress(stage="building", service="skills", text=f"Building the image {name}"))
    said: list[str] = []
    words = ("docker", "build", "--tag", name, "--label", "dev.perstack.image=1", "-")
    async with await anyio.open_process(
        words, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=docker
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(anyio.BrokenResourceError):  # it gave up before; what it says tells why
            await process.stdin.send(text.encode())
        await process.stdin.aclose()
        rest = ""
        async for piece in TextReceiveStream(process.stdout, errors="replace"):
            *lines, rest = (rest + piece).split("\n")
            for line in lines:
                if (progress := progress_in(line)) is not None:
                    said.append(progress.text)
                    say(progress)
    if process.returncode != 0:
        tail = "\n".join([*said, rest.strip()][-12:])
        say(ImageProgress(stage="error", service="skills", text="The image could not be built"))
        raise SandboxError(
            f"The image for skills could not be built from {text.split('FROM ')[1].split()[0]}. Name another base "
            f"with {BASE_VARIABLE}, or an image of your own with {IMAGE_VARIABLE}. docker says:\n{tail}"
        )
    say(ImageProgress(stage="complete", service="skills", text=f"Built the image {name}"))
