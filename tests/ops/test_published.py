"""Published Experts: resolved, locked, run, and refused, against the real registry."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import pytest_socket
from msgspec.structs import replace

from perstack.cli.exits import INTEGRITY, exit_for
from perstack.errors import (
    LockError,
    LockOutOfDate,
    LockTampered,
    RegistryError,
    RegistryTampered,
    UnknownExpert,
    UserError,
)
from perstack.job import Done, fold
from perstack.lock import NoVersion
from perstack.ops.packages.access import access_of
from perstack.ops.packages.auditing import audit
from perstack.ops.packages.sources import Sources
from perstack.ops.packages.vendor import vendor_documents
from perstack.ops.running.run import GoOn, prepare, store_of
from perstack.testing import ScriptedModel, calls, says
from tests.behaviour.register import proves

from ..registry.house import House, open_house, request
from .installing import ran
from .publishing import User

pytestmark = pytest.mark.anyio

DAY_MS = 86_400_000


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path, "acme", "globex") as found:
        yield found


@pytest.fixture
async def graph(house: House) -> House:
    """leaf 1.0.0 and 1.2.0; branch 1.0.0, which needs leaf@^1."""
    await house.publish(
        request("@acme/leaf", "1.0.0"),
        request("@acme/leaf", "1.2.0"),
        request("@acme/branch", "1.0.0", "@acme/leaf@^1.0.0"),
    )
    house.forget()
    return house


@contextmanager
def no_sockets() -> Generator[None]:
    """Whoever opens a connection in here fails."""
    pytest_socket.disable_socket(allow_unix_socket=True)  # event loops wake themselves over one
    try:
        yield
    finally:
        pytest_socket.enable_socket()


async def test_each_string_is_locked_to_a_version(graph: House, tmp_path: Path) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/branch", "@acme/leaf@1.0.0")
    assert await user.install() == ()
    assert user.keys == ["@acme/branch@1.0.0", "@acme/leaf@1.0.0", "@acme/leaf@1.2.0"]
    assert user.lock.lock.resolutions == {
        "@acme/branch": "@acme/branch@1.0.0",
        "@acme/leaf@^1.0.0": "@acme/leaf@1.2.0",
    }
    pin = user.lock.lock.experts["@acme/leaf@1.2.0"]
    assert pin.origin is not None
    assert pin.origin.registry == graph.url
    assert pin.origin.resolved.startswith(graph.url)
    assert pin.origin.resolved.endswith(pin.integrity.removeprefix("sha256:"))
    assert pin.origin.published_at
    assert pin.origin.log_index is not None
    text = user.path.read_text()
    assert (
        f'[resolutions."@acme/branch"]\nkey = "@acme/branch@1.0.0"\nregistry = "{graph.url}"'
        in text
    )


async def test_all_that_is_needed_comes_at_once_with_its_proofs(
    graph: House, tmp_path: Path
) -> None:
    await User(tmp_path / "user", graph.url, "@acme/branch").install()
    assert sorted(graph.asked) == ["GET /index/config.json", "POST /resolve"]


@proves("registry.locked-stays")
async def test_installing_again_asks_nothing_and_changes_nothing(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/branch@^1.0.0")
    await user.install()
    text = user.path.read_text()
    await graph.publish(request("@acme/leaf", "1.3.0"))
    graph.forget()
    await user.install()
    assert graph.asked == []
    assert user.path.read_text() == text


async def test_what_is_new_is_looked_up_and_what_is_locked_stays(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/branch@^1.0.0")
    await user.install()
    await graph.publish(request("@acme/leaf", "1.3.0"), request("@acme/other", "1.0.0"))
    user.write("@acme/branch@^1.0.0", "@acme/other")
    await user.install()
    assert user.keys == ["@acme/branch@1.0.0", "@acme/leaf@1.2.0", "@acme/other@1.0.0"]


@proves("registry.locked-asks-nobody")
async def test_a_warm_run_opens_no_connection(tmp_path: Path) -> None:
    with open_house(tmp_path, "acme") as house:
        await house.publish(
            request("@acme/leaf", "1.0.0"), request("@acme/branch", "1.0.0", "@acme/leaf@^1.0.0")
        )
        user = User(tmp_path / "user", house.url, "@acme/branch@^1.0.0")
        await user.install()
    model = ScriptedModel(calls(("branch", {"query": "Do"})), says("Done."), says("Done."))
    with no_sockets():
        job, prepared, _ = await ran(user.order(model))
    assert isinstance(job.done, Done)
    assert prepared.warnings == ()
    assert set(job.lock.experts) == {"lead", "@acme/branch@1.0.0", "@acme/leaf@1.0.0"}
    assert len(model.requests) == 3  # lead, branch, lead


async def test_a_published_expert_runs_without_a_project(graph: House, tmp_path: Path) -> None:
    user = User(tmp_path / "user", graph.url)
    (user.place / "perstack.toml").unlink()
    job, _, _ = await ran(user.order(ScriptedModel(says("Done.")), expert="@acme/branch@^1.0.0"))
    assert job.expert == "@acme/branch@1.0.0"
    assert job.lock.experts["@acme/leaf@1.2.0"].expert.instruction == "Be @acme/leaf 1.2.0."
    assert not user.path.exists()


async def test_a_replay_needs_nothing_from_outside(graph: House, tmp_path: Path) -> None:
    user = User(tmp_path / "user", graph.url)
    order = user.order(ScriptedModel(says("Done.")), expert="@acme/branch")
    job, _, _ = await ran(order)
    for path in user.cache.rglob("*"):
        if path.is_file():
            path.unlink()
    graph.forget()
    events = await store_of(order).read(job.id)
    assert fold(events).lock == job.lock
    assert graph.asked == []


async def test_continuing_a_job_asks_no_registry(graph: House, tmp_path: Path) -> None:
    user = User(tmp_path / "user", graph.url)
    order = user.order(ScriptedModel(says("Done.")), expert="@acme/branch")
    job, _, _ = await ran(order)
    graph.forget()
    again = replace(order, model=ScriptedModel(says("Again.")), go_on=GoOn(job=job.id))
    more, _, _ = await ran(again)
    assert more.lock == job.lock
    latest = replace(again, model=ScriptedModel(says("And again.")), go_on=GoOn())
    assert (await ran(latest))[0].id == job.id
    assert graph.asked == []


# Where Definitions come from ---------------------------------------------------------------------------


async def test_an_own_expert_comes_before_a_published_one(graph: House, tmp_path: Path) -> None:
    own = '[experts."@acme/leaf"]\nversion = "1.1.0"\ninstruction = "Mine."\n'
    user = User(tmp_path / "user", graph.url, "@acme/branch", "@acme/leaf@1.2.0", more=own)
    user.write("@acme/branch", more=own)
    await user.install()
    assert user.keys == ["@acme/branch@1.0.0", "@acme/leaf"]
    assert user.lock.lock.resolutions["@acme/leaf@^1.0.0"] == "@acme/leaf"


@proves("registry.one-registry")
async def test_a_scope_has_one_registry_and_no_other_is_asked(graph: House, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    with open_house(tmp_path / "private", "globex") as private:
        await private.publish(request("@globex/secret", "1.0.0"))
        await graph.publish(
            request("@globex/secret", "9.0.0"),
            request("@acme/needs", "1.0.0", "@globex/secret@>=1.0.0"),
        )
        graph.forget()
        scopes = f'[registries."@globex"]\nurl = "{private.url}"\n'
        user = User(tmp_path / "user", graph.url, "@acme/needs@^1.0.0", more=scopes)
        await user.install()
        assert user.keys == ["@acme/needs@1.0.0", "@globex/secret@1.0.0"]
        assert not any("globex" in line for line in graph.asked)
        assert not any("acme" in line for line in private.asked)
        user.write("@globex/absent", more=scopes)
        await graph.publish(request("@globex/absent", "1.0.0"))
        with pytest.raises(UnknownExpert):
            await user.install()


@proves("registry.keys-stay-home")
async def test_keys_go_to_their_own_registry(graph: House, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    with open_house(tmp_path / "private", "globex") as private:
        await private.publish(request("@globex/secret", "1.0.0"))
        scopes = f'[registries."@globex"]\nurl = "{private.url}"\nkeyEnv = "GLOBEX"\n'
        user = User(tmp_path / "user", graph.url, "@acme/leaf", "@globex/secret", more=scopes)
        user.env |= {"PERSTACK_API_KEY": graph.keys["acme"], "GLOBEX": private.keys["globex"]}
        graph.forget()
        private.forget()
        await user.install()
        theirs = {headers.get("authorization") for headers in private.headers}
        ours = {headers.get("authorization") for headers in graph.headers}
    assert theirs == {f"Bearer {private.keys['globex']}"}
    assert ours == {f"Bearer {graph.keys['acme']}"}


async def test_a_lock_from_another_registry_is_not_used_silently(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/leaf@^1.0.0")
    await user.install()
    user.env["PERSTACK_API_BASE_URL"] = "https://registry.example"
    with pytest.raises(LockError, match=r"registry\.example"):
        await prepare(user.order(ScriptedModel()))


async def test_a_mirror_stands_for_the_registry(graph: House, tmp_path: Path) -> None:
    mirror = f'[registry]\nmirror = "{graph.url}"\n'
    user = User(tmp_path / "user", "https://registry.example", "@acme/branch", more=mirror)
    await user.install()
    pin = user.lock.lock.experts["@acme/branch@1.0.0"]
    assert pin.origin is not None
    assert pin.origin.registry == "https://registry.example"
    assert pin.origin.resolved.startswith("https://registry.example/")


async def test_offline_uses_what_is_known_and_asks_nobody(graph: House, tmp_path: Path) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/branch@^1.0.0")
    await user.install()
    await user.install(offline=True)
    user.write("@acme/other")
    graph.forget()
    with pytest.raises(UnknownExpert, match="offline"):
        await user.install(offline=True)
    user.env["PERSTACK_CACHE_DIR"] = str(tmp_path / "empty")
    user.write("@acme/branch@^1.0.0")
    with pytest.raises(RegistryError, match="install --vendor"):
        await user.install(offline=True)
    assert graph.asked == []


async def test_what_is_known_of_a_registry_is_preferred_if_so_wished(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/leaf@^1.0.0")
    graph.twist = lambda path, status, body: (404, body) if path == "/resolve" else None
    await user.install()  # by the index, which is kept
    user.path.unlink()
    graph.twist = None
    await graph.publish(request("@acme/leaf", "1.9.0"))
    graph.forget()
    await user.install(prefer_offline=True)
    assert user.keys == ["@acme/leaf@1.2.0"]
    assert not any("/index/@acme" in line or "resolve" in line for line in graph.asked)


async def test_a_registry_like_the_reference_will_do(graph: House, tmp_path: Path) -> None:
    """R1 to R6 and nothing else: no index, no documents, no digests, no log, and versions only in keys."""

    def plain(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        if path.startswith(("/resolve", "/index", "/tlog", "/documents")):
            return 404, b'{"code":404,"error":"Not Found"}'
        if path.endswith("/versions") and status == 200:
            told = msgspec.json.decode(body)
            for version in told["data"]["versions"]:
                for member in ("digest", "status", "version"):
                    version.pop(member, None)
            return status, msgspec.json.encode(told)
        return None

    graph.twist = plain
    user = User(tmp_path / "user", graph.url, "@acme/branch@^1.0.0")
    await user.install()
    assert user.keys == ["@acme/branch@1.0.0", "@acme/leaf@1.2.0"]
    pin = user.lock.lock.experts["@acme/leaf@1.2.0"]
    assert pin.origin is not None
    assert pin.origin.resolved == f"{graph.url}/api/registry/v1/experts/%40acme%2Fleaf%401.2.0"
    user.env["PERSTACK_CACHE_DIR"] = str(tmp_path / "empty")
    await prepare(user.order(ScriptedModel(), frozen=True))
    user.env["PERSTACK_CACHE_DIR"] = str(tmp_path / "empty too")
    graph.twist = lambda path, status, body: (status, body.replace(b"Be ", b"Do "))
    with pytest.raises(RegistryTampered):
        await prepare(user.order(ScriptedModel(), frozen=True))


async def test_a_vendor_directory_makes_a_cache_unnecessary(graph: House, tmp_path: Path) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/branch@^1.0.0")
    found = await user.resolve()
    await user.install()
    stale = user.place / "perstack_vendor" / f"{'0' * 64}.json"
    stale.parent.mkdir()
    stale.write_text("{}")
    place, count = vendor_documents(found.loaded, found.lock, user.env)
    assert count == len(list(place.iterdir())) == 2
    user.env["PERSTACK_CACHE_DIR"] = str(tmp_path / "empty")
    graph.forget()
    await prepare(user.order(ScriptedModel(), frozen=True, offline=True))
    assert graph.asked == []
    victim = next(place.iterdir())
    victim.write_bytes(victim.read_bytes().replace(b"Be ", b"Do "))
    with pytest.raises(RegistryTampered):
        await prepare(user.order(ScriptedModel()))


# What may be chosen --------------------------------------------------------------------------------------


async def test_young_versions_are_passed_over(house: House, tmp_path: Path) -> None:
    house.shift_ms = -3 * DAY_MS
    await house.publish(request("@acme/leaf", "1.0.0"))
    house.shift_ms = 0
    await house.publish(request("@acme/leaf", "1.1.0"), request("@globex/new", "1.0.0"))
    rules = '[registry]\nminReleaseAge = "24h"\nminReleaseAgeExclude = ["@globex/*"]\n'
    user = User(tmp_path / "user", house.url, "@acme/leaf@^1.0.0", "@globex/new", more=rules)
    await user.install()
    assert user.keys == ["@acme/leaf@1.0.0", "@globex/new@1.0.0"]
    user.write("@acme/leaf@1.1.0", more=rules)
    (warning,) = await user.install()
    assert "younger" in warning
    user.write("@acme/leaf@~1.1.0", more=rules)
    with pytest.raises(NoVersion, match=r"younger"):
        await user.install()


async def test_deprecated_versions_are_warned_of_and_disabled_ones_refused(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/leaf@1.0.0")
    await graph.update("@acme/leaf@1.0.0", status="deprecated")
    (warning,) = await user.install()
    assert "@acme/leaf@1.0.0 is deprecated" in warning
    assert "needed by lead" in warning
    await graph.update("@acme/leaf@1.0.0", status="disabled")
    await user.install()  # it is locked
    user.path.unlink()
    with pytest.raises(NoVersion, match="--allow-disabled"):
        await user.install()
    await user.install(allow_disabled=True)
    assert user.keys == ["@acme/leaf@1.0.0"]


async def test_what_nobody_published_is_named_with_who_needs_it(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/absent@^1.0.0")
    with pytest.raises(UnknownExpert) as unknown:
        await user.install()
    assert unknown.value.key == "@acme/absent@^1.0.0"
    assert "needed by lead" in str(unknown.value)
    user.write("@acme/leaf@^7.0.0")
    with pytest.raises(NoVersion) as caught:
        await user.install()
    assert [version for version, _ in caught.value.refused] == ["1.2.0", "1.0.0"]


async def test_a_registry_that_is_away_is_named_and_so_is_what_was_looked_for(
    tmp_path: Path,
) -> None:
    user = User(tmp_path / "user", "http://127.0.0.1:9")
    with pytest.raises(RegistryError) as caught:
        await prepare(user.order(ScriptedModel(), expert="lad"))
    said = re.fullmatch(
        r'"lad" is not found in \S+\. Did you mean "lead"\? .*: http://127\.0\.0\.1:9/\S+ cannot be .*',
        str(caught.value),
    )
    assert said, str(caught.value)
    with pytest.raises(RegistryError, match=r'"zzz" is not found in \S+\. It has: "lead"\. '):
        await prepare(user.order(ScriptedModel(), expert="zzz"))


async def test_a_definition_that_needs_a_newer_runtime_does_not_run(tmp_path: Path) -> None:
    user = User(tmp_path / "user", "http://127.0.0.1:9")
    toml = user.place / "perstack.toml"
    toml.write_text(toml.read_text() + 'minRuntimeVersion = "v2.0"\n')
    with pytest.raises(UserError, match=r"lead.*v2\.0.*Update Perstack"):
        await prepare(user.order(ScriptedModel()))


# Frozen ----------------------------------------------------------------------------------------------------


async def test_frozen_asks_no_registry(graph: House, tmp_path: Path) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/branch@^1.0.0")
    await user.install()
    graph.forget()
    await user.install(frozen=True)
    await prepare(user.order(ScriptedModel(), frozen=True))
    user.write("@acme/branch@^1.0.0", "@acme/leaf")
    with pytest.raises(LockOutOfDate, match='"@acme/leaf" is not in'):
        await user.install(frozen=True)
    with pytest.raises(LockOutOfDate, match='"@acme/leaf" is not in'):
        await prepare(user.order(ScriptedModel(), frozen=True))
    assert graph.asked == []


async def test_a_document_that_is_gone_from_the_cache_is_fetched_again(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/leaf@^1.0.0")
    await user.install()
    user.env["PERSTACK_CACHE_DIR"] = str(tmp_path / "empty")
    graph.forget()
    await prepare(user.order(ScriptedModel(), frozen=True))
    assert [line.split("/")[1] for line in graph.asked] == ["documents"]


async def test_a_document_is_fetched_from_its_registry_only(graph: House, tmp_path: Path) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/leaf@^1.0.0")
    await user.install()
    text = user.path.read_text()
    head = f'resolved = "{graph.url}/api/registry/v1'
    assert head in text
    graph.forget()
    for elsewhere in ('resolved = "https://elsewhere.example', head.replace("/v1", "/v2")):
        user.relock(text.replace(head, elsewhere))
        user.env["PERSTACK_CACHE_DIR"] = str(tmp_path / "empty")
        with pytest.raises(LockTampered):
            await prepare(user.order(ScriptedModel()))
    assert graph.asked == []


# Tampering -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Be @acme/leaf 1.2.0.", "Obey @acme/leaf 1.2.0."),
        ('packageName = "@perstack/base"', 'packageName = "@evil/base"'),
        ('description = "What @acme/leaf is for"', 'description = "Everything"'),
    ],
)
async def test_a_changed_lock_runs_nothing(
    graph: House, tmp_path: Path, old: str, new: str
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/leaf@^1.0.0")
    await user.install()
    before, mark, after = user.path.read_text().partition('[experts."@acme/leaf@1.2.0"]')
    assert old in after
    changed = before + mark + after.replace(old, new)
    for write in (user.path.write_text, user.relock):
        write(changed)
        with pytest.raises(LockTampered):
            await prepare(user.order(ScriptedModel()))


async def test_a_digest_that_the_registry_never_gave_is_told_with_the_one_it_gave(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/leaf@^1.0.0")
    await user.install()
    text, digest = user.path.read_text(), user.lock.lock.experts["@acme/leaf@1.2.0"].integrity
    other = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    one_place = text.replace(f'integrity = "{digest}"', f'integrity = "{other}"')
    both = one_place.replace(digest.partition(":")[2], other.partition(":")[2])
    graph.forget()
    for changed, write in ((one_place, user.path.write_text), (one_place, user.relock)):
        write(changed)
        with pytest.raises(LockTampered):
            await prepare(user.order(ScriptedModel()))
    assert graph.asked == []
    user.relock(both)
    with pytest.raises(
        LockTampered, match=f"as {other}, its registry has it as {digest}"
    ) as caught:
        await prepare(user.order(ScriptedModel()))
    assert exit_for(caught.value) == INTEGRITY


async def test_a_version_that_is_gone_says_how_to_get_another(house: House, tmp_path: Path) -> None:
    await house.publish(request("@acme/leaf", "1.0.0"))
    user = User(tmp_path / "user", house.url, "@acme/leaf@^1.0.0")
    await user.install()
    await house.unpublish("@acme/leaf@1.0.0")
    await prepare(user.order(ScriptedModel()))  # the copy here will do
    user.env["PERSTACK_CACHE_DIR"] = str(tmp_path / "empty")
    house.twist = lambda path, status, body: (404, b"{}") if "/documents/" in path else None
    with pytest.raises(RegistryError, match=r"perstack update @acme/leaf") as caught:
        await prepare(user.order(ScriptedModel()))
    assert caught.value.status == 404


async def test_what_is_known_of_a_locked_version_is_told_without_asking(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/leaf@^1.0.0")
    await user.install()
    await graph.update("@acme/leaf@1.2.0", status="disabled")
    assert (await prepare(user.order(ScriptedModel()))).warnings == ()  # nobody has told us yet
    access = access_of(None, (), Sources(), user.env, user.place, needs_project=True)
    await audit(access)
    graph.forget()
    (warning,) = (await prepare(user.order(ScriptedModel(), frozen=True))).warnings
    assert "@acme/leaf@1.2.0 was disabled by its owner" in warning
    assert graph.asked == []


async def test_a_lock_that_is_not_whole_is_made_anew_without_choosing_anew(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/branch@^1.0.0")
    await user.install()
    text = user.path.read_text()
    await graph.publish(request("@acme/leaf", "1.3.0"))
    graph.forget()
    line = next(line for line in text.splitlines() if line.startswith("generatedAt"))
    merge = f"<<<<<<< ours\n{line}\n=======\n{line}9\n>>>>>>> theirs"
    for changed, kind in (
        (text.replace(line, merge), LockError),
        (text.replace(line, f"{line}9"), LockTampered),
        (text.replace("Lead.", "Lead\udc80"), LockTampered),
    ):
        user.path.write_bytes(changed.encode(errors="surrogateescape"))
        with pytest.raises(LockError) as caught:
            await prepare(user.order(ScriptedModel()))
        assert type(caught.value) is kind
        with pytest.raises(kind):
            await user.install(frozen=True)
        (warning,) = await user.install()
        assert str(caught.value) in warning
        assert user.path.read_text() == text
    assert graph.asked == []


async def test_a_lock_in_which_a_string_stands_for_another_expert_runs_nothing(
    graph: House, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/branch@^1.0.0")
    await user.install()
    text = user.path.read_text()
    for old, new in (
        ('[resolutions."@acme/branch@^1.0.0"]\nkey = "@acme/branch@', "@acme/leaf@1.2.0"),
        ('[resolutions."@acme/leaf@^1.0.0"]\nkey = "@acme/leaf@', "@acme/branch@1.0.0"),
    ):
        assert old in text
        head, _, tail = text.partition(old)
        start = old.rpartition('"')[0]
        user.relock(f'{head}{start}"{new}"{tail.partition(chr(34))[2]}')
        with pytest.raises(LockTampered, match="cannot stand for"):
            await prepare(user.order(ScriptedModel()))


async def test_another_publisher_is_told(graph: House, tmp_path: Path) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/leaf@1.0.0")
    await user.install()
    text = user.path.read_text()
    assert 'publisher = "acme"' in text
    user.relock(text.replace('publisher = "acme"', 'publisher = "someone"'))
    user.write("@acme/leaf@1.2.0")
    (warning,) = await user.install()
    assert "was published by acme" in warning
    assert "by someone" in warning


async def test_a_flipped_byte_in_any_cached_file_is_found(graph: House, tmp_path: Path) -> None:
    user = User(tmp_path / "user", graph.url, "@acme/leaf@^1.0.0")
    await user.install()
    documents = [path for path in user.cache.rglob("documents/**/*") if path.is_file()]
    assert documents
    for path in documents:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    text = user.path.read_text()
    with pytest.raises(RegistryTampered):
        await prepare(user.order(ScriptedModel()))
    with pytest.raises(RegistryTampered):
        await user.install()
    assert user.path.read_text() == text
