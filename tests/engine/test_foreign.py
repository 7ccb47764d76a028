"""What programs of other vendors say, as facts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.engine import VENDORS
from perstack.engine.foreign.said import (
    Called,
    Ended,
    Parser,
    Returned,
    Said,
    Spoke,
    claude_said,
    cursor_said,
    gemini_said,
)
from perstack.engine.foreign.scribe import NO_RESULT, Scribe
from perstack.engine.foreign.vendors import prompt_of
from perstack.job import (
    Event,
    ExpertMessage,
    Failure,
    Image,
    Job,
    Replied,
    RunFinished,
    Text,
    ToolMessage,
    Usage,
    fold,
    wanted,
)
from tests.fakes import vendor_streams as streams
from tests.job.driver import opening

STREAMS = {
    "claude-code": (claude_said, streams.claude),
    "gemini": (gemini_said, streams.gemini),
    "cursor": (cursor_said, streams.cursor),
}


def facts(said: Iterable[Said], name: str = "vendor", *, fails: bool = False) -> list[Event]:
    scribe = Scribe("root", name, "default")
    found = [event for one in said for event in scribe.hear(one)]
    if fails or scribe.ended is None:
        return [*found, *scribe.fail(Failure(name="RuntimeFailed", message="It broke."))]
    return [*found, *scribe.finish()]


def parsed(parse: Parser, lines: Iterable[dict[str, Any]]) -> list[Said]:
    return [said for line in lines for said in parse(line)]


def after(events: Iterable[Event]) -> Job:
    return fold([*opening(), *events])


@pytest.mark.parametrize("name", STREAMS)
def test_a_run_is_written_down_with_calls_results_and_usage(name: str):
    parse, stream = STREAMS[name]
    told = facts(parsed(parse, stream()), name)
    kinds = [type(event).__name__ for event in told]
    work = ["Replied", "ToolCalled", "ToolCalled", "ToolReturned", "ToolReturned"]
    assert kinds == [*work, "Replied", "RunFinished"]
    job = after(told)
    assert job.done is not None
    assert job.done.outcome == "completed"
    assert job.done.text.endswith(streams.ANSWER)
    assert wanted(job) == ()
    assert job.root_run is not None
    _, asked, first, second, last = job.root_run.history
    assert isinstance(asked, ExpertMessage)
    assert asked.text == "Let me look."
    assert [thought.text for thought in asked.thoughts] == ([] if name == "gemini" else ["Hm."])
    assert {call.skill for call in asked.calls} == {name}
    assert list(asked.calls[0].args.values()) == ["a.txt"]
    assert isinstance(first, ToolMessage)
    assert isinstance(second, ToolMessage)
    assert ("hello" in first.text, first.is_error) == (True, False)
    assert ("Nothing here." in second.text, second.is_error) == (True, True)
    assert isinstance(last, ExpertMessage)
    assert last.text.endswith(streams.ANSWER)
    assert asked.model.startswith(f"{name}/")
    assert not asked.model.endswith("/default")
    assert job.usage == Usage(
        input_tokens=job.usage.input_tokens, output_tokens=30, cached_input_tokens=2000
    )
    assert job.usage.input_tokens in (2208, 2308)


def test_tools_are_named_as_their_vendor_names_them():
    names = {
        name: [s.tool for s in parsed(parse, stream()) if isinstance(s, Called)]
        for name, (parse, stream) in STREAMS.items()
    }
    assert names == {
        "claude-code": ["Read", "Task"],
        "gemini": ["read_file", "glob"],
        "cursor": ["read", "shell"],
    }


def test_the_price_that_claude_code_reports_is_kept():
    (last,) = [e for e in facts(parsed(claude_said, streams.claude())) if getattr(e, "cost", 0)]
    assert isinstance(last, Replied)
    assert last.cost == 12_300


@pytest.mark.parametrize(
    ("parse", "line", "words"),
    [
        (claude_said, {"subtype": "error_max_turns", "is_error": True}, "error_max_turns"),
        (
            claude_said,
            {"subtype": "success", "is_error": True, "result": "Invalid API key"},
            "Invalid",
        ),
        (claude_said, {"subtype": "error_during_execution", "errors": ["a", "b"]}, "a; b"),
        (claude_said, {}, "no reason given"),
        (gemini_said, {"status": "error", "error": {"type": "X", "message": "Quota"}}, "Quota"),
        (gemini_said, {}, "no reason given"),
        (cursor_said, {"subtype": "success", "is_error": True, "error": "boom"}, "boom"),
        (cursor_said, {"subtype": "error", "result": "late"}, "late"),
    ],
)
def test_an_end_that_is_no_success_is_a_failure(parse: Parser, line: dict[str, Any], words: str):
    (said,) = parse({"type": "result", **line})
    assert isinstance(said, Ended)
    assert said.failure is not None
    assert words in said.failure.message


ODD: list[dict[str, Any]] = [
    {},
    {"type": 3},
    {"type": "assistant"},
    {"type": "assistant", "message": "x"},
    {"type": "assistant", "message": {"content": "x", "usage": 3}},
    {"type": "assistant", "message": {"content": [3, {"type": "later"}, {"text": 3}]}},
    {"type": "user", "message": {"content": [{"type": "tool_result"}]}},
    {"type": "tool_call", "subtype": "started"},
    {"type": "tool_call", "subtype": "completed", "tool_call": {"xToolCall": 3}},
    {"type": "tool_call", "subtype": "completed", "tool_call": {"xToolCall": {"result": 3}}},
    {"type": "tool_use"},
    {"type": "tool_result"},
    {"type": "message", "role": "assistant"},
    {"type": "result", "usage": 3, "stats": 3, "total_cost_usd": "x"},
    {"type": "of_a_later_version", "data": {}},
]


@pytest.mark.parametrize("name", STREAMS)
def test_lines_of_any_form_are_borne(name: str):
    parse, stream = STREAMS[name]
    lines = stream()
    for line in ODD:
        parsed(parse, [line])
    unknown = [line for line in ODD if line.get("type") not in ("result",)]
    mixed = [lines[0], *unknown, *lines[1:]]
    job = after(facts(parsed(parse, mixed), name))
    assert job.done is not None
    assert job.done.text.endswith(streams.ANSWER)


def test_a_result_of_claude_code_may_be_a_list_with_pictures():
    image = {"type": "base64", "data": "iVBORw0KGgo=", "media_type": "image/png"}
    content = [{"type": "image", "source": image}, {"type": "text", "text": "a"}, {"type": "new"}]
    block = {"type": "tool_result", "tool_use_id": "t", "content": content}
    (said,) = claude_said({"type": "user", "message": {"content": [block]}})
    assert isinstance(said, Returned)
    picture, text, other = said.parts
    assert picture == Image(data="iVBORw0KGgo=", mime_type="image/png")
    assert text == Text(text="a")
    assert other == Text(text='{"type":"new"}')


def test_older_forms_of_the_streams_are_understood():
    (said,) = gemini_said({"type": "result", "status": "success", "output": "It is done."})
    assert said == Ended(text="It is done.")
    arguments = {"function": {"name": "grep", "arguments": '{"pattern": "x"}'}}
    (said,) = cursor_said(
        {"type": "tool_call", "subtype": "started", "call_id": "1", "tool_call": arguments}
    )
    assert said == Called("1", "grep", {"pattern": "x"})
    whole = [
        {"type": "assistant", "message": {"content": [{"type": "text", "text": t}]}} for t in "ab"
    ]
    end = [{"type": "result", "subtype": "success", "is_error": False}]
    job = after(facts(parsed(cursor_said, [*whole, *end])))
    assert job.done is not None
    assert job.done.text == "ab"


def test_a_program_that_breaks_off_leaves_what_it_said():
    said = [
        Spoke("Let me look."),
        Called("a", "Read", {}),
        Returned("a", (Text(text="x"),)),
        Spoke("So"),
    ]
    job = after(facts(said))
    assert job.done is not None
    assert (job.done.outcome, job.done.text) == ("failed", "It broke.")
    assert job.root_run is not None
    assert [type(m).__name__ for m in job.root_run.history] == [
        "UserMessage",
        "ExpertMessage",
        "ToolMessage",
        "ExpertMessage",
    ]


def test_what_a_failed_run_took_is_kept():
    usage = Usage(input_tokens=9, output_tokens=4)
    ended = Ended(failure=Failure(name="x", message="y"), usage=usage)
    job = after(facts([Called("a", "Read", {}), ended], fails=True))
    assert job.usage == usage
    assert job.root_run is not None
    assert NO_RESULT in str(job.root_run.history)


def test_a_call_told_while_others_are_at_work_is_of_the_next_reply():
    told = facts(
        [
            *(Called("a", "x", {}), Called("b", "x", {}), Returned("a", ())),
            *(Called("c", "x", {}), Returned("c", ()), Returned("b", ())),
            Ended("Done."),
        ]
    )
    replies = [[c.id for c in e.message.calls] for e in told if isinstance(e, Replied)]
    assert replies == [["a", "b"], ["c"], []]


ids = st.sampled_from(["a", "b", "c", ""])
things = st.one_of(
    st.builds(Spoke, st.sampled_from(["", "x"]), st.booleans(), st.booleans()),
    st.builds(Called, ids, st.just("tool"), st.just({})),
    st.builds(Returned, ids, st.just((Text(text="r"),)), st.booleans()),
)


@given(said=st.lists(things, max_size=25), ends=st.booleans())
def test_whatever_is_said_in_whatever_order_makes_a_log(said: list[Said], ends: bool):
    told = facts([*said, *([Ended("Done.")] if ends else [])])
    job = after(told)
    assert job.done is not None
    assert wanted(job) == ()
    assert isinstance(told[-1], RunFinished)
    assert job.root_run is not None
    asked = [c.id for m in job.root_run.history if isinstance(m, ExpertMessage) for c in m.calls]
    answered = [m.call for m in job.root_run.history if isinstance(m, ToolMessage)]
    assert asked == answered


def test_the_query_is_not_among_the_arguments():
    for vendor in VENDORS.values():
        argv = vendor.argv("Be brief.", "big")
        assert ("--append-system-prompt" in argv) == ("Be brief." in argv) == vendor.instructed
        assert argv[-2:] == ("--model", "big")
        prompt = prompt_of(vendor, "Be brief.", "Why?")
        assert prompt.endswith("Why?")
        assert ("## User Request\n" in prompt) == (not vendor.instructed)
    assert prompt_of(VENDORS["gemini"], "Be brief.", "Why?") == (
        "## Instructions\nBe brief.\n\n## User Request\nWhy?"
    )
