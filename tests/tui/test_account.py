"""What is known of a job while it happens, and afterwards."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from perstack.job import Heard, ProxyAccess, SkillConnected, SkillStarting, activity, timeline
from perstack.ops.running.at_work import Noticed, Past
from perstack.tui.account import Access, Account
from perstack.tui.export import markdown_of
from perstack.tui.outline import Outline
from tests.dialect.story import Story

from .desks import NOON, desk_in, play

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", range(30))
def test_what_was_told_one_by_one_is_what_the_log_says(seed: int):
    log = Story(Random(seed)).run().log.events
    live, kept = Account(), Account(log)
    for event in log:
        live.take([event])
    assert live.lines == kept.lines
    assert live.job == kept.job


@pytest.mark.parametrize("seed", range(10))
def test_every_activity_is_in_the_run_it_belongs_to(seed: int):
    log = Story(Random(seed)).run().log.events
    account = Account(log)
    rows = [row for line in account.lines.values() for row in line.rows]
    replies = [row for row in rows if row.id.startswith("reply-")]
    assert sorted(
        (row for row in rows if row not in replies), key=lambda row: (row.seq, row.id)
    ) == sorted(timeline(log), key=lambda row: (row.seq, row.id))


def test_a_rewind_takes_back_what_it_leaves_behind():
    log = Story(Random(3), rewinds=True).run().log.events
    account = Account(log)
    account.take([Past(log[:4])])
    assert account.job == Account(log[:4]).job
    assert account.lines == Account(log[:4]).lines


@pytest.mark.parametrize("seed", range(10))
def test_an_account_that_is_told_anew_is_laid_out_anew(seed: int):
    """Another process may go back in a job, and on again, before the next picture is drawn."""
    account = Account(Story(Random(seed)).run().log.events)
    outline, fresh = (Outline(account, lambda: NOON) for _ in range(2))
    outline.lay(80)
    account.take([Past(Story(Random(seed + 1)).run().log.events)])
    outline.lay(80)
    fresh.lay(80)
    assert (outline.items, outline.ends) == (fresh.items, fresh.ends)


async def story(workspace: Path, *answers: str) -> Account:
    desk = desk_in(workspace)
    await play(desk, "plan", *answers)
    return Account(await desk.events("plan"))


async def test_a_delegates_rows_stand_below_the_call_that_set_it_to_work(workspace: Path):
    account = await story(workspace)
    root = account.root
    assert root is not None
    asked = [row for row in root.rows if isinstance(row, activity.Delegate)]
    children = [account.lines[root.children[row.seq, row.id]] for row in asked]
    assert [line.query for line in children] == ["How long does milk keep?", "What is a good test?"]
    assert [line.state for line in children] == ["completed", "completed"]
    assert [line.depth for line in children] == [1, 1]
    assert set(account.beside(2)) == {line.id for line in children}


async def test_an_answer_is_shown_as_what_the_person_said(workspace: Path):
    account = await story(workspace, "No")
    root = account.root
    assert root is not None
    asked = next(n for n, row in enumerate(root.rows) if isinstance(row, activity.InteractiveTool))
    said = root.rows[asked + 1]
    assert isinstance(said, activity.Query)
    assert said.text == "No"


async def test_to_try_again_is_to_go_back_before_the_reply(workspace: Path):
    account = await story(workspace)
    root = account.root
    assert root is not None
    write = next(row for row in root.rows if isinstance(row, activity.WriteTextFile))
    place = account.place_before(write)
    desk = desk_in(workspace)
    del desk
    assert place < write.seq
    query = root.rows[0]
    assert account.place_before(query) == query.seq


def test_words_are_kept_while_they_come_and_go_with_the_reply():
    log = Story(Random(1)).run().log.events
    account = Account(log[:2])
    run = account.job.root
    account.take([Noticed(Heard(run=run, step=1, kind="thought", text="Let me "))])
    account.take([Noticed(Heard(run=run, step=1, kind="thought", text="see."))])
    assert account.voices[run].text == "Let me see."
    account.take([Noticed(Heard(run=run, step=1, kind="text", text="Yes"))])
    assert (account.voices[run].kind, account.voices[run].text) == ("text", "Yes")
    account.take(log[2:3])
    assert run not in account.voices


def test_ten_thousand_deltas_are_one_short_text():
    log = Story(Random(1)).run().log.events
    account = Account(log[:2])
    piece = Noticed(Heard(run=account.job.root, step=1, kind="text", text="word "))
    account.take([piece] * 10_000)
    voice = account.voices[account.job.root]
    assert voice.length == 50_000
    assert len(voice.text) < 10_000


def test_skills_and_the_network_are_noted():
    account = Account()
    account.take(
        [
            Noticed(SkillStarting(skill="web", command="uvx", args=())),
            Noticed(
                ProxyAccess(
                    skill="web", action="blocked", domain="evil.example", port=443, reason="no"
                )
            ),
        ]
    )
    assert account.skills["web"].state == "starting"
    assert account.network == [Access(False, "evil.example", 443, "no")]
    account.take([Noticed(SkillConnected(skill="web"))])
    assert account.skills["web"].state == "connected"


async def test_an_export_says_it_all(workspace: Path):
    account = await story(workspace, "No")
    page = markdown_of(account)
    assert account.job.at < NOON
    for said in (
        "# editor",
        "Make a plan out of my notes",
        "How long does milk keep?",
        "About **seven days** once opened.",
        "+ - buy milk (seven days)",
        "2. Write tests that can fail",
    ):
        assert said in page
