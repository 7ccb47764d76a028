"""Where a remote skill is, and what it is told of us: its address, and headers from named variables.

Values of variables go into the headers of requests to the skill's own server, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from perstack._net import is_loopback
from perstack.definition import RemoteSkill, is_private_host
from perstack.errors import MissingEnv, UserError

LOOPBACK_SWITCH = "PERSTACK_ALLOW_LOOPBACK_SKILLS"
"""The variable that lets remote skills be on this machine, for those who develop servers."""

_VALUE = re.compile(r"[\x20-\x7e]+")


def loopback_allowed(env: Mapping[str, str]) -> bool:
    """Whether `env` has the switch on."""
    return env.get(LOOPBACK_SWITCH) == "1"


def endpoint_of(name: str, skill: RemoteSkill, *, allow_loopback: bool = False) -> str:
    """The address of `skill`. name: what to call the skill. Raises UserError if it is not to be connected to."""
    endpoint = skill.endpoint
    if not endpoint:
        raise UserError(f"Skill {name} has no endpoint")
    url = urlsplit(endpoint)
    host = url.hostname or ""
    if allow_loopback and is_loopback(host) and url.scheme in ("http", "https"):
        return endpoint
    if url.scheme != "https":
        raise UserError(f"Skill {name} SSE endpoint must use HTTPS: {endpoint}")
    if is_private_host(host):
        raise UserError(f"Skill {name} SSE endpoint cannot use private/local IP: {endpoint}")
    return endpoint


def headers_of(name: str, skill: RemoteSkill, env: Mapping[str, str]) -> dict[str, str]:
    """The headers that `headersEnv` asks for. Raises MissingEnv, and UserError for a value that is no header's."""
    wanted = {header: spec.rpartition(" ") for header, spec in skill.headers_env.items()}
    missing = [variable for _, _, variable in wanted.values() if not env.get(variable)]
    if missing:
        raise MissingEnv(missing, f"skill {name}")
    headers: dict[str, str] = {}
    for header, (scheme, _, variable) in wanted.items():
        value = env[variable].strip()
        if not _VALUE.fullmatch(value):
            raise UserError(
                f"Skill {name}: the value of {variable} cannot be sent as the header {header}: "
                "it is empty, or not plain text of one line"
            )
        headers[header] = f"{scheme} {value}" if scheme else value
    return headers
