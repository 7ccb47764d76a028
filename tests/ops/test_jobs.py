"""What is read of jobs that are kept: lists, histories, runs, and whether a log is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from perstack.dialect import checkpoints, encode_wire, tell
from perstack.errors import CorruptLog, UserError
from perstack.job import (
    CancelRequested,
    Event,
    Replied,
    Resumed,
    Rewound,
    RunFinished,
    Stopped,
    Usage,
    UserSpoke,
    encode_event,
)
from perstack.ops.history.compare import compare
from perstack.ops.history.jobs import (
    History,
    Which,
    history_root,
    job_ids_of,
    jobs_of,
    load_history,
    need_history,
    store_at,
    usual_voice,
)
from perstack.ops.history.replay import Verified, parting_of, verify
from perstack.store import Summary
from perstack.testing import MemoryStore, ScriptedModel, calls, fails, says

from .test_jobs_story import STORY, events_of, log_of, run, tell_story, workspace_in, write_log


def history_of(workspace: Path, job: str = "story") -> History:
    root = workspace / "perstack"
    return anyio.run(need_history, store_at(root), root, job)


def verified(workspace: Path, job: str = "story") -> Verified:
    root = workspace / "perstack"
    return anyio.run(verify, store_at(root), root, job)


# Which jobs -----------------------------------------------------------------------------------------------


def test_the_workspace_goes_before_the_environment_before_the_working_directory(tmp_path: Path):
    env = {"PERSTACK_STORAGE_PATH": "/elsewhere"}
    assert history_root(Path("w"), env, tmp_path) == tmp_path / "w" / "perstack"
    assert history_root(None, env, tmp_path) == Path("/elsewhere")
    assert history_root(None, {"PERSTACK_STORAGE_PATH": "rel"}, tmp_path) == tmp_path / "rel"
    assert history_root(None, {"PERSTACK_STORAGE_PATH": ""}, tmp_path) == tmp_path / "perstack"


def test_jobs_are_chosen_by_expert_time_and_status(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    run(workspace, says("fine"), job_id="good")
    run(workspace, fails(retryable=False), job_id="bad")
    store = store_at(workspace / "perstack")

    def ids(which: Which) -> list[str]:
        jobs = anyio.run(jobs_of, store, which)
        assert anyio.run(job_ids_of, store, which) == tuple(job.job for job in jobs)
        return [job.job for job in jobs]

    first, last = [job.updated_at for job in reversed(anyio.run(jobs_of, store, Which()))]
    assert ids(Which()) == ["bad", "good"]
    assert ids(Which(statuses=("completed",))) == ["good"]
    assert ids(Which(statuses=("completed", "failed"))) == ["bad", "good"]
    assert ids(Which(expert="lead")) == ["bad", "good"]
    assert ids(Which(expert="lea")) == []
    assert ids(Which(since=first)) == ["bad", "good"]
    assert ids(Which(since=last + 1)) == []


def test_an_expert_is_meant_with_any_of_its_versions():
    job = Summary(job="j", status="completed", expert="@acme/reader@1.2.0")
    assert Which(expert="@acme/reader").fits(job)
    assert Which(expert="@acme/reader@1.2.0").fits(job)
    assert not Which(expert="@acme/reader@1").fits(job)


def test_there_is_no_history_of_a_job_that_never_began(tmp_path: Path):
    store = store_at(tmp_path)
    assert anyio.run(load_history, store, tmp_path, "none") is None
    with pytest.raises(UserError, match="There is no job none"):
        anyio.run(need_history, store, tmp_path, "none")


# One job --------------------------------------------------------------------------------------------------


def test_what_is_told_of_a_job_is_what_the_dialect_tells(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    events = tell_story(workspace)
    for full in (False, True):
        told = history_of(workspace).told(full=full)
        spoken = [
            msgspec.to_builtins(event)
            for event in tell(events, usual_voice(full=full))
            if hasattr(event, "expert_key")
        ]
        assert [event.json for event in told] == spoken


def test_checkpoints_are_those_of_the_dialect_and_one_is_told_with_its_messages(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    events = tell_story(workspace)
    history = history_of(workspace)
    whole = [point for _, point in checkpoints(events, usual_voice(full=True))]
    assert history.checkpoints(full=True) == whole
    assert history.checkpoints() == [replace(point, messages=None) for point in whole]
    for point in whole:
        assert history.checkpoint(point.id) == point
        assert history.has_checkpoint(point.id)
        assert history.has_run(point.run_id)
    assert history.checkpoint("none") is None
    assert not history.has_checkpoint("none")
    assert not history.has_run("none")


def test_a_failed_call_is_told_once_by_the_first_event_that_tells_of_it(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    tell_story(workspace)
    failures = [
        (told.seq, told.type, [call.tool for call in told.failed])
        for told in history_of(workspace).told()
        if told.failed
    ]
    assert failures == [(6, "resolveToolResults", ["readTextFile"])]


def test_a_failed_call_beside_a_delegate_or_beside_the_end_is_told_too(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    missing = ("readTextFile", {"path": "missing.txt"})
    script = {
        ("", 1): calls(missing, ("helper", {"query": "q"})),
        ("/1.2", 1): says("a"),
        ("", 2): calls(missing, ("attemptCompletion", {}), text="The end."),
    }
    run(workspace, script, job_id="j")
    failures = [told.type for told in history_of(workspace, "j").told() if told.failed]
    assert failures == ["callDelegate", "completeRun"]


def test_the_runs_of_a_job_with_what_each_cost(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    tell_story(workspace)
    root, helper = history_of(workspace).runs()
    assert (root.path, root.expert, root.status, root.steps) == ("", "lead", "completed", 4)
    assert (helper.path, helper.expert, helper.status) == ("/2.1", "@acme/helper", "completed")
    assert (helper.query, helper.by, helper.steps) == ("Add two\nto the plan", root.id, 2)
    assert root.usage == Usage(input_tokens=400, output_tokens=80)
    assert root.usage + helper.usage == history_of(workspace).job.usage
    assert root.started_at < helper.started_at < helper.finished_at < root.finished_at


def test_runs_that_wait_or_were_put_down_say_so_and_one_spoken_to_again_goes_on(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    ask = calls(("askUser", {}))

    def statuses(job: str) -> list[str]:
        return [row.status for row in history_of(workspace, job).runs()]

    run(workspace, ask, job_id="asks")
    assert statuses("asks") == ["waiting"]
    run(workspace, calls(("todo", {})), job_id="stops", max_steps=1)
    assert statuses("stops") == ["stopped"]
    run(workspace, says("one"), job_id="again")
    run(workspace, ask, query="and two?", continue_job="again")
    assert statuses("again") == ["waiting"]
    run(workspace, fails(retryable=False), job_id="fails")
    assert statuses("fails") == ["failed"]


def rewound_story(workspace: Path) -> tuple[Event, ...]:
    """The story, gone back to before the question and told to its end another way."""
    tell_story(workspace)
    point = next(p for p in history_of(workspace).checkpoints() if p.step_number == 6)
    run(workspace, says("Otherwise."), query="", continue_job="story", checkpoint=point.id)
    return events_of(store_at(workspace / "perstack"), "story")


def test_what_a_rewind_left_behind_is_told_and_marked(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    events = rewound_story(workspace)
    place = next(event for event in events if isinstance(event, Rewound))
    history = history_of(workspace)
    told = history.told()
    assert {event.seq for event in told if event.rewound} == {
        event.seq for event in told if place.to < event.seq < place.seq
    }
    assert [event.json for event in told] == [
        msgspec.to_builtins(event)
        for event in tell(events, usual_voice())
        if hasattr(event, "expert_key")
    ]
    assert (history.job.done and history.job.done.text) == "Otherwise."
    assert len(list(history.moments(all=True))) == len(events)
    assert len(list(history.moments())) == len(events) - (place.seq - place.to - 1)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Event, ...]:
    return tell_story(workspace_in(tmp_path_factory.mktemp("story")))


STRANGE: tuple[Event, ...] = (
    *(Rewound(to=seq) for seq in (3, 5, 9, 50)),
    Resumed(),
    CancelRequested(),
    UserSpoke(text="And?"),
    Stopped(reason="limit", what="maxSteps 1"),
)


def first_wrong(log: list[Event]) -> int:
    """The event that cannot follow, 0 if there is none."""
    try:
        History(log, "log")
    except CorruptLog as error:
        return error.seq
    return 0


@settings(max_examples=150, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_a_log_with_events_lost_doubled_or_moved_is_told_or_refused_and_nothing_else(
    random: Random, story: tuple[Event, ...]
):
    log = list(story)
    for _ in range(random.randint(1, 3)):
        a, b = random.randrange(len(log)), random.randrange(len(log))
        match random.randrange(5):
            case 0 if len(log) > 1:
                del log[a]
            case 1:
                log.insert(b, log[a])
            case 2:
                log[a], log[b] = log[b], log[a]
            case 3:
                log = log[: a + 1]
            case _:
                log.insert(a, random.choice(STRANGE))
    log = [replace(event, seq=seq) for seq, event in enumerate(log, 1)]
    wrong = first_wrong(log)
    if wrong:
        assert wrong == 1 or not first_wrong(log[: wrong - 1])
        return
    history = History(log, "log")
    assert len(history.told()) == len(history.told(full=True))
    assert len(history.checkpoints()) == len(history.checkpoints(full=True))
    assert compare(history, history).alike
    history.runs()


def test_a_job_that_has_only_begun_has_a_history(tmp_path: Path, story: tuple[Event, ...]):
    history = History(story[:1], "log")
    assert (history.id, history.told(), history.checkpoints(), history.runs()) == (
        "story",
        [],
        [],
        (),
    )
    assert compare(history, history).alike


# Whether a log is whole -----------------------------------------------------------------------------------


def test_a_whole_log_is_verified_with_its_size_and_its_last_sum(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    events = tell_story(workspace)
    lines = log_of(workspace, "story").read_bytes().splitlines()
    whole = verified(workspace)
    assert whole == Verified(
        job="story", events=len(events), sum=msgspec.json.decode(lines[-1])["sum"], told=whole.told
    )
    assert whole.told == len(list(tell(events, usual_voice())))


def test_every_flipped_byte_of_a_log_is_found(tmp_path: Path):
    """Each with the event it is in, or the one after, when it is the end of a line."""
    workspace = workspace_in(tmp_path)
    run(workspace, says("Hi."), job_id="j")
    path = log_of(workspace, "j")
    data = path.read_bytes()
    store, root = store_at(workspace / "perstack"), workspace / "perstack"

    async def unfound() -> list[int]:
        missed: list[int] = []
        with path.open("r+b", buffering=0) as file:
            for place in range(len(data)):
                file.seek(place)
                file.write(bytes([data[place] ^ (1 << place % 8)]))
                try:
                    await verify(store, root, "j")
                    missed.append(place)
                except CorruptLog as error:
                    if error.seq != data[:place].count(b"\n") + 1:
                        missed.append(place)
                file.seek(place)
                file.write(data[place : place + 1])
        return missed

    assert anyio.run(unfound) == []
    assert path.read_bytes() == data
    assert verified(workspace, "j").events == data.count(b"\n")


def test_a_lost_doubled_or_swapped_line_is_found(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    tell_story(workspace)
    path = log_of(workspace, "story")
    lines = path.read_bytes().splitlines(keepends=True)
    for wrong, seq in (
        ([*lines[:4], *lines[5:]], 5),
        ([*lines[:5], lines[4], *lines[5:]], 6),
        ([*lines[:4], lines[5], lines[4], *lines[6:]], 5),
        ([*lines[1:]], 1),
        ([*lines, b"\n"], len(lines) + 1),
    ):
        path.write_bytes(b"".join(wrong))
        with pytest.raises(CorruptLog) as found:
            verified(workspace)
        assert found.value.seq == seq


def test_a_chain_that_is_whole_does_not_excuse_an_event_that_cannot_follow(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    store = MemoryStore()
    run(workspace, says("Hi."), job_id="j", store=store)
    *begin, reply, end = events_of(store, "j")
    assert isinstance(reply, Replied)
    assert isinstance(end, RunFinished)
    forged = (*begin, replace(end, seq=reply.seq), replace(reply, seq=end.seq))
    write_log(workspace, "j", forged)
    with pytest.raises(CorruptLog, match="it cannot follow: Replied while Done") as found:
        verified(workspace, "j")
    assert found.value.seq == end.seq


def test_a_rewind_to_where_the_log_has_not_been_is_found(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    store = MemoryStore()
    run(workspace, says("Hi."), job_id="j", store=store)
    events = events_of(store, "j")
    ahead = Rewound(seq=len(events) + 1, at=events[-1].at, to=len(events) + 5)
    write_log(workspace, "j", (*events, ahead))
    with pytest.raises(CorruptLog, match="which is not before it") as found:
        verified(workspace, "j")
    assert found.value.seq == ahead.seq


def forged(change: Callable[[bytes], bytes], workspace: Path, seq: int) -> None:
    """The story with the body of one line changed, and sums that are right again."""
    path = log_of(workspace, "story")
    total, lines = "", list[bytes]()
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        body = line.rpartition(b',"sum":"')[0] + b"}"
        body = change(body) if number == seq else body
        total = hashlib.sha256(total.encode() + body).hexdigest()
        lines.append(body[:-1] + f',"sum":"{total}"}}\n'.encode())
    path.write_bytes(b"".join(lines))


def test_a_line_we_would_write_otherwise_is_found(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    tell_story(workspace)
    forged(lambda body: body.replace(b'"seq":3,', b'"seq": 3,'), workspace, 3)
    with pytest.raises(CorruptLog, match="written again it is not the same bytes") as found:
        verified(workspace)
    assert found.value.seq == 3


def test_a_line_with_a_member_nobody_knows_is_found(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    tell_story(workspace)
    forged(lambda body: body[:-1] + b',"wish":1}', workspace, 4)
    with pytest.raises(CorruptLog) as found:
        verified(workspace)
    assert found.value.seq == 4


def test_members_that_an_older_version_left_out_are_no_fault(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    events = tell_story(workspace)
    forged(
        lambda body: body.replace(b',"providerToolOptions":{}', b""),
        workspace,
        1,
    )
    assert (verified(workspace).grown, verified(workspace).events) == (1, len(events))


@pytest.mark.parametrize("cut_bytes", [1, 2, 70, 100])
def test_half_an_event_at_the_end_is_left_out_and_said(tmp_path: Path, cut_bytes: int):
    workspace = workspace_in(tmp_path)
    count = len(tell_story(workspace))
    path = log_of(workspace, "story")
    data = path.read_bytes()
    path.write_bytes(data[:-cut_bytes])
    whole = verified(workspace)
    if cut_bytes == 1:  # only its newline is missing: the event is in the log
        assert (whole.events, whole.tail) == (count, 0)
    else:
        last = data.splitlines(keepends=True)[-1]
        assert (whole.events, whole.tail) == (count - 1, len(last) - cut_bytes)


# A recorded stream ----------------------------------------------------------------------------------------


def recorded_story(workspace: Path) -> tuple[list[bytes], list[bytes]]:
    """What the two processes of the story said on stdout, with everything that was streamed."""
    streams: list[list[bytes]] = [[], []]

    def listener(stream: int) -> Callable[[dict[str, object]], None]:
        return lambda event: streams[stream].append(msgspec.json.encode(event) + b"\n")

    model = ScriptedModel(STORY)
    run(workspace, model=model, job_id="story", listener=listener(0))
    run(
        workspace,
        query="blue",
        model=model,
        listener=listener(1),
        continue_job="story",
        answer=True,
    )
    return streams[0], streams[1]


def test_a_recording_of_all_or_of_some_processes_is_what_the_log_tells(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    first, second = recorded_story(workspace)
    history = history_of(workspace)
    assert any(b'"streamReasoning"' in line for line in first)
    for recording in ([*first, *second], first, second):
        assert parting_of(b"".join(recording), history) is None
        assert parting_of(b"\n".join(recording), history) is None
    told = [encode_wire(event) for event in tell(history.events, usual_voice(full=True))]
    assert parting_of(b"".join(told), history, full=True) is None
    assert parting_of(b"".join(told), history) is not None


def test_the_first_line_that_differs_is_named(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    history_events = tell_story(workspace)
    history = history_of(workspace)
    told = [encode_wire(event) for event in tell(history_events, usual_voice())]
    for place, line in enumerate(told):
        if b"completeStreamingReasoning" in line:
            continue
        changed = [
            *told[:place],
            line.replace(b'"timestamp":1', b'"timestamp":2'),
            *told[place + 1 :],
        ]
        parting = parting_of(b"".join(changed), history)
        assert parting is not None
        assert (parting.line, parting.told) == (place + 1, line[:-1])
        assert history.events[parting.seq - 1].seq == parting.seq
    short = parting_of(b"".join(told[:-1]), history)
    assert short is not None
    assert (short.line, short.recorded, short.seq) == (len(told), None, history_events[-1].seq)
    long = parting_of(b"".join([*told, b"not JSON\n"]), history)
    assert long is not None
    assert (long.line, long.recorded, long.told, long.seq) == (len(told) + 1, b"not JSON", None, 0)
    assert parting_of(b"", history) is not None


def test_a_log_reads_the_same_as_it_was_encoded(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    events = tell_story(workspace)
    assert history_of(workspace).events == events
    assert encode_event(events[0])[0] == log_of(workspace, "story").read_bytes().splitlines(True)[0]
