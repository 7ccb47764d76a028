"""Building an Expert with an Expert: it drafts, the runtime checks, and what was found goes back to it.

Whether a draft is good is never asked of the model. What counts comes from the runtime: that the definition can be
read, that nothing else was touched, and that each of its tests ran to an end and gave what it says. The tests are
part of the draft, and the person sees them; a draft without tests is no draft.

The draft lies in a directory of its own, and so does each test; the project itself is not touched here.
"""

from __future__ import annotations

import errno
import tomllib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from perstack.definition import Expert, Parsed, Project, parse_project
from perstack.errors import DefinitionError, UserError
from perstack.job import Job
from perstack.lock import Change, Reach, changes, reach_of, widened

from ..running.order import Order
from ..shipped import definition_text
from .new import PROJECT_FILE

BUILDER = "create-expert"
TESTS_FILE = "tests.toml"
MAX_TESTS = 5
ROUNDS = 5
SHOWN = 600
"""Characters of an answer that the builder is shown of a test that failed."""
NO_SUCH_NAME = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
"""Why a file cannot have a name that is none of anything outside: it is too long, or another needs it."""

Run = Callable[[Order], Awaitable[Job]]
"""Carries out one order, and shows it; the job as it ended."""


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One test of an Expert. files: in its workspace before. contains: texts in the answer, case aside.

    creates: files that are there after. asks: it is to end with a question to a person.
    """

    name: str
    query: str
    files: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    contains: tuple[str, ...] = ()
    creates: tuple[str, ...] = ()
    asks: bool = False


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be built. name: None lets the builder choose. description: what it is for, or what to improve."""

    name: str | None
    description: str


class Workshop(msgspec.Struct, frozen=True, kw_only=True):
    """Where it is built. project: text of its perstack.toml now. order: how any of its runs is ordered, but for
    Expert, query and places."""

    folder: Path
    project: str
    order: Order
    cassettes: Path | None = None
    recordings: Path | None = None

    @property
    def draft(self) -> Path:
        return self.folder / "draft"


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A draft that can be read. before: the Expert as it was, None for a new one.

    reach: what it and the new Experts beside it may touch.
    """

    text: str
    expert: Expert
    before: Expert | None
    tests: tuple[Trial, ...]
    reach: Reach
    changes: tuple[Change, ...]


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. draft: the last that could be read. faults: what the runtime found; none: all is well."""

    draft: Draft | None
    faults: tuple[str, ...]
    rounds: int


class Unfinished(UserError):
    """A run of the builder did not come to its end. job: as it stands."""

    def __init__(self, job: Job, what: str) -> None:
        super().__init__(what)
        self.job = job


async def build(
    brief: Brief,
    workshop: Workshop,
    run: Run,
    *,
    consent: Callable[[Draft], bool],
    told: Callable[[str], None],
    rounds: int = ROUNDS,
) -> Built:
    """Build what `brief` says.

    consent: whether a draft may be tried, asked for each that may do more than those before. told: what happens, a
    sentence each. rounds: drafts at most. Raises Unfinished, and what `run` raises.
    """
    before = _parsed(workshop.project)
    builder = workshop.folder / "builder.toml"
    _lay_out(workshop.draft, {PROJECT_FILE: workshop.project})
    _lay_out(workshop.folder, {builder.name: _builder_project(workshop.project)})
    runs = _Runs(workshop, run)
    agreed, faults = Reach(), ()
    draft: Draft | None = None
    for number in range(1, rounds + 1):
        told(
            f"Round {number} of at most {rounds}: the Expert is {'improved' if faults else 'drafted'}."
        )
        job = await runs.go(BUILDER, _query(brief, before.project, faults), workshop.draft, builder)
        if job.done is None or job.done.outcome != "completed":
            raise Unfinished(job, f"{BUILDER} did not come to its end: {_how(job)}")
        try:
            draft = read_draft(brief, workshop.draft, before)
        except DraftFaults as error:
            faults = error.faults
        else:
            reach = draft.reach
            if any(change.effect == "widen" for change in widened(agreed, reach)):
                if not consent(draft):
                    return Built(draft=draft, faults=("It was not tried.",), rounds=number)
                agreed = reach
            faults = await _try(draft, workshop, runs, told)
            if not faults:
                return Built(draft=draft, faults=(), rounds=number)
        for fault in faults:
            told(f"  - {fault}")
    return Built(draft=draft, faults=faults, rounds=rounds)


