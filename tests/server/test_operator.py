"""`perstack registry org` and `key`: what who runs a server does by hand."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest
from click.testing import CliRunner, Result

from perstack.cli.main import cli
from perstack.registry import PREFIX
from perstack.server import Settings, make_app
from perstack.server.identity.keys import is_key


def run(folder: Path, *args: str) -> Result:
    database = ("--database", str(folder / "r.db"))
    return CliRunner().invoke(cli, ["registry", *args, *database])


def whoami(folder: Path, key: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        app = make_app(Settings(database_url=str(folder / "r.db")))
        transport = httpx.ASGITransport(app)
        async with (
            app.running(),
            httpx.AsyncClient(transport=transport, base_url="http://x") as http,
        ):
            return await http.get(f"{PREFIX}/whoami", headers={"authorization": f"Bearer {key}"})

    return anyio.run(ask)


def test_organizations_and_keys_are_made_listed_and_revoked(tmp_path: Path):
    assert run(tmp_path, "migrate").output == "Up to date\n"
    made = run(tmp_path, "org", "create", "acme", "--owner", "ann")
    assert made.output.startswith("acme  ")
    run(tmp_path, "org", "create", "bob", "--type", "personal")
    listed = run(tmp_path, "org", "list").output.splitlines()
    assert [line.split()[:3] for line in listed] == [
        ["acme", "team", "active"],
        ["bob", "personal", "active"],
    ]
    scopes = ("--scope", "read", "--scope", "publish-update", "--pattern", "@acme/*", "--days", "7")
    key = run(
        tmp_path, "key", "create", "acme", "--account", "ann", "--name", "ci", *scopes
    ).output.strip()
    assert is_key(key)
    told = whoami(tmp_path, key).json()["data"]
    assert told["scopes"] == ["read", "publish-update"]
    assert told["key"]["patterns"] == ["@acme/*"]
    assert told["account"]["name"] == "ann"
    id, prefix, *rest = run(tmp_path, "key", "list", "acme").output.split()
    assert prefix == f"{key[:8]}…"
    assert rest[0] == "until"
    assert key not in run(tmp_path, "key", "list").output
    assert run(tmp_path, "key", "list", "bob").output == ""
    assert run(tmp_path, "key", "revoke", id).output == f"Revoked {id}\n"
    assert "revoked" in run(tmp_path, "key", "list").output
    assert whoami(tmp_path, key).status_code == 401
    assert "was revoked before" in str(run(tmp_path, "key", "revoke", id).exception)
    other = run(tmp_path, "key", "create", "acme").output
    assert run(tmp_path, "key", "revoke", other[:8]).output.startswith("Revoked ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("org", "create", "a.b"), "A dot in its name would keep a team from publishing"),
        (("org", "create", "Bad"), "Expected lower-case letters"),
        (("org", "create", "acme"), "Organization acme already exists"),
        (("key", "create", "nobody"), "There is no organization nobody; make one with"),
        (("key", "create", "acme", "--account", "eve"), "eve is not a member of acme"),
        (("key", "create", "acme", "--network", "here"), "Expected an address or a network"),
        (("key", "create", "acme", "--pattern", "a b"), "Expected the name of an Expert"),
        (("key", "revoke", "nokey"), "`perstack registry key list` prints the ids"),
    ],
)
def test_what_cannot_be_done_is_one_error(tmp_path: Path, args: tuple[str, ...], said: str):
    run(tmp_path, "org", "create", "acme")
    result = run(tmp_path, *args)
    assert result.exit_code == 1
    assert said in str(result.exception)


@pytest.mark.parametrize(
    "args",
    [
        ("org", "list"),
        ("key", "list"),
        ("key", "create", "acme"),
        ("key", "revoke", "x"),
        ("verify",),
        ("backup", "copy.db"),
        ("export", "all.tar"),
    ],
)
def test_a_database_that_is_looked_for_in_vain_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
):
    """Else a registry would be called whole that is not even there."""
    monkeypatch.chdir(tmp_path)
    result = run(tmp_path, *args)
    assert (result.exit_code, result.output) == (1, "")
    assert "There is no database" in str(result.exception)
    assert list(tmp_path.iterdir()) == []
