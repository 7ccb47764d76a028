"""What is shown and not kept: words as they arrive, skills as they come and go.

Notices never reach the log. `at` is seconds since 1970 UTC, given by whoever tells the notice.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a reply of `run`. concluding: it belongs to the closing reply."""

    run: str
    step: int
    kind: Literal["thought", "text"]
    text: str
    concluding: bool = False
    at: float = 0.0


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """`run` waits before it asks the model again. attempt: the one that comes, from 1."""

    run: str
    seconds: float
    attempt: int
    reason: str
    at: float = 0.0


class SkillStarting(msgspec.Struct, frozen=True, kw_only=True):
    """A skill's server is being started."""

    skill: str
    command: str
    args: tuple[str, ...]
    at: float = 0.0


class SkillConnected(msgspec.Struct, frozen=True, kw_only=True):
    """A skill answers. Durations are seconds; None where there was no such stage."""

    skill: str
    server: tuple[str, str] | None = None
    spawn_s: float | None = None
    handshake_s: float | None = None
    discovery_s: float | None = None
    at: float = 0.0


class SkillStderr(msgspec.Struct, frozen=True, kw_only=True):
    """A skill's server wrote to its standard error."""

    skill: str
    text: str
    at: float = 0.0


class SkillDisconnected(msgspec.Struct, frozen=True, kw_only=True):
    """A skill is gone."""

    skill: str
    at: float = 0.0


class ToolsDiffer(msgspec.Struct, frozen=True, kw_only=True):
    """A skill has other tools than the lock says. differences: one line each."""

    skill: str
    differences: tuple[str, ...]
    at: float = 0.0

    @property
    def text(self) -> str:
        """What to tell a person."""
        lines = "".join(f"\n  - {line}" for line in self.differences)
        return (
            f'Skill "{self.skill}" has other tools than perstack.lock says. '
            f"If that is as it should be, take them over with `perstack install`:{lines}"
        )


class SkillWalled(msgspec.Struct, frozen=True, kw_only=True):
    """Walls were built around what a skill starts. walls: which, where it may write and what it may reach."""

    skill: str
    walls: str
    at: float = 0.0


class ProxyAccess(msgspec.Struct, frozen=True, kw_only=True):
    """A skill asked for a way out, and was let through or not. reason: why not, or what else is to be known."""

    skill: str
    action: Literal["allowed", "blocked"]
    domain: str
    port: int
    reason: str = ""
    at: float = 0.0

    @property
    def text(self) -> str:
        """What to tell a person."""
        verb = "may reach" if self.action == "allowed" else "may not reach"
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.skill} {verb} {self.domain}:{self.port}{reason}"


class ImageProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A container image is being made. service: which part of it. progress: from 0 to 1, if it is known."""

    stage: Literal["pulling", "building", "complete", "error"]
    service: str
    text: str
    progress: float | None = None
    at: float = 0.0


class ContainerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A container changed."""

    status: Literal["starting", "running", "healthy", "unhealthy", "stopped", "error"]
    service: str
    text: str = ""
    at: float = 0.0


Notice = (
    Heard
    | Waiting
    | SkillStarting
    | SkillConnected
    | SkillStderr
    | SkillDisconnected
    | ToolsDiffer
    | SkillWalled
    | ProxyAccess
    | ImageProgress
    | ContainerStatus
)
