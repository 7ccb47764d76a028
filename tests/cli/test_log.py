"""`perstack log`: what a person, and a program, is shown of the jobs that are kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot

from perstack.testing import calls, fails, says
from tests.fakes.modelserver import Hangs, ModelServer, Says
from tests.ops.test_jobs_story import log_of, run, tell_story, workspace_in

from .conftest import Here
from .program import LONG_S, Ran, begun, ended, is_one_message, keys


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace in which the story was told."""
    workspace = workspace_in(tmp_path)
    tell_story(workspace)
    return workspace


def shown(ran: Ran, place: Path) -> str:
    """What was printed, the same wherever the workspace lies."""
    assert (ran.code, ran.err) == (0, "")
    return ran.out.replace(str(place), "<workspace>")


def without_paths(text: str) -> str:
    """Where texts are cut depends on how long the workspace's path is."""
    return re.sub('"path":"[/<].*', '"path":...', text)


def cut_to(text: str, width: int) -> str:
    return "\n".join(line[:width] for line in text.split("\n"))


def read(ran: Ran) -> dict[str, Any]:
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def types(ran: Ran) -> list[str]:
    return [event["type"] for event in read(ran)["events"]]


# In the terminal ------------------------------------------------------------------------------------------


def test_the_latest_job_is_shown_in_blocks(here: Here, place: Path):
    assert shown(here("log", "--type", "callTools", "--summary", cwd=place), place) == snapshot("""\
(showing latest job)

Storage: <workspace>/perstack

Job: story (completed)
Expert: lead
Started: 2026-01-01 00:00:00
Steps: 6
Finished: 2026-01-01 00:00:00

Summary:
  Total Events: 4
  Errors: 0
  Tool Calls: 5
  Delegations: 0
  Step Range: 1 - 7

Events:
──────────────────────────────────────────────────
[Step 1] callTools                00:00:00
  Tools: writeTextFile, readTextFile

[Step 3] callTools                00:00:00
  Tools: helper

[Step 4] callTools                00:00:00  @acme/helper
  Tools: appendTextFile

[Step 7] callTools                00:00:00
  Tools: askUser

──────────────────────────────────────────────────

""")


def test_each_type_has_its_details(here: Here, place: Path):
    told = without_paths(shown(here("log", "--job", "story", cwd=place), place))
    assert told == snapshot("""\
Storage: <workspace>/perstack

Job: story (completed)
Expert: lead
Started: 2026-01-01 00:00:00
Steps: 6
Finished: 2026-01-01 00:00:00

Events:
──────────────────────────────────────────────────
[Step 1] startRun                 00:00:00
  Query: "Make a plan"

[Step 1] startGeneration          00:00:00

[Step 1] completeStreamingReasoning 00:00:00
  Reasoning: I should write a plan.

[Step 1] callTools                00:00:00
  Tools: writeTextFile, readTextFile

[Step 1] resolveToolResults       00:00:00
  ✓ writeTextFile: {"path":...
  ✗ readTextFile: Invalid arguments for readTextFile: `pat...

[Step 1] finishToolCall           00:00:00

[Step 1] continueToNextStep       00:00:00

[Step 2] startGeneration          00:00:00

[Step 2] retry                    00:00:00
  Reason: {"error":"Overloaded","message":"the model failed, as the script says"}

[Step 2] continueToNextStep       00:00:00

[Step 3] startGeneration          00:00:00

[Step 3] callTools                00:00:00
  Tools: helper

[Step 3] callDelegate             00:00:00
  Delegate to: @acme/helper
    Query: "Add two to the plan"

[Step 3] stopRunByDelegate        00:00:00

[Step 4] startRun                 00:00:00  @acme/helper
  Query: "Add two to the plan"

[Step 4] startGeneration          00:00:00  @acme/helper

[Step 4] callTools                00:00:00  @acme/helper
  Tools: appendTextFile

[Step 4] resolveToolResults       00:00:00  @acme/helper
  ✓ appendTextFile: {"path":...

[Step 4] finishToolCall           00:00:00  @acme/helper

[Step 4] continueToNextStep       00:00:00  @acme/helper

[Step 5] startGeneration          00:00:00  @acme/helper

[Step 5] completeRun              00:00:00  @acme/helper
  Result: It is added.

[Step 6] startRun                 00:00:00

[Step 6] finishAllToolCalls       00:00:00
  ✓ helper: It is added.

[Step 6] continueToNextStep       00:00:00

[Step 7] startGeneration          00:00:00

[Step 7] callTools                00:00:00
  Tools: askUser

[Step 7] callInteractiveTool      00:00:00
  Asks: askUser {"question":"Is it \\u001b[31mred\\u001b[0m?"}

[Step 7] stopRunByInteractiveTool 00:00:00

[Step 8] startRun                 00:00:00

[Step 8] finishAllToolCalls       00:00:00
  ✓ askUser: blue

[Step 8] continueToNextStep       00:00:00

[Step 9] startGeneration          00:00:00

[Step 9] completeRun              00:00:00
  Result: All is done.

──────────────────────────────────────────────────

""")


