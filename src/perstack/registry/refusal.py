"""What a registry refuses, as an error with its status, and with the reason in the registry's own words."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from perstack.errors import RegistryError

from .asking import Answer
from .wire import PREFIX, Refusal


def refusal(method: str, url: str, answer: Answer) -> RegistryError:
    """The error that an answer which is no success stands for."""
    try:
        told = msgspec.json.decode(answer.body, type=Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        what = f"{method} {url} was answered with status {answer.status}"
        return RegistryError(f"{what}, without a reason.", status=answer.status)
    reason = _in_words(told.reason)
    said = f"{told.error}: {reason}" if reason else told.error
    return RegistryError(
        f"The registry {_host(url)} refused{_about(url)}: {said} ({answer.status})",
        status=answer.status,
        reason=reason,
    )


def _about(url: str) -> str:
    """Which Expert a request was about, to be put behind a verb; "" if about none or many."""
    key = unquote(urlsplit(url).path.partition("/experts/")[2].partition("/")[0])
    return f" {key}" if key else ""


def _host(url: str) -> str:
    return url.partition(PREFIX)[0]


def _in_words(reason: Any) -> str:
    """The reason of a refusal: text, or a list of what is wrong at which place."""
    match reason:
        case None:
            return ""
        case str():
            return reason
        case [*issues]:
            return "; ".join(_issue(issue) for issue in issues)
        case _:
            return msgspec.json.encode(reason).decode()


def _issue(issue: Any) -> str:
    match issue:
        case {"message": str(message), "path": [*path]}:
            place = ".".join(str(part) for part in path)
            return f"{place}: {message}" if place else message
        case {"message": str(message)}:
            return message
        case _:
            return msgspec.json.encode(issue).decode()
