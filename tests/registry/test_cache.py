"""What is kept of registries: whole, checked at each reading, shared by processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perstack.errors import RegistryTampered, UserError
from perstack.lock import digest_of
from perstack.registry import Cache, cache_place
from perstack.registry.cache import Kept

URL = "https://registry.example"
DOCUMENT = b'{"name":"@acme/leaf"}'
DIGEST = digest_of(DOCUMENT)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_what_is_kept_comes_back(cache: Cache) -> None:
    assert cache.document(DIGEST) is None
    assert cache.answer(URL, "@acme/leaf") is None
    assert cache.note(URL, "checkpoint") is None
    assert not cache.place.exists()
    kept = Kept(body=b"one\ntwo\n", etag='"7"', at=12.5)
    cache.keep_document(DIGEST, DOCUMENT)
    cache.keep_answer(URL, "@acme/leaf", kept)
    cache.keep_note(URL, "checkpoint", "note\n")
    assert cache.document(DIGEST) == DOCUMENT
    assert cache.answer(URL, "@acme/leaf") == kept
    assert cache.note(URL, "checkpoint") == "note\n"


def test_registries_do_not_see_what_others_said(cache: Cache) -> None:
    for url in (URL, f"{URL}/other", "https://registry.example:8443", "http://registry.example"):
        assert cache.answer(url, "leaf") is None
        cache.keep_answer(url, "leaf", Kept(body=url.encode(), etag="", at=0.0))
    found = cache.answer(URL, "leaf")
    assert found is not None
    assert found.body == URL.encode()


def test_a_flipped_byte_is_found_in_every_file(cache: Cache) -> None:
    cache.keep_document(DIGEST, DOCUMENT)
    cache.keep_answer(URL, "leaf", Kept(body=b"what it said", etag="", at=0.0))
    for path in [path for path in cache.place.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        for at in (0, len(whole) - 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(RegistryTampered, match="was changed"):
                _ = cache.document(DIGEST), cache.answer(URL, "leaf")
        path.write_bytes(whole)


def test_a_name_cannot_lead_out_of_the_cache(cache: Cache) -> None:
    cache.keep_answer(URL, "../../../outside", Kept(body=b"", etag="", at=0.0))
    (found,) = cache.place.parent.rglob("*outside*")
    assert found.is_relative_to(cache.place / "index")


_WRITER = """
import sys
from pathlib import Path
from perstack.lock import digest_of
from perstack.registry import Cache
from perstack.registry.cache import Kept
cache = Cache(Path(sys.argv[1]))
for turn in range(40):
    for n in range(5):
        document = b"x" * 3000 + str(n).encode()
        cache.keep_document(digest_of(document), document)
        assert cache.document(digest_of(document)) == document
        body = (sys.argv[2] * 500).encode()
        cache.keep_answer("https://r.example", str(n), Kept(body=body, etag="", at=0.0))
        assert len(set(cache.answer("https://r.example", str(n)).body)) == 1
"""


def test_processes_share_it_and_nobody_sees_half_a_file(tmp_path: Path) -> None:
    place = str(tmp_path / "cache")
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, place, mark]) for mark in "abcd"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0, 0]
    assert list(Path(place).rglob(".new-*")) == []


def test_where_it_is(tmp_path: Path) -> None:
    assert cache_place({"PERSTACK_CACHE_DIR": str(tmp_path)}) == tmp_path / "v1"
    assert cache_place({"XDG_CACHE_HOME": "/x"}) == Path("/x/perstack/v1")
    assert cache_place({"XDG_CACHE_HOME": "relative"}).parts[-3:] == (".cache", "perstack", "v1")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="PERSTACK_CACHE_DIR"):
        Cache(tmp_path / "file").keep_document(DIGEST, DOCUMENT)
