"""A history is a tuple that grows without being copied."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.job import ExpertMessage, History, Message, Text, fold, said

from .driver import World, call, run, says

texts = st.lists(st.text(max_size=3), max_size=8)


def messages(words: Sequence[str]) -> tuple[Message, ...]:
    return tuple(said(word) for word in words)


@given(
    first=texts, more=st.lists(texts, max_size=5), start=st.integers(-9, 9), stop=st.integers(-9, 9)
)
def test_a_history_behaves_as_the_tuple_of_its_messages(
    first: list[str], more: list[list[str]], start: int, stop: int
):
    history, same = History(messages(first)), messages(first)
    for words in more:
        history, same = history.plus(*messages(words)), same + messages(words)
    assert tuple(history) == same
    assert len(history) == len(same)
    assert history[start:stop] == same[start:stop]
    assert history[::-2] == same[::-2]
    assert [history[place] for place in range(-len(same), len(same))] == [*same, *same]
    assert history == History(same)
    assert bool(history) == bool(same)
    for place in (len(same), -len(same) - 1):
        with pytest.raises(IndexError):
            history[place]


@given(data=st.data())
def test_old_views_never_change_however_histories_part(data: st.DataObject):
    grown: list[tuple[History, tuple[Message, ...]]] = [(History(), ())]
    for number in range(data.draw(st.integers(1, 20))):
        history, same = data.draw(st.sampled_from(grown))
        words = messages([f"{number}.{n}" for n in range(data.draw(st.integers(0, 3)))])
        grown.append((history.plus(*words), same + words))
    for history, same in grown:
        assert tuple(history) == same


def test_a_history_that_grows_shares_and_one_that_parts_copies():
    trunk = History(messages("ab"))
    grown = trunk.plus(said("c"))
    parted = trunk.plus(said("d"))
    assert grown.grew_from(trunk)
    assert trunk.grew_from(trunk)
    assert not trunk.grew_from(grown)
    assert not parted.grew_from(trunk)
    assert (grown[-1].text, parted[-1].text) == ("c", "d")
    assert parted != grown


def test_a_history_is_equal_only_to_a_history():
    assert History() != ()
    assert History(messages("a")) != History(messages("b"))
    assert repr(History(messages("a"))).startswith("History([UserMessage(")


def test_a_history_has_no_hash():
    with pytest.raises(TypeError):
        hash(History())


def test_text_of_a_message_is_its_texts_put_together():
    message = ExpertMessage(texts=(Text(text="a"), Text(text="b")))
    assert message.text == "ab"


def test_the_whole_life_of_a_run_is_one_shared_history():
    world = World({("", n): says("", call("t")) for n in range(1, 50)})
    job, log = run(world)
    state = fold(log.events[:2])
    assert state.root_run is not None
    for event in log.events[2:]:
        before, state = state, fold([event], state)
        assert before.root_run is not None
        assert state.root_run is not None
        assert state.root_run.history.grew_from(before.root_run.history)
    assert state == job


def test_each_request_carries_a_history_that_grew_from_the_one_before():
    world = World({("", n): says("", call("t")) for n in range(1, 20)})
    run(world)
    for before, after in zip(world.asked, world.asked[1:], strict=False):
        assert after.history.grew_from(before.history)
