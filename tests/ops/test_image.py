"""The image that skills run in, with a docker that is a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.errors import SandboxError
from perstack.job import Notice
from perstack.ops.walls.docker import BASE_VARIABLE, load_image

pytestmark = pytest.mark.anyio

# The pipe to it is closed before it has taken a Dockerfile that is longer than a pipe holds.
DOCKER = """#!/bin/sh
test "$1" = build && echo "no builder is installed"
exit 1
"""


async def test_a_docker_that_gives_up_before_it_has_read_is_quoted(tmp_path: Path):
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    told: list[Notice] = []
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", BASE_VARIABLE: "x" * 1_000_000}
    with pytest.raises(SandboxError, match="no builder is installed"):
        await load_image(env, told.append)