def test_verbose_shows_arguments_and_whole_texts(here: Here, place: Path):
    told = shown(here("log", "--tools", "--verbose", cwd=place), place)
    assert told.partition("Events:")[2] == snapshot("""\

──────────────────────────────────────────────────
[Step 1] callTools                00:00:00
  [@perstack/base] writeTextFile
    Args: {"path":"plan.txt","text":"one\\n"}
  [@perstack/base] readTextFile
    Args: {"start":1}

[Step 1] resolveToolResults       00:00:00
  ✓ writeTextFile: {"path":"<workspace>/plan.txt","text":"one\\n"}
  ✗ readTextFile: Invalid arguments for readTextFile: `path` is required.

[Step 3] callTools                00:00:00
  [@acme/helper] helper
    Args: {"query":"Add two\\nto the plan"}

[Step 4] callTools                00:00:00  @acme/helper
  [@perstack/base] appendTextFile
    Args: {"path":"plan.txt","text":"two\\n"}

[Step 4] resolveToolResults       00:00:00  @acme/helper
  ✓ appendTextFile: {"path":"<workspace>/plan.txt","text":"two\\n"}

[Step 7] callTools                00:00:00
  [people] askUser
    Args: {"question":"Is it \\u001b[31mred\\u001b[0m?"}

[Step 7] callInteractiveTool      00:00:00
  Asks: askUser {"question":"Is it \\u001b[31mred\\u001b[0m?"}

──────────────────────────────────────────────────

""")


def test_a_page_says_what_it_leaves_out(here: Here, place: Path):
    told = shown(
        here("log", "--type", "callTools", *"--take 1 --offset 1 --context 1".split(), cwd=place),
        place,
    )
    assert told.partition("Events:")[2] == snapshot("""\

──────────────────────────────────────────────────
[Step 3] startGeneration          00:00:00

[Step 3] callTools                00:00:00
  Tools: helper

[Step 3] callDelegate             00:00:00
  Delegate to: @acme/helper
    Query: "Add two to the plan"

──────────────────────────────────────────────────
(showing 1 of 4 matched events (+2 context))
Use --take and --offset to see others, --take 0 to see all.

""")
    beyond = shown(here("log", "--type", "callTools", "--offset", "9", cwd=place), place)
    assert beyond.endswith("(4 events available, use --offset to view)\n\n")
    assert "Events:" not in beyond


def test_a_checkpoint_is_shown_with_its_messages(here: Here, place: Path):
    points = read(here("log", "--job", "story", "--json", cwd=place))["checkpoints"]
    point = next(point for point in points if point["status"] == "stoppedByInteractiveTool")
    told = shown(
        here("log", "--checkpoint", point["id"], "--messages", "--take", "1", cwd=place), place
    )
    assert cut_to(without_paths(told.replace(point["id"], "<id>")), 60) == snapshot("""\
Storage: <workspace>/perstack

Job: story (completed)
Expert: lead
Started: 2026-01-01 00:00:00
Steps: 6
Finished: 2026-01-01 00:00:00

Checkpoint: <id>
Status: stoppedByInteractiveTool
Step: 7
Expert: lead

Messages:
  [instructionMessage] You are lead, an Expert run by Persta
  [userMessage] Make a plan
  [expertMessage] calls writeTextFile, readTextFile
  [toolMessage] writeTextFile: {"path":...
  [expertMessage] calls helper
  [toolMessage] helper: It is added.
  [expertMessage] calls askUser

Events:
──────────────────────────────────────────────────
[Step 6] startRun                 00:00:00

──────────────────────────────────────────────────
(showing 1 of 7 matched events)
Use --take and --offset to see others, --take 0 to see all.

""")


