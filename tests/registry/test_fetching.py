"""Answers of a registry as who mirrors it gets them: bounded in time and size, and never led elsewhere."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from perstack.errors import RegistryError
from perstack.registry import open_fetching

pytestmark = pytest.mark.anyio

ASKED: list[str] = []


@pytest.fixture
def anyio_backend() -> str:
    """The server's: only it passes answers on."""
    return "asyncio"


class Hostile(BaseHTTPRequestHandler):
    """`/slow` never ends, `/elsewhere` redirects, `/long` is 1,000 bytes, `/longer` a million,
    `/key` says which key came."""

    released = threading.Event()

    def do_GET(self) -> None:
        ASKED.append(self.path)
        match self.path:
            case "/slow":
                self.send_response(200)
                self.send_header("content-length", "10")
                self.end_headers()
                self.wfile.write(b"five ")
                self.wfile.flush()
                self.released.wait(30)
            case "/elsewhere":
                self.send_response(307)
                self.send_header("location", "/key")
                self.send_header("content-length", "0")
                self.end_headers()
            case "/long":
                self._say(b"x" * 1000)
            case "/longer":
                with suppress(OSError):  # the client goes
                    self._say(b"x" * 1_000_000)
            case _:
                self._say(self.headers.get("authorization", "none").encode())

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    ASKED.clear()
    Hostile.released.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        Hostile.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


async def test_what_takes_too_long_is_given_up(url: str):
    async with open_fetching(timeout_s=0.2) as fetch:
        with pytest.raises(RegistryError) as caught:
            await fetch(f"{url}/slow", {}, 100)
    assert (caught.value.status, caught.value.aborted) == (0, True)


async def test_what_is_too_long_says_so_by_its_status(url: str):
    async with open_fetching(timeout_s=10) as fetch:
        assert len((await fetch(f"{url}/long", {}, 1000)).body) == 1000
        with pytest.raises(RegistryError, match="more than 999 bytes") as caught:
            await fetch(f"{url}/long", {}, 999)
    assert caught.value.status == 200


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_what_is_too_long_leaves_nothing_open(url: str):
    async with open_fetching(timeout_s=10) as fetch:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(2):
                with pytest.raises(RegistryError, match="more than 999 bytes"):
                    await fetch(f"{url}/longer", {}, 999)
            gc.collect()
        assert [str(each.message) for each in told] == []
        assert len((await fetch(f"{url}/longer", {}, 1_000_000)).body) == 1_000_000


async def test_nobody_is_led_elsewhere(url: str):
    async with open_fetching(timeout_s=10) as fetch:
        answer = await fetch(f"{url}/elsewhere", {"authorization": "Bearer x"}, 100)
    assert (answer.status, answer.headers["location"]) == (307, "/key")
    assert ASKED == ["/elsewhere"]


async def test_what_cannot_be_reached_has_no_status():
    async with open_fetching(timeout_s=10) as fetch:
        with pytest.raises(RegistryError) as caught:
            await fetch("http://127.0.0.1:9/", {}, 100)
        assert (caught.value.status, caught.value.aborted) == (0, False)
        with pytest.raises(RegistryError, match="https only"):
            await fetch("http://registry.example/", {}, 100)
