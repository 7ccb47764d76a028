"""A job that goes on: from where, with which words or answer, and what changes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import cast

import msgspec
from msgspec.structs import replace

from perstack.definition import EXPERT_VERSION
from perstack.dialect import place_of
from perstack.engine import Plan
from perstack.errors import UserError
from perstack.job import (
    Acting,
    ApprovalAnswered,
    AskAnswered,
    Call,
    Event,
    Job,
    Json,
    Question,
    Resumed,
    Rewound,
    Run,
    Text,
    ToolReturned,
    UserSpoke,
    fold,
    wanted,
)
from perstack.lock import Lock
from perstack.skills import faults_in
from perstack.store import Store

from ..packages.locking import check_frozen
from ..project import Settings
from .asking import choice_of, stands_in
from .beginning import root_run
from .order import Course, GoOn, Order

LIMIT_FLAGS = (
    "max_steps",
    "max_retries",
    "timeout_s",
    "max_tokens",
    "max_duration_s",
    "max_cost",
)
"""The limits the command line can set, by their names in `Flags` and in `Limits`."""


async def going_on(order: Order, go_on: GoOn, store: Store, settings: Settings) -> Course:
    """How a job goes on. Raises UserError."""
    job_id = await _latest(store, order.expert) if go_on.job is None else go_on.job
    events = await store.read(job_id)
    if not events:
        raise UserError(f"There is no job {job_id} here. `perstack log --jobs` lists the jobs.")
    rewound = _rewind(events, go_on)
    job = fold(events if rewound is None else [*events, rewound])
    asked = job.lock.key_of(order.expert)
    if asked != job.expert and not _may_mean(asked, job.expert):
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
            yield root_run(now, order.query)
        elif go_on.answer:
            yield answer_to(now, order.query)
        elif order.query:
            yield UserSpoke(text=order.query, run=go_on.to_run)

    return Course(
        plan=Plan(job=job_id, before=before, after=after),
        lock=_under(job.lock, order.expert, job.expert),
        choice=resumed.model or job.model,
    )


def _under(lock: Lock, spec: str, key: str) -> Lock:
    """`lock` in which `spec` stands for `key`, by which the job knows its Expert."""
    if lock.key_of(spec) == key:
        return lock
    return replace(lock, resolutions={**lock.resolutions, spec: key})


def _may_mean(expert: str, key: str) -> bool:
    """Whether `expert`, a name alone or with a tag or a range, can have become this exact key."""
    name, _, selector = expert[1:].partition("@")
    is_exact = EXPERT_VERSION.fullmatch(selector) is not None
    return not is_exact and key.startswith(f"{expert[:1]}{name}@")


async def _latest(store: Store, expert: str) -> str:
    for summary in await store.summaries():
        if summary.expert == expert or _may_mean(expert, summary.expert):
            return summary.job
    raise UserError(f'No job of "{expert}" found to continue. Run it once without --continue.')


def _rewind(events: Sequence[Event], go_on: GoOn) -> Rewound | None:
    if go_on.checkpoint is None:
        return None
    place = place_of(events, go_on.checkpoint)
    if place is None:
        raise UserError(
            f"Checkpoint {go_on.checkpoint} not found in job {go_on.job}. "
            f"`perstack log --job {go_on.job} --verbose` shows its checkpoints."
        )
    return Rewound(to=place)


def _check_words(job: Job, query: str, go_on: GoOn) -> None:
    """Whether the query is what the job can take now."""
    questions = job.questions
    if go_on.answer:
        if not questions:
            raise UserError(f"Job {job.id} waits for no answer. Leave out -i to tell it something.")
        answer_to(job, query)
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
    if stands_in(order) or flags.provider not in (None, choice.provider):
        choice = choice_of(order, settings)
    elif flags.model:
        choice = replace(choice, model=flags.model)
    choice = replace(
        choice, reasoning=job.model.reasoning if flags.reasoning is None else flags.reasoning
    )
    return Resumed(
        limits=None if limits == job.limits else limits,
        model=None if choice == job.model else choice,
        approve=flags.rules.approve,
        deny=flags.rules.deny,
    )


class _Told(msgspec.Struct, rename="camel"):
    """The documented form of an answer."""

    tool_call_id: str
    tool_name: str
    skill_name: str
    text: str


def answer_to(job: Job, query: str) -> ToolReturned | AskAnswered | ApprovalAnswered:
    """What follows from `query` as an answer to the question it names, else to the first. Raises UserError."""
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
    flight = run.phase.flights[call.id]
    if flight.held:
        approved, said = _approval(text)
        return ApprovalAnswered(run=run.id, call=call.id, approved=approved, text=said)
    if (question := flight.question) is not None:
        return AskAnswered(run=run.id, call=call.id, content=_content(question, text))
    return ToolReturned(run=run.id, call=call.id, parts=(Text(text=text),))


class _Verdict(msgspec.Struct, forbid_unknown_fields=True):
    approve: bool
    text: str = ""


_YES, _NO = ("yes", "y"), ("no", "n")
_SAID = re.compile(r"\s*(\w+)\s*(?:[.,:;!]\s*(.*))?", re.DOTALL)


def _approval(text: str) -> tuple[bool, str]:
    """Whether `text` allows a call, and the words beside it. Raises UserError if it says neither yes nor no."""
    try:
        verdict = msgspec.json.decode(text, type=_Verdict)
    except msgspec.DecodeError:
        pass
    else:
        return verdict.approve, verdict.text
    found = _SAID.fullmatch(text)
    word = found[1].lower() if found else ""
    if found is None or word not in (*_YES, *_NO):
        raise UserError(
            'The answer must be "yes" or "no", perhaps with words for the model: "no, use the staging server". '
            'As JSON: {"approve": false, "text": "..."}.'
        )
    return word in _YES, (found[2] or "").strip()


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
