"""Installing and running through a registry that mirrors another, while that is there and while it is not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from perstack.errors import RegistryError, RegistryTampered, UnknownExpert, UserError
from perstack.ops.running.run import prepare
from perstack.testing import ScriptedModel

from ..fakes.lying_registry import Liar
from ..registry.house import House, open_house, request
from .publishing import User

pytestmark = pytest.mark.anyio

MINUTE, DAY = 61_000, 24 * 3600_000


class Pair:
    """An upstream with @acme, and a mirror of it that has @mine of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._stack, self._up = ExitStack(), ExitStack()
        for name in ("up", "here"):
            (place / name).mkdir()
        self.up = self._up.enter_context(open_house(place / "up", "acme", "mine"))
        self.here = self._stack.enter_context(
            open_house(place / "here", "mine", upstreams=f"@mine=local *={self.up.url}")
        )

    @property
    def lines(self) -> str:
        """What a perstack.toml says of both."""
        return (
            f'[registry]\nmirror = "{self.origin}"\n'
            f'[registries."@mine"]\nurl = "{self.here.url}"\nkeyEnv = "MINE_KEY"\n'
        )

    @property
    def origin(self) -> str:
        return f"{self.here.url}/upstream/{self.up.url.removeprefix('http://')}"

    def user(self, name: str, *delegates: str) -> User:
        return User(self.place / name, self.up.url, *delegates, more=self.lines)

    def stop_upstream(self) -> None:
        self._up.close()

    def start_fork(self, fork: Path) -> House:
        """Another server at the upstream's address, with another database."""
        self._up.close()
        return self._up.enter_context(
            open_house(fork, keys=self.up.keys, port=int(self.up.url.rpartition(":")[2]))
        )

    def close(self) -> None:
        self._stack.close()
        self._up.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    found = Pair(tmp_path)
    try:
        yield found
    finally:
        found.close()


async def filled(pair: Pair) -> None:
    await pair.up.publish(
        request("@acme/leaf", "1.0.0"),
        request("@acme/leaf", "1.1.0"),
        request("@acme/branch", "1.0.0", "@acme/leaf@^1.0.0"),
        request("@mine/own", "9.0.0"),
    )
    await pair.here.publish(request("@mine/own", "1.0.0"))


WANTED = ("@acme/branch@^1.0.0", "@mine/own@*")
LOCKED = ["@acme/branch@1.0.0", "@acme/leaf@1.1.0", "@mine/own@1.0.0"]


async def test_what_is_installed_through_a_mirror_is_what_the_registry_has(pair: Pair) -> None:
    await filled(pair)
    user = pair.user("user", *WANTED)
    pair.up.forget()
    await user.install()
    assert sorted(user.keys) == LOCKED
    for key, pin in user.lock.lock.experts.items():
        if pin.origin is not None:
            url = pair.here.url if key.startswith("@mine/") else pair.up.url
            assert pin.origin.registry == url
            assert pin.origin.log_index is not None
    assert not any("@mine" in asked for asked in pair.up.asked)
    direct = User(pair.place / "direct", pair.up.url, "@acme/branch@^1.0.0")
    await direct.install()
    through, straight = user.lock.lock.experts, direct.lock.lock.experts
    for key in ("@acme/branch@1.0.0", "@acme/leaf@1.1.0"):
        assert through[key] == straight[key]


async def test_a_stopped_upstream_is_not_missed_for_a_day(pair: Pair) -> None:
    await filled(pair)
    first = pair.user("first", *WANTED)
    await first.install()
    pair.stop_upstream()
    pair.here.shift_ms = MINUTE
    second = pair.user("second", *WANTED)
    await second.install()
    assert sorted(second.keys) == LOCKED
    pair.here.shift_ms = DAY + 2 * MINUTE
    third = pair.user("third", *WANTED)
    third.path.write_text(second.path.read_text())
    await prepare(third.order(ScriptedModel()))  # the lock says which documents, and they are kept
    with pytest.raises(RegistryError, match="503"):
        await pair.user("fourth", *WANTED).install()


async def test_a_lock_is_run_by_a_mirror_that_never_heard_of_it(pair: Pair) -> None:
    await filled(pair)
    direct = User(pair.place / "direct", pair.up.url, "@acme/branch@^1.0.0")
    await direct.install()
    user = pair.user("user", "@acme/branch@^1.0.0")
    user.path.write_text(direct.path.read_text())
    await prepare(user.order(ScriptedModel(), frozen=True))


