"""Many jobs of Perstack in one process, each with its log on disk. arguments: url jobs"""

from __future__ import annotations

import sys

import anyio
from shared import QUERY, raise_file_limit

import perstack


async def main(url: str, jobs: int) -> None:
    env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "x"}

    async def one() -> None:
        job = await perstack.run("lead", QUERY, config="perstack.toml", env=env)
        print(job.done.text if job.done else "stopped")

    async with anyio.create_task_group() as tasks:
        for _ in range(jobs):
            tasks.start_soon(one)


raise_file_limit()
anyio.run(main, sys.argv[1], int(sys.argv[2]))