def test_what_a_job_waits_for_and_why_it_stopped_is_said(here: Here, tmp_path: Path):
    workspace = workspace_in(tmp_path)
    run(workspace, calls(("askUser", {"question": "Which?"})), job_id="asks")
    assert 'Waits for: askUser {"question":"Which?"}\n' in here("log", cwd=workspace).out
    run(workspace, calls(("todo", {})), job_id="stops", max_steps=1)
    assert "Stopped: limit, maxSteps 1\n" in here("log", cwd=workspace).out


def test_nothing_that_a_model_says_reaches_the_terminal_as_a_command(here: Here, tmp_path: Path):
    workspace = workspace_in(tmp_path)
    evil = "\x1b[2J\x9b31m\rgone\nagain \u2028 end \x07"
    run(workspace, calls(("readTextFile", {"path": evil}), text=evil, thought=evil), says(evil))
    for args in (("log",), ("log", "--verbose"), ("log", "--runs"), ("log", "--jobs", "--verbose")):
        out = here(*args, cwd=workspace).out
        assert "\n" in out
        assert [c for c in out if not c.isprintable() and c != "\n"] == []


# Which events ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--errors",), ["resolveToolResults", "retry"]),
        (("--tools",), 4 * ["callTools"] + ["resolveToolResults"] * 2 + ["callInteractiveTool"]),
        (("--delegations",), ["callDelegate", "stopRunByDelegate"]),
        (("--type", "retry"), ["retry"]),
        (("--type", "nonsense"), []),
        (("--errors", "--step", "2"), ["retry"]),
        (("--tools", "--errors"), ["resolveToolResults"]),
        (("--filter", ".toolCalls[].toolName == askUser"), ["callTools"]),
        (("--filter", ".step.usage.inputTokens > 100"), []),
        (("--step", ">8"), ["startGeneration", "completeRun"]),
        (("--step", "4-5", "--type", "startGeneration"), ["startGeneration"] * 2),
    ],
)
def test_events_are_filtered(here: Here, place: Path, args: tuple[str, ...], expected: list[str]):
    assert sorted(types(here("log", "--json", *args, cwd=place))) == sorted(expected)


def test_not_equal_holds_where_there_is_no_such_field(here: Here, place: Path):
    every = types(here("log", "--json", cwd=place))
    others = types(here("log", "--json", "--filter", ".toolCalls[].toolName != askUser", cwd=place))
    assert len(others) == len(every) - 1


def test_a_run_is_found_in_whichever_job_it_is(here: Here, place: Path):
    helper = next(
        event
        for event in read(here("log", "--json", "--job", "story", cwd=place))["events"]
        if event["expertKey"] == "@acme/helper"
    )
    run(place, says("Later."), job_id="later")
    assert read(here("log", "--json", cwd=place))["job"]["id"] == "later"
    found = read(here("log", "--json", "--run", helper["runId"], cwd=place))
    assert found["job"]["id"] == "story"
    assert {event["runId"] for event in found["events"]} == {helper["runId"]}
    assert "isLatestJob" not in found
    assert "checkpoints" not in found
    ran = here("log", "--run", "none", cwd=place)
    assert (ran.code, ran.out) == (0, "No data found\n")
    assert ran.err.startswith(f"There are jobs in {place / 'perstack'}, but none as asked for.")
    point = found["events"][-1]["checkpoint"]["id"]
    by_point = read(here("log", "--json", "--checkpoint", point, "--run", "none", cwd=place))
    assert by_point["checkpoint"]["id"] == point
    assert by_point["events"] == found["events"]
    assert [m["type"] for m in by_point["checkpoint"]["messages"]][:2] == [
        "instructionMessage",
        "userMessage",
    ]


def test_a_search_goes_past_a_job_that_cannot_be_read(here: Here, place: Path):
    run_id = read(here("log", "--json", cwd=place))["events"][0]["runId"]
    run(place, says("Later."), job_id="later")
    path = log_of(place, "later")
    path.write_bytes(path.read_bytes().replace(b"Later.", b"Never."))
    assert read(here("log", "--json", "--run", run_id, cwd=place))["job"]["id"] == "story"
    missing = here("log", "--json", "--run", "none", cwd=place)
    assert missing.code == 4
    assert "the sum does not match" in missing.err


# As JSON --------------------------------------------------------------------------------------------------


