"""Run an Expert: a new job, or one that goes on.

`prepare` reads everything there is to read (project, environment, the log of a job that goes on) and settles
what will happen; what the user can put right is raised there, before anything is written. `carry_out` does it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date
from pathlib import Path
from shutil import copytree
from tempfile import mkdtemp
from typing import cast

import msgspec
from msgspec.structs import replace

from perstack._ids import derived, drawn
from perstack._version import version
from perstack.definition import (
    ProviderAccess,
    ProviderName,
    access_of,
    compose_instruction,
)
from perstack.dialect import place_of
from perstack.engine import Ears, Inbox, Plan, run_job
from perstack.errors import UserError
from perstack.job import (
    FORMAT,
    Acting,
    AskAnswered,
    Call,
    Event,
    Job,
    JobStarted,
    Json,
    ModelChoice,
    Question,
    Resumed,
    Rewound,
    Run,
    RunStarted,
    Text,
    ToolReturned,
    Usage,
    UserSpoke,
    fold,
    utc,
    wanted,
)
from perstack.models import (
    Model,
    default_model,
    ending,
    load_cassette,
    open_model,
    open_recorder,
    price_of,
)
from perstack.skills import faults_in
from perstack.store import Store

from .jobs import history_place, store_at
from .locking import check_frozen, lock_to_run
from .project import Flags, LoadedProject, Settings, load_env, load_project, settle
from .shipped import demo_of

LIMIT_FLAGS = (
    "max_steps",
    "max_retries",
    "timeout_s",
    "max_tokens",
    "max_duration_s",
    "max_cost",
)
"""The limits the command line can set, by their names in `Flags` and in `Limits`."""


class GoOn(msgspec.Struct, frozen=True, kw_only=True):
    """Which job goes on, and how.

    job: its id, None for the one of this Expert that was written to last. checkpoint: from where, None for the
    end. answer: the query answers the question the job waits with. to_run: the run the query is for, "" for the
    root.
    """

    job: str | None = None
    checkpoint: str | None = None
    answer: bool = False
    to_run: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One request to run an Expert.

    expert: its key; query: what to tell it, may be empty only for a job that goes on where it stopped. cwd: where
    relative paths start, and the search for a perstack.toml. config: path of one, None to look for it. workspace:
    what the Expert works in; its history lies in there too. env: the process environment. job: id for a new job.
    go_on: a job to go on with instead of a new one. cassette: file with recorded replies to play instead of
    asking a model; record: file to record replies to. model: replies instead of a provider's (for embedding and
    tests). frozen: run exactly what perstack.lock says, or not at all.
    """

    expert: str
    cwd: Path
    workspace: Path
    env: Mapping[str, str]
    query: str = ""
    config: str | None = None
    flags: Flags = Flags()
    job: str | None = None
    go_on: GoOn | None = None
    cassette: Path | None = None
    record: Path | None = None
    model: Model | None = None
    store: Store | None = None
    proxy: str | None = None
    frozen: bool = False


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request with everything settled. settled: what that is, warnings: what to look at; a sentence each."""

    job: str
    plan: Plan
    store: Store
    open_model: Callable[[Job], AbstractAsyncContextManager[Model]]
    env: dict[str, str]
    settled: tuple[str, ...]
    warnings: tuple[str, ...]
    frozen: bool = False


def store_of(order: Order) -> Store:
    """Where the history of `order`'s job lies: where it says, or the environment does, or in the workspace."""
    if order.store is not None:
        return order.store
    named = None if order.workspace == order.cwd else order.workspace
    return store_at(history_place(None, named, order.env, order.cwd), order.env)


async def prepare(order: Order) -> Prepared:
    """Settle what `order` means. Raises UserError and its kin; nothing has been written then."""
    _check_texts(order.query, str(order.workspace))
    loaded = load_project(order.config, order.cwd, order.env)
    settings = settle(loaded.project if loaded else None, order.flags)
    _check_runtime(settings)
    env = load_env(settings.env_paths, order.env, order.cwd, required=settings.env_required)
    store = store_of(order)
    if order.go_on is None:
        plan, choice, stale = _new_job(order, loaded, settings)
    else:
        plan, choice = await _going_on(order, order.go_on, store, settings)
        stale = ()
    opener, warnings = _model_opener(order, settings, choice, env)
    warnings = (*stale, *warnings)
    if loaded is not None:
        warnings = (*(str(warning) for warning in loaded.parsed.warnings), *warnings)
    return Prepared(
        job=plan.job,
        plan=plan,
        store=store,
        open_model=opener,
        env=env,
        settled=(
            f"Definitions: {loaded.path if loaded else 'those that come with Perstack'}",
            f"Model: {choice.provider}/{choice.model}, reasoning {choice.reasoning}",
            f"Workspace: {order.workspace}",
            f"Job: {plan.job}",
        ),
        warnings=warnings,
        frozen=order.frozen,
    )


