"""Writes the golden logs of this version: `uv run python -m tests.golden.write`.

A log that a release has written is never written again; see README.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from perstack.definition import Limits, Rules
from perstack.job import (
    ApprovalAnswered,
    AskAnswered,
    Asked,
    Event,
    Failure,
    File,
    Generate,
    Image,
    Resumed,
    Rewound,
    Text,
    ToolReturned,
    Use,
    UserSpoke,
    decode_events,
    fold,
)
from tests.job.driver import (
    CANCEL,
    Crash,
    Log,
    World,
    begin,
    call,
    delegate,
    done,
    drive,
    opening,
    run,
    says,
)

VERSION = "0.1.0"
HERE = Path(__file__).parent


def answer() -> Log:
    """The shortest job there is."""
    return run(World({("", 1): says("Hello.")}))[1]


def work() -> Log:
    """Tools, todos, delegates side by side and nested, one that fails, retries, a cut reply, a closing reply."""
    busy = Failure(
        name="Overloaded", message="Try later.", status=529, retryable=True, retry_after_s=1.5
    )
    todo = call("c1", "todo", "todo", newTodos=["Look", "Write"])
    look = says(
        "Let me see.", todo, call("c2", path="a.txt"), delegate("c3"), delegate("c4"), thought="Hm."
    )
    world = World(
        {
            ("", 1): [busy, look],
            ("/1.3", 1): says("", delegate("d1", "Deeper")),
            ("/1.3/1.1", 1): says("Deep."),
            ("/1.3", 2): says("Found."),
            ("/1.4", 1): Failure(name="Unauthorized", message="Bad key.", status=401),
            ("", 2): says("This is a long"),
            ("", 3): says(" story.", call("c5", "todo", "todo", completedTodos=[0, 1])),
            ("", 4): says("", replace(call("c6", "nosuch"), fault="There is no tool nosuch.")),
            ("", 5): says("", done("c7")),
        },
        cut=[("", 2)],
    )
    return run(world, Limits(max_steps=50, max_retries=2))[1]


def talk() -> Log:
    """A question and its answer, with a picture; words while at work and after the end; a cancel; words again."""
    world = World(
        {
            ("", 1): says("", call("q", "askUser", "ask", question="Which?")),
            ("", 3): says("", call("t")),
        }
    )
    job, log = run(world)
    parts = (
        Text(text="This one."),
        Image(data="iVBORw0KGgo=", mime_type="image/png"),
        File(data="JVBERi0=", mime_type="application/pdf"),
    )
    job = begin(log, [UserSpoke(text="Take your time.")])
    job = drive(begin(log, [ToolReturned(run="root", call="q", parts=parts)]), log, world)
    job = begin(log, [UserSpoke(text="And then?")])
    log.crash_at = len(log.events) + 2
    try:
        drive(job, log, world)
    except Crash:
        log.crash_at = None
    job = drive(begin(log, [CANCEL]), log, world)
    drive(begin(log, [UserSpoke(text="Once more.")]), log, world)
    return log


def trouble() -> Log:
    """A crash with a call in flight, the step limit, a new limit and model, and a rewind."""
    safe = replace(call("safe"), repeatable=True)
    world = World({("", n): says("", call("once"), safe) for n in range(1, 5)})
    log = Log(crash_at=5)
    try:
        drive(begin(log, opening(Limits(max_steps=2))), log, world)
    except Crash:
        log.crash_at = None
    job = drive(begin(log, [Resumed()]), log, world)
    assert job.stopped is not None
    other = replace(job.model, model="claude-haiku-4-5", reasoning=2048)
    drive(begin(log, [Resumed(limits=Limits(max_steps=9), model=other)]), log, world)
    drive(begin(log, [Rewound(to=9)]), log, World())
    return log


def server() -> Log:
    """A tool whose server asks twice before it answers."""

    class Asks(World):
        def answer(self, command: Generate | Use) -> Event:
            if not isinstance(command, Use) or len(command.answers) == 2:
                return super().answer(command)
            known = len(command.answers)
            schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
            return Asked(
                run=command.run, call=command.call.id, message=f"Sure ({known})?", schema=schema
            )

    world = Asks({("", 1): says("", call("book"))})
    job, log = run(world)
    for content in ({"ok": True}, None):
        asker, asked = job.questions[0]
        job = begin(log, [AskAnswered(run=asker.id, call=asked.id, content=content)])
        job = drive(job, log, world)
    return log


def rules() -> Log:
    """Calls that a person allows, and does not; one that a rule denies; more rules when it goes on."""
    first = (call("a", "push"), call("b", "push"), call("c", "drop"), call("d"))
    world = World({("", 1): says("", *first), ("", 2): says("", call("e"))})
    log = Log()
    ruled = opening(rules=Rules(approve=("push", "mcp:mail/*"), deny=("drop(name=*)", "drop")))
    job = drive(begin(log, ruled), log, world)
    job = begin(log, [ApprovalAnswered(run="root", call="a", approved=True)])
    job = drive(job, log, world)
    said = ApprovalAnswered(run="root", call="b", approved=False, text="Not today.")
    job = drive(begin(log, [Resumed(approve=("read",)), said]), log, world)
    drive(begin(log, [ApprovalAnswered(run="root", call="e", approved=True)]), log, world)
    return log


LOGS: dict[str, Callable[[], Log]] = {
    f.__name__: f for f in (answer, work, talk, trouble, server, rules)
}


def end_of(log: bytes) -> dict[str, object]:
    """What the log of a job comes to: the part of its state that readers of any version agree on."""
    events, _ = decode_events(log.splitlines())
    job = fold(events)
    assert job.done is not None
    assert job.root_run is not None
    return {
        "events": len(events),
        "types": sorted({type(event).__name__ for event in events}),
        "outcome": job.done.outcome,
        "text": job.done.text,
        "steps": job.steps,
        "inputTokens": job.usage.input_tokens,
        "history": [type(message).__name__ for message in job.root_run.history],
        "todos": [item.title for item in job.root_run.todos.items],
    }


def main() -> None:
    folder = HERE / VERSION
    folder.mkdir(exist_ok=True)
    for name, write in LOGS.items():
        lines = b"".join(write().lines)
        (folder / f"{name}.jsonl").write_bytes(lines)
        end = json.dumps(end_of(lines), indent=2, ensure_ascii=False)
        (folder / f"{name}.end.json").write_text(end + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
