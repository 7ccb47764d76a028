"""What a single value of a definition must be: sizes, patterns, addresses.

Each check takes a value and gives None, or the fault in words (without saying where). An address is judged
here by its letters alone; whether a name leads somewhere private is asked when it is connected to.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

MAX_DESCRIPTION = 2048
MAX_INSTRUCTION = 20480
MAX_RULE = 2048
MAX_ENDPOINT = 2048
MAX_SCHEMA = 20480
MAX_SKILLS = 255
MAX_SKILL_NAME = 255
MAX_DELEGATES = 255
MAX_TAGS = 8
MAX_TAG = 255
MAX_FILTER = 255
MAX_TOOL_NAME = 255
MAX_TOOLS = 255
MAX_REQUIRED_ENV = 255
MAX_ENV_NAME = 255
MAX_DOMAIN = 253
MAX_HEADERS = 32

ENV_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", re.ASCII)
TOOL_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", re.ASCII)
URL_SAFE = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
DOMAIN = re.compile(
    r"(\*\.)?[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*",
    re.ASCII,
)
HEADER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]*", re.ASCII)
HEADER_VALUE = re.compile(r"(?:[!-~]+ )?[a-zA-Z0-9_][a-zA-Z0-9_-]*", re.ASCII)
PUNYCODE = re.compile(r"(?:^|\.)(xn--)", re.ASCII | re.IGNORECASE)

Check = Callable[[str], str | None]

RUNTIME = (1, 0)
"""The version of the runtime that Definitions ask for with `minRuntimeVersion`: what it offers them, not ours."""
_RUNTIME = re.compile(r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.\d{1,9})?", re.ASCII)

_PLACEHOLDER_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
_NUMBERS = (
    (re.compile(r"0x[0-9a-f]{0,16}"), 16, 2),
    (re.compile(r"0[0-7]{0,20}"), 8, 0),
    (re.compile(r"[1-9][0-9]{0,16}"), 10, 0),
)
_OWN_HEADERS = {
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
}
_METADATA_HOSTS = {"metadata", "metadata.google.internal", "instance-data"}


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units: how registries and the reference count."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def sized(most: int, *, least: int = 0) -> Check:
    """A check for `least` to `most` UTF-16 code units."""

    def check(text: str) -> str | None:
        size = utf16_length(text)
        if size < least:
            return "must not be empty" if least == 1 else f"needs at least {least} characters"
        return f"has {size} characters; at most {most} are allowed" if size > most else None

    return check


def not_empty(text: str) -> str | None:
    return None if text else "must not be empty"


def matching(pattern: re.Pattern[str], what: str) -> Check:
    """A check against a whole pattern. what: what it should look like, for the message."""

    def check(text: str) -> str | None:
        return None if pattern.fullmatch(text) else f"{json.dumps(text)} is not {what}"

    return check


def env_name_fault(text: str) -> str | None:
    return matching(ENV_NAME, "the name of an environment variable")(text) or sized(MAX_ENV_NAME)(
        text
    )


def runtime_fault(least: str) -> str | None:
    """Why this runtime will not do for a Definition with this `minRuntimeVersion`, to be put after its name."""
    found = _RUNTIME.fullmatch(least)
    if found is None:
        return f"asks for the runtime {json.dumps(least)}, which is no version such as v1.0."
    if (int(found[1]), int(found[2] or 0)) <= RUNTIME:
        return None
    ours = ".".join(str(number) for number in RUNTIME)
    return f"needs the runtime {least}, and this Perstack is v{ours}. Update Perstack."


def domain_fault(text: str) -> str | None:
    if too_long := sized(MAX_DOMAIN)(text):
        return too_long
    if not DOMAIN.fullmatch(text):
        return f"{json.dumps(text)} is not a domain; write example.com or *.example.com, without scheme or port"
    if PUNYCODE.search(text):
        return (
            f"{json.dumps(text)} is punycode, which can look like another name; it is not allowed"
        )
    return None


def https_fault(text: str) -> str | None:
    """An address that begins with https:// and names a host."""
    url = _split_url(text)
    if url is None:
        return f"{json.dumps(text)} is not a URL"
    return None if url.scheme == "https" else f"{json.dumps(text)} must begin with https://"


