"""Tokens, cost, time, width: what a job may use, and what happens at the limit."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from perstack.definition import Expert, Limits
from perstack.job import (
    FORMAT,
    Call,
    ExpertMessage,
    Generate,
    Job,
    JobStarted,
    ModelChoice,
    Record,
    Replied,
    Resumed,
    RunStarted,
    Text,
    Usage,
    apply,
    wanted,
)
from perstack.lock import Lock, resolve, resolved

EXPERTS = {
    key: Expert(key=key, name=key, instruction="x", delegates=("a", "b"))
    for key in ("lead", "a", "b")
}


def lock() -> Lock:
    return resolved(resolve(["lead"]), EXPERTS.__getitem__)


def begun(limits: Limits) -> Job:
    start = JobStarted(
        format=FORMAT,
        job="j",
        expert="lead",
        lock=lock(),
        model=ModelChoice(provider="custom", model="m"),
        limits=limits,
        workspace="/w",
        runtime="local",
        version="0",
        at=100.0,
    )
    return apply(
        apply(Job(), start),
        RunStarted(run="root", expert="lead", query="go", instruction="x", at=100.0),
    )


def settled(job: Job) -> Job:
    """`job` once every consequence is written down."""
    while record := next((c for c in wanted(job) if isinstance(c, Record)), None):
        job = apply(job, record.event)
    return job


def asking(job: Job) -> list[str]:
    return [c.run for c in wanted(job) if isinstance(c, Generate)]


def reply(job: Job, run: str, tokens: int, calls: Iterable[Call] = (), cost: int = 0) -> Job:
    message = ExpertMessage(texts=(Text(text="words"),), calls=tuple(calls))
    usage = Usage(input_tokens=tokens)
    return settled(apply(job, Replied(run=run, message=message, usage=usage, cost=cost)))


def delegates(*experts: str, query: str = "q") -> list[Call]:
    return [
        Call(id=f"c{n}", tool=e, kind="delegate", skill=e, args={"query": f"{query}{n}"})
        for n, e in enumerate(experts)
    ]


def todo() -> list[Call]:
    return [Call(id="t", tool="todo", kind="todo")]


def test_a_spent_budget_parks_the_job_and_a_larger_one_takes_it_on() -> None:
    job = reply(begun(Limits(max_tokens=100)), "root", 100, todo())
    assert job.stopped is not None
    assert (job.stopped.reason, job.stopped.what) == ("limit", "maxTokens 100")
    assert wanted(job) == ()
    job = apply(job, Resumed(limits=Limits(max_tokens=200)))
    assert asking(job) == ["root"]


def test_cost_is_a_limit_of_its_own() -> None:
    job = reply(begun(Limits(max_cost=0.5)), "root", 1, todo(), cost=400_000)
    assert asking(job) == ["root"]
    job = reply(job, "root", 1, todo(), cost=100_000)
    assert job.stopped is not None
    assert job.stopped.what == "maxCost 0.5"
    assert job.cost == 500_000


def test_delegates_share_what_their_parent_has_left() -> None:
    job = reply(begun(Limits(max_tokens=100)), "root", 40, delegates("a", "b"))
    first, second = asking(job)
    job = reply(job, first, 30, todo())
    assert asking(job) == [second]  # the first has spent its half
    job = reply(job, second, 10)
    assert asking(job) == []
    assert job.stopped is not None
    assert job.stopped.what == "maxTokens 100"


def test_what_a_delegate_did_not_use_comes_back() -> None:
    job = reply(begun(Limits(max_tokens=100)), "root", 40, delegates("a", "b"))
    first, second = asking(job)
    job = reply(reply(job, first, 5), second, 5)
    assert asking(job) == ["root"]
    assert job.runs["root"].tokens == 50
    job = reply(job, "root", 49, todo())
    assert asking(job) == ["root"]


def test_nested_delegates_divide_the_share_of_their_parent() -> None:
    job = reply(begun(Limits(max_tokens=1000)), "root", 200, delegates("a", "b"))
    first, _ = asking(job)
    job = reply(job, first, 100, delegates("a", "b", query="deeper"))
    inner = [run for run in job.runs.values() if run.depth == 2]
    assert len(inner) == 2
    job = reply(job, inner[0].id, 150, todo())
    assert inner[0].id not in asking(job)  # (1000 - 200) / 2 - 100 = 300, half of it each


@given(
    limit=st.integers(50, 2000),
    replies=st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["say", "todo", "one", "two"]))),
    data=st.data(),
)
def test_a_job_passes_its_budget_by_one_reply_of_each_run_at_most(
    limit: int, replies: list[tuple[int, str]], data: st.DataObject
) -> None:
    job = settled(begun(Limits(max_tokens=limit, max_depth=3, max_steps=10_000)))
    most_at_once = 1
    for number, (tokens, what) in enumerate(replies):
        open_runs = asking(job)
        if not open_runs:
            break
        most_at_once = max(most_at_once, len(open_runs))
        run = data.draw(st.sampled_from(open_runs))
        calls = {
            "say": [],
            "todo": todo(),
            "one": delegates("a", query=f"{number}"),
            "two": delegates("a", "b", query=f"{number}"),
        }[what]
        job = reply(job, run, tokens, calls)
    assert job.usage.total_tokens < limit + 60 * 2 ** (3 + 1)
    assert sum(u.total_tokens for u in job.spent.values()) == job.usage.total_tokens


def test_only_so_many_delegates_may_be_called_in_one_reply() -> None:
    job = reply(begun(Limits(max_fan_out=2)), "root", 1, delegates("a", "b", "a"))
    assert len(asking(job)) == 2
    first, second = asking(job)
    job = reply(reply(job, first, 1), second, 1)
    assert (
        job.runs["root"]
        .history[-1]
        .text.startswith("Delegation failed: at most 2 delegates may be called in one reply.")
    )


def test_a_delegate_that_would_go_round_in_a_circle_is_refused() -> None:
    job = reply(begun(Limits()), "root", 1, [*delegates("a", query="same ")])
    (child,) = asking(job)
    again = Call(id="x", tool="a", kind="delegate", skill="a", args={"query": "same 0"})
    job = reply(job, child, 1, [again])
    assert "already at work on this very query" in job.runs[child].history[-1].text
    other = replace(again, args={"query": "another"})
    job = reply(job, child, 1, [other])
    assert len(job.runs) == 3


def test_time_between_processes_does_not_count_as_work() -> None:
    job = begun(Limits())
    message = ExpertMessage(texts=(Text(text="hm"),), calls=tuple(todo()))
    job = apply(job, Replied(run="root", message=message, usage=Usage(), at=107.5))
    job = apply(job, Resumed(at=5000.0))
    assert job.active_s == 7.5
    job = settled(job)
    job = apply(job, Replied(run="root", message=message, usage=Usage(), at=5001.0))
    assert job.active_s == 8.5
