"""A docker daemon for tests: one of our own, which changes nothing of this machine, or the one that is there.

Ours has no networks, as containers of skills need none: so it touches neither the firewall nor forwarding.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from .image import write_image

NAME = "perstack-test:base"


class Docker(NamedTuple):
    """A daemon that can be used. env: the variables that lead to it. image: one to run skills in."""

    env: Mapping[str, str]
    image: str

    def told(self, *words: str, input: str | None = None) -> str:
        """What `docker` prints. Raises CalledProcessError."""
        done = subprocess.run(
            ["docker", *words],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            input=input,
        )
        return done.stdout

    def containers(self) -> list[str]:
        """Those that are there, whatever they do."""
        return self.told("ps", "-aq").split()


@contextmanager
def docker() -> Generator[Docker | str]:
    """A daemon with an image, or why there is none."""
    if shutil.which("docker") is None:
        yield "docker is not installed"
    elif os.getuid() == 0 and (program := shutil.which("dockerd")):
        with _daemon(program) as place:
            yield place if isinstance(place, str) else _prepared(place)
    elif subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        yield _prepared({})
    else:
        yield "no docker daemon can be used, and only root can start one"


def _prepared(env: Mapping[str, str]) -> Docker:
    made = Docker(env, NAME)
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder, "image.tar")
        write_image(tar)
        made.told("import", "--change", "ENV PATH=/usr/local/bin:/usr/bin:/bin", str(tar), NAME)
    return made


@contextmanager
def _daemon(program: str) -> Generator[dict[str, str] | str]:
    folder = Path(tempfile.mkdtemp(prefix="perstack-dockerd-"))
    socket = f"unix://{folder}/docker.sock"
    words = [
        *(program, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
        *("--host", socket, "--pidfile", f"{folder}/pid"),
        *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
    ]
    env = {"DOCKER_HOST": socket, "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": f"{folder}/client"}
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            if _answers(process, env):
                yield env
            else:
                yield f"dockerd does not start: {_last_line(folder / 'log')}"
        finally:
            process.terminate()
            process.wait(60)
    # The one mount that the daemon leaves behind, and then nothing is left of it.
    subprocess.run(["umount", folder / "exec/netns/default"], capture_output=True, check=False)
    shutil.rmtree(folder)


def _answers(process: subprocess.Popen[bytes], env: Mapping[str, str]) -> bool:
    """Whether the daemon comes to answer, as it does unless it ends before."""
    until = monotonic() + 60
    while monotonic() < until and process.poll() is None:
        asked = ["docker", "version", "--format", "{{.Server.Version}}"]
        if not subprocess.run(asked, env={**os.environ, **env}, capture_output=True).returncode:
            return True
        sleep(0.1)
    return False


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "it says nothing")
