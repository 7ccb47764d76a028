"""`install`: what is written, when it is not, and what is said when it cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perstack.errors import (
    DefinitionError,
    LockOutOfDate,
    LockTampered,
    MissingEnv,
    SkillUnavailable,
    UserError,
    WorldError,
)
from perstack.lock import encode_lock, tools_digest
from perstack.ops.packages.install import resolve_all
from perstack.skills import base_tools

from .installing import FIND, SEND, Project, names

pytestmark = pytest.mark.anyio


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


async def test_a_lock_has_every_expert_with_all_its_tools(project: Project) -> None:
    assert await project.install(at=12.5)
    file = project.lock
    assert (file.config, file.generated_at, file.format) == ("perstack.toml", 12500, 2)
    assert list(file.lock.experts) == ["helper", "lead"]
    for pin in file.lock.experts.values():
        assert names(pin.tools["@perstack/base"]) == sorted(names(base_tools()))
        assert names(pin.tools["listed"]) == ["find", "send"]
        assert pin.tools_integrity == tools_digest(pin.tools)
    find = file.lock.experts["lead"].tools["listed"][0]
    assert find.schema == FIND["inputSchema"]
    assert (find.title, find.reads_only, find.may_repeat) == ("Find", True, False)
    assert encode_lock(file) == project.path.read_text()


async def test_experts_that_share_a_server_share_its_start(project: Project) -> None:
    await project.install()
    assert project.starts == 1


async def test_what_pick_and_omit_hide_is_not_pinned(project: Project) -> None:
    project.write(skill='omit = ["send"]')
    await project.install()
    experts = project.lock.lock.experts
    assert names(experts["lead"].tools["listed"]) == ["find"]
    assert names(experts["helper"].tools["listed"]) == ["find", "send"]


async def test_questions_are_pinned_and_delegates_are_not(project: Project) -> None:
    project.write(
        more='[experts.helper.skills.people]\ntype = "interactiveSkill"\n'
        "[experts.helper.skills.people.tools.askUser]\n"
        """inputJsonSchema = '{"type":"object","required":["q"]}'"""
    )
    await project.install()
    experts = project.lock.lock.experts
    assert names(experts["helper"].tools["people"]) == ["askUser"]
    assert "helper" not in experts["lead"].tools
    assert all("helper" not in names(tools) for tools in experts["lead"].tools.values())


async def test_a_tool_whose_name_is_taken_is_pinned_under_its_own(project: Project) -> None:
    project.offer({**FIND, "name": "exec"})
    await project.install()
    assert names(project.lock.lock.experts["lead"].tools["listed"]) == ["exec"]


async def test_delegates_that_come_with_perstack_are_in_it(project: Project) -> None:
    project.write(more='[experts.boss]\ninstruction = "x"\ndelegates = ["tic-tac-toe"]')
    await project.install()
    assert "tic-tac-toe" in project.lock.lock.experts


async def test_installing_twice_changes_nothing(project: Project) -> None:
    assert await project.install(at=1)
    text, before = project.path.read_bytes(), project.path.stat()
    project.offer(SEND, FIND)  # the order in which a server lists its tools does not count
    assert not await project.install(at=2)
    assert project.path.read_bytes() == text
    assert project.path.stat().st_mtime_ns == before.st_mtime_ns
    assert project.path.stat().st_ino == before.st_ino


async def test_a_checkout_with_other_line_ends_is_up_to_date(project: Project) -> None:
    await project.install()
    project.path.write_bytes(project.path.read_bytes().replace(b"\n", b"\r\n"))
    assert not await project.install()


async def test_frozen_says_what_is_out_of_date_and_writes_nothing(project: Project) -> None:
    with pytest.raises(LockOutOfDate, match="missing"):
        await project.install(frozen=True)
    assert not project.path.exists()
    await project.install()
    assert not await project.install(frozen=True)
    text = project.path.read_bytes()
    project.write(helper="Help!", more='[experts.new]\ninstruction = "x"')
    project.offer(FIND)
    with pytest.raises(LockOutOfDate) as caught:
        await project.install(frozen=True)
    for told in (
        '"new" is not in it',
        '"helper" is defined otherwise now',
        'the tools of "lead" are others now',
        "perstack install",
    ):
        assert told in str(caught.value)
    assert project.path.read_bytes() == text


async def test_without_tools_no_server_starts(project: Project) -> None:
    await project.install(tools=False)
    assert project.starts == 0
    pin = project.lock.lock.experts["lead"]
    assert (pin.tools, pin.tools_integrity) == ({}, "")


async def test_without_tools_those_of_unchanged_experts_are_kept(project: Project) -> None:
    await project.install()
    kept = project.lock.lock.experts["lead"]
    project.write(helper="Help!")
    assert await project.install(tools=False)
    experts = project.lock.lock.experts
    assert experts["lead"] == kept
    assert experts["helper"].tools == {}
    assert project.starts == 1
    assert not await project.install(tools=False, frozen=True)


async def test_every_broken_expert_is_told_at_once(project: Project) -> None:
    project.write(more='[experts.a]\ninstruction = ""\n[experts.b]\ninstructions = "x"')
    with pytest.raises(DefinitionError) as caught:
        await project.install()
    assert [fault.path.split(".")[1] for fault in caught.value.faults] == ["a", "b"]


async def test_a_variable_that_is_missing_is_named(project: Project) -> None:
    project.write(skill='requiredEnv = ["NOBODY_SETS_THIS"]')
    with pytest.raises(MissingEnv) as caught:
        await project.install()
    assert caught.value.names == ("NOBODY_SETS_THIS",)
    assert not project.path.exists()


async def test_every_server_that_fails_is_told(project: Project) -> None:
    (project.server / "tools.json").unlink()
    with pytest.raises(SkillUnavailable) as caught:
        await project.install()
    assert "FileNotFoundError" in caught.value.stderr_tail
    project.write(
        more='[experts.helper.skills.gone]\ntype = "mcpStdioSkill"\n'
        'command = "/no/such/program"\nargs = ["x"]\n'
    )
    with pytest.raises((WorldError, UserError)) as both:
        await project.install()
    told = str(both.value)
    assert '"listed" is not available' in told or "/no/such/program" in told
    assert not project.path.exists()


async def test_a_lock_that_was_changed_is_made_anew_unless_frozen(project: Project) -> None:
    await project.install()
    text = project.path.read_text()
    project.path.write_text(text.replace("Help.", "Help yourself."))
    with pytest.raises(LockTampered):
        await project.install(frozen=True)
    warnings = (await resolve_all(None, (), os.environ, project.place)).warnings
    assert any("was changed" in warning for warning in warnings)
    assert await project.install()
    assert project.path.read_text() == text


async def test_a_link_to_a_lock_stays_a_link(project: Project) -> None:
    real = project.place / "shared.lock"
    project.path.symlink_to(real)
    real.write_text("")
    await project.install()
    assert project.path.is_symlink()
    assert real.read_text().startswith("# @generated")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_place_that_cannot_be_written_is_one_sentence(project: Project) -> None:
    project.place.chmod(0o555)
    try:
        with pytest.raises(UserError, match="cannot be written: Permission denied"):
            await project.install(tools=False)
    finally:
        project.place.chmod(0o755)


async def test_nothing_is_left_beside_the_lock(project: Project) -> None:
    await project.install()
    assert {path.name for path in project.place.iterdir()} == {
        "perstack.toml",
        "perstack.lock",
        "server",
    }
