"""Calls that a person must allow, and calls that a rule denies."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from perstack.definition import Expert, Rules
from perstack.job import (
    DENIED,
    Acting,
    Answer,
    ApprovalAnswered,
    ApprovalAsked,
    AskAnswered,
    Event,
    Generate,
    Job,
    Replied,
    Resumed,
    RunStarted,
    ToolCalled,
    ToolReturned,
    Use,
    apply,
    fold,
    timeline,
    wanted,
)
from perstack.job.activity import GeneralTool, InteractiveTool
from perstack.lock import Lock, resolve, resolved
from tests.behaviour.register import proves

from .driver import (
    CANCEL,
    AskingServers,
    Log,
    Turn,
    World,
    begin,
    call,
    check_same_end,
    delegate,
    drive,
    names,
    opening,
    outcomes,
    run_with_answers,
    says,
    started,
)

RULES = Rules(approve=("toolc0", "mcp:files/toolc1"), deny=("toolc2",))
seeds = st.integers(0, 10**6)
crash_places = st.lists(st.integers(2, 60), max_size=6).map(sorted)


def run(world: AskingServers, crashes: Iterable[int] = ()) -> tuple[Job, Log]:
    return run_with_answers(world, crashes, RULES)


@given(seed=seeds, crashes=crash_places)
def test_a_crash_anywhere_does_not_change_how_any_run_ends(seed: int, crashes: list[int]):
    check_same_end(seed, crashes, RULES)


@proves("approvals.asked-first", "approvals.denied-never")
@given(seed=seeds, crashes=crash_places)
def test_only_what_was_allowed_is_used_and_what_is_denied_never(seed: int, crashes: list[int]):
    world = AskingServers(seed)
    _, log = run(world, crashes)
    job, allowed = Job(), set[tuple[str, int, str]]()
    tools: dict[tuple[str, int, str], str] = {}
    for event in log.events:
        match event:
            case Replied():
                place = event.run, job.runs[event.run].step
                tools |= {(*place, c.id): c.tool for c in event.message.calls if not c.fault}
            case ApprovalAnswered(approved=True):
                allowed.add((event.run, job.runs[event.run].step, event.call))
            case ToolCalled():
                place = event.run, job.runs[event.run].step, event.call
                assert tools[place] not in ("toolc0", "toolc1") or place in allowed
            case _:
                pass
        job = apply(job, event)
    for run_id, step, call_id, _ in world.uses:
        place = run_id, step, call_id
        assert tools[place] != "toolc2"
        assert tools[place] not in ("toolc0", "toolc1") or place in allowed


def test_a_crash_at_each_place_of_a_job_under_rules_leads_to_the_same_end():
    kinds = (names(run(AskingServers(n))[1].events) for n in range(100))
    seed = next(n for n, found in enumerate(kinds) if found.count("ApprovalAsked") > 2)
    _, calm = run(AskingServers(seed))
    for place in range(2, len(calm.events) + 1):
        _, log = run(AskingServers(seed), [place])
        assert outcomes(log.events) == outcomes(calm.events)


def parked(*calls: str, rules: Rules = RULES) -> tuple[Job, Log, World]:
    world = World({("", 1): says("", *(call(id, f"tool{id}") for id in calls))})
    log = Log()
    return drive(begin(log, opening(rules=rules)), log, world), log, world


def test_a_call_waits_for_a_person_while_others_go_on():
    job, log, world = parked("c0", "c3")
    assert wanted(job) == ()
    ((run, question),) = job.questions
    assert (run.id, question.id, question.tool, question.kind) == ("root", "c0", "toolc0", "ask")
    assert question.args["rule"] == "toolc0"
    assert question.args["arguments"] == {}
    assert set(question.args["requestedSchema"]["properties"]) == {"approve", "text"}
    assert world.begun == {("root", 1, "c3"): 1}
    assert wanted(apply(job, Resumed())) == ()

    job = begin(log, [Resumed(), ApprovalAnswered(run="root", call="c0", approved=True)])
    job = drive(job, log, world)
    assert job.done is not None
    assert world.begun["root", 1, "c0"] == 1
    shown = timeline(log.events)
    rows = [row for row in shown if isinstance(row, InteractiveTool | GeneralTool)]
    assert [(type(row), row.tool_name) for row in rows] == [
        (InteractiveTool, "toolc0"),
        (GeneralTool, "toolc3"),
        (GeneralTool, "toolc0"),
    ]
    assert len({row.id for row in shown}) == len(shown)


def test_a_refusal_is_told_to_the_model_in_the_persons_words():
    job, log, world = parked("c0")
    said = ApprovalAnswered(run="root", call="c0", approved=False, text="Use staging.")
    job = drive(begin(log, [said]), log, world)
    assert job.done is not None
    assert world.begun == {}
    (result,) = [event for event in log.events if isinstance(event, ToolReturned)]
    assert result.is_error
    assert "did not allow it. They said: Use staging." in str(result.parts)
    assert "ToolCalled" not in names(log.events)


def test_what_a_rule_denies_is_told_to_the_model_at_once():
    job, log, world = parked("c2")
    assert job.done is not None
    assert world.begun == {}
    (result,) = [event for event in log.events if isinstance(event, ToolReturned)]
    assert DENIED.format(rule="toolc2") in str(result.parts)


def test_rules_that_come_later_hold_too_and_none_is_taken_back():
    job, log, world = parked("c0", "c3")
    more = Rules(deny=("toolc0",))
    job = apply(job, log.append(Resumed(deny=more.deny)))
    assert job.rules == RULES | more
    job = drive(job, log, world)
    assert [question.id for _, question in job.questions] == ["c0"]  # asked already
    later = begin(Log(), [*opening(rules=RULES), Resumed(deny=more.deny), Resumed()])
    assert later.rules == RULES | more


def test_a_tool_with_another_name_here_is_meant_by_its_own_name():
    shown = replace(call("a", "db__drop"), own_name="drop")
    world, log = World({("", 1): says("", shown)}), Log()
    job = drive(begin(log, opening(rules=Rules(deny=("drop",)))), log, world)
    assert job.done is not None
    assert world.begun == {}


def family(**rules: Rules) -> Lock:
    def expert(key: str) -> Expert:
        own = rules.get(key, Rules())
        return Expert(
            key=key,
            name=key,
            instruction="Work.",
            delegates=("scout",),
            approve=own.approve,
            deny=own.deny,
        )

    return resolved(resolve(["lead"]), expert)


@proves("approvals.asked-first")
def test_a_delegate_never_has_more_rights_than_who_called_it():
    lock = family(lead=Rules(deny=("toold",)), scout=Rules(approve=("toola",)))
    inner = says("", call("d", "toold"), call("a", "toola"), call("f", "toolf"))
    world = World(
        {
            ("", 1): says("", delegate("x"), call("a", "toola")),
            ("/1.1", 1): says("", delegate("y")),
            ("/1.1/1.1", 1): inner,
        }
    )
    log = Log()
    begun = replace(started(), lock=lock)
    root = RunStarted(run="root", expert="lead", query="Go", instruction="Lead.")
    job = drive(begin(log, [begun, root]), log, world)
    ((asker, question),) = job.questions
    assert (asker.expert, question.id) == ("scout", "a")
    used = {call_id for _, _, call_id in world.begun}
    assert used == {"a", "f"}  # the lead's own call of toola, and what no rule is about
    job = begin(log, [ApprovalAnswered(run=asker.id, call="a", approved=True)])
    job = drive(job, log, world)
    assert job.done is not None
    assert sum(world.begun.values()) == 3
    assert all(call_id != "d" for _, _, call_id in world.begun)


def test_a_call_that_was_allowed_is_not_asked_about_again_after_its_server_asks():
    class Asks(AskingServers):
        def turn(self, wish: Generate) -> Turn:
            return says("", call("c0", "toolc0")) if wish.step == 1 else says("end")

        def is_cut(self, wish: Generate) -> bool:
            return False

    seed = next(n for n in range(50) if Random(f"{n} 1 c0").choice((0, 1, 2)) == 1)
    world = Asks(seed)
    log = Log()
    job = drive(begin(log, opening(rules=RULES)), log, world)
    job = begin(log, [ApprovalAnswered(run="root", call="c0", approved=True)])
    job = drive(job, log, world)
    ((run, question),) = job.questions
    assert isinstance(run.phase, Acting)
    assert "rule" not in question.args
    job = begin(log, [AskAnswered(run="root", call="c0", content={"n": 1})])
    (want,) = [w for w in wanted(job) if not isinstance(w, Use)]
    assert isinstance(getattr(want, "event", None), ToolCalled)
    job = drive(job, log, world)
    assert job.done is not None
    assert names(log.events).count("ApprovalAsked") == 1
    assert Answer(message="c0 0?", content={"n": 1}) in _answers(log.events)


def test_a_job_that_waits_for_a_yes_can_be_cancelled():
    job, log, world = parked("c0")
    job = drive(apply(job, log.append(CANCEL)), log, world)
    assert job.done is not None
    assert job.done.outcome == "cancelled"
    assert job.questions == ()


def test_the_question_is_asked_once_after_a_crash():
    _, log, _ = parked("c0")
    assert names(log.events).count("ApprovalAsked") == 1
    job = fold([*log.events, Resumed()])
    assert wanted(job) == ()
    assert ApprovalAsked(run="root", call="c0", rule="toolc0") in [
        replace(event, seq=0, at=0.0) for event in log.events
    ]


def _answers(events: list[Event]) -> list[Answer]:
    found: list[Answer] = []
    job = Job()
    for event in events:
        job = apply(job, event)
        for wish in wanted(job):
            if isinstance(wish, Use):
                found.extend(wish.answers)
    return found
