"""How one server is set up: flags first, then `PERSTACK_REGISTRY_*`, then what is right for one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from perstack.errors import UserError

PREFIX = "PERSTACK_REGISTRY_"
TRUTHS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """database_url: a path, `sqlite:path` or `postgresql://…`. public_url: as clients write it, without a path.

    anonymous_read: whether reading public Experts needs no key. open_signup: whether anyone with a key may make
    organizations; else only administrators may. unpublish_window_hours: after publishing, 0 for ever.
    log_signing_key: file of the transparency log's key; empty: it is kept in the database. rate_limits: "off",
    "default", or `action=per_minute/burst` with spaces. trusted_proxies: addresses whose X-Forwarded-For counts.
    plain: whether to listen beyond this machine without TLS. oidc_issuers: whose tokens are exchanged for keys:
    `github`, `gitlab`, `https://host=github`, `https://host=gitlab`, with spaces.
    upstreams: which scopes are other registries', as `mirrors/upstreams.py` reads it.
    """

    database_url: str = "perstack-registry.db"
    public_url: str = ""
    host: str = "127.0.0.1"
    port: int = 7717
    tls_cert: str = ""
    tls_key: str = ""
    anonymous_read: bool = True
    open_signup: bool = False
    unpublish_window_hours: int = 0
    log_signing_key: str = ""
    rate_limits: str = "off"
    trusted_proxies: str = ""
    oidc_issuers: str = ""
    workers: int = 1
    plain: bool = False
    upstreams: str = ""

    @property
    def url(self) -> str:
        """Where clients find this server, without a slash at the end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"


def settings_of(environ: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings; a flag that is None was not given. Raises UserError, naming the variable."""
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    for field in fields(Settings):
        text = environ.get(PREFIX + field.name.upper())
        if field.name not in given and text:
            given[field.name] = _read(field.name, str(field.type), text)
    settings = Settings(**given)
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise UserError("A certificate needs its key: give both --tls-cert and --tls-key, or none.")
    for file in (settings.tls_cert, settings.tls_key, settings.log_signing_key):
        if file and not Path(file).is_file():
            raise UserError(f"There is no file {file}.")
    return settings


def _read(name: str, kind: str, text: str) -> Any:
    match kind:
        case "bool" if text.lower() in TRUTHS:
            return TRUTHS[text.lower()]
        case "bool":
            raise UserError(f'{PREFIX}{name.upper()} is "{text}"; write true or false.')
        case "int" if text.isdecimal():
            return int(text)
        case "int":
            raise UserError(f'{PREFIX}{name.upper()} is "{text}"; write a number.')
        case _:
            return text
