"""Runs the server: makes its database ready, binds its port, and answers until it is told to stop."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType

import anyio

from perstack._net import is_loopback
from perstack.errors import UserError, sole

from .app import App, make_app, now_ms
from .settings import PREFIX, Settings, settings_of
from .storage.repository import sqlite_path
from .upkeep.bootstrap import first_key, hand_over

STOP_S = 10
"""Seconds that requests at work have when the server is told to stop."""


def app_of_environment() -> App:
    """The application of one worker process; its settings come by the environment."""
    return make_app(settings_of(os.environ))


def make_ready(settings: Settings, say: Callable[[str], None]) -> None:
    """Starts once, so that all that is wrong is told now, and hands over the first key of a new database.

    Raises DatabaseError, UserError.
    """

    async def prepare() -> str | None:
        async with make_app(settings).running() as context:
            return await context.repository.write(lambda session: first_key(session, now_ms()))

    try:
        key = anyio.run(prepare)
    except ExceptionGroup as group:
        raise sole(group) from None
    if key is not None:
        say(hand_over(key, key_file(settings)))


def key_file(settings: Settings) -> Path:
    """Where the first key is left: beside a database file, else here."""
    path = sqlite_path(settings.database_url)
    return Path(f"{'perstack-registry' if path is None else path}.admin-key")


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Answers until SIGTERM or SIGINT, then ends what is under way. say: shows a line to who started it.

    Raises UserError, DatabaseError.
    """
    try:
        import uvicorn
        from uvicorn.supervisors import Multiprocess

        from .wire.sending import Protocol
    except ModuleNotFoundError as error:
        raise UserError(
            'The registry server needs more packages: install "perstack[server]".'
        ) from error
    if not (is_loopback(settings.host) or settings.tls_cert or settings.plain):
        raise UserError(
            f"On {settings.host} others could read the keys that are sent, since there is no TLS. "
            "Give --tls-cert and --tls-key, or --plain if a proxy before this server does TLS."
        )
    listener = _bound(settings)
    with listener:
        host, port = listener.getsockname()[:2]
        settings = replace(settings, port=port)
        make_ready(settings, say)
        scheme = "https" if settings.tls_cert else "http"
        say(f"Listening on {scheme}://{f'[{host}]' if ':' in host else host}:{port}")
        several = settings.workers > 1
        if several:
            for field in fields(Settings):
                os.environ[PREFIX + field.name.upper()] = str(getattr(settings, field.name))
        config = uvicorn.Config(
            "perstack.server.serving:app_of_environment" if several else make_app(settings),
            factory=several,
            workers=settings.workers,
            ssl_certfile=settings.tls_cert or None,
            ssl_keyfile=settings.tls_key or None,
            http=Protocol,
            lifespan="on",
            interface="asgi3",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_S,
            timeout_keep_alive=75,
        )
        # uvicorn raises the signal again when it has stopped; then nothing is left to be done
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _ignored)
        if several:
            Multiprocess(config, sockets=[listener]).run()
        else:
            uvicorn.Server(config).run(sockets=[listener])


def _ignored(number: int, frame: FrameType | None) -> None:
    pass


def _bound(settings: Settings) -> socket.socket:
    """The port, taken before anything is done that cannot be undone. Raises UserError."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, place = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(2048)
    except OSError as error:
        raise UserError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}."
        ) from error
    listener.set_inheritable(True)
    return listener
