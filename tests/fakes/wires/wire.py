"""What the formats have in common: what a request says, and how a reply is told.

Each wire reads a request without believing it (`fault` says what the provider would refuse it for), and tells
a reply twice: as server-sent events and as one JSON document. Signatures are made from what they sign, so the
server can tell whether they came back unchanged without remembering anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import msgspec

from ..script import Calls, Heard, Reply, WireName

CREATED = 1_767_000_000


def sign(text: str) -> str:
    """The signature a fake model gives `text`."""
    return base64.b64encode(hashlib.sha256(b"signed:" + text.encode()).digest()).decode()


def seal(text: str) -> str:
    """`text`, so that only the server reads it: what stands for encrypted reasoning."""
    return base64.b64encode(f"sealed:{text}".encode()).decode()


def is_sealed(data: object) -> bool:
    try:
        return base64.b64decode(str(data), validate=True).startswith(b"sealed:")
    except ValueError:
        return False


@dataclass(frozen=True)
class Peek:
    """What can be told of a request at a glance."""

    model: str
    stream: bool
    replies: int
    include_usage: bool = False


@dataclass(frozen=True)
class Fault:
    """Why a provider would refuse a request."""

    status: int
    message: str


class Wire:
    """One format. `serial` numbers the requests of a server, and makes ids from it."""

    name: ClassVar[WireName]

    def peek(self, raw: bytes, path: str) -> Peek:
        raise NotImplementedError

    def fault(self, body: dict[str, Any], headers: Mapping[str, str], path: str) -> Fault | None:
        raise NotImplementedError

    def system(self, body: dict[str, Any]) -> str:
        raise NotImplementedError

    def heard(self, body: dict[str, Any]) -> Iterator[Heard]:
        raise NotImplementedError

    def tools(self, body: dict[str, Any]) -> Iterator[str]:
        raise NotImplementedError

    def events(self, reply: Reply, peek: Peek, serial: int) -> list[bytes]:
        """The reply as server-sent events, in order, the closing ones included."""
        raise NotImplementedError

    def whole(self, reply: Reply, peek: Peek, serial: int) -> dict[str, Any]:
        raise NotImplementedError

    def error(self, status: int, message: str) -> dict[str, Any]:
        raise NotImplementedError

    def error_event(self, status: int, message: str) -> bytes:
        """An error in mid-stream."""
        raise NotImplementedError


def data(payload: object, name: str = "", end: str = "\n") -> bytes:
    """One server-sent event."""
    close = end.encode()
    head = b"event: %b%b" % (name.encode(), close) if name else b""
    return b"%bdata: %b%b%b" % (head, msgspec.json.encode(payload), close, close)


def words_of(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+\Z", text)


def slices_of(text: str, size: int = 24) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def args_of(args: Mapping[str, Any] | str) -> str:
    return args if isinstance(args, str) else json.dumps(args, ensure_ascii=False)


def calls_of(reply: Reply) -> Iterable[tuple[str, Mapping[str, Any] | str]]:
    return reply.calls if isinstance(reply, Calls) else ()


def text_of(content: Any) -> str:
    """Text in a string, a part, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(text_of(part) for part in cast("list[Any]", content))
    if isinstance(content, dict):
        return text_of(cast("dict[str, Any]", content).get("text", ""))
    return ""


def loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


_TOOL_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def bad_names(names: Iterable[str], pattern: re.Pattern[str] = _TOOL_NAME) -> Fault | None:
    known: set[str] = set()
    for name in names:
        if not pattern.fullmatch(name):
            return Fault(400, f"tools: {name!r} is not a tool name")
        if name in known:
            return Fault(400, f"tools: Tool names must be unique: {name!r}")
        known.add(name)
    return None


class Role(msgspec.Struct):
    """The role of a message, and nothing else of it."""

    role: str = ""
