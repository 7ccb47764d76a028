"""A registry that mirrors another: two servers here, and what the second says when the first does not."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import anyio
import anyio.to_thread
import httpx
import msgspec
import pytest

from perstack.definition import EVALUATION
from perstack.errors import UserError, sole
from perstack.registry import PREFIX, public_key_of, sign_statement
from perstack.server import Settings, make_app
from perstack.server.app import now_ms
from perstack.server.extensions.log import verifier_key
from perstack.server.identity.keys import SCOPES, Scope
from perstack.server.mirrors.upstreams import Upstream
from perstack.server.queries.organizations import organization_named
from perstack.server.storage.repository import Session, open_repository
from perstack.server.upkeep.copying import copy_database
from perstack.server.upkeep.verifying import differences
from perstack.server.writes.holders import create_organization, issue_key

from ..registry.house import House, open_house, refused, request
from .house import OPERATOR, START, payload, reason

pytestmark = pytest.mark.anyio

MINUTE, DAY = 61_000, 24 * 3600_000


class Pair:
    """An upstream with the scopes @acme and @mine, and a mirror that has @acme of it, and @mine and @no not."""

    def __init__(self, place: Path, database: str) -> None:
        self.database = database
        self._place = place
        self._up, self._here = ExitStack(), ExitStack()
        up = place / "up"
        up.mkdir()
        self.up = self._up.enter_context(open_house(up, "acme", "mine", "no"))
        self.rules = f"@acme={self.up.url} @no=blocked"
        self.here = self._open("mine", "reader")

    def _open(self, *organizations: str, keys: dict[str, str] | None = None) -> House:
        return self._here.enter_context(
            open_house(
                self._place,
                *organizations,
                keys=keys,
                database=self.database,
                upstreams=self.rules,
            )
        )

    def reopen(self) -> None:
        """A new process of the mirror on the same database."""
        shift = self.here.shift_ms
        self._here.close()
        self._here = ExitStack()
        self.here = self._open(keys=self.here.keys)
        self.here.shift_ms = shift

    def stop_upstream(self) -> None:
        self._up.close()

    def stop_mirror(self) -> None:
        self._here.close()

    def close(self) -> None:
        self._here.close()
        self._up.close()

    @property
    def up_database(self) -> str:
        return str(self._place / "up" / "registry.db")

    @property
    def origin(self) -> str:
        """The upstream's own path on the mirror."""
        return f"{self.here.url}/upstream/{self.up.url.removeprefix('http://')}"

    async def get(
        self, path: str, *, key: str = "", base: str = "", **headers: str
    ) -> httpx.Response:
        sent = headers | ({"authorization": f"Bearer {key}"} if key else {})
        async with httpx.AsyncClient(timeout=30) as http:
            return await http.get(f"{base or self.here.url}{PREFIX}{path}", headers=sent)

    async def post(self, path: str, body: Any, *, key: str = "", base: str = "") -> httpx.Response:
        sent = {"authorization": f"Bearer {key}"} if key else {}
        async with httpx.AsyncClient(timeout=30) as http:
            url = f"{base or self.here.url}{PREFIX}{path}"
            return await http.post(url, json=body, headers=sent)

    def later(self, ms: int) -> None:
        self.here.shift_ms += ms


@pytest.fixture
def pair(database: str, tmp_path: Path) -> Iterator[Pair]:
    found = Pair(tmp_path, database)
    try:
        yield found
    finally:
        found.close()


async def made_key(pair: Pair, organization: str, *scopes: Scope) -> str:
    """A key of a team on the mirror."""

    def make(session: Session) -> str:
        found = organization_named(session, organization) or create_organization(
            session, OPERATOR, START, name=organization, type="team"
        )
        return issue_key(
            session, OPERATOR, found, now_ms(), name="test", scopes=scopes or SCOPES
        ).secret

    async with open_repository(pair.database) as repository:
        return await repository.write(make)


def key_path(key: str) -> str:
    return f"/experts/{quote(key, safe='')}"


async def digest_of(pair: Pair, key: str) -> str:
    answer = await pair.get(key_path(key), base=pair.up.url)
    return answer.json()["data"]["expert"]["digest"]


def document_path(digest: str) -> str:
    return f"/documents/sha256/{digest.removeprefix('sha256:')}"


