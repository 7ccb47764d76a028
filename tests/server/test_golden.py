"""The commands of the reference, as bytes on a socket, and what its client makes of the answers."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from . import reference
from .house import open_registry, payload
from .process import serving

pytestmark = pytest.mark.anyio

HEAD = (
    "{method} {path} HTTP/1.1\r\n"
    "host: {host}\r\n"
    "connection: keep-alive\r\n"
    "content-type: application/json\r\n"
    "authorization: Bearer {key}\r\n"
    "accept: */*\r\n"
    "accept-language: *\r\n"
    "sec-fetch-mode: cors\r\n"
    "user-agent: node\r\n"
    "accept-encoding: gzip, deflate\r\n"
)


class Node:
    """One kept connection, used as the reference's runtime uses it."""

    def __init__(self, url: str, key: str) -> None:
        place = urlsplit(url)
        assert place.hostname is not None
        assert place.port is not None
        self.host, self.key = place.netloc, key
        self.socket = socket.create_connection((place.hostname, place.port))
        self.file = self.socket.makefile("rb")

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        """Status and JSON of the answer. A body that is no JSON is an error, as it is there."""
        head = HEAD.format(method=method, path=path, host=self.host, key=self.key)
        sent = (body or "").encode()
        if body is not None:
            head += f"content-length: {len(sent)}\r\n"
        self.socket.sendall(f"{head}\r\n".encode() + sent)
        status = int(self.file.readline().split()[1])
        headers = dict(self._headers())
        data = self.file.read(int(headers["content-length"]))
        if headers.get("content-encoding") == "gzip":
            data = gzip.decompress(data)
        assert headers["x-request-id"]
        return status, json.loads(data)

    def _headers(self) -> Iterator[tuple[str, str]]:
        while line := self.file.readline().strip().decode():
            name, _, value = line.partition(":")
            yield name.lower(), value.strip()

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture
async def node(tmp_path: Path):
    database = str(tmp_path / "registry.db")
    async with open_registry(database) as registry:
        key = await registry.key("acme")
    with serving(database) as served:
        node = Node(served.url, key)
        yield node
        node.close()


API = "/api/registry/v1/experts"
NAME = "%40acme%2Ftriage"


def published(version: str, **more: Any) -> str:
    """The body of its `publish`, member by member in its order."""
    return json.dumps(payload("@acme/triage", version, **more), separators=(",", ":"))


