"""The walls of a job, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from perstack.ops.running.provided import provided_to
from perstack.ops.running.run import Order, prepare
from perstack.ops.running.walled import policies_for

from .plain import plain

if TYPE_CHECKING:
    from perstack.ops.walls.build import WallPolicy


async def would_run(order: Order, as_text: bool) -> str:
    """What `order` would run and within which walls, as text or as one JSON object. Raises as `prepare` does."""
    prepared = await prepare(order, asks=False)
    policies = policies_for(prepared)
    if as_text:
        lines = [*prepared.warnings, *prepared.remarks, *prepared.settled]
        lines += policy_lines(prepared.settings.runtime, policies)
        return "\n".join(plain(line) for line in lines)
    told = {
        "job": prepared.job,
        "expert": prepared.lock.key_of(order.expert),
        "runtime": prepared.settings.runtime,
        "workspace": str(order.workspace),
        "warnings": [*prepared.warnings, *prepared.remarks],
        "walls": policies,
        "provided": provided_to(prepared.lock, order.expert),
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


def policy_lines(runtime: str, policies: Iterable[WallPolicy]) -> Iterator[str]:
    """The walls as lines. policies: of each skill that starts programs; none, if it has no walls.

    Places in the workspace are told from there; what is shown of /etc is left out.
    """
    yield f"Walls      runtime {runtime}"
    for policy in policies:
        what = "a server" if policy.serves else "each program of exec"
        yield f"  {policy.skill} ({what})"
        yield f"    reaches    {', '.join(policy.domains) or 'nowhere'}"
        yield f"    variables  {', '.join(sorted(policy.names)) or 'none'}"
        root = f"{policy.workspace}/"
        yield f"    writes     {policy.workspace}"
        for label, hows in _SHOWN:
            places = [mount.inside for mount in policy.mounts if mount.how in hows]
            shown = [p.removeprefix(root) for p in places if not p.startswith(("/etc/", "/dev/"))]
            yield f"    {label}{', '.join(shown) or 'nothing'}"
        limits = policy.limits
        yield (
            f"    limits     {_size(limits.memory_bytes)} of memory for a process, {limits.processes} processes, "
            f"{limits.open_files} open files, files up to {_size(limits.file_bytes)}, "
            f"{_size(limits.scratch_bytes)} for each scratch directory"
        )


_SHOWN = (
    ("kept       ", ("keep",)),
    ("hidden     ", ("hide",)),
    ("reads      ", ("read",)),
    ("scratch    ", ("scratch",)),
)


def _size(size_bytes: int) -> str:
    gib, rest = divmod(size_bytes, 1024**3)
    return f"{gib} GiB" if gib and not rest else f"{size_bytes // 1024**2} MiB"