def endpoint_fault(text: str) -> str | None:
    """An https address whose host is not private as it stands."""
    url = _split_url(text)
    if url is None or url.scheme != "https" or is_private_host(url.hostname or ""):
        return f"must be a public HTTPS URL, {json.dumps(text)} is not"
    return sized(MAX_ENDPOINT)(text)


def is_loopback_url(text: str) -> bool:
    """Whether `text` is an http or https address of this machine, by its spelling."""
    url = _split_url(text)
    if url is None or url.scheme not in ("http", "https"):
        return False
    name = (url.hostname or "").strip("[]").rstrip(".").lower()
    address = _address(name)
    return name == "localhost" or (address is not None and address.is_loopback)


def header_name_fault(text: str) -> str | None:
    """The name of an HTTP header that is free to be set."""
    if problem := matching(HEADER, "the name of an HTTP header")(text) or sized(MAX_ENV_NAME)(text):
        return problem
    if text.lower() in _OWN_HEADERS or text.lower().startswith("mcp-"):
        return "is set by the protocol itself"
    return None


def header_value_fault(text: str) -> str | None:
    """The name of a variable, with what comes before its value."""
    if HEADER_VALUE.fullmatch(text):
        return sized(MAX_ENV_NAME)(text)
    return (
        f"{json.dumps(text)} names no environment variable; "
        'write MY_KEY, or "Bearer MY_TOKEN" for a value with a word before it'
    )


def json_object_fault(text: str) -> str | None:
    """A text that is a JSON object."""
    value, problem = _parse_json(text)
    if problem:
        return problem
    return None if isinstance(value, dict) else "must be a JSON object, between { and }"


def _parse_json(text: str) -> tuple[Any, str | None]:
    try:
        return json.loads(text), None
    except (ValueError, RecursionError) as error:
        return None, f"is not JSON: {error}"


def json_schema_fault(text: str) -> str | None:
    """A text that is a JSON object, for the arguments of an interactive tool."""
    if too_long := sized(MAX_SCHEMA)(text):
        return too_long
    if problem := json_object_fault(text):
        return problem
    kind = cast("dict[str, Any]", json.loads(text)).get("type", "object")
    return (
        None
        if kind == "object"
        else 'describes no object; the arguments of a tool need "type": "object"'
    )


def is_private_host(host: str) -> bool:
    """Whether `host` (a name, or an address in any spelling) is this machine or a private network.

    Names are not looked up.
    """
    name = host.strip("[]").rstrip(".").lower()
    if not name or name == "localhost" or name.endswith(".localhost") or name in _METADATA_HOSTS:
        return True
    address = _address(name)
    if address is None:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address in network for network in _PLACEHOLDER_NETWORKS):
        return False
    return address.is_multicast or not address.is_global


def _split_url(text: str) -> SplitResult | None:
    if any(character <= " " or character == "\x7f" for character in text):
        return None
    try:
        url = urlsplit(text)
        # .port raises for what is no port
        usable = bool(url.scheme and url.hostname) and url.port != 0
    except ValueError:
        return None
    return url if usable else None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `name` spells: dotted, hexadecimal, octal, one number, or IPv6; None for a name."""
    try:
        return ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        pass
    parts = name.split(".")
    numbers = [_number(part) for part in parts]
    if not 1 <= len(parts) <= 4 or any(number is None for number in numbers):
        return None
    *heads, last = [number or 0 for number in numbers]
    if any(head > 255 for head in heads) or last >= 256 ** (4 - len(heads)):
        return None
    return ipaddress.IPv4Address(last + sum(head << 8 * (3 - at) for at, head in enumerate(heads)))


def _number(text: str) -> int | None:
    for pattern, base, prefix in _NUMBERS:
        if pattern.fullmatch(text):
            return int(text[prefix:] or "0", base)
    return None