def test_the_json_has_the_documented_keys_in_order(here: Here, place: Path):
    latest = read(here("log", "--json", "--errors", "--take", "1", cwd=place))
    assert list(latest) == [
        *("job", "events", "summary", "isLatestJob"),
        *("storagePath", "totalEventsBeforeLimit", "matchedAfterPagination"),
    ]
    assert latest["job"] == snapshot(
        {
            "id": "story",
            "status": "completed",
            "coordinatorExpertKey": "lead",
            "totalSteps": 6,
            "maxSteps": 100,
            "usage": {
                "inputTokens": 600,
                "outputTokens": 120,
                "reasoningTokens": 0,
                "totalTokens": 720,
                "cachedInputTokens": 0,
            },
            "startedAt": 1767225600001,
            "finishedAt": 1767225600020,
        }
    )
    assert latest["summary"] == {
        "totalEvents": 2,
        "errorCount": 2,
        "toolCallCount": 0,
        "delegationCount": 0,
        "stepRange": {"min": 1, "max": 2},
    }
    assert (latest["totalEventsBeforeLimit"], latest["matchedAfterPagination"]) == (2, 1)
    assert len(latest["events"]) == 1
    named = read(here("log", "--json", "--job", "story", "--type", "nonsense", cwd=place))
    assert list(named) == [
        *("job", "events", "summary", "checkpoints"),
        *("storagePath", "totalEventsBeforeLimit", "matchedAfterPagination"),
    ]
    assert named["summary"] == {
        "totalEvents": 0,
        "errorCount": 0,
        "toolCallCount": 0,
        "delegationCount": 0,
    }
    assert named["storagePath"] == str(place / "perstack")


def test_json_is_one_line_pretty_is_indented_and_says_the_same(here: Here, place: Path):
    line, pretty = here("log", "--json", cwd=place), here("log", "--json", "--pretty", cwd=place)
    assert line.out.count("\n") == 1
    assert pretty.out.startswith('{\n  "job": {\n')
    assert read(line) == read(pretty)
    assert here("log", "--pretty", cwd=place).out == here("log", cwd=place).out


def test_full_events_have_whole_histories(here: Here, place: Path):
    full = read(here("log", "--json", "--full-events", "--job", "story", cwd=place))
    lean = read(here("log", "--json", "--job", "story", cwd=place))
    last = full["events"][-1]["checkpoint"]
    assert len(last["messages"]) == 9
    assert "messages" not in lean["events"][-1]["checkpoint"]
    assert last in full["checkpoints"]
    assert [event["id"] for event in full["events"]] == [event["id"] for event in lean["events"]]


# Jobs and runs --------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A workspace with a job that is done, one that failed, and one that waits."""
    workspace = workspace_in(tmp_path)
    run(workspace, says("fine"), job_id="good")
    run(workspace, fails(retryable=False), job_id="bad")
    run(workspace, calls(("askUser", {})), query="Ask\nme", job_id="asks")
    return workspace


def test_jobs_are_listed_the_latest_first(here: Here, three: Path):
    told = shown(here("log", "--jobs", cwd=three), three).splitlines()
    assert told[0] == "Storage: <workspace>/perstack"
    assert [line.split()[:5] for line in told[2:6]] == [
        ["JOB", "STATUS", "EXPERT", "STEPS", "TOKENS"],
        ["asks", "waiting", "lead", "1", "120"],
        ["bad", "failed", "lead", "0", "0"],
        ["good", "completed", "lead", "1", "120"],
    ]
    assert [line.split()[5:] for line in told[2:3]] == [["STARTED", "DURATION"]]
    assert "  Ask me" in here("log", "--jobs", "--verbose", cwd=three).out.splitlines()


def test_the_list_of_jobs_is_paged_and_filtered(here: Here, three: Path):
    def ids(*args: str) -> list[str]:
        return [
            job["id"] for job in read(here("log", "--jobs", "--json", *args, cwd=three))["jobs"]
        ]

    assert ids() == ["asks", "bad", "good"]
    assert ids("--take", "1", "--offset", "1") == ["bad"]
    assert ids("--take", "0", "--offset", "1") == ["bad", "good"]
    assert ids("--status", "failed") == ["bad"]
    assert ids("--status", "failed", "--status", "waiting") == ["asks", "bad"]
    assert ids("--expert", "lead", "--since", "1h") == ["asks", "bad", "good"]
    assert ids("--since", "2020-01-01T00:00:00Z", "--status", "completed") == ["good"]
    assert here("log", "--jobs", "--expert", "nobody", cwd=three).out == "No data found\n"
    assert here("log", "--jobs", "--since", "2999-01-01", cwd=three).out == "No data found\n"
    paged = here("log", "--jobs", "--take", "1", cwd=three).out
    assert "(showing 1 of 3 jobs)\nUse --take and --offset to see others.\n" in paged


