"""S3-compatible storage for the tests: a server process on this machine.

    python -m tests.store.storage

It says its port, and serves until it is killed. Requests are answered one after the other, so that a condition and
the write it is for cannot come apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from perstack._ids import drawn
from perstack.store import Store, store_at

ENV = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
BUCKET = "history"
REPOSITORY = Path(__file__).parents[2]


class Storage(NamedTuple):
    """A server with one bucket. endpoint: its http:// URL. process: the server."""

    endpoint: str
    process: subprocess.Popen[str]

    def place(self, name: str = "", bucket: str = BUCKET) -> str:
        """The URL of a place nobody else has, unless it is named."""
        return f"s3://{bucket}/{name or drawn()}?endpoint={self.endpoint}&region=auto"

    def store(self, place: str = "", env: Mapping[str, str] = ENV) -> Store:
        """The store at a place, a new one unless it is named."""
        return store_at(place or self.place(), env, Path("/nowhere"))

    def tell(self, method: str, path: str, data: bytes = b"") -> None:
        """A request to the server itself."""
        request = urllib.request.Request(self.endpoint + path, data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            answer.read()


@contextmanager
def storage_process() -> Generator[Storage]:
    """Storage of one's own, which may be stopped; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.store.storage"],
        cwd=REPOSITORY,
        env={**os.environ, **ENV},
        text=True,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            storage = Storage(f"http://127.0.0.1:{int(process.stdout.readline())}", process)
            storage.tell("PUT", f"/{BUCKET}")
            yield storage
        finally:
            process.kill()


def _serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: object) -> None:
            pass

    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=Quiet)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve()
