"""Every event in every phase: what may follow, and that all else is refused at once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from perstack.job import (
    FORMAT,
    ApprovalAnswered,
    ApprovalAsked,
    AskAnswered,
    Asked,
    CalledBy,
    Event,
    Failure,
    IllegalEvent,
    Job,
    Replied,
    ReplyFailed,
    Resumed,
    Rewound,
    RunFinished,
    RunStarted,
    Stopped,
    Text,
    ToolCalled,
    ToolReturned,
    Usage,
    UserSpoke,
    apply,
    fold,
    may_follow,
)

from .driver import CANCEL, call, delegate, done, opening, says, started

OK = (Text(text="ok"),)


def replied(*calls: str, cut: bool = False) -> Replied:
    kinds = {"d": delegate("d"), "z": done("z"), "q": call("q", "ask", "ask")}
    message = says("words", *(kinds.get(id) or call(id) for id in calls))
    return Replied(run="root", message=message, usage=Usage(), cut=cut)


CHILD = RunStarted(
    run="child", expert="scout", query="q", instruction="Look.", by=CalledBy(run="root", call="d")
)
ASKED = (*opening(), replied("t", "d", "q", "z"))
QUESTION = Asked(run="root", call="t", message="Sure?", schema={"type": "object"})
ANSWER = AskAnswered(run="root", call="t", content={})
HELD = ApprovalAsked(run="root", call="t", rule="read")
ALLOWED = ApprovalAnswered(run="root", call="t", approved=True)
REFUSED = ApprovalAnswered(run="root", call="t", approved=False, text="No.")
SILENT = Replied(run="root", message=says("", done("z")), usage=Usage())
CONCLUDING = (*opening(), SILENT, ToolReturned(run="root", call="z", parts=OK, ends=True))

STATES: dict[str, tuple[Event, ...]] = {
    "nothing": (),
    "no root": opening()[:1],
    "Thinking": opening(),
    "Acting": ASKED,
    "begun": (*ASKED, ToolCalled(run="root", call="t")),
    "in doubt": (*ASKED, ToolCalled(run="root", call="t"), Resumed()),
    "asked": (*ASKED, ToolCalled(run="root", call="t"), QUESTION),
    "asked and answered": (*ASKED, ToolCalled(run="root", call="t"), QUESTION, ANSWER),
    "held": (*ASKED, HELD),
    "allowed": (*ASKED, HELD, ALLOWED),
    "refused": (*ASKED, HELD, REFUSED),
    "returned": (*ASKED, ToolReturned(run="root", call="t", parts=OK)),
    "child": (*ASKED, CHILD),
    "child done": (*ASKED, CHILD, RunFinished(run="child", outcome="failed", text="no")),
    "Concluding": CONCLUDING,
    "Answered": (*opening(), replied()),
    "Done": (*opening(), replied(), RunFinished(run="root", outcome="completed")),
    "stopped": (*opening(), Stopped(reason="bug", what="Oops")),
    "cancelled": (*opening(), CANCEL),
}

EVENTS: dict[str, Event] = {
    "JobStarted": started(),
    "Resumed": Resumed(),
    "Rewound": Rewound(to=1),
    "RunStarted": opening()[1],
    "RunStarted child": CHILD,
    "RunStarted by a tool call": replace(CHILD, run="other", by=CalledBy(run="root", call="t")),
    "Replied": replied(),
    "Replied with calls": replied("t"),
    "Replied with one id twice": replied("t", "t"),
    "Replied, cut": replied(cut=True),
    "ReplyFailed": ReplyFailed(run="root", failure=Failure(name="E", message="e")),
    "ToolCalled": ToolCalled(run="root", call="t"),
    "ToolCalled delegate": ToolCalled(run="root", call="d"),
    "ToolReturned": ToolReturned(run="root", call="t", parts=OK),
    "ToolReturned ask": ToolReturned(run="root", call="q", parts=OK),
    "ToolReturned delegate": ToolReturned(run="root", call="d", parts=OK),
    "ToolReturned unknown": ToolReturned(run="root", call="?", parts=OK),
    "Asked": QUESTION,
    "Asked by a delegate": replace(QUESTION, call="d"),
    "AskAnswered": ANSWER,
    "AskAnswered ask": replace(ANSWER, call="q"),
    "ApprovalAsked": HELD,
    "ApprovalAsked of a delegate": replace(HELD, call="d"),
    "ApprovalAnswered": ALLOWED,
    "ApprovalAnswered, no": REFUSED,
    "ApprovalAnswered ask": replace(ALLOWED, call="q"),
    "UserSpoke": UserSpoke(text="Hi"),
    "CancelRequested": CANCEL,
    "Stopped": Stopped(reason="interrupted", what="SIGINT"),
    "RunFinished": RunFinished(run="root", outcome="cancelled"),
    "Replied of no run": Replied(run="nobody", message=says("x"), usage=Usage()),
}

ANYTIME = {"Resumed", "CancelRequested", "Stopped", "UserSpoke"}
ACTING = ANYTIME | {"RunFinished", "ToolReturned ask"}
ASKING = ANYTIME | {"RunFinished", "Replied", "Replied, cut", "ReplyFailed"}

FREE = ACTING | {"RunStarted child", "ToolCalled", "ToolReturned", "ToolReturned delegate"}

MAY_FOLLOW: dict[str, set[str]] = {
    "nothing": {"JobStarted"},
    "no root": (ANYTIME - {"UserSpoke"}) | {"Rewound", "RunStarted"},
    "Thinking": ASKING | {"Replied with calls"},
    "Acting": FREE | {"ApprovalAsked"},
    "begun": ACTING | {"RunStarted child", "ToolReturned", "ToolReturned delegate", "Asked"},
    "asked": ACTING | {"RunStarted child", "ToolReturned delegate", "AskAnswered"},
    "asked and answered": FREE | {"ApprovalAsked"},
    "held": ACTING
    | {"RunStarted child", "ToolReturned delegate", "ApprovalAnswered", "ApprovalAnswered, no"},
    "allowed": FREE,
    "refused": FREE - {"ToolCalled"},
    "in doubt": ACTING | {"RunStarted child", "ToolReturned", "ToolReturned delegate"},
    "returned": ACTING | {"RunStarted child", "ToolReturned delegate"},
    "child": ACTING | {"ToolCalled", "ToolReturned", "ApprovalAsked"},
    "child done": ACTING | {"ToolCalled", "ToolReturned", "ToolReturned delegate", "ApprovalAsked"},
    "Concluding": ASKING,
    "Answered": ANYTIME | {"RunFinished"},
    "Done": {"Resumed", "UserSpoke"},
    "stopped": {"Resumed"},
    "cancelled": ASKING | {"Replied with calls"},
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_cannot_follow_is_refused_at_once(state: str, event: str):
    job = fold(STATES[state])
    if event in MAY_FOLLOW[state]:
        after = apply(job, EVENTS[event])
        assert after.seq == job.seq + 1
        assert may_follow(job, EVENTS[event])
    else:
        with pytest.raises(IllegalEvent):
            apply(job, EVENTS[event])
        assert not may_follow(job, EVENTS[event])


def test_the_table_names_every_kind_of_event():
    assert {type(event) for event in EVENTS.values()} == set(Event.__args__)


def test_an_interrupted_call_begins_again_only_if_it_may_be_repeated():
    begun = STATES["in doubt"]
    assert not may_follow(fold(begun), EVENTS["ToolCalled"])
    safe = Replied(run="root", message=says("", replace(call("t"), repeatable=True)), usage=Usage())
    job = fold([*opening(), safe, ToolCalled(run="root", call="t"), Resumed()])
    assert may_follow(job, EVENTS["ToolCalled"])


def test_a_log_of_a_newer_format_is_refused():
    newer = replace(started(), format=FORMAT + 1)
    with pytest.raises(IllegalEvent):
        apply(Job(), newer)


def test_a_call_that_has_its_answer_takes_no_second_delegate():
    again = replace(CHILD, run="other")
    assert not may_follow(fold(STATES["child"]), again)
    assert not may_follow(fold(STATES["child"]), CHILD)
    answered = (*ASKED, ToolReturned(run="root", call="d", parts=OK))
    assert not may_follow(fold(answered), again)


def test_a_place_in_the_log_is_taken_once():
    job = fold(replace(event, seq=place) for place, event in enumerate(opening(), 1))
    assert not may_follow(job, Resumed(seq=2))
    assert may_follow(job, Resumed(seq=3))


def test_a_job_has_one_root():
    second = RunStarted(run="second", expert="lead", query="q", instruction="i")
    assert not may_follow(fold(STATES["Thinking"]), second)
    assert not may_follow(fold(STATES["Done"]), second)
