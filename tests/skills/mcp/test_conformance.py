"""The official MCP conformance suite against our client, for the scenarios we claim (docs/reference/skills.md)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CLAIMED = (
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "sse-retry",
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-step-up",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/resource-mismatch",
    "auth/2025-03-26-oauth-metadata-backcompat",
    "auth/2025-03-26-oauth-endpoint-fallback",
)


@pytest.mark.parametrize("scenario", CLAIMED)
def test_the_conformance_suite_passes(conformance_suite: Path, scenario: str) -> None:
    client = f"{sys.executable} -m tests.skills.mcp.conformance_client"
    done = subprocess.run(
        [str(conformance_suite), "client", "--command", client, "--scenario", scenario],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "OVERALL: PASSED" in told


@pytest.mark.parametrize("scenario", CLAIMED)
def test_the_reference_names_what_is_claimed(scenario: str) -> None:
    assert f"`{scenario}`" in (ROOT / "docs/reference/skills.md").read_text(encoding="utf-8")