async def test_a_mirror_that_exchanges_a_document_is_found_out(pair: Pair) -> None:
    await filled(pair)
    user = pair.user("user", *WANTED)
    pair.here.twist = Liar(pair.place / "up" / "registry.db").another_document(
        "@acme/leaf", "1.1.0"
    )
    with pytest.raises(RegistryTampered):
        await user.install()
    assert not user.path.exists()


async def test_a_mirror_that_says_another_digest_is_found_out_by_the_log(pair: Pair) -> None:
    await filled(pair)
    user = pair.user("user", *WANTED)
    liar = Liar(pair.place / "up" / "registry.db")
    evil = liar.another_digest("@acme/leaf", "1.1.0")
    start = f"/upstream/{pair.up.url.removeprefix('http://')}/api/registry/v1"
    pair.here.twist = lambda path, status, body: evil(path.removeprefix(start), status, body)
    with pytest.raises(RegistryTampered, match="does not say to us"):
        await user.install()
    assert not user.path.exists()


async def test_a_mirror_cannot_pass_its_own_log_off_as_the_upstreams(pair: Pair) -> None:
    await filled(pair)
    await pair.user("first", *WANTED).install()
    user = User(
        pair.place / "user",
        pair.up.url,
        "@acme/branch@^1.0.0",
        more=f'[registry]\nmirror = "{pair.here.url}"\n',
    )
    with pytest.raises(UserError, match="only mirrors @acme/") as caught:
        await user.install()
    assert f'mirror = "{pair.origin}"' in str(caught.value)
    pair.here.twist = lambda path, status, body: (
        (200, body.replace(b'"mirrored"', b'"hidden"'))
        if path.startswith("/index/config")
        else None
    )
    shutil.rmtree(user.cache)
    with pytest.raises(RegistryTampered):
        await user.install()
    assert not user.path.exists()


async def test_a_registry_that_only_mirrors_says_which_one_to_name(pair: Pair) -> None:
    await filled(pair)
    user = User(pair.place / "user", pair.here.url, "@acme/branch@^1.0.0")
    with pytest.raises(UserError) as caught:
        await user.install()
    assert f'[registries."@acme"]\nurl = "{pair.up.url}"\nmirror = "{pair.origin}"' in str(
        caught.value
    )
    lines = str(caught.value).rpartition("\n\n")[2]
    user.write("@acme/branch@^1.0.0", more=lines)
    await user.install()
    assert sorted(user.keys) == LOCKED[:2]


async def test_an_upstream_whose_log_is_another_is_found_out_through_the_mirror(pair: Pair) -> None:
    """Two registries with one key: what the second says is signed, and is not the first one grown."""
    await pair.up.publish(request("@acme/leaf", "1.0.0"))
    shutil.copytree(pair.place / "up", pair.place / "fork")
    await pair.up.publish(request("@acme/leaf", "1.1.0"), request("@acme/more", "1.0.0"))
    user = pair.user("user", "@acme/leaf@^1.0.0")
    await user.install()
    forked = pair.start_fork(pair.place / "fork")
    await forked.publish(
        *(request("@acme/other", f"2.{n}.0") for n in range(3)), request("@acme/evil", "1.0.0")
    )
    pair.here.shift_ms = MINUTE
    before = user.path.read_text()
    user.write("@acme/leaf@^1.0.0", "@acme/evil", more=pair.lines)
    with pytest.raises(RegistryTampered, match="does not say to us"):
        await user.install()
    assert user.path.read_text() == before


async def test_a_private_expert_comes_to_who_may_read_it_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        for name in ("up", "here"):
            (tmp_path / name).mkdir()
        up = stack.enter_context(open_house(tmp_path / "up", "acme"))
        await up.publish(request("@acme/hidden", visibility="private"))
        host = up.url.removeprefix("http://")
        variable = host.replace(".", "_").replace(":", "_")
        monkeypatch.setenv(f"PERSTACK_REGISTRY_UPSTREAM_KEY_{variable}", up.keys["acme"])
        here = stack.enter_context(
            open_house(tmp_path / "here", "mine", upstreams=f"@acme={up.url}")
        )
        more = (
            f'[registries."@acme"]\nurl = "{up.url}"\nmirror = "{here.url}/upstream/{host}"\n'
            f'[registries."@mine"]\nurl = "{here.url}"\n'
        )
        user = User(tmp_path / "user", "https://api.example", "@acme/hidden@^1.0.0", more=more)
        with pytest.raises(UnknownExpert):
            await user.install()
        user.env["PERSTACK_API_KEY_MINE"] = here.keys["mine"]
        await user.install()
        assert user.keys == ["@acme/hidden@1.0.0"]
        assert here.keys["mine"] not in str(up.headers)