def _check_texts(*texts: str) -> None:
    """What goes into the log is UTF-8; paths of other encodings come as lone surrogates."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            shown = text.encode(errors="replace").decode()
            raise UserError(f"{shown[:100]!r} is not UTF-8 text.") from error


def _check_runtime(settings: Settings) -> None:
    """Never something weaker than what was asked for."""
    if settings.runtime != "local":
        raise UserError(
            f'The runtime "{settings.runtime}" is not available in this version; it has "local", which runs an '
            'Expert with your rights. Choose it with --runtime local, or runtime = "local" in perstack.toml.'
        )


async def carry_out(prepared: Prepared, inbox: Inbox, ears: Ears) -> Job:
    """Run the job until it is finished, parked or stopped. For what it raises see `engine.run_job`."""
    return await run_job(
        prepared.plan,
        store=prepared.store,
        open_model=prepared.open_model,
        env=prepared.env,
        inbox=inbox,
        ears=ears,
        frozen=prepared.frozen,
    )


def as_demo(order: Order) -> Order:
    """`order` as the shipped recording has it, in a fresh copy of the files the recording begins with."""
    demo = demo_of(order.expert)
    if order.query and order.query != demo.query:
        raise UserError(
            f'The demo of "{order.expert}" is a recording and answers only: "{demo.query}". '
            "Leave the query out, or set up a provider and leave out --demo."
        )
    workspace = Path(mkdtemp(prefix="perstack-demo-")).resolve()
    copytree(demo.workspace, workspace, dirs_exist_ok=True)
    return replace(
        order,
        query=demo.query,
        config=str(demo.definitions),
        cwd=workspace,
        workspace=workspace,
        cassette=demo.cassette,
        store=store_of(replace(order, workspace=workspace)),  # there, though `cwd` is elsewhere now
    )


# A new job ------------------------------------------------------------------------------------------------


def _new_job(
    order: Order, loaded: LoadedProject | None, settings: Settings
) -> tuple[Plan, ModelChoice, tuple[str, ...]]:
    """How the job begins, the model it asks, and what is to be said of the lock."""
    if not order.query.strip():
        raise UserError(f'What should "{order.expert}" do? Give a query.')
    locked = lock_to_run(order.expert, loaded, frozen=order.frozen)
    lock = locked.lock
    choice = _choice(order, settings)
    start = JobStarted(
        format=FORMAT,
        job=drawn() if order.job is None else order.job,
        expert=lock.key_of(order.expert),
        lock=lock,
        model=choice,
        limits=settings.limits,
        workspace=str(order.workspace),
        runtime="local",
        version=version(),
    )

    def before(events: Sequence[Event]) -> Iterable[Event]:
        if events:
            raise UserError(
                f"There is a job {start.job} already. Go on with it by --continue-job {start.job}, "
                "or choose another --job-id."
            )
        return (start,)

    plan = Plan(job=start.job, before=before, after=lambda job: (_root(job, order.query),))
    return plan, choice, locked.warnings


def _root(job: Job, query: str) -> RunStarted:
    return RunStarted(
        run=derived(job.id, "root"),
        expert=job.expert,
        query=query,
        instruction=compose_instruction(
            job.lock.expert(job.expert),
            job.lock.delegates_of(job.expert),
            at=utc(job.at),
            workspace=job.workspace,
        ),
    )


# A job that goes on ---------------------------------------------------------------------------------------


async def _going_on(
    order: Order, go_on: GoOn, store: Store, settings: Settings
) -> tuple[Plan, ModelChoice]:
    job_id = await _latest(store, order.expert) if go_on.job is None else go_on.job
    events = await store.read(job_id)
    if not events:
        raise UserError(f"There is no job {job_id} here. `perstack log` lists the jobs.")
    rewound = _rewind(events, go_on)
    job = fold(events if rewound is None else [*events, rewound])
    if order.expert not in (job.expert, job.lock.resolutions.get(order.expert)):
        raise UserError(
            f'Job {job_id} belongs to the Expert "{job.expert}", not to "{order.expert}". '
            f'Use "{job.expert}" to go on with it.'
        )
    _check_words(job, order.query, go_on)
    if order.frozen:
        check_frozen(job.lock)
    resumed = _resumed(job, order, settings)

    def before(now: Sequence[Event]) -> Iterable[Event]:
        if len(now) != len(events):
            raise UserError(f"Job {job_id} went on in another process meanwhile. Try again.")
        return (*((rewound,) if rewound else ()), resumed)

    def after(now: Job) -> Iterable[Event]:
        if now.root_run is None:
            yield _root(now, order.query)
        elif go_on.answer:
            yield _answer(now, order.query)
        elif order.query:
            yield UserSpoke(text=order.query, run=go_on.to_run)

    return Plan(job=job_id, before=before, after=after), resumed.model or job.model


async def _latest(store: Store, expert: str) -> str:
    for summary in await store.summaries():
        if summary.expert == expert:
            return summary.job
    raise UserError(f'No job of "{expert}" found to continue. Run it once without --continue.')


def _rewind(events: Sequence[Event], go_on: GoOn) -> Rewound | None:
    if go_on.checkpoint is None:
        return None
    place = place_of(events, go_on.checkpoint)
    if place is None:
        raise UserError(
            f"Checkpoint {go_on.checkpoint} not found in job {go_on.job}. "
            f"`perstack log --job {go_on.job}` lists its checkpoints."
        )
    return Rewound(to=place)


def _check_words(job: Job, query: str, go_on: GoOn) -> None:
    """Whether the query is what the job can take now."""
    questions = job.questions
    if go_on.answer:
        if not questions:
            raise UserError(f"Job {job.id} waits for no answer. Leave out -i to tell it something.")
        _answer(job, query)
    elif questions and not wanted(job):
        asked = ", ".join(
            f"{call.tool} {msgspec.json.encode(call.args).decode()}" for _, call in questions
        )
        raise UserError(f"Job {job.id} waits for an answer: {asked}. Give it with -i.")
    elif not query and job.root_run is None:
        raise UserError(f"Job {job.id} ended before it had begun. Say again what it is to do.")
    elif not query and job.done is not None:
        raise UserError(f"Job {job.id} is done. Give a query to go on with it.")


def _resumed(job: Job, order: Order, settings: Settings) -> Resumed:
    """What changes when the job goes on: only what the command line says."""
    flags = order.flags
    given = {name: value for name in LIMIT_FLAGS if (value := getattr(flags, name)) is not None}
    limits = replace(job.limits, **given)
    choice = job.model
    if _stands_in(order) or flags.provider not in (None, choice.provider):
        choice = _choice(order, settings)
    elif flags.model:
        choice = replace(choice, model=flags.model)
    choice = replace(
        choice, reasoning=job.model.reasoning if flags.reasoning is None else flags.reasoning
    )
    return Resumed(
        limits=None if limits == job.limits else limits,
        model=None if choice == job.model else choice,
    )


class _Told(msgspec.Struct, rename="camel"):
    """The documented form of an answer."""

    tool_call_id: str
    tool_name: str
    skill_name: str
    text: str


def _answer(job: Job, query: str) -> ToolReturned | AskAnswered:
    """What follows from `query` as an answer to the question it names, else to the first."""
    run, call = job.questions[0]
    text = query
    try:
        told = msgspec.json.decode(query, type=_Told)
    except msgspec.DecodeError:
        pass
    else:
        run, call = _asked(job, told.tool_call_id)
        text = told.text
    assert isinstance(run.phase, Acting)  # who asks is
    if (question := run.phase.flights[call.id].question) is not None:
        return AskAnswered(run=run.id, call=call.id, content=_content(question, text))
    return ToolReturned(run=run.id, call=call.id, parts=(Text(text=text),))


def _content(question: Question, text: str) -> dict[str, Json] | None:
    """What `text` says to what a tool's server asked: the members of its schema as JSON, or null to decline.

    Where there is but one member, and that a text, `text` is it. Raises UserError for what does not fit.
    """
    try:
        said = msgspec.json.decode(text)
    except msgspec.DecodeError:
        said = text
    if said is None:
        return None
    if not isinstance(said, dict):
        match question.schema.get("properties"):
            case {**members} if [_type_of(member) for member in members.values()] == ["string"]:
                said = dict.fromkeys(members, text)
            case _:
                needed = msgspec.json.encode(question.schema).decode()
                raise UserError(
                    f"The answer must be a JSON object, or null to decline. Its JSON Schema: {needed}"
                )
    content = cast("dict[str, Json]", said)
    faults = faults_in(question.schema, content)
    faults = faults or tuple(
        f"`{n}` is no plain value" for n, v in content.items() if not _plain(v)
    )
    if faults:
        raise UserError(f"The answer is not what was asked for: {'; '.join(faults)}.")
    return content


def _type_of(member: Json) -> Json:
    return cast("dict[str, Json]", member).get("type") if isinstance(member, dict) else None


def _plain(value: Json) -> bool:
    """Whether a member of an answer may have that value by the protocol."""
    if isinstance(value, list):
        return all(isinstance(item, str) for item in cast("list[Json]", value))
    return not isinstance(value, dict)


def _asked(job: Job, id: str) -> tuple[Run, Call]:
    for run, call in job.questions:
        if call.id == id:
            return run, call
    open_ids = ", ".join(call.id for _, call in job.questions)
    raise UserError(f"Job {job.id} waits for no answer to {id}. It waits for: {open_ids}.")


# The model ------------------------------------------------------------------------------------------------


def _stands_in(order: Order) -> bool:
    return order.model is not None or order.cassette is not None


def _choice(order: Order, settings: Settings) -> ModelChoice:
    if order.model is not None:
        return ModelChoice(
            provider="custom", model=settings.model or "custom", reasoning=settings.reasoning
        )
    if order.cassette is not None:
        return ModelChoice(
            provider="cassette", model=order.cassette.name, reasoning=settings.reasoning
        )
    return ModelChoice(
        provider=settings.provider,
        model=settings.model or default_model(settings.provider),
        reasoning=settings.reasoning,
    )


def _check_price(provider: ProviderName, model: str) -> None:
    if price_of(provider, model, Usage()) is None:
        raise UserError(
            f"The price of {provider}/{model} is not known, so its cost cannot be limited. "
            "Leave out maxCost, or limit maxTokens instead."
        )


Opener = Callable[[Job], AbstractAsyncContextManager[Model]]


def _model_opener(
    order: Order, settings: Settings, choice: ModelChoice, env: Mapping[str, str]
) -> tuple[Opener, tuple[str, ...]]:
    """How to open the model the job asks, and what the user should know of it."""
    scrub = {str(order.workspace): "<workspace>"}
    if order.model is not None:
        opener, warnings = _given(order.model), ()
    elif order.cassette is not None:
        opener, warnings = _given(load_cassette(order.cassette, scrub=scrub)), ()
    elif choice.provider in ("cassette", "custom"):
        raise UserError(
            "This job was run without a provider (its replies came from a recording or from a program). "
            "Choose one with --provider to go on."
        )
    else:
        table = settings.provider_table if choice.provider == settings.provider else None
        access = access_of(choice.provider, table, env)
        if settings.limits.max_cost is not None:
            _check_price(choice.provider, choice.model)
        ends = ending(choice.provider, choice.model, date.today())
        opener, warnings = _asking(access, order.proxy), (ends,) if ends else ()
    return (_recording(opener, order.record, scrub) if order.record else opener), warnings


def _given(model: Model) -> Opener:
    @asynccontextmanager
    async def opened(job: Job) -> AsyncGenerator[Model]:
        yield model

    return opened


def _asking(access: ProviderAccess, proxy: str | None) -> Opener:
    return lambda job: open_model(access, proxy=proxy)


def _recording(opener: Opener, path: Path, scrub: Mapping[str, str]) -> Opener:
    @asynccontextmanager
    async def opened(job: Job) -> AsyncGenerator[Model]:
        async with opener(job) as model, open_recorder(model, path, scrub=scrub) as recorder:
            yield recorder

    return opened
