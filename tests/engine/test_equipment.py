"""When skills are started, and how long they are waited for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import perstack
from perstack.errors import SkillUnavailable
from perstack.testing import ScriptedModel, calls, says

pytestmark = pytest.mark.anyio

NASTY = Path(__file__).parents[1] / "fakes" / "mcp_nasty.py"


def project(folder: Path, habits: str, more: str = "") -> Path:
    path = folder / "perstack.toml"
    path.write_text(
        f"""
runtime = "local"
[experts.worker]
instruction = "Work."

[experts.worker.skills.odd]
type = "mcpStdioSkill"
command = "{sys.executable}"
args = ["{NASTY}", {habits}]
{more}
"""
    )
    return path


async def run(config: Path, model: ScriptedModel) -> tuple[perstack.Job, list[str]]:
    told: list[str] = []
    job = await perstack.run(
        "worker",
        "go",
        config=config,
        workspace=config.parent,
        env={"PATH": "/usr/bin:/bin"},
        model=model,
        listener=lambda event: told.append(event["type"] + "/" + event.get("skillName", "")),
    )
    return job, told


async def test_a_run_waits_for_a_skill_before_it_starts(tmp_path: Path) -> None:
    _, told = await run(project(tmp_path, '"well"'), ScriptedModel(says("done")))
    assert told.index("skillConnected/odd") < told.index("startRun/")


async def test_a_run_starts_without_waiting_for_a_lazy_skill(tmp_path: Path) -> None:
    model = ScriptedModel(says("done"))
    job, told = await run(project(tmp_path, '"well"', "lazyInit = true"), model)
    assert told.index("startRun/") < told.index("skillConnected/odd")
    assert job.done is not None
    assert job.done.outcome == "completed"
    (request,) = model.requests
    assert {"exec", "hang"} <= {tool.name for tool in request.tools}


async def test_a_server_that_does_not_start_in_time_is_not_available(tmp_path: Path) -> None:
    config = project(tmp_path, '"mute"', "startupTimeout = 300")
    with pytest.raises(SkillUnavailable, match="odd"):
        await run(config, ScriptedModel(says("never")))


async def test_a_call_that_gives_no_sign_of_life_is_given_up(tmp_path: Path) -> None:
    model = ScriptedModel(calls(("hang", {})), says("done"))
    job, _ = await run(project(tmp_path, '"well"', "toolTimeout = 300"), model)
    assert job.done is not None
    result = model.requests[-1].history[-1]
    assert getattr(result, "is_error", False)