class _Runs:
    """Orders runs one after another. Each has a recording of its own, where there are recordings."""

    def __init__(self, workshop: Workshop, run: Run) -> None:
        self._workshop = workshop
        self._run = run
        self._count = 0

    async def go(self, expert: str, query: str, workspace: Path, config: Path) -> Job:
        self._count += 1
        name = f"{self._count:02}.jsonl"
        shop = self._workshop
        flags = shop.order.flags
        if expert != BUILDER:  # it is tried as the draft says it runs
            flags = replace(flags, approve=(), deny=())
        order = replace(
            shop.order,
            expert=expert,
            query=query,
            workspace=workspace,
            config=str(config),
            drafts=expert == BUILDER,
            flags=flags,
            cassette=shop.cassettes / name if shop.cassettes else None,
            record=shop.recordings / name if shop.recordings else None,
        )
        return await self._run(order)


# The draft ------------------------------------------------------------------------------------------------


class DraftFaults(Exception):
    """What is wrong with a draft, for who wrote it."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__(faults)
        self.faults = faults


def read_draft(brief: Brief, folder: Path, before: Parsed) -> Draft:
    """The draft in `folder`. before: the project file as it was. Raises DraftFaults."""
    text = _text_of(folder / PROJECT_FILE)
    try:
        parsed = _parsed(text)
    except DefinitionError as error:
        raise DraftFaults((str(error),)) from error
    faults = [f"{PROJECT_FILE}: {fault}" for fault in parsed.faults if fault not in before.faults]
    faults += _touched(before.project, parsed.project, brief)
    name = brief.name or _new_name(before.names, parsed)
    expert = parsed.project.experts.get(name) if name else None
    if expert is None and not faults:
        meant = f'the table [experts."{name}"]' if name else "a table of a new Expert"
        faults.append(f"{PROJECT_FILE} has to have {meant}.")
    tests: tuple[Trial, ...] = ()
    try:
        tests = _tests(_text_of(folder / TESTS_FILE))
    except DraftFaults as error:
        faults += error.faults
    if faults or expert is None:
        raise DraftFaults(tuple(faults))
    old = before.project.experts.get(expert.key)
    helpers = _reach(
        each
        for key, each in parsed.project.experts.items()
        if key not in before.names and key != expert.key
    )
    own = changes(old, expert) if old is not None else widened(Reach(), reach_of(expert))
    return Draft(
        text=text,
        expert=expert,
        before=old,
        tests=tests,
        reach=Reach(grants=(*reach_of(expert).grants, *helpers.grants)),
        changes=(*_rules_lifted(old, expert), *own, *widened(Reach(), helpers)),
    )


def _reach(experts: Iterable[Expert]) -> Reach:
    """What several Experts may touch together."""
    grants = (grant for expert in experts for grant in reach_of(expert).grants)
    return Reach(grants=tuple(dict.fromkeys(grants)))


def _rules_lifted(before: Expert | None, after: Expert) -> Iterator[Change]:
    """Rules that the Expert was under, and would not be any more."""
    if before is None:
        return
    for rule in before.approve:
        if rule not in (*after.approve, *after.deny):
            yield Change(
                effect="widen", text=f"asks you no longer about {rule}", kind="rule", what=rule
            )
    for rule in before.deny:
        if rule not in after.deny:
            yield Change(effect="widen", text=f"is no longer denied {rule}", kind="rule", what=rule)


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError as error:
        raise DraftFaults((f"{path.name} is missing.",)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DraftFaults((f"{path.name} is no UTF-8 text file.",)) from error


def _touched(before: Project, after: Project, brief: Brief) -> Iterator[str]:
    """What a draft must leave as it is."""
    for key, expert in before.experts.items():
        if key != brief.name and after.experts.get(key) != expert:
            yield f'{PROJECT_FILE}: leave [experts."{key}"] as it was.'
    if replace(before, experts={}) != replace(after, experts={}):
        yield f"{PROJECT_FILE}: leave what is outside of [experts] as it was."


def _new_name(before: Iterable[str], parsed: Parsed) -> str | None:
    """The new Expert that no other new one delegates to. before: those that were there."""
    known = set(before)
    new = [key for key in parsed.project.experts if key not in known]
    called = {each for key in new for each in parsed.project.experts[key].delegates}
    return next((key for key in new if key not in called), None)


def _tests(text: str) -> tuple[Trial, ...]:
    try:
        raw = tomllib.loads(text)
        tests = msgspec.convert(raw.get("test"), tuple[Trial, ...])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise DraftFaults((f"{TESTS_FILE}: {error}.",)) from error
    faults: list[str] = []
    if not 1 <= len(tests) <= MAX_TESTS:
        faults.append(f"{TESTS_FILE} has to have one to {MAX_TESTS} tables [[test]].")
    for test in tests:
        if not (test.contains or test.creates or test.asks):
            faults.append(
                f'{TESTS_FILE}: "{test.name}" checks nothing: say `contains` or `creates`.'
            )
        if outside := [name for name in (*test.files, *test.creates) if not _is_inside(name)]:
            faults.append(
                f'{TESTS_FILE}: "{test.name}" names files outside of the workspace: {outside[0]}'
            )
    if faults:
        raise DraftFaults(tuple(faults))
    return tests


def _is_inside(name: str) -> bool:
    path = Path(name)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts


def _parsed(text: str) -> Parsed:
    return parse_project(text, PROJECT_FILE)


# Trying it ------------------------------------------------------------------------------------------------


async def _try(
    draft: Draft, workshop: Workshop, runs: _Runs, told: Callable[[str], None]
) -> tuple[str, ...]:
    """What the tests of a draft found."""
    faults: list[str] = []
    config = workshop.draft / PROJECT_FILE
    for number, test in enumerate(draft.tests, 1):
        told(f"Test {number} of {len(draft.tests)}: {test.name}")
        place = workshop.folder / "tests" / f"{len(list_of(workshop)) + 1:02}"
        try:
            _lay_out(place, test.files)
        except ValueError as error:
            faults.append(f'Test "{test.name}": {error}')
            continue
        job = await runs.go(draft.expert.key, test.query, place, config)
        faults += (f'Test "{test.name}": {what}' for what in found_in(test, job, place))
    return tuple(faults)


def _lay_out(folder: Path, files: Mapping[str, str]) -> None:
    """Files in `folder`, which is made. Raises ValueError for names that cannot be; UserError."""
    name = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        if name and error.errno in NO_SUCH_NAME:
            raise ValueError(f"{name[:SHOWN]!r} cannot be a file: {error.strerror}.") from error
        raise UserError(f"{folder / name} cannot be written: {error.strerror}.") from error


def list_of(workshop: Workshop) -> list[Path]:
    """The workspaces of the tests that were run."""
    folder = workshop.folder / "tests"
    return sorted(folder.iterdir()) if folder.exists() else []


def found_in(test: Trial, job: Job, workspace: Path) -> Iterator[str]:
    """What is not as `test` says."""
    if test.asks:
        if job.done is not None or not job.questions:
            yield f"it should have asked a person. {_how(job)}"
        return
    if job.done is None or job.done.outcome != "completed":
        yield f"it did not come to its end: {_how(job)}"
        return
    answer = job.done.text
    for text in test.contains:
        if text.lower() not in answer.lower():
            yield f"the answer does not contain {text!r}. It was: {answer[:SHOWN]!r}"
    for name in test.creates:
        if not (workspace / name).is_file():
            yield f"there is no file {name} after it. The answer was: {answer[:SHOWN]!r}"


def _how(job: Job) -> str:
    if job.done is not None:
        return f"It {job.done.outcome}: {job.done.text[:SHOWN]}"
    if job.stopped is not None:
        return f"It was stopped ({job.stopped.reason}: {job.stopped.what})."
    asked = ", ".join(call.tool for _, call in job.questions)
    return f"It waits for a person ({asked}); there is none in a test."


# What the builder is told ---------------------------------------------------------------------------------


def _query(brief: Brief, before: Project, faults: tuple[str, ...]) -> str:
    known = brief.name is not None and brief.name in before.experts
    if known:
        first = f'Improve the Expert "{brief.name}" of perstack.toml. What is wanted:'
    elif brief.name:
        first = f'Create the Expert "{brief.name}" in perstack.toml. What it is for:'
    else:
        first = "Create an Expert in perstack.toml, and choose its name. What it is for:"
    parts = [first, brief.description]
    if faults:
        parts.append(
            "You have worked on it already: your last perstack.toml and tests.toml are in the workspace. The "
            "runtime has checked them and found:\n" + "\n".join(f"- {fault}" for fault in faults)
        )
    return "\n\n".join(parts)


def _builder_project(project: str) -> str:
    """The project file for the builder: model and provider of the project, and the builder."""
    import tomlkit  # only here

    top = cast("Mapping[str, Any]", tomllib.loads(project))
    kept = {name: value for name, value in top.items() if name != "experts"}
    kept["experts"] = {BUILDER: tomllib.loads(definition_text())["experts"][BUILDER]}
    return tomlkit.dumps(kept)
