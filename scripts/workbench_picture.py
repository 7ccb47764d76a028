"""Draws docs/images/workbench.svg: the demo of fitness-assistant, played in the real workbench.

uv run python scripts/workbench_picture.py
"""

from __future__ import annotations

import os
from pathlib import Path
from shutil import rmtree

import anyio
from msgspec.structs import replace

from perstack.ops.running.order import Order
from perstack.ops.running.run import as_demo
from perstack.tui import Beginning, Desk, Workbench

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "workbench.svg"
SIZE = (124, 34)


async def draw(here: Path) -> None:
    env = {"PATH": os.environ["PATH"]}
    order = as_demo(Order(expert="fitness-assistant", cwd=here, workspace=here, env=env))
    desk = Desk(replace(order, expert="", query=""))
    bench = Workbench(desk, Beginning(order=replace(order, job="demo")), watch=False)
    bench.theme = "perstack-dark"
    try:
        async with bench.run_test(size=SIZE) as pilot:
            with anyio.fail_after(60):
                while bench.following is None or bench.following.session.job.done is None:
                    await pilot.pause(0.05)
            await pilot.pause(0.5)
            await pilot.press("escape")
            await pilot.pause(0.5)
            PICTURE.parent.mkdir(exist_ok=True)
            PICTURE.write_text(bench.export_screenshot(title="perstack start"), encoding="utf-8")
    finally:
        bench.close()
        rmtree(order.workspace)


if __name__ == "__main__":
    anyio.run(draw, Path.cwd())
