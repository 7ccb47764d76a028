"""The scripted model server: what it does on the wire, and what it refuses."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from .modelserver import Breaks, Calls, Fails, Hangs, ModelServer, Says, Seen, Turn, script_named
from .script import FITNESS_ANSWER, FITNESS_LOG, TRAINING_PLAN, TRAINING_REQUEST, deltas
from .wires import seal, sign

KEY = {"x-api-key": "x", "anthropic-version": "2023-06-01"}
USER: Any = {"role": "user", "content": "Go."}


def connect(url: str) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=5))


def ask(
    connection: http.client.HTTPConnection, *messages: Any, **more: Any
) -> http.client.HTTPResponse:
    body = {"model": "claude", "max_tokens": 100, "messages": messages or (USER,), **more}
    connection.request("POST", "/v1/messages", json.dumps(body), KEY)
    return connection.getresponse()


def refusal(path: str, body: Any, headers: dict[str, str]) -> str:
    """What the server objects to in a request; empty if nothing."""
    with ModelServer([Says("fine")]) as server, connect(server.url) as connection:
        connection.request("POST", path, json.dumps(body), headers)
        answer = json.load(connection.getresponse())
        return answer["error"]["message"] if answer.get("error") else ""


def test_a_connection_serves_many_requests():
    with ModelServer("steps:2") as server, connect(server.url) as connection:
        for _ in range(10):
            assert json.load(ask(connection))["stop_reason"] == "tool_use"
        assert server.connections == 1
        assert len(server.bodies) == 10


def test_turns_are_given_in_order_and_then_the_script_is_over():
    with ModelServer([Says("one"), Says("two")]) as server, connect(server.url) as connection:
        texts = [json.load(ask(connection))["content"][0]["text"] for _ in range(2)]
        over = ask(connection)
        assert texts == ["one", "two"]
        assert over.status == 400
        assert b"ended after 2 turns" in over.read()


def test_a_script_sees_the_conversation_and_raises_out_of_the_server():
    def script(seen: Seen) -> Turn:
        assert seen.query == "Come."
        return Says("unreached")

    with (
        pytest.raises(AssertionError),
        ModelServer(script) as server,
        connect(server.url) as connection,
    ):
        assert ask(connection).status == 400


def test_a_broken_connection_breaks_where_the_script_says():
    with ModelServer([Breaks(), Breaks(3), Breaks(3, politely=True), Breaks(1)]) as server:
        with connect(server.url) as connection, pytest.raises(http.client.RemoteDisconnected):
            ask(connection, stream=True)
        with connect(server.url) as connection, pytest.raises(http.client.IncompleteRead) as cut:
            ask(connection, stream=True).read()
        assert cut.value.partial.count(b"event: ") == 3
        with connect(server.url) as connection:
            told = ask(connection, stream=True).read()
            assert told.count(b"event: ") == 3
            assert b"message_stop" not in told
        with connect(server.url) as connection:
            half = ask(connection)
            with pytest.raises(http.client.IncompleteRead):
                half.read()


def test_a_hanging_reply_is_abandoned_when_the_client_leaves():
    with ModelServer([Hangs(), Hangs(2)]) as server:
        with connect(server.url) as connection:
            connection.request(
                "POST",
                "/v1/messages",
                json.dumps({"model": "c", "max_tokens": 9, "messages": [USER]}),
                KEY,
            )
            server.wait_until(lambda server: len(server.requests) == 1)
        server.wait_until(lambda server: server.abandoned == 1)
        with connect(server.url) as connection:
            answer = ask(connection, stream=True)
            assert answer.readline() == b"event: message_start\n"
        server.wait_until(lambda server: server.abandoned == 2)
        with pytest.raises(TimeoutError):
            server.wait_until(lambda server: server.abandoned == 3, timeout_s=0.01)


@pytest.mark.anyio
async def test_a_coroutine_can_wait_for_a_request_on_any_backend():
    async with ModelServer([Hangs()], strict=False) as server:
        address = urlsplit(server.url)
        assert address.port is not None
        async with await anyio.connect_tcp("127.0.0.1", address.port) as stream:
            body = json.dumps({"model": "claude", "max_tokens": 9, "messages": [USER]}).encode()
            head = f"POST /v1/messages HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n"
            await stream.send(head.encode() + body)
            await server.until(lambda server: len(server.requests) == 1)
        await server.until(lambda server: server.abandoned == 1)


def test_a_reply_can_take_its_time():
    turn = Says("one two three", after_s=0.001, between_s=0.001)
    with (
        ModelServer([turn, Says("soon")], delay_s=0.001) as server,
        connect(server.url) as connection,
    ):
        assert ask(connection, stream=True).read().count(b"text_delta") == 3
        assert json.load(ask(connection))["content"][0]["text"] == "soon"


def test_an_error_can_have_any_body_and_headers():
    turns = [
        Fails(503, body="<html>", headers={"content-type": "text/html"}),
        Fails(418, body={"a": 1}),
    ]
    with ModelServer(turns) as server, connect(server.url) as connection:
        answer = ask(connection)
        assert (answer.status, answer.headers["content-type"], answer.read()) == (
            503,
            "text/html",
            b"<html>",
        )
        answer = ask(connection)
        assert (answer.status, json.load(answer)) == (418, {"a": 1})


def test_unknown_paths_are_not_found():
    with ModelServer([]) as server, connect(server.url) as connection:
        connection.request("GET", "/v1/models")
        assert connection.getresponse().status == 404


def test_signatures_are_known_again():
    thinking = {"type": "thinking", "thinking": "hm", "signature": sign("hm")}
    for signature, status in ((sign("hm"), 200), (sign("changed"), 400), ("", 400)):
        reply = {
            "role": "assistant",
            "content": [thinking | {"signature": signature}, {"type": "text", "text": "ok"}],
        }
        with ModelServer([Says("fine")]) as server, connect(server.url) as connection:
            assert ask(connection, USER, reply, USER).status == status


def tool_use(*ids: str) -> Any:
    empty: Any = {}
    return {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": id, "name": "t", "input": empty} for id in ids],
    }


def said(*texts: str) -> Any:
    return {"role": "assistant", "content": [{"type": "text", "text": text} for text in texts]}


def tool_result(*ids: str) -> Any:
    return {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": id, "content": "r"} for id in ids],
    }


@pytest.mark.parametrize(
    ("messages", "objection"),
    [
        ([USER], ""),
        ([USER, tool_use("a", "b"), tool_result("a", "b")], ""),
        (
            [USER, tool_use("a", "b"), tool_result("a")],
            "without `tool_result` blocks immediately after: b",
        ),
        ([USER, tool_use("a"), USER], "without `tool_result` blocks immediately after: a"),
        ([USER, tool_result("a")], "unexpected `tool_use_id`"),
        ([USER, tool_use("a"), tool_result("a", "a")], "single result"),
        ([USER, tool_use("a", "a"), tool_result("a")], "must be unique"),
        (
            [USER, said(""), USER],
            "non-empty",
        ),
        ([USER, said(), USER], "non-empty"),
        ([{"role": "assistant", "content": "Hi."}], "first message"),
        ([], "messages: Field required"),
    ],
)
def test_anthropic_refuses_what_it_would_refuse(messages: list[Any], objection: str):
    body = {"model": "claude", "max_tokens": 9, "messages": messages}
    assert objection in refusal("/v1/messages", body, KEY)
    assert bool(objection) == bool(refusal("/v1/messages", body, KEY))


@pytest.mark.parametrize(
    ("body", "headers", "objection"),
    [
        ({"messages": [USER]}, {}, ""),
        ({"messages": [USER], "tools": []}, {}, "empty array"),
        (
            {"messages": [USER], "stream_options": {"include_usage": True}},
            {},
            "only allowed when 'stream'",
        ),
        (
            {"messages": [USER, {"role": "tool", "tool_call_id": "a", "content": "r"}]},
            {},
            "must be a response",
        ),
        ({"messages": [USER, {"role": "assistant"}]}, {}, "'content'"),
        (
            {
                "messages": [
                    USER,
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {
                                "id": "a",
                                "type": "function",
                                "function": {"name": "t", "arguments": "{}"},
                            }
                        ],
                    },
                    USER,
                ]
            },
            {},
            "Missing: a",
        ),
    ],
)
def test_chat_refuses_what_it_would_refuse(body: Any, headers: dict[str, str], objection: str):
    said = refusal("/v1/chat/completions", {"model": "gpt", **body}, headers)
    assert objection in said
    assert bool(objection) == bool(said)


FUNCTION_CALL: Any = {"type": "function_call", "call_id": "a", "name": "t", "arguments": "{}"}
REASONING: Any = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal("hm")}


@pytest.mark.parametrize(
    ("items", "objection"),
    [
        ("Go.", ""),
        (
            [
                USER,
                REASONING,
                FUNCTION_CALL,
                {"type": "function_call_output", "call_id": "a", "output": "r"},
            ],
            "",
        ),
        ([USER, FUNCTION_CALL], "No tool output found for function call a"),
        (
            [USER, {"type": "function_call_output", "call_id": "a", "output": "r"}],
            "No tool call found",
        ),
        ([USER, REASONING], "without its required following item"),
        (
            [USER, REASONING | {"encrypted_content": "made up"}, FUNCTION_CALL],
            "could not be verified",
        ),
        ([USER, REASONING | {"encrypted_content": None}, FUNCTION_CALL], "Items are not persisted"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "Go."}]}],
            "Supported values are: input_text",
        ),
    ],
)
def test_responses_refuses_what_it_would_refuse(items: Any, objection: str):
    body = {"model": "gpt", "input": items, "store": False}
    said = refusal("/v1/responses", body, {"authorization": "Bearer x"})
    assert objection in said
    assert bool(objection) == bool(said)
    assert "API key" in refusal("/v1/responses", body, {})


ASKED: Any = {"role": "model", "parts": [{"functionCall": {"name": "t"}}]}
ANSWERED: Any = {
    "role": "user",
    "parts": [{"functionResponse": {"name": "t", "response": {"result": "r"}}}],
}
NO_PARTS: Any = []
EMPTY_PART: Any = [{}]
SPOKEN: Any = {"role": "user", "parts": [{"text": "Go."}]}


@pytest.mark.parametrize(
    ("contents", "objection"),
    [
        ([SPOKEN], ""),
        ([SPOKEN, ASKED, ANSWERED], ""),
        ([SPOKEN, ASKED], "followed by a function response"),
        ([SPOKEN, ASKED, SPOKEN], "number of function response parts"),
        ([SPOKEN, ANSWERED], "number of function response parts"),
        ([{"role": "assistant", "parts": [{"text": "Hi."}]}], "valid role"),
        ([{"role": "user", "parts": NO_PARTS}], "must not be empty"),
        ([{"role": "user", "parts": EMPTY_PART}], "oneof"),
        (
            [{"role": "user", "parts": [{"text": "a", "thoughtSignature": "bm8="}]}],
            "signature is not valid",
        ),
    ],
)
def test_gemini_refuses_what_it_would_refuse(contents: Any, objection: str):
    path = "/v1beta/models/gemini:streamGenerateContent?alt=sse"
    with ModelServer([Says("fine")]) as server, connect(server.url) as connection:
        connection.request(
            "POST", path, json.dumps({"contents": contents}), {"x-goog-api-key": "x"}
        )
        answer = connection.getresponse()
        told = answer.read().decode()
    assert (answer.status == 400) == bool(objection)
    assert objection in told


def test_gemini_3_wants_its_signatures_back():
    signed: Any = {"functionCall": {"name": "t"}, "thoughtSignature": seal("")}
    unsigned: Any = signed | {"thoughtSignature": "skip_thought_signature_validator"}
    later = [{"role": "model", "parts": [{"text": "Done."}]}, SPOKEN]
    for call, after, objection in (
        ({"functionCall": {"name": "t"}}, [], "missing a thought_signature"),
        ({"functionCall": {"name": "t"}}, later, ""),
        (signed, [], ""),
        (unsigned, [], ""),
    ):
        body = {"contents": [SPOKEN, {"role": "model", "parts": [call]}, ANSWERED, *after]}
        path = "/v1beta/models/gemini-3-pro:generateContent"
        said = refusal(path, body, {"x-goog-api-key": "x"})
        assert objection in said
        assert bool(objection) == bool(said)


def replies_of(name: str, query: str) -> Iterator[dict[str, Any]]:
    """What a ready script says to `query`, up to its last word, every call being answered with 'ok'."""
    messages = [{"role": "user", "content": query}]
    with ModelServer(name) as server, connect(server.url) as connection:
        while True:
            reply = json.load(ask(connection, *messages))
            yield reply
            calls = [block["id"] for block in reply["content"] if block["type"] == "tool_use"]
            if not calls:
                return
            messages += [{"role": "assistant", "content": reply["content"]}, tool_result(*calls)]


def spoken(reply: dict[str, Any]) -> list[Any]:
    return [
        (block["name"], block["input"]) if block["type"] == "tool_use" else block["text"]
        for block in reply["content"]
        if block["type"] != "thinking"
    ]


def test_steps_call_a_tool_and_end():
    said = [spoken(reply) for reply in replies_of('steps:2:look:{"at": "x:y"}', "Go.")]
    assert said == [[("look", {"at": "x:y"})], [("look", {"at": "x:y"})], ["done"]]


def test_delegates_fan_out_and_each_takes_its_steps():
    lead = [spoken(reply) for reply in replies_of("delegates:2:1", "Go.")]
    part = [spoken(reply) for reply in replies_of("delegates:2:1", "Part 2")]
    assert lead == [
        [("worker", {"query": "Part 1"}), ("worker", {"query": "Part 2"})],
        ["All 2 parts are done"],
    ]
    assert part == [[("readTextFile", {"path": "note.txt"})], ["Part 2 is done"]]


def test_the_fitness_assistant_asks_the_trainer_and_writes_the_log():
    assistant = [part for reply in replies_of("fitness", "Plan my day.") for part in spoken(reply)]
    trainer = [part for reply in replies_of("fitness", TRAINING_REQUEST) for part in spoken(reply)]
    assert ("pro-trainer", {"query": TRAINING_REQUEST}) in assistant
    assert ("writeTextFile", {"path": "fitness-log.md", "text": FITNESS_LOG}) in assistant
    assert assistant[-1] == FITNESS_ANSWER
    assert trainer[-1] == TRAINING_PLAN


def test_deltas_come_one_by_one():
    with ModelServer(deltas(50)) as server, connect(server.url) as connection:
        assert ask(connection, stream=True).read().count(b"text_delta") == 50


def test_a_script_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="'juggle'"):
        script_named("juggle")


def test_gemini_cannot_give_broken_arguments():
    server = ModelServer([Calls([("t", "{broken")])])
    server.__enter__()
    with connect(server.url) as connection:
        body = json.dumps({"contents": [SPOKEN]})
        connection.request(
            "POST", "/v1beta/models/gemini:generateContent", body, {"x-goog-api-key": "x"}
        )
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
    with pytest.raises(ValueError, match="Gemini"):
        server.__exit__(None, None, None)


def test_the_server_runs_as_a_process():
    command = [
        sys.executable,
        "-m",
        "tests.fakes.modelserver",
        "--script",
        "says:hello",
        "--port",
        "0",
    ]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        with connect(process.stdout.readline().strip()) as connection:
            assert json.load(ask(connection))["content"][0]["text"] == "hello"
        process.terminate()
        assert process.wait(5) == 0
