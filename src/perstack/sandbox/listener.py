"""Hands a listening socket out of the sandbox: runs inside it, before the payload.

Inside there is a network with nothing in it but loopback. A socket that listens there is made here and given, over
a Unix socket, to the proxy outside (`egress.py`), which accepts on it from then on. So there is no relay inside
that could be attacked, no byte is copied twice, and afterwards nothing inside can reach the Unix socket's owner.

This file is a script's part: the standard library only, no other module of the package.
"""

from __future__ import annotations

import socket

PORT = 3128
"""Where tools inside find the proxy: 127.0.0.1:3128."""

GOES = b"\x00"
STAYS = b"\x01"
TAKEN = b"\x02"


def hand_over(door: str, port: int = PORT) -> int:
    """Listen on 127.0.0.1:`port` and give the socket to who listens at the Unix socket `door`.

    Gives the port when the socket has been taken; port 0 means one that is free. Raises OSError: there is no door,
    the port is in use, nobody took it.
    """
    link, taken = _given(door, port, GOES)
    link.close()
    return taken


def hand_over_and_stay(door: str, port: int = PORT) -> socket.socket:
    """The same, and the link stays: when either side ends, the other sees the end of its stream."""
    return _given(door, port, STAYS)[0]


def _given(door: str, port: int, how: bytes) -> tuple[socket.socket, int]:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
            link.settimeout(10)
            link.connect(door)
            socket.send_fds(link, [how], [listener.fileno()])
            if link.recv(1) != TAKEN:
                raise ConnectionError("the proxy did not take the socket")
            link.settimeout(None)
            return link, int(listener.getsockname()[1])
    except BaseException:
        link.close()
        raise
