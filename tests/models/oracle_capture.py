"""A server on loopback that keeps the body of each request and refuses it: the oracle has said all by then."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSAL = b'{"error":{"code":400,"message":"captured","status":"INVALID_ARGUMENT"}}'


class Captured:
    """Bodies in the order they came. url: without a slash at its end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []


@contextmanager
def capturing() -> Generator[Captured]:
    """A server for the length of the block."""
    captured = Captured("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            captured.bodies.append(json.loads(body))
            captured.paths.append(self.path)
            self.send_response(400)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(REFUSAL)))
            self.end_headers()
            self.wfile.write(REFUSAL)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: what came is in `captured`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    captured.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield captured
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