def test_the_latest_job_is_the_latest_of_those_that_are_meant(here: Here, three: Path):
    assert read(here("log", "--json", cwd=three))["job"]["id"] == "asks"
    bad = read(here("log", "--json", "--status", "failed", "--errors", cwd=three))
    assert (bad["job"]["id"], [event["type"] for event in bad["events"]]) == (
        "bad",
        ["stopRunByError"],
    )
    assert "stopRunByError" in here("log", "--errors", "--status", "failed", cwd=three).out


def test_a_log_that_cannot_be_read_is_in_the_list_and_says_why(here: Here, three: Path):
    path = log_of(three, "good")
    path.write_bytes(path.read_bytes() + b"{}\n")
    listed = read(here("log", "--jobs", "--json", "--status", "unreadable", cwd=three))["jobs"]
    assert [job["id"] for job in listed] == ["good"]
    assert "event 5: it does not end with its sum" in listed[0]["fault"]
    assert listed[0]["fault"] in here("log", "--jobs", "--verbose", cwd=three).out
    opened = here("log", "--job", "good", cwd=three)
    assert (opened.code, opened.out) == (4, "")
    assert is_one_message(opened.err)


def test_runs_are_a_tree_with_times_and_tokens(here: Here, place: Path):
    runs = read(here("log", "--runs", "--json", cwd=place))["runs"]
    told = shown(here("log", "--runs", "--verbose", cwd=place), place)
    for run_json in runs:
        told = told.replace(run_json["id"], f"<{run_json['path']}>")
    assert told.partition("Runs:\n")[2] == snapshot("""\
  lead            completed  4 steps  480 tokens  2026-01-01 00:00:00  0.0s  <>
      Make a plan
    @acme/helper  completed  2 steps  240 tokens  2026-01-01 00:00:00  0.0s  </2.1>
      Add two to the plan

Experts:
                RUNS  STEPS  INPUT  CACHED  OUTPUT  TOKENS
  lead             1      4    400       0      80     480
  @acme/helper     1      2    200       0      40     240

""")
    assert [(run["path"], run["expertKey"], run.get("calledBy")) for run in runs] == [
        ("", "lead", None),
        ("/2.1", "@acme/helper", runs[0]["id"]),
    ]
    assert runs[1]["usage"]["totalTokens"] == 240


