"""Whole jobs whose history is in a bucket, by command line and from a program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import obstore

import perstack
from perstack.errors import CorruptLog
from perstack.testing import ScriptedModel, says

from .storage import ENV, Storage, objects_in

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "object-storage.md"
SOURCES = Path(__file__).parents[2] / "src" / "perstack" / "store"


def _perstack(
    *args: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    around = {name: value for name, value in os.environ.items() if name[:9] != "PERSTACK_"}
    return subprocess.run(
        [sys.executable, "-m", "perstack.cli.main", *args],
        cwd=cwd,
        env={**around, "TMPDIR": str(cwd), **ENV, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_job_is_told_checked_and_listed_where_store_says(storage: Storage, tmp_path: Path):
    place = storage.place()
    ran = _perstack("run", "fitness-assistant", "--demo", "--store", place, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (tmp_path / "events.jsonl").write_text(ran.stdout, "utf-8")
    job = json.loads(ran.stdout.splitlines()[0])["jobId"]

    elsewhere = {"PERSTACK_STORAGE_URL": place}
    listed = _perstack("log", "--jobs", "--json", cwd=tmp_path, env=elsewhere)
    assert [row["id"] for row in json.loads(listed.stdout)["jobs"]] == [job]
    told = _perstack("replay", job, "--store", place, cwd=tmp_path)
    assert {json.loads(line)["jobId"] for line in told.stdout.splitlines()} == {job}
    events = ("--events", "events.jsonl")
    checked = _perstack("replay", job, "--verify", *events, cwd=tmp_path, env=elsewhere)
    assert checked.returncode == 0, checked.stderr
    assert f"{job}: the log is whole" in checked.stdout
    alike = _perstack("compare", job, job, "--store", place, cwd=tmp_path)
    assert alike.returncode == 0, alike.stderr
    assert not (tmp_path / "perstack").exists()


def test_a_log_that_is_damaged_is_refused_with_its_place(storage: Storage, tmp_path: Path):
    place = storage.place()
    ran = _perstack("run", "fitness-assistant", "--demo", "--store", place, cwd=tmp_path)
    job = json.loads(ran.stdout.splitlines()[0])["jobId"]
    key = f"jobs/{job}/log/000000000001.jsonl"
    data = bytes(obstore.get(objects_in(place), key).bytes())
    obstore.put(objects_in(place), key, data.replace(b"jobStarted", b"jobStarved"))
    checked = _perstack("replay", job, "--verify", "--store", place, cwd=tmp_path)
    assert checked.returncode == 4
    corrupt = CorruptLog(f"{place.partition('?')[0]}/{key}", 1, "")
    assert str(corrupt) in checked.stderr


def test_a_storage_that_refuses_says_what_to_do_and_has_an_exit_code(
    storage: Storage, tmp_path: Path
):
    nowhere = storage.place("x", bucket="nowhere")
    for args in (("run", "fitness-assistant", "--demo"), ("log", "--jobs")):
        refused = _perstack(*args, "--store", nowhere, cwd=tmp_path)
        assert refused.returncode == 1
        assert "error: s3://nowhere/x: there is no such bucket. Create it" in refused.stderr


def test_a_program_names_the_place_in_its_environment(storage: Storage, tmp_path: Path):
    place = storage.place()
    (tmp_path / "perstack.toml").write_text(
        '[experts."my-expert"]\ndescription = "d"\ninstruction = "You work."\n', "utf-8"
    )
    code = re.search(r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S)
    assert code is not None
    names: dict[str, object] = {}
    model = ScriptedModel(says("tidied"))
    given = f"env=env, workspace={str(tmp_path)!r}, model=model"
    text = code[1].replace("s3://my-bucket/perstack", place).replace("env=env", given)
    exec(text.replace("os.environ", "around"), {"around": ENV, "model": model}, names)
    job = names["job"]
    assert isinstance(job, perstack.Job)
    assert job.done is not None
    assert job.done.text == "tidied"
    assert not (tmp_path / "perstack").exists()


def test_the_messages_in_the_guide_are_those_that_are_said():
    rows = re.search(r"^\| Message \|.*?\n\n", GUIDE.read_text("utf-8"), re.M | re.S)
    assert rows is not None
    said = "".join((SOURCES / name).read_text("utf-8") for name in ("bucket.py", "objects.py"))
    messages = re.findall(r"^\| `([^`]+)` \|", rows[0], re.M)
    assert len(messages) == 8
    for message in messages:
        assert message.removesuffix(" (…)") in said, message
