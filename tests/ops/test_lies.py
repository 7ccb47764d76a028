"""A registry that lies: every lie is found, told as one, and nothing of it is kept or locked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from perstack.cli.exits import INTEGRITY, exit_for
from perstack.errors import LockTampered, RegistryError, RegistryTampered, UserError
from perstack.lock import canonical_json, digest_of
from perstack.registry import render_verifier_key, signing_key_of, verifier_key_of
from tests.behaviour.register import proves

from ..registry.house import House, Twist, open_house, request
from .publishing import User

pytestmark = pytest.mark.anyio

NOT_FOUND = 404, b'{"code":404,"error":"Not Found"}'


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path, "acme") as found:
        yield found


def _on(path_begins: str, change: Callable[[bytes], bytes]) -> Twist:
    """Answers to these paths, changed."""

    def twist(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        return (status, change(body)) if path.startswith(path_begins) and status == 200 else None

    return twist


def _proofs(change: Callable[[str], str]) -> Twist:
    """The proofs in these answers, changed; empty for none."""

    def twist(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        if status == 200 and path.startswith("/tlog/proof"):
            lie = change(body.decode())
            return (200, lie.encode()) if lie else NOT_FOUND
        if status == 200 and path == "/resolve":
            told = msgspec.json.decode(body)
            proofs = {digest: change(text) for digest, text in told["data"]["proofs"].items()}
            told["data"]["proofs"] = {digest: text for digest, text in proofs.items() if text}
            return 200, msgspec.json.encode(told)
        return None

    return twist


def _flipped(body: bytes) -> bytes:
    return body.replace(b"Be ", b"Do ")


def _swapped_key(body: bytes) -> bytes:
    """The log's key, of somebody else."""
    told = msgspec.json.decode(body)
    name = told["logKey"].split("+")[0]
    told["logKey"] = render_verifier_key(verifier_key_of(signing_key_of(name, b"\7" * 32)))
    return msgspec.json.encode(told)


def _no_log(body: bytes) -> bytes:
    told = msgspec.json.decode(body)
    del told["logKey"]
    return msgspec.json.encode(told)


def _other_index(proof: str) -> str:
    lines = proof.split("\n")
    lines[2] = f"index {int(lines[2].removeprefix('index ')) + 1}"
    return "\n".join(lines)


def _other_hash(proof: str) -> str:
    lines = proof.split("\n")
    lines[3] = ("A" if lines[3][:1] != "A" else "B") + lines[3][1:]
    return "\n".join(lines)


def _without_signature(proof: str) -> str:
    text, _, _ = proof.rpartition("\n\n")
    return f"{text}\n\n"


