"""`perstack skill login` and `logout`: a browser that follows, on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from pathlib import Path

import anyio
import httpx2
import pytest

from perstack.errors import SkillUnavailable
from perstack.ops.skill_login import Account, sign_in
from tests.skills.mcp.test_remote import serving

from .conftest import Here
from .program import LONG_S, command, environment

FAR = """
[experts.lead]
instruction = "Lead."
[experts.lead.skills.far]
type = "mcpSseSkill"
endpoint = "http://127.0.0.1:{port}/mcp"
{more}
"""
LOGIN = ("skill", "login", "lead", "far", "--no-browser")


class Site:
    """A project with a remote skill that wants a sign-in."""

    def __init__(self, port: int, place: Path) -> None:
        self.place = place
        self.port = port
        self.env = {
            "no_proxy": "*",
            "PERSTACK_ALLOW_LOOPBACK_SKILLS": "1",
            "XDG_CONFIG_HOME": str(place / "config"),
        }
        self.write()

    def write(self, more: str = "") -> None:
        (self.place / "perstack.toml").write_text(FAR.format(port=self.port, more=more))

    @property
    def kept(self) -> list[Path]:
        return list(self.place.glob("config/perstack/oauth/*"))

    def login(self) -> tuple[int, str, str]:
        """Exit code, output and errors, of a login whose address is followed."""
        with subprocess.Popen(
            command(*LOGIN),
            cwd=self.place,
            env=environment(self.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            told = process.stdout.readline()
            assert told == "Sign in here:\n", process.communicate(timeout=LONG_S)
            with httpx2.Client(trust_env=False) as browser:
                back = browser.get(process.stdout.readline().strip()).headers["location"]
                assert browser.get(httpx2.URL(back).join("/favicon.ico")).status_code == 404
                assert "close this window" in browser.get(back).text
            out, err = process.communicate(timeout=LONG_S)
            return process.returncode, out, err


@pytest.fixture
def site(tmp_path: Path) -> Generator[Site]:
    with serving("guarded") as port:
        yield Site(port, tmp_path)


def test_a_login_serves_later_runs_until_the_logout(here: Here, site: Site) -> None:
    code, out, err = site.login()
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == ["Signed in. far: 6 tool(s)", "  echo"]
    assert len(site.kept) == 1

    again = here("skill", "test", "lead", "far", cwd=site.place, env=site.env)
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("far: 6 tool(s)")

    for words in ("Signed out.", "There was no sign-in."):
        gone = here("skill", "logout", "lead", "far", cwd=site.place, env=site.env)
        assert (gone.code, gone.out, gone.err) == (0, f"{words}\n", "")
    assert site.kept == []
    refused = here("skill", "test", "lead", "far", cwd=site.place, env=site.env)
    assert refused.code == 1
    assert "`perstack skill login <expert> far`" in refused.out


def test_a_server_that_wants_no_sign_in_is_said_to(here: Here, tmp_path: Path) -> None:
    with serving("streamable") as port:
        site = Site(port, tmp_path)
        ran = here(*LOGIN, cwd=site.place, env=site.env)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("It did not ask for a sign-in. far: 6 tool(s)\n")
    assert site.kept == []


def test_a_sign_in_that_fails_is_one_sentence(here: Here, tmp_path: Path) -> None:
    with serving("guarded", ELSEWHERE="http://example.com") as port:
        site = Site(port, tmp_path)
        ran = here(*LOGIN, cwd=site.place, env=site.env)
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 1
    assert "signing in failed: http://example.com is not HTTPS" in ran.err


@pytest.mark.parametrize("action", ["login", "logout"])
def test_only_a_remote_skill_can_be_signed_in_to(here: Here, site: Site, action: str) -> None:
    ran = here("skill", action, "lead", "@perstack/base", cwd=site.place, env=site.env)
    assert ran.code != 0
    assert 'has no remote skill "@perstack/base" to sign in to. It has: "far".' in ran.err


def test_no_sign_in_is_made_that_would_not_be_used(here: Here, site: Site) -> None:
    site.write('headersEnv = { Authorization = "Bearer TOKEN" }')
    ran = here(*LOGIN, cwd=site.place, env=site.env)
    assert ran.code != 0
    assert "no sign-in is used" in ran.err


def test_what_goes_wrong_comes_as_itself(tmp_path: Path) -> None:
    with serving("broken") as port:
        site = Site(port, tmp_path)

        async def show(url: str) -> None: ...

        async def login() -> None:
            with pytest.raises(SkillUnavailable, match="HTTP 500"):
                await sign_in(Account(expert="lead", skill="far"), site.env, site.place, show)

        anyio.run(login)


def test_nobody_is_waited_for_for_ever(site: Site) -> None:
    shown: list[str] = []

    async def show(url: str) -> None:
        shown.append(url)

    async def login() -> None:
        account = Account(expert="lead", skill="far")
        with pytest.raises(SkillUnavailable, match=r"nobody signed in within 2 s"):
            await sign_in(account, site.env, site.place, show, patience_s=2)

    anyio.run(login)
    assert len(shown) == 1
    assert site.kept == []
