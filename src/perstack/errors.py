"""What can go wrong, as types.

PerstackError
├─ UserError            you can put it right: one paragraph, no traceback
│  ├─ DefinitionError   .faults: what is wrong, where, and what to do
│  ├─ LockError         a lock file that cannot be used: not TOML, from a newer version
│  │  ├─ LockOutOfDate  it is not what the project file says, and may not be brought up to date
│  │  └─ LockTampered   it, or what it pins, was changed
│  ├─ UnknownExpert     .key, .close_matches
│  ├─ MissingEnv        .names (names only, never values)
│  ├─ RuntimeNotReady   .runtime, .kind
│  └─ JobBusy           another process is writing this job
├─ WorldError           the world failed: may be tried again
│  ├─ ModelError        .name, .retryable, .retry_after_s, .status
│  ├─ SkillUnavailable  .skill, .stderr_tail
│  ├─ StoreError        a log could not be written or read: disk full, read-only, gone
│  ├─ RegistryError     .status, .reason, .aborted
│  └─ SandboxError
├─ ToolError            told to the model as a tool result; it never stops a run
├─ RegistryTampered     what a registry, or a copy of what it published, says is not what was published
└─ CorruptLog           .path, .seq

Errors hold data; `__str__` makes the sentence. Who must read it decides the type: a person (UserError,
WorldError), the model (ToolError), or the next reader of a log (CorruptLog).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast


class PerstackError(Exception):
    """Everything this package raises on purpose."""


class UserError(PerstackError):
    """Something the user wrote or asked for; the text says what to do next."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input.

    path: dotted place in the document, empty for the document itself.
    what: the problem. hint: what to do about it, may be empty.
    """

    path: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.what}{hint}"


class DefinitionError(UserError):
    """A definition file that cannot be used. All its faults are here, not only the first."""

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        super().__init__(source)
        self.source = source
        self.faults = tuple(faults)

    def __str__(self) -> str:
        lines = "".join(f"\n  - {fault}" for fault in self.faults)
        return f"{self.source}: Validation failed:{lines}"


class LockError(UserError):
    """A lock file that cannot be used: no lock file at all, or from a newer version."""


class LockOutOfDate(LockError):
    """A lock that is missing, or not what the project file says, where nothing else will do."""


class LockTampered(LockError):
    """Something that is pinned is not what it was: a digest does not match, or a server has other tools."""


class UnknownExpert(UserError):
    """No Expert has this key, here or where we were told to look."""

    def __init__(self, key: str, close_matches: Iterable[str] = (), looked_in: str = "") -> None:
        super().__init__(key)
        self.key = key
        self.close_matches = tuple(close_matches)
        self.looked_in = looked_in

    def __str__(self) -> str:
        where = f" in {self.looked_in}" if self.looked_in else ""
        text = f'Expert "{self.key}" not found{where}.'
        if self.close_matches:
            text += " Did you mean " + " or ".join(f'"{name}"' for name in self.close_matches) + "?"
        return text


class MissingEnv(UserError):
    """Environment variables that are needed and not set. Names only, never values."""

    def __init__(self, names: Iterable[str], needed_by: str, hint: str = "") -> None:
        super().__init__(needed_by)
        self.names = tuple(names)
        self.needed_by = needed_by
        self.hint = hint

    def __str__(self) -> str:
        verb = "is" if len(self.names) == 1 else "are"
        hint = f" {self.hint}" if self.hint else ""
        return f"{', '.join(self.names)} {verb} not set; {self.needed_by} needs it.{hint}"


class RuntimeNotReady(UserError):
    """Another vendor's program cannot be the runtime as things are."""

    def __init__(
        self,
        runtime: str,
        kind: Literal["cli-not-found", "auth-missing", "version-mismatch"],
        what: str,
        help_url: str,
    ) -> None:
        super().__init__(what)
        self.runtime = runtime
        self.kind = kind
        self.what = what
        self.help_url = help_url

    def __str__(self) -> str:
        said = f'Runtime "{self.runtime}" prerequisites not met: {self.what}'
        return f"{said}\nSee: {self.help_url}"


class JobBusy(UserError):
    """Another process is writing this job's log. owner: what it wrote about itself."""

    def __init__(self, job: str, owner: str) -> None:
        super().__init__(job)
        self.job = job
        self.owner = owner

    def __str__(self) -> str:
        return (
            f"Job {self.job} is being run by another process ({self.owner}). "
            "Wait for it, or stop it first."
        )


class WorldError(PerstackError):
    """The world failed; the same request may work another time."""


class ModelError(WorldError):
    """A model did not give a usable reply.

    name: short class of failure, e.g. "RateLimited". status: HTTP status, None if there was none.
    retry_after_s: seconds the provider asked us to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        name: str = "ModelError",
        retryable: bool = False,
        retry_after_s: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.name = name
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.status = status


class SkillUnavailable(WorldError):
    """A skill that could not be started or does not answer. stderr_tail: its last words."""

    def __init__(self, skill: str, reason: str, stderr_tail: str = "") -> None:
        super().__init__(skill, reason)
        self.skill = skill
        self.reason = reason
        self.stderr_tail = stderr_tail

    def __str__(self) -> str:
        tail = f"\nIts last output:\n{self.stderr_tail}" if self.stderr_tail else ""
        return f'Skill "{self.skill}" is not available: {self.reason}{tail}'


class StoreError(WorldError):
    """A log could not be written or read. Nothing acknowledged before is lost."""


class RegistryError(WorldError):
    """The registry refused or could not be reached.

    status: of its answer; 0 if there was none, or none that can be read. reason: the server's own word for it.
    aborted: it took too long.
    """

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", aborted: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.aborted = aborted


class SandboxError(WorldError):
    """A wall that was asked for could not be built."""


class ToolError(PerstackError):
    """Told to the model as the result of its call; it never stops a run."""


class RegistryTampered(PerstackError):
    """What a registry says, or a copy of what it published, is not what was published. Nothing of it is used."""


class CorruptLog(PerstackError):
    """A log that says something it cannot say. path: file or URL; seq: the first bad event, from 1."""

    def __init__(self, path: str, seq: int, what: str) -> None:
        super().__init__(path, seq, what)
        self.path = path
        self.seq = seq
        self.what = what

    def __str__(self) -> str:
        return f"{self.path}: event {self.seq}: {self.what}"


def first_of(error: BaseException) -> BaseException:
    """The first error inside nested groups; `error` itself if it is no group."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def sole(error: BaseException) -> BaseException:
    """The one error inside nested groups; `error` itself if it is no group, or holds several."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    return sole(group.exceptions[0]) if len(group.exceptions) == 1 else group
