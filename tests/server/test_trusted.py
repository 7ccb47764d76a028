"""Trusted publishing: whom an Expert trusts, what a token is exchanged for, and what no token gets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from cryptography.hazmat.primitives import serialization

from perstack.errors import UserError
from perstack.server.extensions.trusted import keys_of
from perstack.server.identity.issuer_keys import AGAIN_MS, KEPT_MS, MAX_ANSWER, answer_at
from perstack.server.identity.issuers import issuers_of
from perstack.server.identity.keys import SCOPES
from perstack.server.queries import audit, trusted
from tests.fakes.certificate import certificate

from .house import Registry, open_registry, payload, reason
from .issuer import AUDIENCE, REPOSITORY, WORKFLOW, Issuer, open_issuer, public_jwk, says

pytestmark = pytest.mark.anyio

X = "/experts/@acme/x/trusted-publishers"
CONFIGURATION = "/.well-known/openid-configuration"


@pytest.fixture
def issuer() -> Generator[Issuer]:
    with open_issuer() as found:
        yield found


@asynccontextmanager
async def believing(database: str, *issuers: Issuer, **more: Any) -> AsyncGenerator[Registry]:
    """A registry that believes these issuers."""
    setting = " ".join(one.setting for one in issuers)
    async with open_registry(
        database, oidc_issuers=setting, public_url=AUDIENCE, **more
    ) as registry:
        yield registry


async def trust(
    registry: Registry, issuer: Issuer, key: str, name: str = "@acme/x", **more: Any
) -> dict[str, Any]:
    said = {"issuer": issuer.url, "repository": REPOSITORY, "workflow": "publish.yml"}
    answer = await registry.post(f"/experts/{name}/trusted-publishers", said | more, key=key)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["publisher"]


async def exchanged(registry: Registry, token: str, **more: Any) -> dict[str, Any]:
    answer = await registry.post("/oidc/exchange", {"token": token, **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["data"]["key"]


async def refused(registry: Registry, token: str, **more: Any) -> tuple[int, Any]:
    return reason(await registry.post("/oidc/exchange", {"token": token, **more}))


async def test_a_job_publishes_without_a_stored_key(database: str, issuer: Issuer):
    async with believing(database, issuer) as registry:
        owner = await registry.key("acme")
        await trust(registry, issuer, owner)
        key = await exchanged(registry, issuer.token())
        assert key["scopes"] == ["read", "publish-new", "publish-update", "tag"]
        assert key["patterns"] == ["@acme/x"]
        made = await registry.publish("@acme/x", key=key["key"])
        assert made["publisher"] == "organization:acme"  # as ever
        await registry.publish("@acme/x", "1.1.0", key=key["key"], tags=["good"])
        answer = await registry.post("/experts/", payload("@acme/y"), key=key["key"])
        assert reason(answer) == (403, "The key is not for @acme/y")
        for path in ("/keys", "/orgs/acme/audit"):
            assert reason(await registry.get(path, key=key["key"]))[0] == 403
        answer = await registry.ask("DELETE", "/experts/@acme/x@1.0.0", key=key["key"])
        assert reason(answer) == (403, "The key lacks the scope unpublish")
        registry.now[0] += 15 * 60 * 1000
        answer = await registry.post("/experts/", payload("@acme/x", "2.0.0"), key=key["key"])
        assert reason(answer) == (401, "Failed to authenticate")


async def test_who_published_is_in_the_audit_log_and_on_the_page(database: str, issuer: Issuer):
    async with believing(database, issuer) as registry:
        owner = await registry.key("acme")
        await trust(registry, issuer, owner)
        key = await exchanged(registry, issuer.token())
        await registry.publish("@acme/x", key=key["key"])
        rows = (await registry.get("/orgs/acme/audit", key=owner)).json()["data"]["audit"]
        subject = f"repo:{REPOSITORY}:ref:refs/tags/v1"
        done = {row["action"]: row.get("subject") for row in rows}
        assert done["trust.add"] is None
        assert done["key.create"] == done["publish"] == subject
        assert await registry.repository.read(lambda session: list(audit.breaks(session))) == []
        page = (await registry.ask("GET", "http://registry.test/experts/@acme/x")).text
        assert f'href="{issuer.url}/{REPOSITORY}">{REPOSITORY}</a>, {WORKFLOW}' in page
        assert "refs/tags/v1, commit <code>4f1d2c3b4f1d</code>" in page
        await registry.publish("@acme/x", "2.0.0", key=owner)
        page = (await registry.ask("GET", "http://registry.test/experts/@acme/x")).text
        assert "Published from" not in page


async def test_gitlab_says_the_same_in_other_claims(database: str):
    with open_issuer("gitlab") as issuer:
        async with believing(database, issuer) as registry:
            await trust(registry, issuer, await registry.key("acme"), workflow=".gitlab-ci.yml")
            key = await exchanged(registry, issuer.token())
            await registry.publish("@acme/x", key=key["key"])
            for claim, value in (
                ("pipeline_source", "merge_request_event"),
                ("ref_type", "other"),
                ("project_path", "mallory/experts"),
                (
                    "ci_config_ref_uri",
                    "elsewhere.example/Acme/Experts//.gitlab-ci.yml@refs/tags/v1",
                ),
            ):
                status, said = await refused(registry, issuer.token(**{claim: value}))
                assert status == 401, claim
                assert ("ci_config_ref_uri" if claim == "project_path" else claim) in said
            at = f"{issuer.url.partition('://')[2]}/mallory/experts//.gitlab-ci.yml@refs/tags/v1"
            forked = issuer.token(project_path="mallory/experts", ci_config_ref_uri=at)
            assert await refused(registry, forked) == (
                403,
                "The token's claim project_path does not fit",
            )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_each_algorithm_that_is_taken(issuer: Issuer, tmp_path: Any, algorithm: str):
    issuer.add_key("two", algorithm)
    async with believing(str(tmp_path / "r.db"), issuer) as registry:
        await trust(registry, issuer, await registry.key("acme"))
        await exchanged(registry, issuer.token("two"))


def at(repository: str, workflow: str = WORKFLOW, ref: str = "refs/tags/v1") -> dict[str, str]:
    """The claims of a workflow."""
    place = f"{repository}/{workflow}@{ref}"
    return {"workflow_ref": place, "job_workflow_ref": place}


ATTACKS: dict[str, tuple[dict[str, Any], int, str]] = {
    "another audience": ({"aud": "https://other.test"}, 401, f"aud is not {AUDIENCE}"),
    "several audiences": ({"aud": [AUDIENCE, "https://other.test"]}, 401, "aud is not"),
    "no audience": ({"aud": None}, 401, "aud is not"),
    "expired": ({"exp": 1_789_999_900}, 401, "exp says that it has expired"),
    "for ever": ({"exp": 1_900_000_000}, 401, "exp is too far away"),
    "no end": ({"exp": None}, 401, "exp is missing"),
    "an end beyond all numbers": ({"exp": 10**400}, 401, "exp is missing, or is not a time"),
    "an end that is no number": ({"exp": True}, 401, "exp is missing, or is not a time"),
    "not yet": ({"nbf": 1_790_000_900}, 401, "nbf is in the future"),
    "from the future": ({"iat": 1_790_000_900}, 401, "iat is in the future"),
    "no name of its own": ({"jti": None}, 401, "jti is missing"),
    "another issuer": ({"iss": "https://token.example"}, 401, "iss is of nobody"),
    "an issuer that is no text": ({"iss": {"a": 1}}, 401, "iss is of nobody"),
    "another repository": (
        {"repository": "mallory/experts", **at("mallory/experts")},
        403,
        "repository does not fit",
    ),
    "a repository that is named in the workflow only": (
        {"repository": "mallory/experts"},
        401,
        "job_workflow_ref does not fit",
    ),
    "a workflow of another repository": (
        {"job_workflow_ref": f"mallory/tools/{WORKFLOW}@refs/heads/main"},
        401,
        "job_workflow_ref does not fit",
    ),
    "another workflow": (
        at(REPOSITORY, ".github/workflows/test.yml"),
        403,
        "job_workflow_ref does not fit",
    ),
    "a workflow whose name begins so": (
        at(REPOSITORY, f"{WORKFLOW}@x.yml", "1234"),
        403,
        "job_workflow_ref does not fit",
    ),
    "a pull request of a fork": (
        {"event_name": "pull_request", "ref": "refs/pull/7/merge"},
        401,
        "event_name is of a job that publishes nothing",
    ),
    "a pull request in the target's name": (
        {"event_name": "pull_request_target"},
        401,
        "event_name is of a job that publishes nothing",
    ),
    "the merge of a pull request": (
        {"ref": "refs/pull/7/merge"},
        401,
        "ref is of a job that publishes nothing",
    ),
    "another environment": ({"environment": "test"}, 403, "environment does not fit"),
    "no environment": ({"environment": None}, 403, "environment does not fit"),
    "another owner": ({"repository_owner_id": "666"}, 403, "repository_owner_id does not fit"),
    "a claim that no database keeps": ({"sub": "a\0b"}, 401, "sub is missing, or is not a text"),
    "half a character": ({"sub": "a\ud800"}, 401, ""),
}


async def test_a_token_that_does_not_fit_gets_nothing(database: str, issuer: Issuer):
    async with believing(database, issuer) as registry:
        owner = await registry.key("acme")
        await trust(registry, issuer, owner, environment="release")
        await exchanged(registry, issuer.token(environment="release"))  # which says the owner
        for attack, (changed, status, said) in ATTACKS.items():
            told = await refused(registry, issuer.token(**({"environment": "release"} | changed)))
            assert told[0] == status, (attack, told)
            assert said in told[1], (attack, told)
            assert "release" not in told[1], attack
        tags = issuer.token(
            environment="release",
            ref="refs/tags/@a/b@1.0.0",
            **at(REPOSITORY, ref="refs/tags/@a@1"),
        )
        await exchanged(registry, tags)


async def test_a_name_is_said_to_nobody_who_is_not_trusted_for_it(database: str, issuer: Issuer):
    async with believing(database, issuer) as registry:
        await trust(registry, issuer, await registry.key("acme"), environment="release")
        await trust(registry, issuer, await registry.key("other"), "@other/y", repository="o/o")
        fitting = issuer.token(environment="release")
        for name in ("@other/y", "@other/none", "nobody"):
            assert await refused(registry, fitting, name=name) == (
                403,
                "The token's claim repository does not fit",
            )
        assert (await exchanged(registry, fitting, name="@acme/x"))["patterns"] == ["@acme/x"]


def forged(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(part).encode() for part in (header, claims)]
    return ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, signature)
    )


async def test_a_token_that_is_not_genuine_gets_nothing(database: str, issuer: Issuer):
    with open_issuer() as mallory:
        async with believing(database, issuer) as registry:
            await trust(registry, issuer, await registry.key("acme"))
            pem = (
                issuer.keys["one"][1]
                .public_key()
                .public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )
            unsigned = forged({"alg": "HS256", "kid": "one"}, issuer.claims())
            text = unsigned.rpartition(".")[0]
            mac = base64.urlsafe_b64encode(hmac.new(pem, text.encode(), hashlib.sha256).digest())
            own = {"jwk": public_jwk("RS256", mallory.keys["one"][1])}
            tokens = {
                "alg none": forged({"alg": "none", "kid": "one"}, issuer.claims()),
                "alg None": forged({"alg": "None", "kid": "one"}, issuer.claims()),
                "no alg": forged({"kid": "one"}, issuer.claims()),
                "HS256 with the public key": f"{text}.{mac.decode().rstrip('=')}",
                "RS256 without a signature": forged(
                    {"alg": "RS256", "kid": "one"}, issuer.claims()
                ),
                "another's key": mallory.token(iss=issuer.url),
                "another's key by jku": mallory.token(
                    "one", {"jku": f"{mallory.url}/jwks"}, iss=issuer.url
                ),
                "another's key by x5u": mallory.token(
                    "one", {"x5u": f"{mallory.url}/jwks"}, iss=issuer.url
                ),
                "another's key within": mallory.token("one", own, iss=issuer.url),
                "a kid that is a path": mallory.token(
                    "one", {"kid": "../../../../dev/null"}, iss=issuer.url
                ),
                "a kid that is SQL": mallory.token(
                    "one", {"kid": "one' OR '1'='1"}, iss=issuer.url
                ),
                "a kid that is an address": mallory.token(
                    "one", {"kid": f"{mallory.url}/jwks"}, iss=issuer.url
                ),
                "a kid that is no text": forged({"alg": "RS256", "kid": ["one"]}, issuer.claims()),
                "something critical": forged(
                    {"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}, issuer.claims()
                ),
                "three words": "a.b.c",
                "claims that are a list": forged({"alg": "RS256", "kid": "one"}, []),  # pyright: ignore[reportArgumentType]  # on purpose
                "very deep": forged(
                    {"alg": "RS256", "kid": "one"}, json.loads("[" * 400 + "]" * 400)
                ),
            }
            for attack, token in tokens.items():
                status, said = await refused(registry, token)
                assert status == 401, (attack, said)
                assert "signature" in said or "cannot be read" in said or "header" in said, attack
            assert mallory.asked == []
            head, body, signature = issuer.token().split(".")
            other = forged({}, issuer.claims(environment="x")).split(".")[1]
            assert (await refused(registry, f"{head}.{other}.{signature}"))[0] == 401
            assert (await refused(registry, f"{head}.{body}.{signature[:-8]}AAAAAAAA"))[0] == 401
            await exchanged(registry, issuer.token())
            assert reason(await registry.post("/oidc/exchange", {"token": "x" * 20_000}))[0] == 422
            assert reason(await registry.post("/oidc/exchange", {}))[0] == 422


async def test_a_key_that_is_too_weak_or_of_another_kind_counts_for_nothing(
    tmp_path: Any, issuer: Issuer
):
    from cryptography.hazmat.primitives.asymmetric import rsa

    secret = base64.urlsafe_b64encode(b"k" * 32).decode()
    weak = rsa.generate_private_key(65537, 1024)
    shared = {"kty": "oct", "k": secret, "kid": "shared"}
    short = public_jwk("RS256", weak) | {"kid": "weak"}
    encrypting = issuer.jwks()["keys"][0] | {"kid": "encrypting", "use": "enc"}
    told = {
        "keys": [*issuer.jwks()["keys"], shared, short, encrypting, {"kid": "broken", "kty": "RSA"}]
    }
    issuer.answers["/jwks"] = says(200, json.dumps(told).encode())
    issuer.keys |= {"weak": ("RS256", weak), "encrypting": issuer.keys["one"]}
    async with believing(str(tmp_path / "r.db"), issuer) as registry:
        await trust(registry, issuer, await registry.key("acme"))
        await exchanged(registry, issuer.token())
        with pytest.warns(match="below the minimum"):
            token = issuer.token("weak")
        for bad in (token, issuer.token("encrypting"), issuer.token("one", {"kid": "broken"})):
            assert (await refused(registry, bad))[0] == 401


async def test_of_many_who_show_one_token_one_gets_a_key(database: str, issuer: Issuer):
    """Through two servers on one database, as two processes are."""
    async with believing(database, issuer) as one, believing(database, issuer) as two:
        await trust(one, issuer, await one.key("acme"))
        token = issuer.token()
        told: list[int] = []

        async def show(registry: Registry) -> None:
            told.append((await registry.post("/oidc/exchange", {"token": token})).status_code)

        async with anyio.create_task_group() as tasks:
            for registry in (one, two) * 16:
                tasks.start_soon(show, registry)
        assert sorted(told) == [200] + [401] * 31
        assert await refused(two, token) == (
            401,
            "The token's claim jti is of a token that was used already",
        )
        await exchanged(two, issuer.token())


async def test_exchanges_are_forgotten_when_their_keys_are_of_no_use(database: str, issuer: Issuer):
    def held(session: Any) -> list[int]:
        return [session.one(f"SELECT count(*) FROM {table}")[0] for table in ("exchanges", "keys")]

    async with believing(database, issuer) as registry:
        await trust(registry, issuer, await registry.key("acme"))
        await exchanged(registry, issuer.token())
        assert await registry.repository.read(held) == [1, 2]
        registry.now[0] += 2 * 24 * 3600 * 1000
        later = 1_790_000_000 + 2 * 24 * 3600
        await exchanged(registry, issuer.token(iat=later, nbf=later, exp=later + 600))
        assert await registry.repository.read(held) == [1, 2]


async def test_keys_are_asked_for_once_and_again_when_they_rotate(tmp_path: Any, issuer: Issuer):
    async with believing(str(tmp_path / "r.db"), issuer) as registry:
        await trust(registry, issuer, await registry.key("acme"))

        async def show() -> None:
            await exchanged(registry, issuer.token())

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(show)
        assert issuer.asked == [CONFIGURATION, "/jwks"]
        issuer.add_key("two", "ES256")
        token = issuer.token("two")
        assert (await refused(registry, token))[0] == 401  # it was asked a moment ago
        assert len(issuer.asked) == 2
        registry.now[0] += AGAIN_MS
        await exchanged(registry, token)
        assert len(issuer.asked) == 4
        del issuer.keys["one"]
        registry.now[0] += KEPT_MS
        late = {"exp": 1_790_000_000 + 2 * 3600}
        await exchanged(registry, issuer.token("two", **late))
        assert len(issuer.asked) == 6


async def test_keys_outlive_a_time_in_which_their_issuer_does_not_answer(
    tmp_path: Any, issuer: Issuer
):
    async with believing(str(tmp_path / "r.db"), issuer) as registry:
        await trust(registry, issuer, await registry.key("acme"))
        await exchanged(registry, issuer.token())
        issuer.answers["/jwks"] = says(500)
        registry.now[0] += AGAIN_MS
        assert (await refused(registry, issuer.token("one", {"kid": "new"})))[0] == 503
        await exchanged(registry, issuer.token())


async def test_an_issuer_that_answers_badly_is_told_from_a_bad_token(tmp_path: Any, issuer: Issuer):
    def configuration(**changed: Any) -> bytes:
        return json.dumps(
            {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"} | changed
        ).encode()

    with open_issuer() as inside:
        # each says all that is right, but for the one thing
        bad = {
            "it answers with 404": says(404, configuration()),
            "it answers with 302": says(302, configuration(), location=f"{inside.url}/jwks"),
            "it gives no JSON": says(200, b"<html>"),
            f"its answer has more than {MAX_ANSWER} bytes": says(
                200, configuration() + b" " * MAX_ANSWER
            ),
            "its configuration is another issuer's": says(
                200, configuration(issuer="https://other.test")
            ),
            "127.0.0.1 is not a public host": says(
                200, configuration(jwks_uri=f"{inside.url.replace('http:', 'https:')}/jwks")
            ),
            "169.254.169.254 is not a public host": says(
                200, configuration(jwks_uri="https://169.254.169.254/latest")
            ),
            "it is not spoken to over https": says(
                200, configuration(jwks_uri=f"{inside.url}/jwks")
            ),
            "it names an address with a name and a password": says(
                200, configuration(jwks_uri=issuer.url.replace("//", "//a:b@") + "/jwks")
            ),
        }
        async with believing(str(tmp_path / "r.db"), issuer) as registry:
            await trust(registry, issuer, await registry.key("acme"))
            for fault, answer in bad.items():
                issuer.answers[CONFIGURATION] = answer
                registry.now[0] += AGAIN_MS
                assert await refused(registry, issuer.token()) == (
                    503,
                    f"The keys of the token's issuer cannot be had: {fault}",
                )
            assert inside.asked == []
            issuer.answers.clear()
            registry.now[0] += AGAIN_MS
            await exchanged(registry, issuer.token(exp=1_790_000_900))


async def test_a_certificate_must_be_for_the_name_though_an_address_is_connected_to(tmp_path: Path):
    file = tmp_path / "issuer.pem"
    file.write_bytes(b"".join(certificate("issuer.test")))
    believed = ssl.create_default_context(cafile=str(file))
    with open_issuer(certificate=file) as issuer:

        async def ask(name: str) -> bytes:
            async with httpx2.AsyncClient(verify=believed, trust_env=False) as http:
                return await answer_at(http, f"{issuer.url}/jwks", name, name)

        assert json.loads(await ask("issuer.test")) == issuer.jwks()
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            await ask("other.test")


async def test_an_issuer_that_does_not_answer_is_waited_for_no_longer_than_set(
    tmp_path: Any, issuer: Issuer
):
    done = threading.Event()

    def wait(handler: BaseHTTPRequestHandler) -> None:
        done.wait(60)
        says(200)(handler)

    issuer.answers[CONFIGURATION] = wait
    try:
        async with believing(str(tmp_path / "r.db"), issuer) as registry:
            await trust(registry, issuer, await registry.key("acme"))
            keys_of(registry.app.context).timeout_s = 0.5
            with anyio.fail_after(30):
                status, said = await refused(registry, issuer.token())
                assert (status, "no answer in" in said) == (503, True)
                # who comes next does not wait for the same again
                assert (await refused(registry, issuer.token()))[0] == 503
        assert len(issuer.asked) <= 1
    finally:
        done.set()


async def test_the_owner_of_a_repository_is_the_one_of_the_first_token(
    database: str, issuer: Issuer
):
    async with believing(database, issuer) as registry:
        owner = await registry.key("acme")
        made = await trust(registry, issuer, owner)
        assert "ownerId" not in made
        await exchanged(registry, issuer.token())
        listed = (await registry.get(X, key=owner)).json()["data"]["publishers"]
        assert [(one["ownerId"], "usedAt" in one) for one in listed] == [("77", True)]
        taken_over = issuer.token(repository_owner_id="666")
        assert await refused(registry, taken_over) == (
            403,
            "The token's claim repository_owner_id does not fit",
        )
        await registry.ask("DELETE", f"{X}/{made['id']}", key=owner)
        await trust(registry, issuer, owner, ownerId="12")
        assert (await refused(registry, issuer.token()))[0] == 403


async def test_only_who_has_a_say_about_a_name_says_whom_it_trusts(database: str, issuer: Issuer):
    async with believing(database, issuer) as registry:
        acme, other = await registry.key("acme"), await registry.key("other")
        ann, bob = (
            await registry.key("ann", type="personal"),
            await registry.key("bob", type="personal"),
        )
        await registry.publish("@acme/x", key=acme)
        await registry.publish("@acme/hidden", key=acme, visibility="private")
        said = {"issuer": issuer.url, "repository": REPOSITORY, "workflow": "publish.yml"}

        async def ask(name: str, key: str) -> tuple[int, Any]:
            answer = await registry.post(f"/experts/{name}/trusted-publishers", said, key=key)
            return (200, None) if answer.is_success else reason(answer)

        assert await ask("@acme/x", other) == (400, "Expert is not owned by the organization")
        assert await ask("@acme/hidden", other) == await ask("@acme/new", other)
        assert await ask("@acme/new", other) == (404, "Expert not found")
        assert await ask("mine", acme) == (404, "Expert not found")
        assert await ask("@acme/new", acme) == (200, None)
        assert await ask("@acme/new", acme) == (400, "This publisher is trusted already")
        assert await ask("mine", ann) == (200, None)
        assert await ask("mine", bob) == (200, None)
        assert await refused(registry, issuer.token(), name="mine") == (
            403,
            "Several organizations trust this publisher: send the name, too",
        )
        await registry.publish("mine", key=ann, visibility="private")
        key = await exchanged(registry, issuer.token(), name="mine")
        await registry.publish("mine", "1.1.0", key=key["key"])
        listed = await registry.get("/experts/mine/trusted-publishers", key=ann)
        assert len(listed.json()["data"]["publishers"]) == 1
        # whether a private name is there nobody learns; but nothing comes of it
        assert await ask("mine", bob) == (200, None)
        assert (await exchanged(registry, issuer.token(), name="mine"))["name"] == key["name"]
        narrow = await registry.key("acme", "keys")
        assert await ask("@acme/x", narrow) == (403, "The key lacks the scope read")
        member = await registry.key("acme", *set(SCOPES) - {"owners"}, account="ann")
        assert await ask("@acme/x", member) == (403, "The key lacks the scope owners")
        names = await registry.key("acme", patterns=("@acme/other*",))
        assert await ask("@acme/x", names) == (403, "The key is not for @acme/x")


async def test_trust_ends_with_ownership(database: str, issuer: Issuer):
    async with believing(database, issuer) as registry:
        ann = await registry.key("ann", type="personal")
        bob = await registry.key("bob", type="personal")
        await registry.publish("mine", key=ann)
        await trust(registry, issuer, ann, "mine")
        await registry.post("/experts/mine/transfer", {"to": "bob"}, key=ann)
        await registry.post("/experts/mine/transfer", {"accept": True}, key=bob)
        assert (await refused(registry, issuer.token()))[0] == 403
        await registry.post("/experts/mine/transfer", {"to": "ann"}, key=bob)
        await registry.post("/experts/mine/transfer", {"accept": True}, key=ann)
        assert (await refused(registry, issuer.token()))[0] == 403


async def test_an_organization_that_was_closed_is_trusted_no_more(database: str, issuer: Issuer):
    async with believing(database, issuer) as registry:
        await trust(registry, issuer, await registry.key("acme"))
        await registry.repository.write(
            lambda session: session.run("UPDATE organizations SET status = 'inactive'")
        )
        assert (await refused(registry, issuer.token()))[0] == 403


async def test_an_expert_may_be_closed_to_stored_keys(database: str, issuer: Issuer):
    async with believing(database, issuer) as registry:
        owner = await registry.key("acme", account="ann")
        publisher = await registry.key("acme", account="pia", role="publisher")
        await trust(registry, issuer, owner)
        await registry.publish("@acme/x", key=owner)
        path = "/experts/@acme/x/settings"
        assert reason(await registry.post(path, {"trustedOnly": True}, key=publisher))[0] == 403
        assert reason(await registry.post(path, {"trustedOnly": "yes"}, key=owner))[0] == 422
        answer = await registry.post(path, {"trustedOnly": True}, key=owner)
        assert answer.json()["data"]["settings"]["trustedOnly"] is True
        assert (await registry.get(X, key=owner)).json()["data"]["trustedOnly"] is True
        for key in (owner, publisher):
            for query in ({}, {"dryRun": "true"}):
                answer = await registry.post(
                    "/experts/", payload("@acme/x", "2.0.0"), key=key, **query
                )
                assert reason(answer) == (403, "@acme/x is published by trusted publishers only")
        key = await exchanged(registry, issuer.token())
        assert reason(await registry.post(path, {"trustedOnly": False}, key=key["key"]))[0] == 403
        await registry.publish("@acme/x", "2.0.0", key=key["key"])
        await registry.post(path, {"trustedOnly": False}, key=owner)
        await registry.publish("@acme/x", "3.0.0", key=publisher)
        rows = (await registry.get("/orgs/acme/audit", key=owner, action="settings")).json()
        told = [(row["before"], row["after"]) for row in rows["data"]["audit"]]
        plain = {"visibility": "public", "latestPolicy": "published"}
        closed = plain | {"trustedOnly": True}
        assert told == [(plain, closed), (closed, plain)]
        forbidden = await registry.get("/orgs/acme/audit", key=owner, action="forbidden")
        assert "POST /api/registry/v1/experts/" in forbidden.text


async def test_what_is_trusted_and_no_longer_is_in_the_audit_log(database: str, issuer: Issuer):
    async with believing(database, issuer) as registry:
        owner = await registry.key("acme")
        made = await trust(registry, issuer, owner, environment="release")
        answer = await registry.ask("DELETE", f"{X}/{made['id']}", key=owner)
        assert answer.status_code == 200
        answer = await registry.ask("DELETE", f"{X}/{made['id']}", key=owner)
        assert reason(answer) == (404, "Trusted publisher not found")
        assert (await refused(registry, issuer.token(environment="release")))[0] == 403
        rows = await registry.repository.read(lambda session: audit.rows(session))
        done = [(row.action, row.target, row.before or row.after) for row in rows]
        said = {
            "id": made["id"],
            "issuer": issuer.url,
            "repository": REPOSITORY.lower(),
            "workflow": WORKFLOW,
            "environment": "release",
        }
        trusted_rows = [one for one in done if one[0].startswith("trust.")]
        assert [one[:2] for one in trusted_rows] == [
            ("trust.add", "@acme/x"),
            ("trust.remove", "@acme/x"),
        ]
        assert [json.loads(one[2] or "") for one in trusted_rows] == [said, said]


async def test_guessing_is_slowed_down_and_written_down(database: str, issuer: Issuer):
    async with believing(database, issuer, rate_limits="default") as registry:
        told = [(await registry.post("/oidc/exchange", {"token": "x"})) for _ in range(11)]
        assert [answer.status_code for answer in told] == [401] * 10 + [429]
        rows = await registry.repository.write(lambda session: audit.rows(session))
        assert {row.action for row in rows} == {"exchange.refused"}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("issuer", "https://token.example"),
        ("issuer", "gitlab"),
        ("repository", "acme"),
        ("repository", "acme/experts/more"),
        ("repository", "https://github.com/acme/experts"),
        ("workflow", "../publish.yml"),
        ("workflow", "/publish.yml"),
        ("workflow", "publish.sh"),
        ("environment", "a\nb"),
        ("ownerId", 7),
        ("repository", None),
    ],
)
async def test_a_publisher_that_could_never_fit_is_not_taken(
    tmp_path: Any, issuer: Issuer, member: str, value: Any
):
    async with believing(str(tmp_path / "r.db"), issuer) as registry:
        said = {"issuer": issuer.url, "repository": REPOSITORY, "workflow": "publish.yml"}
        said |= {member: value}
        answer = await registry.post(X, said, key=await registry.key("acme"))
        status, told = reason(answer)
        assert (status, [one["path"] for one in told]) == (422, [[member]])


async def test_a_server_that_believes_nobody_says_so(tmp_path: Any, issuer: Issuer):
    async with open_registry(str(tmp_path / "r.db"), public_url=AUDIENCE) as registry:
        assert await refused(registry, issuer.token()) == (
            401,
            "The token's claim iss is of nobody who is believed here",
        )
        assert issuer.asked == []


def test_the_setting_of_issuers() -> None:
    found = issuers_of("github https://gitlab.acme.example=gitlab http://127.0.0.1:8080=github")
    assert {url: issuer.named for url, issuer in found.items()} == {
        "https://token.actions.githubusercontent.com": False,
        "https://gitlab.acme.example": True,
        "http://127.0.0.1:8080": True,
    }
    known = found["https://token.actions.githubusercontent.com"]
    assert not known.is_at("https://token.actions.githubusercontent.com/.well-known/jwks")
    assert found["https://gitlab.acme.example"].is_at("https://gitlab.acme.example:443/keys")
    assert issuers_of("") == {}
    for wrong in (
        "gitea",
        "https://a.example",
        "https://a.example=gitea",
        "http://a.example=gitlab",
        "ftp://127.0.0.1=gitlab",
        "https://=gitlab",
        "https://a.example?x=gitlab",
    ):
        with pytest.raises(UserError):
            issuers_of(wrong)


async def test_a_registry_that_is_moved_takes_its_trust_along(
    database: str, issuer: Issuer, tmp_path: Any
):
    import io

    from perstack.server.upkeep.moving import export, take_in

    async with believing(database, issuer) as registry:
        owner = await registry.key("acme")
        await trust(registry, issuer, owner)
        token = issuer.token()
        key = await exchanged(registry, token)
        await registry.publish("@acme/x", key=key["key"])
        await registry.post("/experts/@acme/x/settings", {"trustedOnly": True}, key=owner)
        file = io.BytesIO()
        await registry.repository.read(lambda session: export(session, file, log_key=True))
    file.seek(0)
    async with believing(str(tmp_path / "other.db"), issuer) as other:
        await other.repository.write(lambda session: take_in(session, file))
        assert (await refused(other, token))[0] == 401
        assert (
            reason(await other.post("/experts/", payload("@acme/x", "2.0.0"), key=owner))[0] == 403
        )
        await other.publish("@acme/x", "2.0.0", key=(await exchanged(other, issuer.token()))["key"])
        found = await other.repository.read(lambda session: trusted.provenance(session, 1))
        assert found is not None
        assert found.repository == REPOSITORY
