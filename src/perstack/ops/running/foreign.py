"""Another vendor's program as the runtime: whether it is there, what it does not do, and how it runs an Expert."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import anyio

from perstack.definition import BASE_SKILL, InteractiveSkill
from perstack.engine import VENDORS, Ears, Inbox, Vendor, run_foreign
from perstack.errors import RuntimeNotReady, UserError
from perstack.job import Job
from perstack.skills import clean_env

from .order import Prepared

PROBE_S = 20.0
"""Seconds a program may take to say its version."""


async def check_foreign(prepared: Prepared) -> tuple[str, ...]:
    """What the program will not do, one sentence each.

    Raises UserError for what it must not be asked to do, RuntimeNotReady if it is not there.
    """
    vendor = VENDORS[prepared.settings.runtime]
    if refusal := next(_refusals(prepared, vendor), None):
        raise UserError(f'The runtime "{vendor.name}" {refusal}')
    await probe(vendor, outside(prepared))
    return tuple(_remarks(prepared, vendor))


async def run_with(prepared: Prepared, inbox: Inbox, ears: Ears) -> Job:
    """Carry out what is prepared. Raises as `run_foreign` does."""
    return await run_foreign(
        prepared.plan,
        VENDORS[prepared.settings.runtime],
        model=prepared.order.flags.model or "",
        store=prepared.store,
        env=outside(prepared),
        inbox=inbox,
        ears=ears,
    )


def outside(prepared: Prepared) -> dict[str, str]:
    """The variables of the run, with no way to programs that the Expert could have written."""
    from perstack.sandbox import trusted_path

    workspace = os.path.realpath(prepared.order.workspace)
    return {**prepared.env, "PATH": trusted_path(prepared.env, workspace)}


async def probe(vendor: Vendor, env: dict[str, str]) -> str:
    """The version that the program of `vendor` says it has. Raises RuntimeNotReady."""
    found = shutil.which(vendor.program, path=env.get("PATH", ""))
    if found is None:
        raise RuntimeNotReady(vendor.name, "cli-not-found", vendor.absent, vendor.help_url)
    command = [found, "--version"]
    try:
        with anyio.fail_after(PROBE_S):
            done = await anyio.run_process(command, env=clean_env(env, {}), check=False)
    except (OSError, TimeoutError) as error:
        why = "it says nothing" if isinstance(error, TimeoutError) else error.strerror
        what = f"{found} --version does not answer: {why}."
        raise RuntimeNotReady(vendor.name, "cli-not-found", what, vendor.help_url) from error
    if done.returncode:
        what = f"{found} --version failed with exit code {done.returncode}."
        raise RuntimeNotReady(vendor.name, "version-mismatch", what, vendor.help_url)
    if vendor.signs_in and not _signs_in(vendor, env):
        what = f"{vendor.signs_in[0]} environment variable is not set."
        raise RuntimeNotReady(vendor.name, "auth-missing", what, vendor.auth_url)
    return done.stdout.decode(errors="replace").strip().partition("\n")[0]


def _signs_in(vendor: Vendor, env: dict[str, str]) -> bool:
    home = Path(env.get("HOME", "/nonexistent"))
    return any(env.get(name) for name in vendor.signs_in) or (home / vendor.sign_in_file).is_file()


def _refusals(prepared: Prepared, vendor: Vendor) -> Iterator[str]:
    """What is asked for and would be missing without anybody noticing."""
    order, limits = prepared.order, prepared.settings.limits
    expert = prepared.lock.expert(order.expert)
    if order.go_on is not None:
        yield (
            "cannot go on with a job. Start a new one, or go on with --runtime local and a provider."
        )
    if order.cassette or order.record or order.model:
        yield "asks a model of its own: leave out --cassette and --record."
    if order.frozen:
        yield "has tools of its own, which no lock pins: leave out --frozen."
    if expert.approve or expert.deny or order.flags.approve or order.flags.deny:
        yield (
            f'asks nobody before it acts, but there are rules (approve, deny) on "{expert.key}". '
            "Use another runtime, or take the rules away."
        )
    if limits.max_tokens is not None or limits.max_cost is not None:
        yield "keeps to no maxTokens and no maxCost. Leave them out, or use another runtime."


def _remarks(prepared: Prepared, vendor: Vendor) -> Iterator[str]:
    order, flags = prepared.order, prepared.order.flags
    expert = prepared.lock.expert(order.expert)
    yield f"{vendor.name} runs with your rights, its own tools and its own settings."
    if vendor.name == "cursor":
        yield "cursor runs every command without asking (--force)."
    left_out = [
        *(f"skill {name}" for name in expert.skills if name != BASE_SKILL),
        *(f"delegate {delegate}" for delegate in expert.delegates),
        *(f"provider tool {name}" for name in expert.provider_tools),
        *(f"provider skill {s.get('skillId') or s.get('name')}" for s in expert.provider_skills),
    ]
    if left_out:
        yield f"{vendor.name} does not know: {', '.join(left_out)}."
    if any(isinstance(skill, InteractiveSkill) for skill in expert.skills.values()):
        yield f"{vendor.name} cannot ask you anything."
    said = {
        "--provider": flags.provider,
        "--reasoning-budget": flags.reasoning,
        "--max-steps": flags.max_steps,
        "--max-retries": flags.max_retries,
        "--timeout": flags.timeout_s,
    }
    if without := [name for name, value in said.items() if value is not None]:
        yield f"{', '.join(without)} mean nothing to {vendor.name}."
