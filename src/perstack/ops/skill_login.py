"""Sign in to a remote skill, and out again: the browser's part is here, OAuth itself in `skills`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl, urlsplit

import anyio
import msgspec
from anyio.abc import SocketAttribute, SocketStream

from perstack.definition import RemoteSkill
from perstack.errors import SkillUnavailable, UserError, sole
from perstack.skills import FileTokens, SignIn, loopback_allowed, open_remote_skill

from .packages.locking import lock_of, read_lock
from .project import Flags, load_env, load_project, settle

SIGN_IN_S = 300.0
"""What a person has to sign in, and the server to list its tools then."""

_BACK = "/callback"
_REQUEST_S = 10.0
_REQUEST_MAX = 64 * 1024
_DONE = "You can close this window and go back to perstack."


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Which skill of which Expert, and where both are defined."""

    expert: str
    skill: str
    config: str | None = None
    env_paths: tuple[str, ...] = ()


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """tools: what the skill offers now. stored: whether it wanted a sign-in, which is now stored."""

    tools: tuple[str, ...]
    stored: bool


async def sign_in(
    account: Account,
    env: Mapping[str, str],
    cwd: Path,
    show: Callable[[str], Awaitable[None]],
    patience_s: float = SIGN_IN_S,
) -> SignedIn:
    """Sign in anew, store that, and list the tools. show: takes the person to a URL.

    Raises UserError if there is nothing to sign in to, SkillUnavailable if it does not work.
    """
    skill, variables = await _found(account, env, cwd)
    name = account.skill
    if any(header.lower() == "authorization" for header in skill.headers_env):
        raise UserError(
            f'Skill "{name}" has its Authorization from `headersEnv`: no sign-in is used.'
        )
    shown = False

    async def see(url: str) -> None:
        nonlocal shown
        shown = True
        await show(url)

    with anyio.move_on_after(patience_s):
        async with (
            _listening() as back,
            open_remote_skill(
                name,
                skill,
                variables,
                hear=lambda _: None,
                startup_s=2 * patience_s,  # the clock here is the stricter one
                allow_loopback=loopback_allowed(variables),
                sign_in=SignIn(back.uri, see, back.wait),
            ) as opened,
        ):
            return SignedIn(tools=tuple(tool.name for tool in opened.tools), stored=shown)
    raise SkillUnavailable(name, f"nobody signed in within {patience_s:g} s")


async def sign_out(account: Account, env: Mapping[str, str], cwd: Path) -> bool:
    """Delete what is stored of a sign-in. Whether there was anything. Raises UserError as `sign_in`."""
    skill, variables = await _found(account, env, cwd)
    return FileTokens(skill.endpoint, variables).forget()


async def _found(
    account: Account, env: Mapping[str, str], cwd: Path
) -> tuple[RemoteSkill, dict[str, str]]:
    """The skill, and the variables of a run."""
    loaded = load_project(account.config, cwd, env)
    settings = settle(loaded.project if loaded else None, Flags(env_paths=account.env_paths))
    variables = load_env(settings.env_paths, env, cwd, required=settings.env_required)
    file = read_lock(loaded) if loaded else None
    lock = (await lock_of([account.expert], loaded, file, env=variables)).lock
    expert = lock.expert(lock.key_of(account.expert))
    skill = expert.skills.get(account.skill)
    if not isinstance(skill, RemoteSkill):
        remote = [
            f'"{name}"' for name, each in expert.skills.items() if isinstance(each, RemoteSkill)
        ]
        has = ", ".join(remote) or "none"
        raise UserError(
            f'"{expert.key}" has no remote skill "{account.skill}" to sign in to. It has: {has}.'
        )
    return skill, dict(variables)


@dataclass(frozen=True)
class _Back:
    """Where the browser comes back to."""

    uri: str
    wait: Callable[[], Awaitable[Mapping[str, str]]]


@asynccontextmanager
async def _listening() -> AsyncGenerator[_Back]:
    """A listener on this machine that takes one answer, until the block is left."""
    came = anyio.Event()
    query: dict[str, str] = {}

    async def answer(stream: SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(_REQUEST_S):
                try:
                    target = await _target(stream)
                    url = urlsplit(target)
                    is_back = url.path == _BACK and not came.is_set()
                    if is_back:
                        query.update(parse_qsl(url.query))
                        came.set()
                    await stream.send(
                        _page("200 OK", _DONE) if is_back else _page("404 Not Found", "")
                    )
                except (OSError, ValueError, anyio.EndOfStream, anyio.BrokenResourceError):
                    return  # a browser that hangs up, or something that is none

    async def wait() -> Mapping[str, str]:
        await came.wait()
        return query

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    try:
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, answer)
            port = listener.extra(SocketAttribute.local_port)
            yield _Back(f"http://127.0.0.1:{port}{_BACK}", wait)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        cause = sole(cast("BaseException", group))
        raise cause from cause.__cause__


async def _target(stream: SocketStream) -> str:
    """What a GET request asks for. Raises ValueError if it is none."""
    head = b""
    while b"\r\n\r\n" not in head:
        if len(head) > _REQUEST_MAX:
            raise ValueError("too long")
        head += await stream.receive()
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    if method != "GET":
        raise ValueError(method)
    return target


def _page(status: str, text: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
        f"Cache-Control: no-store\r\nConnection: close\r\n\r\n{text}"
    ).encode()
