"""Signing in to remote skills: what is stored, used, renewed, and said when there is nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from stat import S_IMODE
from typing import Any

import anyio
import httpx2
import pytest

from perstack.definition import RemoteSkill
from perstack.errors import SkillUnavailable, UserError
from perstack.skills import FileTokens, SignIn, Skill, open_remote_skill

from .test_remote import NO_PROXIES, got, serving
from .world import told

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One backend, as in test_remote.py."""
    return "asyncio"


@pytest.fixture
def guarded() -> Generator[int]:
    with serving("guarded") as port:
        yield port


class Browser:
    """Goes where it is told, and notes where it is sent from there."""

    def __init__(self) -> None:
        self.sent_to = ""
        self.sign_in = SignIn("http://127.0.0.1:8/callback", self.show, self.wait)

    async def show(self, url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            self.sent_to = (await http.get(url)).headers["location"]

    async def wait(self) -> dict[str, str]:
        return dict(httpx2.URL(self.sent_to).params)


@asynccontextmanager
async def far(
    port: int, home: Path, sign_in: SignIn | None = None, **headers: str
) -> AsyncGenerator[Skill]:
    env = {**NO_PROXIES, "XDG_CONFIG_HOME": str(home), "STATIC": "static", "STALE": "stale"}
    skill = RemoteSkill(endpoint=f"http://127.0.0.1:{port}/mcp", headers_env=headers)
    async with open_remote_skill(
        "far", skill, env, hear=lambda _: None, allow_loopback=True, sign_in=sign_in
    ) as opened:
        yield opened


async def works(port: int, home: Path, sign_in: SignIn | None = None, **headers: str) -> None:
    async with far(port, home, sign_in, **headers) as skill:
        assert told(await skill.use("echo", {"words": "hi"})) == "hi"


async def refusal(port: int, home: Path, sign_in: SignIn | None = None, **headers: str) -> str:
    with pytest.raises(SkillUnavailable) as caught:
        async with far(port, home, sign_in, **headers):
            pass
    return caught.value.reason


async def asked(port: int) -> list[str]:
    return json.loads(await got(port, "asked"))


def kept(home: Path) -> list[Path]:
    place = home / "perstack" / "oauth"
    return list(place.iterdir()) if place.exists() else []


def stored(home: Path) -> dict[str, Any]:
    (file,) = kept(home)
    return json.loads(file.read_bytes())


async def test_a_sign_in_is_stored_and_used_without_another(guarded: int, tmp_path: Path):
    await works(guarded, tmp_path, Browser().sign_in)
    await works(guarded, tmp_path)
    assert await asked(guarded) == ["register", "authorization_code"]


async def test_only_its_owner_can_read_what_is_stored(guarded: int, tmp_path: Path):
    home = tmp_path / "perstack" / "oauth"
    home.mkdir(parents=True, mode=0o755)
    await works(guarded, tmp_path, Browser().sign_in)
    (file,) = kept(tmp_path)
    assert (S_IMODE(home.stat().st_mode), S_IMODE(file.stat().st_mode)) == (0o700, 0o600)
    assert str(guarded) not in file.name


async def test_without_a_sign_in_it_is_said_how_to_get_one(guarded: int, tmp_path: Path):
    reason = await refusal(guarded, tmp_path)
    assert "it wants authorization (HTTP 401)" in reason
    assert "`perstack skill login <expert> far`" in reason
    assert await asked(guarded) == []
    assert kept(tmp_path) == []


async def test_an_expired_token_is_renewed_before_it_is_used(guarded: int, tmp_path: Path):
    await works(guarded, tmp_path, Browser().sign_in)
    before = stored(tmp_path)
    (file,) = kept(tmp_path)
    file.write_text(json.dumps({**before, "expires_at": 1.0}))
    await got(guarded, "expire")
    await works(guarded, tmp_path)
    assert await asked(guarded) == ["register", "authorization_code", "refresh_token"]
    assert stored(tmp_path)["tokens"]["refresh_token"] != before["tokens"]["refresh_token"]
    assert stored(tmp_path)["expires_at"] >= before["expires_at"]


async def test_a_token_that_is_refused_is_renewed_once_for_all_calls(guarded: int, tmp_path: Path):
    await works(guarded, tmp_path, Browser().sign_in)
    async with far(guarded, tmp_path) as skill:
        await got(guarded, "expire")
        answers: list[str] = []

        async def call() -> None:
            answers.append(told(await skill.use("echo", {"words": "hi"})))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(call)
        assert answers == ["hi"] * 5
    assert await asked(guarded) == ["register", "authorization_code", "refresh_token"]


async def test_a_token_that_cannot_be_renewed_asks_for_a_sign_in(guarded: int, tmp_path: Path):
    await works(guarded, tmp_path, Browser().sign_in)
    await got(guarded, "revoke")
    assert "`perstack skill login <expert> far`" in await refusal(guarded, tmp_path)
    await works(guarded, tmp_path, Browser().sign_in)
    await works(guarded, tmp_path)


async def test_a_header_from_a_variable_switches_sign_ins_off(guarded: int, tmp_path: Path):
    await works(guarded, tmp_path, Browser().sign_in)
    await works(guarded, tmp_path, authorization="Bearer STATIC")
    reason = await refusal(guarded, tmp_path, Authorization="Bearer STALE")
    assert "`headersEnv`" in reason
    assert "skill login" not in reason


async def test_a_person_who_says_no_leaves_nothing_behind(tmp_path: Path):
    with serving("guarded", REFUSES="1") as port:
        reason = await refusal(port, tmp_path, Browser().sign_in)
    assert reason == "signing in failed: the server refused: access_denied"
    assert kept(tmp_path) == []


async def test_nobody_is_sent_where_it_can_be_overheard(tmp_path: Path):
    with serving("guarded", ELSEWHERE="http://example.com") as port:
        browser = Browser()
        reason = await refusal(port, tmp_path, browser.sign_in)
    assert reason == "signing in failed: http://example.com is not HTTPS"
    assert browser.sent_to == ""


async def test_an_answer_to_another_question_is_refused(guarded: int, tmp_path: Path):
    browser = Browser()

    async def other() -> dict[str, str]:
        return {**await browser.wait(), "state": "another"}

    reason = await refusal(guarded, tmp_path, SignIn("http://127.0.0.1:8/", browser.show, other))
    assert reason.startswith("signing in failed: State")


async def test_a_damaged_file_is_named(guarded: int, tmp_path: Path):
    tokens = FileTokens(f"http://127.0.0.1:{guarded}/mcp", {"XDG_CONFIG_HOME": str(tmp_path)})
    tokens.path.parent.mkdir(parents=True)
    tokens.path.write_text("{")
    with pytest.raises(UserError, match=tokens.path.name):
        async with far(guarded, tmp_path):
            pass
    await works(guarded, tmp_path, Browser().sign_in)
    await works(guarded, tmp_path)


async def test_each_address_has_a_file_of_its_own(tmp_path: Path):
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}
    one, other = (FileTokens(f"https://example.com/{path}", env).path for path in ("a", "b"))
    assert one != other
    assert one.parent == tmp_path / ".config" / "perstack" / "oauth"
