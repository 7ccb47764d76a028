"""The server as a process: started by its command, asked over TCP, stopped and killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from perstack.registry import PREFIX
from perstack.server.identity.keys import is_key
from tests.fakes.certificate import certificate

from .house import open_registry, payload
from .process import serving

pytestmark = pytest.mark.anyio


def test_one_command_makes_a_registry_and_its_first_key(tmp_path: Path):
    with serving("r.db", cwd=tmp_path) as served:
        file = tmp_path / "r.db.admin-key"
        assert served.said[0] == (
            "Administrator's key: in r.db.admin-key. Keep it elsewhere and delete the file."
        )
        key = file.read_text().strip()
        assert is_key(key)
        assert not any(key in line for line in served.said)
        for path in (file, tmp_path / "r.db"):
            assert path.stat().st_mode & 0o077 == 0
        auth = {"authorization": f"Bearer {key}"}
        with httpx.Client(base_url=served.url + PREFIX, headers=auth) as http:
            assert http.get("/whoami").json()["data"]["admin"] is True
            assert http.post("/experts/", json=payload("mine")).status_code == 200
            assert http.get("/experts/mine").json()["data"]["expert"]["key"] == "mine@1.0.0"
        assert served.stop() == 0
    file.unlink()
    with serving("r.db", cwd=tmp_path) as served:
        assert len(served.said) == 1  # there is a key
        assert not file.exists()
        assert httpx.get(f"{served.url}{PREFIX}/experts/mine").status_code == 200
        assert served.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "0.0.0.0"), "--tls-cert"),
        (("--tls-cert", "x.pem"), "certificate needs its key"),
        (("--tls-cert", "x.pem", "--tls-key", "y.pem"), "There is no file x.pem"),
        (("--host", "192.0.2.1", "--plain"), "cannot be listened on"),
        (("--database", "/proc/nowhere/r.db"), "cannot be used"),
        (("--database", "postgresql://x:s3cret@127.0.0.1:1/x"), "cannot be used"),
    ],
)
def test_what_cannot_be_served_is_one_error(tmp_path: Path, options: tuple[str, ...], said: str):
    done = subprocess.run(
        [sys.executable, "-m", "perstack.cli.main", "registry", "serve", "--port", "0", *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr


def test_settings_that_mean_nothing_are_one_error(tmp_path: Path):
    for name, value, said in (
        ("RATE_LIMITS", "sometimes", "sometimes"),
        ("ANONYMOUS_READ", "perhaps", "write true or false"),
        ("WORKERS", "many", "write a number"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "perstack.cli.main", "registry", "serve", "--port", "0"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {f"PERSTACK_REGISTRY_{name}": value},
            check=False,
        )
        assert done.returncode == 1, name
        assert done.stderr.startswith("error: ")
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_told_before_anything_is_made(tmp_path: Path):
    with serving("r.db", cwd=tmp_path) as served:
        port = served.url.rpartition(":")[2]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "perstack.cli.main", "registry", "serve"),
                *("--port", port, "--database", "other.db"),
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 1
        assert f"127.0.0.1:{port} cannot be listened on" in done.stderr
        assert not (tmp_path / "other.db").exists()


async def test_what_was_answered_for_outlives_a_kill(database: str, tmp_path: Path):
    async with open_registry(database) as registry:
        key = await registry.key("acme")
    kept: list[str] = []
    with serving(database, cwd=tmp_path) as served:
        async with httpx.AsyncClient(
            base_url=served.url + PREFIX, headers={"authorization": f"Bearer {key}"}, timeout=60
        ) as http:

            async def publish(start: int) -> None:
                for n in range(start, 1000, 8):
                    try:
                        answer = await http.post("/experts/", json=payload("@acme/x", f"1.{n}.0"))
                    except httpx.TransportError:
                        return
                    assert answer.status_code == 200, answer.text
                    kept.append(f"1.{n}.0")
                    if len(kept) == 40:
                        served.process.kill()

            async with anyio.create_task_group() as tasks:
                for start in range(8):
                    tasks.start_soon(publish, start)
    assert len(kept) >= 40
    async with open_registry(database) as registry:
        told = (await registry.get("/experts/@acme/x/versions")).json()["data"]["versions"]
        there = {version["version"] for version in told}
        assert there >= set(kept)
        assert len(there - set(kept)) <= 8  # written, the answer lost
        for version in there - set(kept):
            again = await registry.post("/experts/", payload("@acme/x", version), key=key)
            assert again.json()["extensions"]["identical"] is True


async def test_servers_that_share_a_database_have_one_winner(database: str, tmp_path: Path):
    """Three processes: one server with two workers, and another."""
    async with open_registry(database) as registry:
        key = await registry.key("acme")
    with (
        serving(database, "--workers", "2", cwd=tmp_path) as first,
        serving(database, cwd=tmp_path) as second,
    ):
        async with httpx.AsyncClient(
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=0),
        ) as http:
            statuses: list[int] = []
            versions: list[int] = []

            async def same(n: int) -> None:
                url = (first, second)[n % 2].url
                sent = payload("@acme/x", "1.0.0", description=f"by {n}")
                answer = await http.post(f"{url}{PREFIX}/experts/", json=sent)
                statuses.append(answer.status_code)

            async def own(n: int) -> None:
                url = (first, second)[n % 2].url
                answer = await http.post(
                    f"{url}{PREFIX}/experts/", json=payload("@acme/y", f"1.{n}.0")
                )
                versions.append(answer.status_code)

            async with anyio.create_task_group() as tasks:
                for n in range(64):
                    tasks.start_soon(same, n)
                    tasks.start_soon(own, n)
        assert sorted(statuses) == [200] + [400] * 63
        assert versions == [200] * 64
        assert first.stop() == 0
        assert second.stop() == 0
    async with open_registry(database) as registry:
        from .test_crash import agree

        await agree(registry)


def test_an_answer_leaves_in_one_piece(tmp_path: Path):
    with serving("r.db", cwd=tmp_path) as served:
        port = int(served.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
            for _ in range(3):
                line.sendall(f"GET {PREFIX}/experts/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head, _, body = line.recv(65_536).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                assert f"content-length: {len(body)}".encode() in head
                assert body.startswith(b'{"data":')


def test_answers_of_any_size_come_whole_and_in_their_order(tmp_path: Path):
    with serving("r.db", cwd=tmp_path) as served:
        url = served.url + PREFIX
        auth = {"authorization": f"Bearer {(tmp_path / 'r.db.admin-key').read_text().strip()}"}
        long = "word " * 4_000
        for name in "abcdefgh":
            sent = payload(name, instruction=long)
            assert httpx.post(f"{url}/experts/", json=sent, headers=auth).status_code == 200
        plain = {"accept-encoding": "identity"}
        listed = httpx.get(f"{url}/experts/", headers=plain)
        assert len(listed.content) == int(listed.headers["content-length"]) > 8 * len(long)
        assert httpx.head(f"{url}/experts/a", headers=plain).content == b""
        closing = httpx.get(f"{url}/experts/a", headers=plain | {"connection": "close"})
        assert closing.json()["data"]["expert"]["instruction"] == long
        etag = {"if-none-match": closing.headers["etag"]}
        assert httpx.get(f"{url}/experts/a", headers=etag).status_code == 304
        with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as line:
            line.settimeout(60)
            for name in "abcdefgh":
                line.sendall(f"GET {PREFIX}/experts/{name} HTTP/1.1\r\nHost: x\r\n".encode())
                line.sendall(b"Connection: close\r\n\r\n" if name == "h" else b"\r\n")
            with line.makefile("rb") as file:
                told = file.read()
        assert b"".join(re.findall(rb'"key":"(\w)@1.0.0"', told)) == b"abcdefgh"


def certificate_files(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    files = folder / "cert.pem", folder / "key.pem"
    for file, pem in zip(files, certificate("127.0.0.1"), strict=True):
        file.write_bytes(pem)
    return files


def test_tls_is_spoken(tmp_path: Path):
    cert, key = certificate_files(tmp_path)
    with serving("r.db", "--tls-cert", str(cert), "--tls-key", str(key), cwd=tmp_path) as served:
        assert served.url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=str(cert))
        answer = httpx.get(f"{served.url}{PREFIX}/experts/", verify=trust)
        assert answer.json()["meta"] == {"total": 0, "take": 100, "skip": 0}
