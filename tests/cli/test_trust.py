"""Publishing from CI without a stored key, as programs that meet over sockets: registry, issuer, runner, job."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.registry.house import House, open_house
from tests.server.issuer import Issuer, open_issuer, says

from .program import is_one_message
from .registries import Author, published

BEARER = "the-runner-knows-this-job"


@pytest.fixture
def issuer() -> Generator[Issuer]:
    """GitHub's issuer, and its runner: it gives tokens to who knows the job's secret."""
    with open_issuer() as found:
        found.now = lambda: int(time.time())

        def token(handler: BaseHTTPRequestHandler) -> None:
            found.audience = parse_qs(urlsplit(handler.path).query)["audience"][0]
            known = handler.headers["authorization"] == f"Bearer {BEARER}"
            body = json.dumps({"count": 1, "value": found.token()}).encode()
            says(200, body)(handler) if known else says(403)(handler)

        found.answers["/token"] = token
        yield found


@pytest.fixture
def house(issuer: Issuer, tmp_path: Path) -> Generator[House]:
    with open_house(tmp_path / "registry", "acme", oidc_issuers=issuer.setting) as found:
        yield found


@pytest.fixture
def owner(house: House, tmp_path: Path) -> Author:
    env = {"PERSTACK_API_BASE_URL": house.url, "PERSTACK_API_KEY": house.keys["acme"]}
    return Author(tmp_path / "owner", env)


@pytest.fixture
def job(house: House, issuer: Issuer, tmp_path: Path) -> Author:
    """A job of GitHub Actions that may ask for tokens."""
    env = {
        "PERSTACK_API_BASE_URL": house.url,
        "GITHUB_ACTIONS": "true",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{issuer.url}/token?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": BEARER,
    }
    return Author(tmp_path / "job", env)


def trusting(owner: Author, issuer: Issuer, name: str, *more: str) -> str:
    """Lets the workflow publish `name`; the id of that."""
    ran = owner(
        *("trust", "add", name, "--issuer", issuer.url, "--repository", "Acme/Experts"),
        *("--workflow", "publish.yml", "--json", *more),
    )
    assert ran.code == 0, ran.err
    return json.loads(ran.out)["publisher"]["id"]


def test_a_job_publishes_what_trusts_it_and_keeps_no_key(
    owner: Author, job: Author, issuer: Issuer, house: House
) -> None:
    name = "@acme/reader"
    trusting(owner, issuer, name)
    job.writes(published(name))
    house.forget()
    ran = job("publish")
    assert (ran.code, ran.out) == (0, f"Published {name}@1.0.0\n")
    told = f"Publishing as Acme/Experts, .github/workflows/publish.yml, trusted by {name}\n"
    assert ran.err == told
    assert [one for one in house.asked if "oidc" in one] == ["POST /oidc/exchange"]
    assert house.asked[-1].startswith("DELETE /keys/")
    assert not (job.place / ".config").exists()
    keys = json.loads(owner("key", "list", "--json").out)["keys"]
    (given,) = [key for key in keys if key["name"].startswith("Acme/Experts")]
    assert "revokedAt" in given
    again = job("publish", "--quiet")
    assert (again.code, again.out) == (0, "")
    listed = owner("trust", "list", name)
    assert listed.code == 0
    assert "acme/experts, .github/workflows/publish.yml" in listed.out
    assert "Stored keys may publish it, too." in listed.out


def test_several_experts_of_a_project_are_published_with_one_token(
    owner: Author, job: Author, issuer: Issuer, house: House
) -> None:
    lead, helper = "@acme/lead", "@acme/helper"
    job.writes(published(lead, delegates=(helper,)) + published(helper))
    trusting(owner, issuer, lead)
    alone = job("publish", lead, "--recursive")
    assert (alone.code, alone.out) == (1, "")
    assert f"The key is not for {helper}" in alone.err
    trusting(owner, issuer, helper)
    house.forget()
    ran = job("publish", lead, "--recursive")
    assert (ran.code, ran.out) == (0, f"Published {helper}@1.0.0\nPublished {lead}@1.0.0\n")
    assert house.asked.count("POST /oidc/exchange") == 1


def test_a_job_that_nobody_trusts_is_told_which_claim_does_not_fit(
    owner: Author, job: Author, issuer: Issuer, house: House
) -> None:
    name = "@acme/closed"
    job.writes(published(name))
    trusting(owner, issuer, name, "--environment", "release")
    ran = job("publish")
    assert (ran.code, ran.out, is_one_message(ran.err)) == (1, "", True)
    assert "it gives this job none: The token's claim environment does not fit" in ran.err
    assert BEARER not in ran.err


def test_gitlab_puts_the_token_into_a_variable(
    owner: Author, job: Author, issuer: Issuer, house: House
) -> None:
    """The token is of the issuer that is there; how it comes is what differs."""
    name = "@acme/from-gitlab"
    job.writes(published(name))
    trusting(owner, issuer, name)
    for variable in [one for one in job.env if one.startswith(("GITHUB", "ACTIONS"))]:
        del job.env[variable]
    issuer.audience = house.url
    job.env["PERSTACK_ID_TOKEN"] = issuer.token()
    assert job("publish").code == 0
    again = job("publish")
    assert (again.code, is_one_message(again.err)) == (1, True)
    assert "was used already" in again.err


def test_a_stored_key_is_used_where_there_is_one(job: Author, house: House, issuer: Issuer) -> None:
    job.env["PERSTACK_API_KEY"] = house.keys["acme"]
    job.writes(published("@acme/by-key"))
    house.forget()
    ran = job("publish")
    assert (ran.code, ran.err) == (0, "")
    assert [one for one in house.asked if "oidc" in one or one.startswith("DELETE")] == []


def test_what_is_missing_in_a_job_is_said(job: Author, issuer: Issuer) -> None:
    job.writes(published("@acme/reader"))
    job.env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = "another"
    ran = job("publish")
    assert (ran.code, is_one_message(ran.err)) == (1, True)
    assert "The runner gave this job no token: status 403" in ran.err
    url = job.env["ACTIONS_ID_TOKEN_REQUEST_URL"]
    job.env["ACTIONS_ID_TOKEN_REQUEST_URL"] = "http://runner.example/token"
    assert "is no https address" in job("publish").err
    job.env["ACTIONS_ID_TOKEN_REQUEST_URL"] = url
    job.env["PERSTACK_OFFLINE"] = "1"
    asked = len(issuer.asked)
    assert "Leave out --offline" in job("publish").err
    assert len(issuer.asked) == asked
    del job.env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    assert "`permissions: id-token: write`" in job("publish").err


def test_an_expert_that_only_jobs_publish(owner: Author, job: Author, issuer: Issuer) -> None:
    name = "@acme/only"
    id = trusting(owner, issuer, name)
    owner.writes(published(name))
    job.writes(published(name, "1.1.0"))
    assert owner("publish").code == 0
    ran = owner("trust", "only", name)
    assert (ran.code, ran.out) == (0, f"Only jobs that it trusts publish {name}\n")
    assert "Stored keys are refused." in owner("trust", "list", name).out
    owner.writes(published(name, "1.0.1"))
    refused = owner("publish")
    assert (refused.code, is_one_message(refused.err)) == (1, True)
    assert f"{name} is published by trusted publishers only" in refused.err
    assert job("publish").code == 0
    assert owner("trust", "only", name, "--off", "--quiet").out == ""
    assert owner("publish", "--no-latest").code == 0
    assert owner("trust", "remove", name, id).out == f"{name} trusts {id} no longer\n"
    assert json.loads(owner("trust", "list", name, "--json").out) == {
        "publishers": [],
        "trustedOnly": False,
    }
    assert owner("trust", "remove", name, id).code == 1