# Nothing, and wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--jobs",),
        ("--runs",),
        ("--json",),
        ("--run", "r"),
        ("--checkpoint", "c"),
        ("--job", "nonexistent"),
        ("--job", "nonexistent", "--errors", "--take", "5", "--json"),
        ("--job", "nonexistent", "--checkpoint", "c"),
        ("--job", "nonexistent", "--runs"),
    ],
)
def test_where_there_is_nothing_no_data_is_found(
    here: Here, workspace: Path, args: tuple[str, ...]
):
    ran = here("log", *args, cwd=workspace)
    assert (ran.code, ran.out) == (0, "No data found\n")
    assert ran.err == (
        f"There are no jobs in {workspace / 'perstack'} yet. "
        '`perstack run <expertKey> "<query>"` begins one; '
        "for jobs kept elsewhere name their --workspace or --store.\n"
    )
    assert not (workspace / "perstack").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--take", "abc"), 'Invalid value for --take: "abc" is not a valid number'),
        (("--offset", "-1"), 'Invalid value for --offset: "-1" must be non-negative'),
        (("--context", "x"), 'Invalid value for --context: "x" is not a valid number'),
        (("--step", "x"), "Invalid step filter"),
        (("--step", "9-1"), "Invalid step range"),
        (("--filter", "type == x"), "Invalid filter expression"),
        (("--since", "soon"), "Invalid value for --since"),
        (("--checkpoint", "nope"), "checkpoint not found: nope. `perstack log --verbose` shows"),
        (("--job", "story", "--checkpoint", "nope"), "checkpoint not found: nope"),
        (("--messages",), "name it with --checkpoint"),
        (("--jobs", "--errors"), "--jobs lists jobs"),
        (("--jobs", "--job", "story"), "--jobs lists jobs"),
        (("--runs", "--tools"), "--runs shows the runs"),
        (("--runs", "--take", "5"), "--runs shows the runs"),
        (("--job", "story", "--expert", "lead"), "choose among jobs"),
        (("--job", "a/b"), "cannot be a job id"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_1(
    here: Here, place: Path, args: tuple[str, ...], message: str
):
    ran = here("log", *args, cwd=place)
    assert (ran.code, ran.out) == (1, "")
    assert message in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


def test_a_checkpoint_of_another_job_is_not_found_in_this(here: Here, place: Path):
    point = read(here("log", "--json", "--job", "story", cwd=place))["checkpoints"][0]["id"]
    run(place, says("Later."), job_id="later")
    assert here("log", "--job", "later", "--checkpoint", point, cwd=place).code == 1
    assert here("log", "--checkpoint", point, cwd=place).code == 0


# Where ----------------------------------------------------------------------------------------------------


def test_the_storage_path_and_the_workspace_say_where_to_look(
    here: Here, place: Path, tmp_path: Path
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = {"PERSTACK_STORAGE_PATH": str(place / "perstack")}
    assert here("log", cwd=elsewhere).out == "No data found\n"
    assert read(here("log", "--json", cwd=elsewhere, env=env))["job"]["id"] == "story"
    named = here("log", "--json", "--workspace", str(place), cwd=elsewhere)
    assert read(named)["job"]["id"] == "story"
    assert here("log", "--workspace", ".", cwd=elsewhere, env=env).out == "No data found\n"


def test_a_job_that_has_not_begun_hides_no_other(here: Here, place: Path):
    (place / "perstack" / "jobs" / "newest").mkdir()
    assert read(here("log", "--json", cwd=place))["job"]["id"] == "story"
    (place / "perstack" / "jobs" / "newest" / "log.jsonl").touch()
    assert read(here("log", "--json", cwd=place))["job"]["id"] == "story"
    newest = here("log", "--job", "newest", cwd=place)
    assert (newest.code, newest.out) == (0, "No data found\n")


def test_a_job_that_has_only_begun_is_shown_without_events(here: Here, place: Path):
    path = log_of(place, "story")
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n")
    for args in ((), ("--runs",), ("--summary",)):
        told = here("log", *args, cwd=place).out
        assert "Job: story (running)\n" in told
        assert "Interrupted: no process is at it." in told
    assert read(here("log", "--json", cwd=place))["events"] == []
    assert here("replay", "story", cwd=place) == Ran(0, "", "")
    assert here("replay", "story", "--output", "text", cwd=place) == Ran(0, "", "")


def test_a_job_whose_process_was_killed_says_how_to_go_on(here: Here, workspace: Path):
    hint = "Interrupted: no process is at it. Go on with: perstack run worker --continue-job job\n"
    with ModelServer([Hangs(), Says("done")]) as server:
        process = begun("run", "worker", "Go", "--job-id", "job", cwd=workspace, env=keys(server))
        server.wait_until(lambda server: bool(server.requests), LONG_S)
        at_work = here("log", cwd=workspace).out
        process.kill()
        ended(process)
        left = here("log", cwd=workspace).out
        again = here("run", "worker", "--continue-job", "job", cwd=workspace, env=keys(server))
    assert "Job: job (running)\n" in at_work
    assert "Interrupted" not in at_work
    assert hint in left
    assert again.code == 0
    assert "Interrupted" not in here("log", cwd=workspace).out


def test_reading_changes_nothing(here: Here, place: Path):
    def files() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in place.rglob("*") if p.is_file()}

    before = files()
    for args in (("log",), ("log", "--runs"), ("log", "--json", "--job", "story")):
        here(*args, cwd=place)
    assert files() == before


def test_help_lists_every_option(here: Here, workspace: Path):
    ran = here("log", "--help", cwd=workspace)
    assert ran.code == 0
    assert "View execution history" in ran.out
    for option in (
        *("--job", "--run", "--checkpoint", "--step", "--type", "--errors", "--tools"),
        *("--delegations", "--filter", "--take", "--offset", "--context", "--json", "--pretty"),
        *("--verbose", "--messages", "--summary", "--runs", "--jobs", "--expert", "--since"),
        *("--status", "--workspace", "--full-events"),
    ):
        assert option in ran.out