def cached(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.headers.get("x-perstack-cache", "")


PATHS = (
    key_path("@acme/leaf"),
    key_path("@acme/leaf@1.0.0"),
    key_path("@acme/leaf@^1.0.0"),
    f"{key_path('@acme/leaf')}/versions",
    f"{key_path('@acme/leaf@1.0.0')}/attestations",
    "/index/@acme/leaf",
    f"/tlog/proof/{quote('@acme/leaf@1.0.0', safe='')}",
)


async def test_a_mirror_says_what_its_upstream_says(pair: Pair):
    await pair.up.publish(request("@acme/leaf", "1.0.0"), request("@acme/leaf", "1.1.0"))
    document = document_path(await digest_of(pair, "@acme/leaf"))
    for base in (pair.here.url, pair.origin):
        for path in (*PATHS, document):
            there, here = await pair.get(path, base=pair.up.url), await pair.get(path, base=base)
            assert here.status_code == 200, (path, here.text)
            assert here.content == there.content, path
            assert here.headers["content-type"] == there.headers["content-type"]
            assert "x-perstack-cache" in here.headers
    for path in (
        "/tlog/checkpoint",
        "/tlog/tile/0/000.p/2",
        "/tlog/tile/entries/000.p/2",
        "/changes",
    ):
        there, here = await pair.get(path, base=pair.up.url), await pair.get(path, base=pair.origin)
        assert here.content == there.content, path


async def test_attestations_are_shown_as_the_upstream_has_them(pair: Pair):
    await pair.up.publish(request("@acme/x"))
    seed, owner = b"\1" * 32, pair.up.keys["acme"]
    public = {"name": "k", "publicKey": base64.b64encode(public_key_of(seed)).decode()}
    added = await pair.post("/orgs/acme/attestation-keys", public, key=owner, base=pair.up.url)
    assert added.status_code == 200
    digest = await digest_of(pair, "@acme/x@1.0.0")
    score = {"suite": "a", "model": "b", "score": 1}
    envelope = sign_statement("@acme/x@1.0.0", digest, EVALUATION, score, seed)
    path = f"{key_path('@acme/x@1.0.0')}/attestations"
    body = msgspec.to_builtins(envelope)
    assert (await pair.post(path, body, key=owner, base=pair.up.url)).status_code == 200
    said = (await pair.get(path, base=pair.up.url)).json()
    assert len(said["data"]["attestations"]) == 1
    for base in (pair.here.url, pair.origin):
        answer = await pair.get(path, base=base)
        assert (answer.status_code, answer.json()) == (200, said)
    assert answer.headers["x-perstack-cache"] == "hit"
    for other in ("@acme/x", "@acme/x@latest", "@acme/x@9.0.0", "@no/x@1.0.0"):
        assert (await pair.get(f"{key_path(other)}/attestations")).status_code == 404


async def test_where_a_version_is_to_stay_is_told_below_the_same_path(pair: Pair):
    await pair.up.publish(request("@acme/leaf"))
    for base in (pair.here.url, pair.origin):
        moving = await pair.get(key_path("@acme/leaf"), base=base)
        place = urljoin(str(moving.url), moving.headers["content-location"])
        assert place == f"{base}{PREFIX}{key_path('@acme/leaf@1.0.0')}"
        exact = await pair.get(place.partition(PREFIX)[2], base=base)
        assert exact.content == moving.content


async def test_what_was_asked_for_once_is_kept_for_a_minute_and_then_confirmed(pair: Pair):
    await pair.up.publish(request("@acme/leaf"))
    document = document_path(await digest_of(pair, "@acme/leaf"))
    pair.up.forget()
    assert cached(await pair.get("/index/@acme/leaf")) == (200, "miss")
    assert cached(await pair.get(document)) == (200, "miss")
    assert cached(await pair.get("/index/@acme/leaf")) == (200, "hit")
    assert cached(await pair.get(document)) == (200, "hit")
    assert pair.up.asked == ["GET /index/@acme/leaf", f"GET {document}"]
    pair.reopen()
    pair.later(MINUTE)
    pair.up.forget()
    assert cached(await pair.get("/index/@acme/leaf")) == (200, "hit")
    assert pair.up.asked == ["GET /index/@acme/leaf"]
    assert "if-none-match" in pair.up.headers[0]
    pair.later(MINUTE)
    pair.up.forget()
    assert cached(await pair.get(document)) == (200, "hit")  # for ever, if it is still listed
    assert pair.up.asked == ["GET /index/@acme/leaf"]


async def test_while_the_upstream_is_away_what_is_kept_is_shown_for_a_day(pair: Pair):
    await pair.up.publish(request("@acme/leaf"))
    document = document_path(await digest_of(pair, "@acme/leaf"))
    for path in (*PATHS, document):
        assert (await pair.get(path)).status_code == 200
    pair.stop_upstream()
    assert cached(await pair.get("/index/@acme/leaf")) == (200, "hit")
    pair.later(MINUTE)
    for path in (*PATHS, document):
        assert cached(await pair.get(path)) == (200, "stale"), path
    assert reason(await pair.get("/index/@acme/other"))[0] == 503
    pair.later(DAY)
    answer = await pair.get("/index/@acme/leaf")
    assert reason(answer) == (503, f"{pair.up.url} cannot be reached")
    assert answer.headers["retry-after"] == "5"
    assert cached(await pair.get(document)) == (200, "stale")  # a document cannot be another


async def test_what_is_not_there_is_believed_for_ten_seconds(pair: Pair):
    for _ in range(3):
        assert reason(await pair.get("/index/@acme/leaf")) == (404, "Expert not found")
    assert pair.up.asked == ["GET /index/@acme/leaf"]
    await pair.up.publish(request("@acme/leaf"))
    assert (await pair.get("/index/@acme/leaf")).status_code == 404
    pair.later(11_000)
    assert cached(await pair.get("/index/@acme/leaf")) == (200, "miss")


async def test_what_was_taken_back_is_gone_within_a_minute(pair: Pair):
    await pair.up.publish(request("@acme/leaf", "1.0.0"), request("@acme/leaf", "1.1.0"))
    gone = document_path(await digest_of(pair, "@acme/leaf@1.1.0"))
    stays = document_path(await digest_of(pair, "@acme/leaf@1.0.0"))
    for path in (*PATHS, key_path("@acme/leaf@1.1.0"), gone, stays):
        assert (await pair.get(path)).status_code == 200
    await pair.up.unpublish("@acme/leaf@1.1.0")
    await pair.up.update("@acme/leaf@1.0.0", status="deprecated")
    pair.later(MINUTE)
    for path in (gone, key_path("@acme/leaf@1.1.0"), "/tlog/proof/%40acme%2Fleaf%401.1.0"):
        assert (await pair.get(path)).status_code == 404, path
    assert (await pair.get(stays)).status_code == 200
    told = (await pair.get(key_path("@acme/leaf@^1.0.0"))).json()["data"]["expert"]
    assert (told["key"], told["status"]) == ("@acme/leaf@1.0.0", "deprecated")
    versions = (await pair.get(f"{key_path('@acme/leaf')}/versions")).json()
    assert [each["version"] for each in versions["data"]["versions"]] == ["1.0.0"]
    await pair.up.unpublish("@acme/leaf@1.0.0")
    pair.later(MINUTE)
    for path in (*PATHS, stays):
        assert (await pair.get(path)).status_code == 404, path


async def test_a_number_that_comes_back_with_another_document_is_refused(pair: Pair):
    await pair.up.publish(request("@acme/leaf", "1.0.0"), request("@acme/leaf", "1.1.0"))
    real = await digest_of(pair, "@acme/leaf@1.1.0")
    assert (await pair.get("/index/@acme/leaf")).status_code == 200
    await pair.up.unpublish("@acme/leaf@1.1.0")
    pair.later(MINUTE)
    before = await pair.get("/index/@acme/leaf")
    line = next(x for x in before.text.splitlines() if '"1.0.0"' in x)
    other = await digest_of(pair, "@acme/leaf@1.0.0")
    evil = line.replace('"1.0.0"', '"1.1.0"').replace(other, f"sha256:{'6' * 64}")

    def burned(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        return (200, f"{line}\n{evil}\n".encode()) if path.startswith("/index/@acme") else None

    pair.up.twist = burned
    pair.later(MINUTE)
    answer = await pair.get("/index/@acme/leaf", **{"if-none-match": "no"})
    status, said = reason(answer)
    assert (status, real in said) == (502, True)
    pair.up.twist = None
    assert (await pair.get("/index/@acme/leaf")).content == before.content


def _another(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
    return (200, body.replace(b"Be @acme", b"Do @acme")) if path.startswith("/documents/") else None


def _other_name(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
    return (200, body.replace(b"@acme/leaf", b"@acme/evil")) if path.startswith("/index/") else None


def _too_long(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
    return 200, body + b"\n" * (17 << 20)


def _elsewhere(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
    return 307, b""


def _no_index(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
    return 200, b"<html>Sign in to this network</html>"


def _other_words(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
    return (200, body.replace(b"Be @acme", b"Do @acme")) if path.startswith("/experts/") else None


def _forbidden(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
    return refused(403, "Not you")


def _busy(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
    return refused(500, "An error of the server")


@pytest.mark.parametrize(
    ("lie", "status"),
    [
        (_another, 502),
        (_other_name, 502),
        (_too_long, 502),
        (_elsewhere, 502),
        (_no_index, 502),
        (_other_words, 502),
        (_forbidden, 502),
        (_busy, 503),
    ],
)
async def test_what_is_wrong_is_refused_and_not_kept(
    pair: Pair, lie: Callable[[str, int, bytes], tuple[int, bytes] | None], status: int
):
    await pair.up.publish(request("@acme/leaf"))
    pair.up.twist = lie
    path = key_path("@acme/leaf@1.0.0")
    assert reason(await pair.get(path))[0] == status
    pair.up.twist = None
    there = await pair.get(path, base=pair.up.url)
    assert (await pair.get(path)).content == there.content


async def test_names_that_are_local_or_blocked_are_never_asked_for_elsewhere(pair: Pair):
    await pair.up.publish(
        request("@mine/secret-tool", "9.9.9"),
        request("@no/tool"),
        request("tool"),
        request("@acme/leaf"),
    )
    documents = [
        document_path(await digest_of(pair, key))
        for key in ("@mine/secret-tool", "@no/tool", "tool")
    ]
    pair.up.forget()
    for base in (pair.here.url, pair.origin):
        for name in ("@mine/secret-tool", "@no/tool", "tool"):
            index = f"/index/{name}" if name.startswith("@") else f"/index/_/{name}"
            proof = f"/tlog/proof/{quote(f'{name}@1.0.0', safe='')}"
            for path in (key_path(name), f"{key_path(name)}/versions", index, proof):
                assert (await pair.get(path, base=base)).status_code == 404, path
            told = (await pair.post("/resolve", {"roots": [name]}, base=base)).json()["data"]
            assert [each["spec"] for each in told["errors"]] == [name]
        for path in documents:
            assert (await pair.get(path)).status_code == 404
    assert pair.up.asked == []
    for path in (
        documents
    ):  # who asks by digest has it from the upstream, and yet it is not the upstream's to say
        assert (await pair.get(path, base=pair.origin)).status_code == 404
        assert (await pair.get(path, base=pair.origin)).status_code == 404
    assert pair.up.asked == [f"GET {path}" for path in documents]
    pair.up.forget()
    await pair.here.publish(request("@mine/secret-tool", "1.0.0"))
    told = (await pair.get(key_path("@mine/secret-tool"))).json()["data"]["expert"]
    assert told["version"] == "1.0.0"
    assert pair.up.asked == []


async def test_nothing_is_published_under_names_that_are_not_local(pair: Pair):
    key = pair.here.keys["mine"]
    assert (await pair.post("/experts/", payload("@mine/x"), key=key)).status_code == 200
    for scope, said in (("acme", f"is mirrored from {pair.up.url}"), ("no", "is blocked")):
        key = await made_key(pair, scope)
        status, why = reason(await pair.post("/experts/", payload(f"@{scope}/x"), key=key))
        assert (status, said in why) == (400, True)
    assert pair.up.asked == []


async def test_many_at_once_are_one_request_upstream(pair: Pair):
    await pair.up.publish(request("@acme/leaf"))
    document = document_path(await digest_of(pair, "@acme/leaf"))
    pair.up.forget()
    found: list[tuple[int, str]] = []

    async def ask(path: str) -> None:
        found.append(cached(await pair.get(path)))

    async with anyio.create_task_group() as tasks:
        for _ in range(64):
            tasks.start_soon(ask, key_path("@acme/leaf@1.0.0"))
    assert [status for status, _ in found] == [200] * 64
    assert Counter(pair.up.asked) == {
        "GET /index/@acme/leaf": 1,
        f"GET {document}": 1,
        "GET /experts/@acme/leaf@1.0.0": 1,
    }


async def test_what_only_the_mirrors_key_may_read_is_for_its_readers(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path / "up"
    place.mkdir()
    with open_house(place, "acme") as up:
        await up.publish(request("@acme/hidden", visibility="private"), request("@acme/open"))
        variable = Upstream(url=up.url).key_variable
        monkeypatch.setenv(variable, up.keys["acme"])
        rules = f"@acme={up.url}"
        with open_house(tmp_path, "mine", database=database, upstreams=rules) as here:
            up.forget()
            async with httpx.AsyncClient(base_url=here.url + PREFIX) as http:

                async def get(path: str, key: str = "") -> httpx.Response:
                    sent = {"authorization": f"Bearer {key}"} if key else {}
                    return await http.get(path, headers=sent)

                async with open_repository(database) as repository:
                    writer = await repository.write(lambda s: _key(s, "mine", "publish-new"))
                    other = await repository.write(
                        lambda s: _key(s, "mine", "read", patterns=("@mine/*",))
                    )
                reader = here.keys["mine"]
                shown = await get(key_path("@acme/hidden"), reader)
                digest = shown.json()["data"]["expert"]["digest"]
                paths = [path.replace("leaf", "hidden") for path in PATHS]
                for path in (*paths, document_path(digest)):
                    answer = await get(path, reader)
                    assert answer.status_code == 200, path
                    assert answer.headers["cache-control"].startswith("private"), path
                    for key in ("", "psk_wrong", writer, other):
                        assert (await get(path, key)).status_code == 404, (path, key)
                wanted = {"roots": ["@acme/hidden"], "include": "documents"}
                auth = {"authorization": f"Bearer {reader}"}
                for headers, there in (({}, False), (auth, True)):
                    told = (await http.post("/resolve", json=wanted, headers=headers)).json()
                    assert ("@acme/hidden" in told["data"]["resolutions"]) is there
                    assert bool(told["data"].get("documents")) is there
                assert (await get(key_path("@acme/open"))).status_code == 200
            sent = {headers.get("authorization") for headers in up.headers}
            assert sent == {None, f"Bearer {up.keys['acme']}"}
            public = [
                headers.get("authorization")
                for asked, headers in zip(up.asked, up.headers, strict=True)
                if "/open" in asked
            ]
            assert public == [None] * len(public) != []


def _key(
    session: Session, organization: str, *scopes: Scope, patterns: tuple[str, ...] = ()
) -> str:
    found = organization_named(session, organization)
    assert found is not None
    made = issue_key(
        session, OPERATOR, found, now_ms(), name="test", scopes=scopes, patterns=patterns
    )
    return made.secret


async def test_a_registry_that_wants_a_key_wants_it_for_what_it_mirrors(
    database: str, tmp_path: Path
):
    place = tmp_path / "up"
    place.mkdir()
    with open_house(place, "acme") as up:
        await up.publish(request("@acme/leaf"))
        more: dict[str, Any] = {"upstreams": f"@acme={up.url}", "anonymous_read": False}
        with open_house(tmp_path, "mine", database=database, **more) as here:
            up.forget()
            base = f"{here.url}/upstream/{up.url.removeprefix('http://')}"
            async with httpx.AsyncClient() as http:
                for root in (here.url, base):
                    for path in (*PATHS, "/index/config.json"):
                        assert (await http.get(f"{root}{PREFIX}{path}")).status_code == 401, path
                assert up.asked == []
                auth = {"authorization": f"Bearer {here.keys['mine']}"}
                answer = await http.get(f"{base}{PREFIX}{PATHS[0]}", headers=auth)
                assert answer.status_code == 200
                assert answer.headers["cache-control"].startswith("private")


async def test_a_scope_with_experts_of_its_own_cannot_be_mirrored(database: str, tmp_path: Path):
    with open_house(tmp_path, "acme", database=database) as here:
        await here.publish(request("@acme/leaf"), request("tool"))
    for rules, said in (
        ("@acme=https://a.example", "@acme=local"),
        ("@acme=local *=https://a.example", "_=local"),
    ):
        app = make_app(Settings(database_url=database, upstreams=rules))
        with pytest.raises((UserError, ExceptionGroup)) as caught:
            async with app.running():
                pass
        assert said in str(sole(caught.value))
    rules = "@acme=local _=local *=https://a.example"
    async with make_app(Settings(database_url=database, upstreams=rules)).running():
        pass


async def differing(database: str) -> list[str]:
    def look(session: Session) -> list[str]:
        return list(differences(session, verifier_key(session, Settings())))

    async with open_repository(database) as repository:
        return await repository.read_slowly(look)


async def test_what_was_changed_in_the_database_is_found_and_not_shown(pair: Pair):
    await pair.up.publish(request("@acme/leaf"))
    document = document_path(await digest_of(pair, "@acme/leaf"))
    there = await pair.get(document, base=pair.origin)
    index = await pair.get("/index/@acme/leaf")
    pair.stop_mirror()
    assert await differing(pair.database) == []

    def change(session: Session) -> None:
        evil = there.content.replace(b"Be @acme", b"Do @acme")
        assert session.run("UPDATE mirror_documents SET body = ?", evil) == 1
        swapped = index.content.replace(b"available", b"disabled")
        sql = "UPDATE mirror_answers SET body = ? WHERE path = '/index/@acme/leaf'"
        assert session.run(sql, swapped) == 1

    async with open_repository(pair.database) as repository:
        await repository.write(change)
    found = await differing(pair.database)
    assert len(found) == 2
    assert "the mirrored document sha256:" in found[0]
    assert "answered to /index/@acme/leaf was changed" in found[1]
    pair.reopen()
    assert (await pair.get("/index/@acme/leaf")).content == index.content
    again = await pair.get(document)
    assert (cached(again), again.content) == ((200, "miss"), there.content)
    assert await differing(pair.database) == []


async def test_a_backup_holds_what_is_mirrored(tmp_path: Path):
    pair = Pair(tmp_path, str(tmp_path / "mirror.db"))
    try:
        await pair.up.publish(request("@acme/leaf"))
        document = document_path(await digest_of(pair, "@acme/leaf"))
        there = await pair.get(document, base=pair.origin)
        assert there.status_code == 200
        await anyio.to_thread.run_sync(copy_database, pair.database, tmp_path / "copy.db")
        pair.stop_upstream()
        pair.stop_mirror()
        rules, copy = pair.rules, str(tmp_path / "copy.db")
        with open_house(tmp_path, keys={}, database=copy, upstreams=rules) as here:
            answer = await pair.get(document, base=here.url)
            assert answer.content == there.content
    finally:
        pair.close()


async def test_hits_misses_and_what_is_stale_are_counted(pair: Pair):
    await pair.up.publish(request("@acme/leaf"))
    for _ in range(3):
        await pair.get("/index/@acme/leaf")
    pair.stop_upstream()
    pair.later(MINUTE)
    await pair.get("/index/@acme/leaf")
    async with httpx.AsyncClient() as http:
        told = (await http.get(f"{pair.here.url}/metrics")).text
    for cache, count in (("miss", 1), ("hit", 2), ("stale", 1)):
        assert f'perstack_registry_mirror_answers_total{{cache="{cache}"}} {count}\n' in told


async def test_a_graph_is_resolved_through_the_mirror(pair: Pair):
    await pair.up.publish(
        request("@acme/leaf", "1.0.0"),
        request("@acme/leaf", "1.1.0"),
        request("@acme/branch", "1.0.0", "@acme/leaf@^1.0.0"),
        request("@no/leaf"),
    )
    await pair.here.publish(request("@mine/own"))
    roots = ["@acme/branch", "@mine/own@^1.0.0", "@acme/none", "@no/leaf", "@acme/leaf@1.0.0"]
    told = (await pair.post("/resolve", {"roots": roots, "include": "documents"})).json()
    data = told["data"]
    assert {spec: found["key"] for spec, found in data["resolutions"].items()} == {
        "@acme/branch": "@acme/branch@1.0.0",
        "@acme/leaf@^1.0.0": "@acme/leaf@1.1.0",
        "@acme/leaf@1.0.0": "@acme/leaf@1.0.0",
        "@mine/own@^1.0.0": "@mine/own@1.0.0",
    }
    assert sorted(each["spec"] for each in data["errors"]) == ["@acme/none", "@no/leaf"]
    assert data["documents"].keys() == {found["digest"] for found in data["resolutions"].values()}
    assert told["meta"] == {"nodes": 4, "edges": 1, "warnings": []}
    locked = {"@acme/leaf@^1.0.0": "1.0.0"}
    wanted = {"roots": ["@acme/branch"], "locked": locked}
    for base in (pair.here.url, pair.origin):
        data = (await pair.post("/resolve", wanted, base=base)).json()["data"]
        assert data["resolutions"]["@acme/leaf@^1.0.0"]["key"] == "@acme/leaf@1.0.0"
    data = (await pair.post("/resolve", {"roots": ["@mine/own"]}, base=pair.origin)).json()["data"]
    assert [each["spec"] for each in data["errors"]] == ["@mine/own"]
    pair.stop_upstream()
    pair.later(DAY + MINUTE)
    assert reason(await pair.post("/resolve", wanted))[0] == 503


async def test_a_mirror_says_whose_names_it_has(pair: Pair):
    told = (await pair.get("/index/config.json")).json()
    assert told["mirrored"] == {"@acme": pair.up.url}
    there = (await pair.get("/index/config.json", base=pair.up.url)).json()
    assert there["mirrored"] == {}
    here = (await pair.get("/index/config.json", base=pair.origin)).json()
    assert here["logKey"] == there["logKey"] != told["logKey"]
    assert here["documents"].startswith(f"{pair.origin}{PREFIX}/documents/")
    assert (
        await pair.get("/index/config.json", base=f"{pair.here.url}/upstream/x")
    ).status_code == 404


async def test_a_document_is_found_by_its_digest_alone(pair: Pair):
    """As who has a lock asks for it, of a mirror that never heard of the name."""
    await pair.up.publish(request("@acme/leaf"))
    document = document_path(await digest_of(pair, "@acme/leaf"))
    assert (await pair.get(document)).status_code == 404
    there = await pair.get(document, base=pair.up.url)
    assert cached(here := await pair.get(document, base=pair.origin)) == (200, "miss")
    assert here.content == there.content
    assert cached(await pair.get(document)) == (200, "hit")


async def test_what_may_not_be_shown_any_more_is_not_kept(pair: Pair):
    await pair.up.publish(request("@acme/leaf"), request("@acme/other"))
    document = document_path(await digest_of(pair, "@acme/leaf"))
    for path in ("/index/@acme/leaf", document):
        assert (await pair.get(path)).status_code == 200
    pair.later(DAY + MINUTE)
    pair.reopen()
    assert (await pair.get("/index/@acme/other")).status_code == 200

    def kept(session: Session) -> tuple[list[str], int]:
        paths = session.all("SELECT path FROM mirror_answers ORDER BY path")
        documents = session.all("SELECT digest FROM mirror_documents")
        return [row[0] for row in paths], len(documents)

    async with open_repository(pair.database) as repository:
        assert await repository.read(kept) == (["/index/@acme/other"], 1)


async def test_what_is_quarantined_upstream_is_gone_within_a_minute(pair: Pair):
    await pair.up.publish(request("@acme/leaf", "1.0.0"), request("@acme/leaf", "1.1.0"))
    harmful = document_path(await digest_of(pair, "@acme/leaf@1.1.0"))
    for path in (*PATHS, harmful):
        assert (await pair.get(path)).status_code == 200

    def admin(session: Session) -> str:
        made = create_organization(session, OPERATOR, START, name="ops", type="serviceAdmin")
        return issue_key(session, OPERATOR, made, now_ms(), name="test").secret

    async with open_repository(pair.up_database) as repository:
        key = await repository.write(admin)
    path = f"{key_path('@acme/leaf@1.1.0')}/quarantine"
    answer = await pair.post(path, {"reason": "harm"}, key=key, base=pair.up.url)
    assert answer.status_code == 200
    pair.later(MINUTE)
    for path in (harmful, key_path("@acme/leaf@1.1.0")):
        assert (await pair.get(path)).status_code == 404, path
    told = (await pair.get(key_path("@acme/leaf"))).json()["data"]["expert"]
    assert told["version"] == "1.0.0"
