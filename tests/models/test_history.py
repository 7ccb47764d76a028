"""A history on its way to a model is whole, whatever the log holds."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from perstack.job import (
    Call,
    ExpertMessage,
    History,
    Image,
    Message,
    Text,
    Thought,
    ToolMessage,
    UserMessage,
    said,
)
from perstack.models.history import GO_ON, NO_RESULT, Repair, written_by
from perstack.models.wires.wire import Pieces


def repaired(history: History) -> tuple[Message, ...]:
    """All that is sent of `history`, in order."""
    repair = Repair()
    sent = [out for message in history for out in repair.add(message)]
    return (*sent, *repair.rest())


class Texts:
    """Messages as bytes, for `Pieces` to follow."""

    def __init__(self) -> None:
        self.all: list[bytes] = []

    def add(self, message: Message) -> None:
        self.all.append(msgspec.json.encode(message))


def asks(*ids: str) -> ExpertMessage:
    return ExpertMessage(calls=tuple(Call(id=id, tool="read") for id in ids), model="anthropic/m")


def result(id: str) -> ToolMessage:
    return ToolMessage(call=id, tool="read", parts=(Text(text="ok"),))


def missing(id: str) -> ToolMessage:
    return ToolMessage(call=id, tool="read", parts=(Text(text=NO_RESULT),), is_error=True)


def test_a_history_that_is_whole_is_sent_as_it_is():
    messages = (said("a"), asks("x", "y"), result("x"), result("y"), asks("z"), result("z"))
    assert repaired(History(messages)) == messages


def test_missing_results_stand_where_the_conversation_went_on():
    history = History([said("a"), asks("x", "y"), result("x"), said("b"), asks("z")])
    assert repaired(history) == (
        said("a"),
        asks("x", "y"),
        result("x"),
        missing("y"),
        said("b"),
        asks("z"),
        missing("z"),
    )


def test_a_result_counts_once_and_only_for_the_last_reply():
    history = History([said("a"), asks("x"), result("x"), result("x"), asks("y"), result("x")])
    assert repaired(history) == (said("a"), asks("x"), result("x"), asks("y"), missing("y"))


def test_an_image_without_words_is_not_empty():
    message = UserMessage(parts=(Image(data="aQ==", mime_type="image/png"),))
    assert repaired(History([message])) == (message,)


def test_a_reply_without_calls_is_answered():
    reply = ExpertMessage(texts=(Text(text="cut o"),))
    assert repaired(History([said("a"), reply])) == (said("a"), reply, said(GO_ON))


def test_thoughts_belong_to_the_provider_that_wrote_them():
    assert written_by("anthropic", asks("x"))
    assert not written_by("anthropic", ExpertMessage(model="anthropics/m"))
    assert not written_by("anthropic", ExpertMessage())


IDS = st.sampled_from(["a", "b", "c"])
MESSAGES: st.SearchStrategy[list[Message]] = st.lists(
    st.one_of(
        st.sampled_from([said("words"), said(""), said(" ")]),
        IDS.map(result),
        st.lists(IDS, unique=True, max_size=3).map(lambda ids: asks(*ids)),
        st.just(ExpertMessage(texts=(Text(text="reply"),))),
        st.just(ExpertMessage(thoughts=(Thought(text="hm"),))),
    ),
    max_size=12,
)


@given(MESSAGES)
def test_whatever_the_log_holds_each_call_has_its_result_and_no_result_is_alone(
    messages: list[Message],
):
    sent = repaired(History(messages))
    owed: list[str] = []
    for message in sent:
        match message:
            case ToolMessage():
                assert message.call in owed
                owed.remove(message.call)
            case ExpertMessage():
                assert not owed
                assert message.calls or message.text
                owed = [call.id for call in message.calls]
            case UserMessage():
                assert not owed
                assert message.text.strip()
    assert not owed
    assert not sent or not isinstance(sent[-1], ExpertMessage)


@given(MESSAGES)
def test_what_was_sent_stays_a_prefix_but_for_what_stood_in_for_results_yet_to_come(
    messages: list[Message],
):
    repair = Repair()
    before: tuple[Message, ...] = ()
    for count in range(len(messages) + 1):
        now = repaired(History(messages[:count]))
        assert now[: len(before)] == before
        if count < len(messages):
            before = (*before, *repair.add(messages[count]))


@given(MESSAGES, st.data())
def test_pieces_follow_a_history_through_growth_and_branches(
    messages: list[Message], data: st.DataObject
):
    pieces, history = Pieces(), History()
    for message in messages:
        if data.draw(st.integers(0, 5)) == 0:
            history = History(history[: data.draw(st.integers(0, len(history)))])
        history = history.plus(message)
        key = data.draw(st.booleans())
        assert pieces.follow(history, Texts, key).all == [msgspec.json.encode(m) for m in history]


def test_each_message_is_encoded_once_while_the_conversation_grows():
    pieces, history, made = Pieces(), History([said("go")]), list[Texts]()

    def start() -> Texts:
        made.append(Texts())
        return made[-1]

    for step in range(50):
        assert len(pieces.follow(history, start).all) == len(history)
        history = history.plus(asks(str(step)), result(str(step)))
    assert len(made) == 1
