"""Keys of registries, kept for this user: one file for each registry, which only its owner can read.

A key belongs to an *origin* (scheme, host, port) and is never given for another. Which key is sent with a request,
this one or one of the environment, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from perstack._value import Value
from perstack.errors import UserError

from ..atomic import replace_file

_PRIVATE = 0o600
_PORTS = {"https": 443, "http": 80}
_UNUSUAL = re.compile(r"[^a-z0-9.-]+")


class Credential(Value, frozen=True):
    """origin: "https://registry.example". organization: whose key it is, as the registry said at login."""

    origin: str
    key: str
    organization: str = ""

    def __repr__(self) -> str:
        return f"Credential(origin={self.origin!r}, organization={self.organization!r})"

    __str__ = __repr__


def origin_of(url: str) -> str:
    """Scheme, host and port of `url`, in one spelling: lower case, no port where it is the usual one."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    usual = parts.port is None or parts.port == _PORTS.get(parts.scheme.lower())
    return f"{parts.scheme.lower()}://{host}{'' if usual else f':{parts.port}'}"


def kept_key(url: str, env: Mapping[str, str]) -> str | None:
    """The key kept for the registry at `url`. Raises UserError if its file cannot be used."""
    found = kept_credential(url, env)
    return found.key if found else None


def kept_credential(url: str, env: Mapping[str, str]) -> Credential | None:
    """All that is kept for the registry at `url`. Raises UserError if its file cannot be used."""
    origin = origin_of(url)
    path = _path(origin, env)
    try:
        if path.stat().st_mode & 0o077:
            raise UserError(
                f"{path} holds a key and can be read by others. Run `chmod 600 {path}`, or better: "
                "revoke that key and `perstack login` anew."
            )
        found = msgspec.json.decode(path.read_bytes(), type=Credential)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UserError(f"{path} cannot be used. `perstack login` makes it anew.") from None
    return found if found.origin == origin else None


def keep(credential: Credential, env: Mapping[str, str]) -> Path:
    """Write the key of one registry down, in place of an older one. Raises UserError."""
    path = _path(credential.origin, env)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        replace_file(path, msgspec.json.encode(credential), mode=_PRIVATE)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def forget(url: str, env: Mapping[str, str]) -> bool:
    """Delete what is kept for the registry at `url`. Whether there was anything. Raises UserError."""
    path = _path(origin_of(url), env)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"{path} cannot be deleted: {error.strerror}.") from error
    return True


def _path(origin: str, env: Mapping[str, str]) -> Path:
    shown = _UNUSUAL.sub("_", origin.partition("://")[2])[:80]
    digest = hashlib.sha256(origin.encode()).hexdigest()[:12]
    return config_home(env) / "perstack" / "registries" / f"{shown}-{digest}.json"


def config_home(env: Mapping[str, str]) -> Path:
    """The directory in which programs keep what is set up for this user."""
    given = env.get("XDG_CONFIG_HOME", "")
    return (
        Path(given) if given.startswith("/") else Path(env.get("HOME") or Path.home()) / ".config"
    )
