"""The reference says the limits that hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.skills import keeper, launch, mcp, mcp_results, patience, remote, skill

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference" / "skills.md").read_text(
    encoding="utf-8"
)


@pytest.mark.parametrize(
    "words",
    [
        f"after {launch.GRACE_S:g} s it gets SIGTERM",
        f"at most {launch.NOTICE_MAX} bytes, at most {launch.NOTICES_PER_S} a second",
        f"The last {launch.TAIL_MAX} bytes",
        f"One message may have {launch.LINE_MAX // 2**20} MiB",
        f"up to {mcp.PAGES_MAX} pages and {mcp.TOOLS_MAX} tools",
        f"more than {mcp_results.SCHEMA_MAX // 1024} KiB",
        f"at most {mcp_results.DESCRIPTION_MAX} characters",
        f"beyond {mcp_results.TEXT_MAX // 2**20} MiB is cut",
        f"beyond {mcp_results.DATA_MAX // 2**20} MiB (as base64)",
        f"list of its tools | {skill.STARTUP_S:g} s",
        f"without a sign of life | {skill.TOOL_S:g} s",
        f"however much progress it reports | {patience.LONGEST} times that",
        f"grow to {keeper.LONGEST_PAUSE_S:g} s",
        f"{remote.LOOPBACK_SWITCH}=1",
    ],
)
def test_a_limit_is_in_the_reference(words: str):
    assert words in REFERENCE.replace("\n", " ")
