"""From the name of a place to the store there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from perstack.errors import UserError
from perstack.store import FileStore, ObjectStore, store_at

from .facts import spoken, texts, written
from .storage import ENV, Storage, store_in


def test_a_directory_is_seen_from_where_we_are(tmp_path: Path):
    store = store_at("history", {}, tmp_path)
    assert isinstance(store, FileStore)
    anyio.run(written, store, "a", spoken("hi"))
    assert (tmp_path / "history" / "jobs" / "a" / "log.jsonl").is_file()


@pytest.mark.parametrize(
    ("query", "env"),
    [
        ("?endpoint={endpoint}&region=auto", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}),
        ("?endpoint={endpoint}", {}),
        ("", {"AWS_ENDPOINT_URL": "{endpoint}", "AWS_REGION": "eu-west-1"}),
        ("", {"AWS_ENDPOINT_URL_S3": "{endpoint}", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}),
        ("?region=eu-west-1", {"AWS_ENDPOINT_URL": "{endpoint}", "AWS_DEFAULT_REGION": "x"}),
    ],
    ids=["all in the URL", "the endpoint", "all around it", "for S3 alone", "the region"],
)
def test_the_endpoint_comes_from_the_url_or_else_from_the_environment(
    storage: Storage, query: str, env: dict[str, str]
):
    place = storage.place()
    name, _, _ = place.partition("?")
    around = {name: value.format(endpoint=storage.endpoint) for name, value in env.items()}
    store = store_at(
        name + query.format(endpoint=storage.endpoint), {**ENV, **around}, Path("/nowhere")
    )
    assert isinstance(store, ObjectStore)
    anyio.run(written, store, "a", spoken("hi"))
    assert texts(anyio.run(store_in(place).read, "a")) == ["hi"]


@pytest.mark.parametrize("path", ["", "/", "/one/two", "/one/two/"])
def test_a_place_may_be_a_whole_bucket_or_deep_in_it(storage: Storage, path: str):
    url = f"s3://history{path}?endpoint={storage.endpoint}"
    store = store_at(url, ENV, Path("/nowhere"))
    before = anyio.run(store.jobs)
    job = f"job{len(before)}"
    anyio.run(written, store, job, spoken("hi"))
    assert anyio.run(store_at(url.replace("two/", "two"), ENV, Path("/nowhere")).jobs)[0] == job


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("gs://bucket/x", "gs://bucket/x: history is kept in a directory or at s3://"),
        ("s3://", "no place in a bucket"),
        ("s3:///x", "no place in a bucket"),
        ("s3://bucket:90/x", "no place in a bucket"),
        ("s3://bucket/x#y", "no place in a bucket"),
        ("s3://bucket/x?endpont=http://y", '"endpont"'),
        ("s3://bucket/x?endpoint=localhost:9000", "'localhost:9000' is no http"),
    ],
)
def test_what_names_no_place_is_refused(place: str, what: str):
    with pytest.raises(UserError, match=what):
        store_at(place, {}, Path("/nowhere"))


def test_credentials_in_a_url_are_refused_and_not_repeated():
    with pytest.raises(UserError, match="do not belong in a URL") as refused:
        store_at("s3://key:secret@bucket/x", {}, Path("/nowhere"))
    assert "secret" not in str(refused.value).replace("AWS_SECRET_ACCESS_KEY", "")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UserError, match=r"pip install 'perstack\[s3\]'"):
        store_at("s3://bucket/x", {}, Path("/nowhere"))


def test_the_extra_is_loaded_only_for_a_bucket():
    program = """
import sys
from pathlib import Path
from perstack.store import store_at
store_at("x", {}, Path("/nowhere"))
assert "obstore" not in sys.modules
store_at("s3://bucket/x", {}, Path("/nowhere"))
assert "obstore" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
