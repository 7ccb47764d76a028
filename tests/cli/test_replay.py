"""`perstack replay`: a job told again, and its log put to the test."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from inline_snapshot import snapshot

from perstack.dialect import checkpoints, encode_wire, tell
from perstack.job import Event, decode_events, lineage
from perstack.ops.history.jobs import usual_voice
from perstack.testing import ScriptedModel, calls, says
from tests.dialect.check import check_stream
from tests.ops.test_jobs_story import STORY, log_of, run, tell_story, workspace_in

from .conftest import Here
from .program import LONG_S, Ran, command, environment, is_one_message, perstack


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace in which the story was told."""
    workspace = workspace_in(tmp_path)
    tell_story(workspace)
    return workspace


def recorded(workspace: Path, job: str = "told") -> bytes:
    """Runs the story, and gives what `perstack run` would have written to stdout."""
    lines: list[bytes] = []

    def listen(event: dict[str, Any]) -> None:
        lines.append(msgspec.json.encode(event) + b"\n")

    model = ScriptedModel(STORY)
    run(workspace, model=model, job_id=job, listener=listen)
    run(workspace, query="blue", model=model, continue_job=job, answer=True, listener=listen)
    return b"".join(lines)


# Told again -----------------------------------------------------------------------------------------------


def test_a_job_is_told_again_as_it_was_told(here: Here, tmp_path: Path):
    workspace = workspace_in(tmp_path)
    live = [json.loads(line) for line in recorded(workspace).splitlines()]
    again = here("replay", "told", cwd=workspace)
    assert (again.code, again.err) == (0, "")
    streamed = {
        *("startStreamingReasoning", "streamReasoning", "completeStreamingReasoning"),
        *("startStreamingRunResult", "streamRunResult", "completeStreamingRunResult"),
        *("skillStarting", "skillConnected", "skillStderr", "skillDisconnected"),
    }

    def facts(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [event for event in events if event["type"] not in streamed]

    assert facts(again.events) == facts(live)
    assert len(facts(again.events)) > 30


def test_what_is_told_again_is_a_stream_as_documented(here: Here, place: Path):
    for full in (False, True):
        ran = here("replay", "story", *(("--full-events",) if full else ()), cwd=place)
        check_stream(ran.out.splitlines(), full)


def test_people_are_told_as_they_were(here: Here, place: Path):
    ran = here("replay", "story", "--output", "text", cwd=place)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot("""\
● lead query
    Make a plan
● lead read \n\
    failed: Invalid arguments for readTextFile: `path` is required.
● lead write plan.txt
    one
● lead retry: Overloaded
    the model failed, as the script says
● lead asks @acme/helper
    Add two
    to the plan
  ● @acme/helper query
      Add two
      to the plan
  ● @acme/helper append plan.txt
      two
  ● @acme/helper answer
      It is added.
● lead 1 delegate answered
● lead asks you: askUser
    {"question":"Is it \\u001b[31mred\\u001b[0m?"}
● lead answer
    All is done.
""")


def gone_back(workspace: Path) -> None:
    """The story, taken up again at the sixth step and ended another way."""
    events = tell_story(workspace)
    point = next(point for _, point in checkpoints(events) if point.step_number == 6)
    run(workspace, says("Otherwise."), query="", continue_job="story", checkpoint=point.id)


def test_only_the_branch_the_log_ends_on_is_told_unless_all_is_asked_for(
    here: Here, tmp_path: Path
):
    workspace = workspace_in(tmp_path)
    gone_back(workspace)
    events = events_in(workspace)
    branch, every = (
        here("replay", "story", cwd=workspace),
        here("replay", "story", "--all", cwd=workspace),
    )
    assert branch.out.encode() == b"".join(map(encode_wire, tell(lineage(events), usual_voice())))
    assert every.out.encode() == b"".join(map(encode_wire, tell(events, usual_voice())))
    assert "All is done." not in branch.out
    assert "All is done." in every.out
    text = here("replay", "story", "--all", "--output", "text", cwd=workspace).out
    assert text.index("All is done.") < text.index("Went back to event ") < text.index("Otherwise.")
    text = here("replay", "story", "--output", "text", cwd=workspace).out
    assert "All is done." not in text
    assert "Went back" not in text
    assert "Otherwise." in text


def events_in(workspace: Path) -> tuple[Event, ...]:
    return decode_events(log_of(workspace, "story").read_bytes().splitlines())[0]


def test_replaying_asks_nobody_and_changes_nothing(here: Here, place: Path):
    (place / "perstack.toml").unlink()  # nor does it need the project
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for args in ((), ("--output", "text"), ("--verify",)):
        assert here("replay", "story", *args, cwd=place).code == 0
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


ENVIRONMENTS = (
    {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONUTF8": "0"},
    {
        "PYTHONHASHSEED": "77",
        "LC_ALL": "POSIX",
        "TZ": "America/St_Johns",
        "PYTHONIOENCODING": "ascii",
    },
    {"PYTHONHASHSEED": "random", "LANG": "de_DE.ISO-8859-1", "TZ": "XXX-13:45", "NO_COLOR": "1"},
)


def test_the_same_bytes_whatever_the_hash_seed_the_locale_and_the_time_zone(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    script = {**STORY, ("", 4): says("Ünïcode — 你好 🎉")}
    tell_story(workspace, script=script)
    tell_story(workspace, "other")
    asked = [
        ("replay", "story"),
        ("replay", "story", "--output", "text"),
        ("log", "--job", "story", "--summary"),
        ("compare", "story", "other"),
    ]
    told: list[list[bytes]] = []
    for env in ENVIRONMENTS:
        processes = [
            subprocess.Popen(
                command(*args),
                cwd=workspace,
                env=environment(env),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for args in asked
        ]
        ends = [process.communicate(timeout=LONG_S) for process in processes]
        assert [err for _, err in ends] == [b""] * len(asked)
        told.append([out for out, _ in ends])
    for others in told[1:]:
        assert others == told[0]
    assert all("你好".encode() in out for out in told[0][:3])


# Verified -------------------------------------------------------------------------------------------------


def test_a_whole_log_is_said_to_be_whole(here: Here, place: Path):
    lines = log_of(place, "story").read_bytes().splitlines()
    ran = here("replay", "story", "--verify", cwd=place)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[:3] == [
        "story: the log is whole",
        f"Events: {len(lines)}",
        f"Sum: {json.loads(lines[-1])['sum']}",
    ]


def test_every_flipped_byte_is_found_named_and_exit_4(here: Here, tmp_path: Path):
    """Each place of the log, taken in turns of seventeen; `tests/ops/test_jobs.py` takes them all."""
    workspace = workspace_in(tmp_path)
    run(workspace, says("Hi."), job_id="j")
    path = log_of(workspace, "j")
    data = path.read_bytes()
    for place in [*range(0, len(data), 17), len(data) - 1]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        ran = here("replay", "j", "--verify", cwd=workspace)
        seq = data[:place].count(b"\n") + 1
        assert (ran.code, ran.out) == (4, "")
        assert f"{path}: event {seq}: " in ran.err
        assert is_one_message(ran.err)
    path.write_bytes(data)
    assert here("replay", "j", "--verify", cwd=workspace).code == 0


def test_a_damaged_log_is_not_told(here: Here, place: Path):
    path = log_of(place, "story")
    path.write_bytes(path.read_bytes().replace(b"It is added.", b"It is added!"))
    for args in ((), ("--output", "text"), ("--all",)):
        ran = here("replay", "story", *args, cwd=place)
        assert (ran.code, ran.out) == (4, "")
        assert is_one_message(ran.err)


def test_half_an_event_at_the_end_is_mentioned(here: Here, place: Path):
    path = log_of(place, "story")
    path.write_bytes(path.read_bytes()[:-9])
    assert "Left out: " in here("replay", "story", "--verify", cwd=place).out


def test_a_recorded_stream_is_held_against_the_log(here: Here, tmp_path: Path):
    workspace = workspace_in(tmp_path)
    stream = recorded(workspace)
    file = tmp_path / "events.jsonl"
    file.write_bytes(stream)
    ran = here("replay", "told", "--events", str(file), cwd=workspace)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(f"{file}: as the log tells it\n")
    lines = stream.splitlines(keepends=True)
    place, end = (n for n, line in enumerate(lines) if b'"completeRun"' in line)
    for changed, message in (
        (
            lines[place].replace(b"It is added.", b"It is added!"),
            "its completeRun is not the one that event",
        ),
        (b"", f"line {place + 1}: it says"),
        (b"nonsense\n", "it says something that is no event, but event"),
    ):
        file.write_bytes(b"".join([*lines[:place], changed, *lines[place + 1 :]]))
        ran = here("replay", "told", "--events", str(file), cwd=workspace)
        assert ran.code == 4
        assert f"error: {file}: line {place + 1}: " in ran.err
        assert message in ran.err
    file.write_bytes(b"".join(lines[:end]))
    ran = here("replay", "told", "--events", str(file), cwd=workspace)
    assert ran.code == 4
    assert "it ends here, but event" in ran.err
    file.write_bytes(stream + lines[end])
    ran = here("replay", "told", "--events", str(file), cwd=workspace)
    assert ran.code == 4
    assert "but the log tells nothing more" in ran.err


def test_a_stream_with_whole_histories_is_held_against_one(here: Here, place: Path, tmp_path: Path):
    file = tmp_path / "full.jsonl"
    file.write_text(here("replay", "story", "--full-events", cwd=place).out)
    assert here("replay", "story", "--events", str(file), "--full-events", cwd=place).code == 0
    assert here("replay", "story", "--events", str(file), cwd=place).code == 4


def test_what_perstack_run_printed_is_what_its_log_tells(
    here: Here, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ran = here("run", "tic-tac-toe", "--demo", "--job-id", "demo", cwd=workspace)
    assert ran.code == 0
    where = ran.err.partition("It works in ")[2].split("\n")[0].rstrip(".")
    file = tmp_path / "events.jsonl"
    file.write_text(ran.out)
    verified = here("replay", "demo", "--events", str(file), "--workspace", where, cwd=workspace)
    assert (verified.code, verified.err) == (0, "")


# Nothing, and wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [(), ("--verify",), ("--output", "text")])
def test_a_job_that_is_not_there_is_said_and_exit_1(
    here: Here, workspace: Path, args: tuple[str, ...]
):
    ran = here("replay", "none", *args, cwd=workspace)
    assert (ran.code, ran.out) == (1, "")
    assert "There is no job none" in ran.err
    assert is_one_message(ran.err)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "missing required argument 'job'"),
        (("story", "--verify", "--all"), "--verify checks the whole log"),
        (("story", "--verify", "--output", "text"), "--verify checks the whole log"),
        (("story", "--output", "text", "--full-events"), "--full-events is about --output json"),
        (("story", "--events", "nowhere"), "File 'nowhere' does not exist"),
        (("a/b",), "cannot be a job id"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    here: Here, place: Path, args: tuple[str, ...], message: str
):
    ran = here("replay", *args, cwd=place)
    assert (ran.code, ran.out) == (1, "")
    assert message.lower() in ran.err.lower()
    assert is_one_message(ran.err)


def test_where_nobody_reads_on_it_ends_quietly(place: Path):
    process = subprocess.Popen(
        command("replay", "story", "--full-events"),
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(LONG_S) in (0, 1)
    assert b"Traceback" not in err


def test_a_job_at_work_can_be_verified_and_told_up_to_now(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    seen: list[Ran] = []

    def look(event: dict[str, Any]) -> None:
        if event["type"] == "callTools":
            seen.append(perstack("replay", "now", "--verify", cwd=workspace))
            seen.append(perstack("replay", "now", cwd=workspace))

    run(workspace, calls(("todo", {})), says("Hi."), job_id="now", listener=look)
    verified, told = seen
    assert (verified.code, verified.out.splitlines()[1]) == (0, "Events: 3")
    assert [event["type"] for event in told.events][-1] == "callTools"