async def test_each_command_of_the_reference_works(node: Node):
    # install, run: not there yet
    status, body = node.ask("GET", f"{API}/{NAME}")
    assert (status, reference.refusal(body)) == (404, ("Not Found", "Expert not found"))

    # publish
    for version in ("1.0.0", "1.1.0", "1.2.0-rc.1"):
        status, body = node.ask("POST", f"{API}/", published(version))
        assert status == 200
        made = reference.one(body)
        assert made["key"] == f"@acme/triage@{version}"
        assert made["tags"] == ["latest"]
    status, body = node.ask("POST", f"{API}/", published("1.0.0"))
    assert (status, reference.refusal(body)[1]) == (400, "Version 1.0.0 is already published")
    status, body = node.ask("POST", f"{API}/", published("1.3.0", description=""))
    assert status == 422
    status, body = node.ask("POST", f"{API}/", published("1.3.0", skills={}))
    assert (status, reference.refusal(body)[1]) == (400, "@perstack/base is required")

    # the wizards: all versions, then each by itself
    status, body = node.ask("GET", f"{API}/{NAME}/versions")
    assert status == 200
    told = reference.versions(body)
    assert told["latest"] == "1.2.0-rc.1"
    for version in told["versions"]:
        status, body = node.ask("GET", f"{API}/{NAME}%40{version['version']}")
        assert status == 200
        assert reference.one(body)["status"] == "available"

    # tag
    status, body = node.ask("POST", f"{API}/{NAME}%401.1.0", '{"tags":["stable","beta"]}')
    assert status == 200
    assert reference.one(body)["tags"] == ["beta", "stable"]
    status, body = node.ask("POST", f"{API}/{NAME}%401.1.0", '{"tags":["latest"]}')
    assert (status, reference.refusal(body)[1]) == (400, "Cannot manually set latest tag")
    status, body = node.ask("POST", f"{API}/{NAME}", '{"tags":["stable"]}')
    assert (status, reference.refusal(body)[1]) == (400, "Version is required")

    # status
    status, body = node.ask("POST", f"{API}/{NAME}%401.1.0", '{"status":"deprecated"}')
    assert reference.one(body)["status"] == "deprecated"
    status, body = node.ask("POST", f"{API}/{NAME}%401.1.0", '{"status":"available"}')
    assert (status, reference.refusal(body)[1]) == (
        400,
        "Cannot change deprecated expert to available",
    )
    status, body = node.ask("POST", f"{API}/{NAME}%401.0.0", '{"status":"disabled"}')
    status, body = node.ask("GET", f"{API}/{NAME}%401.0.0")
    assert (status, reference.one(body)["status"]) == (200, "disabled")

    # install, run: by name, tag, version, and by a range that an Expert of the registry names
    for key, version in (
        (NAME, "1.2.0-rc.1"),
        (f"{NAME}%40stable", "1.1.0"),
        (f"{NAME}%401.1.0", "1.1.0"),
        (f"{NAME}%40%5E1.0.0%20%7C%7C%20~2", "1.1.0"),
    ):
        status, body = node.ask("GET", f"{API}/{key}")
        assert status == 200
        assert reference.one(body)["version"] == version

    # lists
    for query, count in (
        ("", 1),
        ("?filter=%40acme%2F&sort=name&order=asc&take=10&skip=0", 1),
        ("?filter=other", 0),
    ):
        status, body = node.ask("GET", f"{API}/{query}")
        assert len(reference.page(body)) == count

    # unpublish: an answer to DELETE must be JSON, too
    status, body = node.ask("DELETE", f"{API}/{NAME}")
    assert (status, reference.refusal(body)[1]) == (400, "Version is required")
    status, body = node.ask("DELETE", f"{API}/{NAME}%401.2.0-rc.1")
    assert (status, body) == (200, {})
    status, body = node.ask("GET", f"{API}/{NAME}%401.2.0-rc.1")
    assert status == 404
    status, body = node.ask("GET", f"/{API}/{NAME}/versions")  # a base URL that ends in a slash
    assert [v["version"] for v in reference.versions(body)["versions"]] == ["1.1.0", "1.0.0"]


async def test_a_key_that_is_no_good_reads_and_does_not_write(node: Node):
    node.ask("POST", f"{API}/", published("1.0.0"))
    node.key = "psk_nonsense"
    status, body = node.ask("GET", f"{API}/{NAME}")
    assert status == 200
    reference.one(body)
    status, body = node.ask("POST", f"{API}/", published("2.0.0"))
    assert (status, reference.refusal(body)) == (401, ("Unauthorized", "Failed to authenticate"))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("status", "quarantined"),
        ("status", None),
        ("tags", None),
        (
            "owner",
            {"organizationId": "a" * 24, "createdAt": "2026-01-31T09:30:00.000Z", "name": None},
        ),
        ("owner", {}),
        ("minRuntimeVersion", "v2.0"),
        ("delegates", ["@a/b@^1"]),
        ("id", "short"),
        ("key", "@acme/x"),
        ("updatedAt", 1),
    ],
)
async def test_the_checker_would_notice(tmp_path: Path, member: str, value: Any):
    async with open_registry(str(tmp_path / "r.db")) as registry:
        key = await registry.key("acme")
        made = await registry.publish("@acme/x", key=key)
    reference.one({"data": {"expert": made}})
    with pytest.raises(reference.Mismatch):
        reference.one({"data": {"expert": made | {member: value}}})
    del made[member]
    with pytest.raises(reference.Mismatch):
        reference.one({"data": {"expert": made}})
