"""What one `perstack.lock` says, and how it is held to itself.

The file is TOML that the reference can read (`spec/registry.md` 9.7): its members stand where it looks for them,
ours beside them, and readers of either kind skip what they do not know. `encode.py` writes it, `decode.py` reads
it, `exact.py` knows what TOML cannot say, and `salvage.py` takes out of a broken one what still counts.

Three digests hold it to itself, and all are checked on reading, so that a lock that was changed by hand is found
before anything runs:

- `fileHash` covers the whole file, as a TOML reader has it: all but comments, layout and line ends. It is the one
  that finds *any* change. A file without it is one of an earlier version.
- `integrity` covers the Definition of an Expert. That of a published Expert is over the document its registry has,
  which is not in the file: whoever uses such a pin must hold that document against it (`published.py`).
- `toolsIntegrity` covers the tool definitions of an Expert.

The latter two say what may be kept when the file as a whole was changed, by a merge for example, and what is
another when two locks are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from perstack._value import Value
from perstack.definition import Project

from .document import canonical_json, digest_of
from .lock import Lock

LOCK_FORMAT = 2
"""What `lockFormat` says. A file without it is of the reference, and only a hint; a higher one is refused."""

FILE_HASH = "fileHash"


class LockFile(Value, frozen=True):
    """What one `perstack.lock` says.

    config: base name of the project file. generated_at: milliseconds since 1970. manifest: digest over the
    delegates the project file names. format: 1 for a file of the reference, which has neither digests nor
    resolutions.
    """

    lock: Lock
    config: str = "perstack.toml"
    generated_at: int = 0
    manifest: str = ""
    format: int = LOCK_FORMAT

    def says_the_same_as(self, other: LockFile) -> bool:
        """Whether nothing but the time of writing is different."""
        return replace(self, generated_at=0) == replace(other, generated_at=0)


def manifest_of(project: Project) -> str:
    """The digest over what a project file asks for, and where: delegates of its Experts, registries of scopes."""
    delegates = {key: list(expert.delegates) for key, expert in project.experts.items()}
    asked: dict[str, Any] = {"delegates": delegates}
    if project.registries:
        asked["registries"] = {scope: place.url for scope, place in project.registries.items()}
    return digest_of(canonical_json(asked))


def file_hash(raw: Mapping[str, Any]) -> str:
    """The digest over a whole lock file, of any format. raw: as TOML says it; the digest itself does not count.

    Raises ValueError for what is not JSON, such as a date.
    """
    return digest_of(canonical_json({name: raw[name] for name in raw if name != FILE_HASH}))
