"""What holds for the telling of every job, whatever happens to it."""

from __future__ import annotations

import json
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.dialect import (
    Voice,
    WireEvent,
    checkpoints,
    encode_wire,
    place_of,
    speak,
    take_up,
    tell,
    voice_of,
)
from perstack.dialect.stream import (
    CompleteStreamingReasoning,
    CompleteStreamingRunResult,
    InitializeRuntime,
    RuntimeEvent,
    StartRun,
    StartStreamingReasoning,
    StartStreamingRunResult,
    StreamReasoning,
    StreamRunResult,
)
from perstack.job import Job, Rewound, UserSpoke, apply, decode_events, fold, lineage

from .check import check_stream
from .story import Story
from .teller import lines, voice, without_histories

STREAMED = (
    StartStreamingReasoning,
    StreamReasoning,
    CompleteStreamingReasoning,
    StartStreamingRunResult,
    StreamRunResult,
    CompleteStreamingRunResult,
)
orders = st.integers(0, 10**6).map(Random)
# a seed, for there is nothing to shrink in what follows from one


def from_the_log(told: list[WireEvent]) -> list[bytes]:
    """The lines that do not depend on what was heard live."""
    return [
        encode_wire(event)
        for event in told
        if not isinstance(event, STREAMED)
        and (not isinstance(event, RuntimeEvent) or isinstance(event, InitializeRuntime))
    ]


@given(dice=orders)
@settings(max_examples=60)
def test_every_job_is_told_in_lines_that_make_a_stream(dice: Random):
    story = Story(dice).run()
    check_stream(lines(story.told), full=False, ended=story.job.done is not None)
    check_stream(
        lines(tell(story.log.events, voice())), full=False, ended=story.job.done is not None
    )


@given(dice=orders)
@settings(max_examples=30)
def test_every_job_is_told_with_whole_histories_that_follow_from_one_another(dice: Random):
    story = Story(dice, full=True).run(most=80)
    check_stream(lines(story.told), full=True, ended=False)


@given(dice=orders)
@settings(max_examples=30)
def test_a_job_with_rewinds_is_told_in_a_stream_too(dice: Random):
    story = Story(dice, full=True, rewinds=True).run(most=80)
    check_stream(lines(story.told), full=True, ended=False)
    check_stream(lines(tell(lineage(story.log.events), voice())), full=False, ended=False)


@given(dice=orders, rewinds=st.booleans())
def test_a_stored_log_is_told_as_it_was_live(dice: Random, rewinds: bool):
    story = Story(dice, rewinds=rewinds).run()
    stored, _ = decode_events(line[:-1] for line in story.log.lines)
    assert from_the_log(list(tell(stored, voice()))) == from_the_log(story.told)


@given(dice=orders, rewinds=st.booleans())
def test_telling_twice_tells_the_same_bytes(dice: Random, rewinds: bool):
    log = Story(dice, rewinds=rewinds).run().log.events
    assert lines(tell(log, voice())) == lines(tell(log, voice()))


@given(dice=orders)
@settings(max_examples=30)
def test_the_compact_telling_is_the_full_one_without_histories(dice: Random):
    log = Story(dice, rewinds=True).run(most=80).log.events
    full = [json.loads(line) for line in lines(tell(log, voice(full=True)))]
    assert without_histories(full) == [json.loads(line) for line in lines(tell(log, voice()))]


@given(dice=orders)
@settings(max_examples=30)
def test_the_voice_keeps_only_runs_at_work(dice: Random):
    story = Story(dice).run()
    told, job = voice(), Job()
    for event in story.log.events:
        before, job = job, apply(job, event)
        told, _ = speak(told, before, event, job)
        assert set(told.segments) == set(job.runs)
        assert set(told.hearing) == set()
    assert take_up(told, job)[0] == voice_of(story.log.events, voice())


@given(dice=orders)
@settings(max_examples=50)
def test_a_checkpoint_is_a_place_to_go_on_from(dice: Random):
    log = Story(dice, rewinds=True).run(most=60).log.events
    stored = list(checkpoints(log, voice(full=True)))
    ids = [checkpoint.id for _, checkpoint in stored]
    assert len(set(ids)) == len(ids)
    if not stored:
        return
    seq, checkpoint = dice.choice(stored)
    assert place_of(log, checkpoint.id) == seq
    again: list[UserSpoke | Rewound] = [
        Rewound(to=seq, seq=len(log) + 1),
        UserSpoke(text="Otherwise.", seq=len(log) + 2),
    ]
    job = fold([*log, again[0]])
    root = voice_of([*log, again[0]], voice()).segments[job.root]
    if root.expert == checkpoint.expert and root.status == checkpoint.status == "completed":
        told = list(tell([*log, *again], Voice(full=True)))
        start = [event for event in told if isinstance(event, StartRun)][-1]
        assert start.initial_checkpoint.messages == checkpoint.messages
