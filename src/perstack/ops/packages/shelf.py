"""Documents at hand: in the vendor directory beside the project file, and in the user's cache.

Each is held against its digest whenever it is read; what was changed is an error, and never used.
"""

from __future__ import annotations

from pathlib import Path

from perstack.errors import RegistryTampered, UserError
from perstack.lock import digest_of
from perstack.registry import Cache

VENDOR = "perstack_vendor"


class Shelf:
    """Documents by digest. vendor: the vendor directory, which comes first; None without a project."""

    def __init__(self, cache: Cache, vendor: Path | None) -> None:
        self._cache = cache
        self._vendor = vendor
        self._laid: dict[str, bytes] = {}

    def at_hand(self, digest: str) -> bytes | None:
        """A document that need not be asked for. Raises RegistryTampered if a copy of it was changed."""
        if digest not in self._laid:
            found = self._vendored(digest) or self._cache.document(digest)
            if found is None:
                return None
            self._laid[digest] = found
        return self._laid[digest]

    def copies(self, digest: str) -> tuple[bytes, ...]:
        """All copies of a document that are here. Raises RegistryTampered if one of them was changed."""
        found = (self._vendored(digest), self._cache.document(digest))
        return tuple(copy for copy in found if copy is not None)

    def lay(self, digest: str, document: bytes) -> None:
        """Have a document at hand that has this digest, for as long as this shelf is used."""
        self._laid.setdefault(digest, document)

    def keep(self, digest: str, document: bytes) -> None:
        """Have it at hand from now on."""
        self._laid[digest] = document
        self._cache.keep_document(digest, document)

    def _vendored(self, digest: str) -> bytes | None:
        if self._vendor is None:
            return None
        path = self._vendor / f"{digest.partition(':')[2]}.json"
        try:
            found = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from error
        if digest_of(found) != digest:
            raise RegistryTampered(
                f"{path} was changed: its digest is not {digest}. Restore it, or delete it and run "
                "`perstack install --vendor`."
            )
        return found
