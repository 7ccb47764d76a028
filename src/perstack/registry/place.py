"""One registry, as it is asked, and the addresses in it."""

from __future__ import annotations

from urllib.parse import quote

from perstack._value import Value

from .wire import PREFIX


class Place(Value, frozen=True):
    """url: what it is known by; key: of the user, None without one.

    mirror: the URL that is asked in its place, without the key; mirror_key: of the user, for the mirror.
    """

    url: str
    key: str | None = None
    mirror: str | None = None
    mirror_key: str | None = None

    def __repr__(self) -> str:
        return f"Place(url={self.url!r}, mirror={self.mirror!r})"  # never the key

    @property
    def asked(self) -> str:
        """The URL that requests go to."""
        return (self.mirror or self.url).rstrip("/")

    @property
    def asked_with(self) -> str | None:
        """The key that goes to that URL."""
        return self.mirror_key if self.mirror else self.key

    def document_url(self, digest: str) -> str:
        """Where the registry, not its mirror, has a document."""
        kind, _, hexadecimal = digest.partition(":")
        return f"{self.url}{PREFIX}/documents/{kind}/{hexadecimal}"

    def expert_url(self, key: str) -> str:
        """Where the registry, not its mirror, tells of a version by R1."""
        return f"{self.url}{PREFIX}/experts/{segment(key)}"


def segment(key: str) -> str:
    """A key as one segment of a path."""
    return quote(key, safe="!*'()~._-")
