"""S3-compatible storage for the tests: a server process on this machine, and ways to it that are not good.

    python -m tests.store.storage

It says its port, and serves until it is killed. Requests are answered one after the other, so that a condition and
the write it is for cannot come apart; but nobody waits for who is stopped in the middle of a request.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from obstore.store import S3Store

from perstack._ids import drawn
from perstack.store import ObjectStore
from perstack.store.objects import LEASE_S, STORE_S
from perstack.store.opening import bucket_at

ENV = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
BUCKET = "history"
REPOSITORY = Path(__file__).parents[2]


class Storage(NamedTuple):
    """A server with one bucket. endpoint: its http:// URL. process: the server."""

    endpoint: str
    process: subprocess.Popen[str]

    def place(self, name: str = "", bucket: str = BUCKET) -> str:
        """The URL of a place nobody else has, unless it is named."""
        return place_at(self.endpoint, name or drawn(), bucket)

    def tell(self, method: str, path: str, data: bytes = b"") -> None:
        """A request to the server itself."""
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(self.endpoint + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            answer.read()


def place_at(endpoint: str, name: str, bucket: str = BUCKET) -> str:
    """The URL of a place behind an endpoint."""
    return f"s3://{bucket}/{name}?endpoint={endpoint}&region=auto"


def store_in(
    place: str,
    *,
    lease_s: float = LEASE_S,
    store_s: float = STORE_S,
    env: Mapping[str, str] = ENV,
) -> ObjectStore:
    """The store at a place."""
    return ObjectStore(bucket_at(place, env), lease_s=lease_s, store_s=store_s)


def objects_in(place: str) -> S3Store:
    """The objects themselves at a place, for whoever wants to break something."""
    name, _, endpoint = place.removeprefix(f"s3://{BUCKET}/").partition("?endpoint=")
    return S3Store(
        BUCKET,
        prefix=name,
        endpoint=endpoint.partition("&")[0],
        region="auto",
        access_key_id="key",
        secret_access_key="secret",
        client_options={"allow_http": True},
    )


def remove(place: str, key: str) -> None:
    """Deletes an object at a place."""
    name, _, endpoint = place.removeprefix("s3://").partition("?endpoint=")
    url = f"{endpoint.partition('&')[0]}/{name}/{key}"
    signed = "AWS4-HMAC-SHA256 Credential=key/20260101/auto/s3/aws4_request, SignedHeaders=host, Signature=x"
    request = urllib.request.Request(url, headers={"Authorization": signed}, method="DELETE")
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


class Way:
    """What happens to requests between a client and the storage.

    lose: of so many writes the answer gets lost. every_second: so does that of every second write that was done.
    blind: no conditions arrive. cut: nothing arrives. puts: the path and size of each write that was done.
    """

    def __init__(self, storage: Storage) -> None:
        self.lose = 0
        self.every_second = False
        self.blind = False
        self.cut = False
        self.puts: list[tuple[str, int]] = []
        self._storage = storage
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Way:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def ask(self, request: BaseHTTPRequestHandler) -> http.client.HTTPResponse | None:
        """The storage's answer, None if it is not to be had."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if self.cut:
            return None
        there = http.client.HTTPConnection(self._storage.endpoint.removeprefix("http://"))
        names = [name for name in request.headers if not (self.blind and name.lower()[:3] == "if-")]
        headers = {name: request.headers[name] for name in names}
        there.request(request.command, request.path, body, headers)
        answer = there.getresponse()
        if request.command == "PUT":
            done = answer.status == 200
            if done:
                self.puts.append((request.path, len(body)))
            if self.lose or (done and self.every_second and len(self.puts) % 2):
                self.lose = max(0, self.lose - 1)
                answer.close()
                return None
        return answer


def _handler(way: Way) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            answer = way.ask(self)
            if answer is None:
                self.close_connection = True
                return
            data = answer.read()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _serve() -> None:
    from moto.moto_server.werkzeug_app import (  # pyright: ignore[reportMissingTypeStubs]  # it has none
        DomainDispatcherApplication,
        create_backend_app,
    )
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: object) -> None:
            pass

    app = DomainDispatcherApplication(create_backend_app)
    turn = threading.Lock()

    def one_by_one(environ: dict[str, Any], start: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        with turn:
            return list(app({**environ, "wsgi.input": BytesIO(body)}, start))

    server = make_server("127.0.0.1", 0, one_by_one, threaded=True, request_handler=Quiet)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve()
