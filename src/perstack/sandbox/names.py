"""Which hosts may be reached: names on a list, compared with what was asked for. Pure; nothing is looked up.

A name on the wire is ASCII (an internationalised name comes as its `xn--` form), in any case, perhaps with one
dot at its end. Whatever else, and every spelling of an IP address, is no name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

TLS_PORT = 443

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class NotAName(ValueError):
    """What was asked for is no host name. The text says what is wrong with it."""


class Rule(msgspec.Struct, frozen=True):
    """One way out.

    name: a host name in lower case, or `*.` and a name: that name and all below it. plain: whatever is sent is let
    through; else it must be TLS for the host that was asked for. trusted: the host is one that the user of this
    machine chose (a package registry, a model of their own), and may be an IP address or lead to a private one.
    """

    name: str
    port: int = TLS_PORT
    plain: bool = False
    trusted: bool = False

    def covers(self, name: str, port: int) -> bool:
        if port != self.port:
            return False
        if self.name.startswith("*."):
            return name == self.name[2:] or name.endswith(self.name[1:])
        return name == self.name


def rules_of(domains: Iterable[str], trusted: Iterable[str] = ()) -> tuple[Rule, ...]:
    """The rules for names as they are written in `allowedDomains`.

    trusted: those of them that the user of this machine chose, not the author of a Definition.
    """
    ours = set(trusted)
    return tuple(
        Rule(domain.lower().removesuffix("."), trusted=domain in ours)
        for domain in dict.fromkeys(domains)
    )


def name_of(host: str) -> str:
    """`host` as names are compared: in lower case, without the dot at the end. Raises NotAName."""
    if not host.isascii():
        raise NotAName("not an ASCII name")
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    # Resolvers read "0x7f.1" and "2130706433" as addresses, too: a name does not end in a number.
    if ":" in name or name.startswith("[") or _NUMBER.fullmatch(labels[-1]):
        raise NotAName("an IP address, not a name")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise NotAName("not a host name")
    return name


def shown(host: str) -> str:
    """`host` as it can be told: who asked for it chose its characters."""
    text = "".join(c if c.isascii() and c.isprintable() else "?" for c in host[:254])
    return text if len(host) <= 254 else f"{text}…"