LIES: dict[str, Twist] = {
    "a document is another": _on("/resolve", _flipped),
    "a proof is about another entry": _proofs(_other_index),
    "a hash in a proof is another": _proofs(_other_hash),
    "a checkpoint is not signed": _proofs(_without_signature),
    "a proof is cut off": _proofs(lambda text: text[: len(text) // 2]),
    "a proof is asked for by itself, and is about another entry": lambda path, status, body: (
        _proofs(lambda text: "")(path, status, body)
        if path == "/resolve"
        else _proofs(_other_index)(path, status, body)
    ),
    "the log signs with another key": _on("/index/config.json", _swapped_key),
    "the log does not hold it": _proofs(lambda text: ""),
}


@proves("registry.lies-are-found")
@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_found_and_nothing_of_it_is_kept(
    house: House, tmp_path: Path, lie: str
) -> None:
    await house.publish(*(request("@acme/leaf", f"1.{n}.0") for n in range(3)))
    user = User(tmp_path / "user", house.url, "@acme/leaf@^1.0.0")
    house.twist = LIES[lie]
    with pytest.raises(RegistryTampered) as caught:
        await user.install()
    assert exit_for(caught.value) == INTEGRITY
    assert not user.path.exists()
    assert [path for path in user.files() if path.startswith("log/")] == []
    house.twist = None
    for path in user.cache.rglob("_config"):
        path.unlink()  # what was just asked is not asked again
    await user.install()
    assert user.keys == ["@acme/leaf@1.2.0"]


async def test_a_mirror_is_not_trusted_with_anything(house: House, tmp_path: Path) -> None:
    """A flipped byte in what it passes on, of what is new and of what is locked."""
    await house.publish(request("@acme/leaf", "1.0.0"))
    mirror = f'[registry]\nmirror = "{house.url}"\n'
    user = User(tmp_path / "user", "https://registry.example", "@acme/leaf@^1.0.0", more=mirror)
    for lie in (_on("/resolve", _flipped), _by_documents):
        house.twist = lie
        with pytest.raises(RegistryTampered) as caught:
            await user.install()
        assert exit_for(caught.value) == INTEGRITY
        assert not user.path.exists()
    house.twist = None
    _expire(user)
    await user.install()
    user.env["PERSTACK_CACHE_DIR"] = str(tmp_path / "empty")
    house.twist = _on("/documents/", _flipped)
    with pytest.raises(RegistryTampered):
        await user.resolve(frozen=True)


def _by_documents(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
    """What a registry says that cannot resolve all at once: the index, and then each document, changed."""
    return NOT_FOUND if path == "/resolve" else _on("/documents/", _flipped)(path, status, body)


async def test_a_log_that_was_known_does_not_change_its_key_or_go_away(
    house: House, tmp_path: Path
) -> None:
    await house.publish(request("@acme/leaf", "1.0.0"), request("@acme/other", "1.0.0"))
    user = User(tmp_path / "user", house.url, "@acme/leaf")
    await user.install()
    text = user.path.read_text()
    user.write("@acme/leaf", "@acme/other")
    for change in (_swapped_key, _no_log):
        for path in user.cache.rglob("_config"):
            path.unlink()
        house.twist = _on("/index/config.json", change)
        with pytest.raises(RegistryTampered, match="another key"):
            await user.install()
        assert user.path.read_text() == text


async def test_a_forked_log_is_found_and_both_its_states_are_shown(tmp_path: Path) -> None:
    """Two registries with one key: what the second says is signed, and is not the first one grown."""
    place, fork = tmp_path / "one", tmp_path / "fork"
    place.mkdir()
    with open_house(place, "acme") as house:
        await house.publish(request("@acme/leaf", "1.0.0"))
        url = house.url
        shutil.copytree(place, fork)
        await house.publish(request("@acme/leaf", "1.1.0"), request("@acme/more", "1.0.0"))
        mirror = f'[registry]\nmirror = "{house.url}"\n'
        user = User(tmp_path / "user", "https://registry.example", "@acme/leaf@^1.0.0", more=mirror)
        await user.install()
        checkpoint = user.files()
    text = user.path.read_text()
    with open_house(fork, keys=house.keys) as forked:
        await forked.publish(
            *(request("@acme/leaf", f"2.{n}.0") for n in range(3)), request("@acme/evil", "1.0.0")
        )
        assert forked.url != url
        user.write("@acme/leaf@^1.0.0", "@acme/evil", more=f'[registry]\nmirror = "{forked.url}"\n')
        for path in user.cache.rglob("_config"):
            path.unlink()
        with pytest.raises(RegistryTampered) as caught:
            await user.install()
    notes = {name: data for name, data in checkpoint.items() if name.endswith("/checkpoint")}
    assert [data.decode() in str(caught.value) for data in notes.values()] == [True]
    assert {name: user.files()[name] for name in notes} == notes
    assert user.path.read_text() == text


async def test_a_log_that_shrank_is_found(tmp_path: Path) -> None:
    with open_house(tmp_path, "acme") as house:
        await house.publish(request("@acme/leaf", "1.0.0"), request("@acme/other", "1.0.0"))
        user = User(tmp_path / "user", house.url, "@acme/leaf")
        old: list[str] = []
        house.twist = _proofs(lambda text: old.append(text) or text)
        await User(tmp_path / "first", house.url, "@acme/other").install()
        await house.publish(request("@acme/leaf", "1.1.0"))
        house.twist = None
        await user.install()
        user.write("@acme/leaf", "@acme/other")
        house.twist = _proofs(lambda _: old[0])
        with pytest.raises(RegistryTampered, match="has 2 now"):
            await user.install()


async def test_a_version_is_not_published_twice(house: House, tmp_path: Path) -> None:
    """The registry says another digest for a version than it said before, and has the document for it."""
    await house.publish(request("@acme/leaf", "1.0.0"))
    user = User(tmp_path / "user", house.url, "@acme/leaf@1.0.0")
    house.twist = lambda path, status, body: (404, body) if path == "/resolve" else None
    await user.install()
    digest = user.lock.lock.experts["@acme/leaf@1.0.0"].integrity
    document = next(
        data for name, data in user.files().items() if name.endswith(digest.partition(":")[2])
    )
    other = _flipped(document)
    user.path.unlink()

    def again(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        match path.split("/")[1]:
            case "resolve":
                return 404, body
            case "documents":
                return 200, other
            case "index":
                return 200, body.replace(digest.encode(), digest_of(other).encode())
            case _:
                return None

    house.twist = again
    _expire(user)
    before = user.files()
    with pytest.raises(RegistryTampered, match="never changes"):
        await user.install()
    assert {n: d for n, d in user.files().items() if "config" not in n} == {
        n: d for n, d in before.items() if "config" not in n
    }


async def test_an_old_index_is_not_shown_again(house: House, tmp_path: Path) -> None:
    """An index file from before a publish, after the client saw the one from after it."""
    await house.publish(request("@acme/leaf", "1.0.0"))
    user = User(tmp_path / "user", house.url, "@acme/leaf@^1.0.0")
    old: list[bytes] = []

    def by_index(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        if path.startswith("/index/@acme"):
            old.append(body)
        return NOT_FOUND if path == "/resolve" else None

    house.twist = by_index
    await user.install()
    await house.publish(request("@acme/leaf", "1.1.0"))
    user.path.unlink()
    _expire(user)
    await user.install()
    assert "@acme/leaf@1.1.0" in user.lock.lock.experts
    user.path.unlink()

    def replayed(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        return (200, old[0]) if path.startswith("/index/@acme") else by_index(path, status, body)

    house.twist = replayed
    _expire(user)
    before = user.files()
    with pytest.raises(RegistryTampered, match=r"no 1\.1\.0 any more"):
        await user.install()
    assert not user.path.exists()
    assert {n: d for n, d in user.files().items() if "config" not in n} == {
        n: d for n, d in before.items() if "config" not in n
    }


async def test_a_version_that_was_taken_back_is_no_lie(house: House, tmp_path: Path) -> None:
    await house.publish(request("@acme/leaf", "1.0.0"), request("@acme/leaf", "1.1.0"))
    user = User(tmp_path / "user", house.url, "@acme/leaf@^1.0.0")
    house.twist = lambda path, status, body: NOT_FOUND if path == "/resolve" else None
    await user.install()
    await house.unpublish("@acme/leaf@1.1.0")
    user.path.unlink()
    _expire(user)
    await user.install()
    assert "@acme/leaf@1.0.0" in user.lock.lock.experts


def _expire(user: User) -> None:
    """Let what is kept of indexes be old, so that it is asked for again."""
    for path in user.cache.rglob("index/*/*"):
        head, _, body = path.read_bytes().partition(b"\n")
        about = {**msgspec.json.decode(head), "at": 0, "etag": ""}
        path.write_bytes(msgspec.json.encode(about) + b"\n" + body)


async def test_a_version_that_the_lock_has_is_not_another(house: House, tmp_path: Path) -> None:
    await house.publish(
        request("@acme/leaf", "1.0.0"), request("@acme/branch", "1.0.0", "@acme/leaf@^1.0.0")
    )
    user = User(tmp_path / "user", house.url, "@acme/leaf@1.0.0")
    await user.install()
    text = user.path.read_text()
    user.write("@acme/leaf@1.0.0", "@acme/branch")  # which names the leaf otherwise
    user.env["PERSTACK_CACHE_DIR"] = str(tmp_path / "empty")

    def other(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        if path != "/resolve":
            return None
        documents = msgspec.json.decode(body)["data"]["documents"]
        (digest,) = [d for d, document in documents.items() if document["name"] == "@acme/leaf"]
        made = digest_of(canonical_json({**documents[digest], "instruction": "Obey."}))
        lie = body.replace(digest.encode(), made.encode())
        return 200, lie.replace(b"Be @acme/leaf 1.0.0.", b"Obey.")

    house.twist = other
    with pytest.raises((LockTampered, RegistryTampered)) as caught:
        await user.install()
    assert exit_for(caught.value) == INTEGRITY
    assert user.path.read_text() == text


async def test_an_answer_that_is_cut_off_is_no_answer(house: House, tmp_path: Path) -> None:
    await house.publish(request("@acme/leaf", "1.0.0"))
    user = User(tmp_path / "user", house.url, "@acme/leaf@1.0.0")
    house.twist = _on("/resolve", lambda body: body[:-20])
    with pytest.raises(RegistryError):
        await user.install()
    assert not user.path.exists()


@pytest.mark.parametrize(
    "skill",
    [
        {"command": "bash"},
        {"command": "npx", "args": ["--yes", "evil"]},
        {"command": "npx", "requiredEnv": ["PERSTACK_API_KEY_ACME"]},
    ],
)
async def test_what_no_registry_should_have_let_through_does_not_run(
    house: House, tmp_path: Path, skill: dict[str, object]
) -> None:
    await house.publish(request("@acme/leaf", "1.0.0"))
    user = User(tmp_path / "user", house.url, "@acme/leaf@1.0.0")

    def lax(path: str, status: int, body: bytes) -> tuple[int, bytes] | None:
        if path == "/index/config.json":
            return NOT_FOUND  # a registry without a log
        if path != "/resolve":
            return None
        told = msgspec.json.decode(body)
        ((_, document),) = told["data"]["documents"].items()
        document["skills"]["evil"] = {"type": "mcpStdioSkill", "description": "", **skill}
        made = digest_of(canonical_json(document))
        told["data"]["documents"] = {made: document}
        for resolution in told["data"]["resolutions"].values():
            resolution["digest"] = made
        return 200, msgspec.json.encode(told)

    house.twist = lax
    with pytest.raises(UserError, match='its skill "evil"'):
        await user.install()
    assert not user.path.exists()
