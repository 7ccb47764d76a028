"""Replies recorded once are given again, and only to those who asked for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from perstack.errors import ModelError, StoreError, UserError
from perstack.job import (
    Call,
    ExpertMessage,
    History,
    Image,
    Message,
    Text,
    Thought,
    ToolMessage,
    Usage,
    UserMessage,
    said,
)
from perstack.models import (
    Cassette,
    Delta,
    Hear,
    Model,
    Reply,
    Request,
    ToolSpec,
    load_cassette,
    open_recorder,
)

pytestmark = pytest.mark.anyio


class Says:
    """A model that gives one reply to everybody."""

    def __init__(self, message: ExpertMessage) -> None:
        self.given = Reply(
            message=message, usage=Usage(input_tokens=3, output_tokens=5), finish="stop"
        )

    async def reply(self, request: Request, hear: Hear) -> Reply:
        return self.given


WORDS = ExpertMessage(
    thoughts=(Thought(text="Hm. " * 20, signature="sig"),),
    texts=(Text(text="The answer is forty-two, as everybody knows."),),
    model="anthropic/m",
)


def request(*messages: Message, tools: tuple[str, ...] = ("read",), **more: Any) -> Request:
    usual: dict[str, Any] = {"expert": "worker", "path": "", "step": 1}
    return Request(
        model="m",
        instruction="It is noon.",
        history=History(messages),
        tools=tuple(ToolSpec(name=name, description="", schema={}) for name in tools),
        **(usual | more),
    )


def silent(delta: Delta) -> None:
    pass


async def recorded(
    file: Path,
    *requests: Request,
    model: Model | None = None,
    scrub: Mapping[str, str] | None = None,
) -> None:
    async with open_recorder(model or Says(WORDS), file, scrub=scrub) as recorder:
        for one in requests:
            await recorder.reply(one, silent)


async def mismatch(cassette: Cassette, asked: Request) -> str:
    with pytest.raises(ModelError) as raised:
        await cassette.reply(asked, silent)
    assert (raised.value.name, raised.value.retryable) == ("CassetteMismatch", False)
    return str(raised.value)


async def test_a_reply_is_replayed_whole_and_in_pieces(tmp_path: Path):
    file = tmp_path / "new" / "run.jsonl"
    await recorded(file, request(said("go")))
    deltas: list[Delta] = []
    reply = await load_cassette(file).reply(request(said("go")), deltas.append)
    assert reply == Says(WORDS).given
    assert len(deltas) > 4
    assert "".join(d.text for d in deltas if d.kind == "thought") == WORDS.thoughts[0].text
    assert "".join(d.text for d in deltas if d.kind == "text") == WORDS.text


async def test_the_instruction_may_differ(tmp_path: Path):
    file = tmp_path / "run.jsonl"
    await recorded(file, request(said("go")))
    other = Request(
        model="another", instruction="It is late.", history=History([said("go")]), expert="worker",
        tools=request().tools,
    )  # fmt: skip
    assert (await load_cassette(file).reply(other, silent)).finish == "stop"


async def test_each_place_in_the_job_has_its_own_reply(tmp_path: Path):
    file = tmp_path / "run.jsonl"
    places: list[dict[str, Any]] = [
        {"path": "", "step": 1},
        {"path": "", "step": 2},
        {"path": "", "step": 2, "concluding": True},
        {"path": "/1.1", "step": 1, "expert": "helper"},
    ]
    for number, place in enumerate(places):
        said_there = ExpertMessage(texts=(Text(text=str(number)),))
        await recorded(file, request(said("go"), **place), model=Says(said_there))
    cassette = load_cassette(file)
    replies = [await cassette.reply(request(said("go"), **place), silent) for place in places]
    assert [reply.message.text for reply in replies] == ["0", "1", "2", "3"]


async def test_only_what_was_said_since_the_reply_before_is_compared(tmp_path: Path):
    file = tmp_path / "run.jsonl"
    result = ToolMessage(call="x", tool="read", parts=(Text(text="ok"),))
    await recorded(file, request(said("old"), WORDS, result))
    cassette = load_cassette(file)
    await cassette.reply(request(said("quite another"), WORDS, result), silent)
    told = await mismatch(cassette, request(said("old"), WORDS))
    assert "-read: ok" in told


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (request(said("go"), expert="other"), 'recorded with Expert "worker"'),
        (request(said("go"), tools=("write",)), "its tools are others (-read, +write)"),
        (request(said("stay")), "-user: go\n+user: stay"),
        (request(said("go"), step=2), "no reply for this turn"),
        (request(said("go"), path="/3.1"), "turn 1 of run /3.1: it has no reply"),
        (request(said("go"), concluding=True), "closing turn"),
    ],
)
async def test_a_request_that_does_not_fit_is_told_what_differs(
    tmp_path: Path, asked: Request, told: str
):
    file = tmp_path / "run.jsonl"
    await recorded(file, request(said("go")))
    message = await mismatch(load_cassette(file), asked)
    assert told in message
    assert f'Expert "{asked.expert}"' in message
    assert f"--record {file}" in message


async def test_a_long_difference_is_told_in_short(tmp_path: Path):
    file = tmp_path / "run.jsonl"
    await recorded(file, request(said("\n".join(f"line {n}" for n in range(500)))))
    told = await mismatch(load_cassette(file), request(said("x" * 100_000)))
    assert len(told) < 6000
    assert "lines more" in told


async def test_paths_and_times_may_differ(tmp_path: Path):
    file = tmp_path / "run.jsonl"
    call = Call(id="x", tool="read", args={"paths": ["/home/a/work/notes.md"], "n": 1})
    await recorded(
        file,
        request(said("In /home/a/work at 2026-11-20T10:11:12.123Z, go")),
        model=Says(ExpertMessage(calls=(call,))),
        scrub={"/home/a/work": "<workspace>"},
    )
    assert "/home/a" not in file.read_text(encoding="utf-8")
    cassette = load_cassette(file, scrub={"/tmp/b": "<workspace>"})
    asked = request(said("In /tmp/b at 2027-01-01 00:00:00+09:00, go"))
    reply = await cassette.reply(asked, silent)
    assert reply.message.calls[0].args == {"paths": ["/tmp/b/notes.md"], "n": 1}


async def test_pictures_are_compared_by_what_is_in_them(tmp_path: Path):
    file = tmp_path / "run.jsonl"

    def shown(data: str) -> Request:
        return request(UserMessage(parts=(Image(data=data, mime_type="image/png"),)))

    await recorded(file, shown("aaaa"))
    cassette = load_cassette(file)
    await cassette.reply(shown("aaaa"), silent)
    assert "<image image/png" in await mismatch(cassette, shown("bbbb"))


async def test_a_new_recording_in_the_same_file_counts(tmp_path: Path):
    file = tmp_path / "run.jsonl"
    await recorded(file, request(said("go")))
    newer = ExpertMessage(texts=(Text(text="newer"),))
    await recorded(file, request(said("go")), model=Says(newer))
    assert (await load_cassette(file).reply(request(said("go")), silent)).message.text == "newer"


async def test_runs_at_the_same_time_are_recorded_line_by_line(tmp_path: Path):
    file = tmp_path / "run.jsonl"
    long = Says(ExpertMessage(texts=(Text(text="x" * 50_000),)))
    async with open_recorder(long, file) as recorder, anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(recorder.reply, request(said("go"), path=f"/1.{number}"), silent)
    cassette = load_cassette(file)
    for number in range(30):
        await cassette.reply(request(said("go"), path=f"/1.{number}"), silent)


async def test_a_failed_reply_is_not_recorded(tmp_path: Path):
    class Fails:
        async def reply(self, request: Request, hear: Hear) -> Reply:
            raise ModelError("busy", name="Overloaded", retryable=True)

    file = tmp_path / "run.jsonl"
    with pytest.raises(ModelError, match="busy"):
        await recorded(file, request(said("go")), model=Fails())
    assert len(file.read_bytes().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"{}\n", "line 1"),
        (b'{"cassette":2}\n', "format 2"),
        (b'{"cassette":1}\n{"heard":{"expert":"x"},"repl', "line 2"),
        (b'{"cassette":1}\n{"heard":{"expert":"x"},"reply":{"message":3}}\n', "line 2"),
    ],
)
async def test_a_cassette_that_cannot_be_read_says_where(
    tmp_path: Path, content: bytes | None, told: str
):
    file = tmp_path / "run.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError) as raised:
        load_cassette(file)
    assert told in str(raised.value)
    assert str(file) in str(raised.value)


async def test_a_cassette_that_cannot_be_written_is_told_at_once(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        async with open_recorder(Says(WORDS), tmp_path / "file" / "run.jsonl"):
            pass
