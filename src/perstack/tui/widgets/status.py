"""How a job stands: beside its timeline on a wide screen, as one line above it on a narrow one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.containers import VerticalScroll
from textual.widgets import Static

from perstack.errors import Fault

from ..account import Account, Line
from ..blocks import todo_line
from ..prose import prose
from ..session import Session
from ..tones import content_of
from ..words import (
    bar,
    counted,
    dollars,
    elapsed,
    glyph_of_state,
    short_number,
    tone_of_state,
)
from ..wrap import Spans, fit, one_line, width_of

TODOS = 12
NETWORK = 6


class Status(VerticalScroll, can_focus=False):
    """The column beside the timeline."""

    def __init__(self) -> None:
        super().__init__(id="status")
        self._text = Static()
        self._last: list[Spans] = []

    def compose(self) -> Iterator[Static]:
        yield self._text

    def draw(self, session: Session, now: float, window: int | None, cost: int | None) -> None:
        width = max(self.scrollable_content_region.width, 20)
        lines = list(status_lines(session, now, window, cost, width))
        if lines != self._last:
            self._last = lines
            self._text.update(content_of(lines))


def state_of(session: Session) -> tuple[str, str]:
    """How the whole job stands: a word, and its tone."""
    job = session.job
    if session.account.failure is not None:
        return "could not go on", "bad"
    if job.done is not None and not session.at_work:
        return job.done.outcome, tone_of_state(job.done.outcome)
    if job.stopped is not None:
        return "stopped", "warn"
    if session.question is not None:
        return "asks you", "warn"
    if session.elsewhere:
        return "at work in another process", "live"
    if session.at_work:
        return "at work" if job.id else "starting", "live"
    return ("interrupted", "warn") if job.id else ("not begun", "muted")


def active_s(session: Session, now: float) -> float:
    """Seconds the job has been at work, up to now."""
    job = session.job
    live = session.at_work and job.at and job.stopped is None and job.done is None
    return job.active_s + (max(now - job.at, 0.0) if live else 0.0)


def summary_line(
    session: Session, now: float, window: int | None, cost: int | None, width: int
) -> Spans:
    """The same in one line, what matters least left out first."""
    word, tone = state_of(session)
    job = session.job
    head: list[tuple[str, str]] = [
        (f"{one_line(session.expert)}", "title"),
        (f"  {_dot(session)} {word}", tone),
    ]
    facts = [counted(job.steps, "step"), f"{short_number(job.usage.total_tokens)} tok"]
    if (share := context_share(session.account, window)) is not None:
        facts.append(f"{share:.0%} ctx")
    if cost:
        facts.append(dollars(cost))
    facts.append(elapsed(active_s(session, now)))
    used = sum(width_of(words) for words, _ in head)
    while facts and used + 2 + width_of("  ".join(facts)) > width:
        facts.pop(0)
    right = "  ".join(facts)
    gap = width - used - width_of(right)
    return (*head, (" " * max(gap, 1), ""), (right, "muted")) if facts else tuple(head)


def context_share(account: Account, window: int | None) -> float | None:
    """How much of the model's window the root run's last step took."""
    root = account.root
    return root.context / window if root is not None and root.context and window else None


def _dot(session: Session) -> str:
    word, _ = state_of(session)
    return {"asks you": "?", "stopped": "■", "completed": "✔", "failed": "✗"}.get(word, "●")


def status_lines(
    session: Session, now: float, window: int | None, cost: int | None, width: int
) -> Iterator[Spans]:
    account, job = session.account, session.job
    word, tone = state_of(session)
    yield ((fit(one_line(session.expert), width), "title"),)
    yield ((f"{_dot(session)} {word}", tone),)
    if job.stopped is not None:
        yield ((fit(one_line(job.stopped.what), width), "muted"),)
    yield ()
    model = f"{job.model.provider}/{job.model.model}" if job.id else "…"
    yield from _pair("Model", model, width)
    yield from _pair("Steps", f"{job.steps} of {job.limits.max_steps}", width)
    usage = job.usage
    yield from _pair(
        "Tokens",
        f"{short_number(usage.input_tokens)} in · {short_number(usage.output_tokens)} out",
        width,
    )
    if usage.cached_input_tokens:
        yield from _pair("Cached", f"{short_number(usage.cached_input_tokens)}", width)
    if cost:
        yield from _pair("Cost", f"about {dollars(cost)}", width)
    yield from _pair("Time", elapsed(active_s(session, now)), width)
    if (share := context_share(account, window)) is not None:
        tone = "bad" if share > 0.9 else "warn" if share > 0.7 else "live"
        yield (
            ("Context ", "muted"),
            (bar(share, max(width - 13, 4)), tone),
            (f" {share:4.0%}", "muted"),
        )
    if len(account.lines) > 1:
        yield from _section("Runs")
        for line in _tree(account):
            yield _run(line, width)
    todos = _todos(account)
    if todos is not None:
        done = sum(todo.completed for todo in todos.todos)
        yield from _section("Todo", f"{done}/{len(todos.todos)}")
        left = [todo for todo in todos.todos if not todo.completed]
        shown = todos.todos if len(todos.todos) <= TODOS else left[:TODOS]
        for todo in shown:
            mark, words = todo_line(todo.title, todo.completed)
            yield (mark, (fit(words[0], width - 2), words[1]))
    if session.at_work and account.skills:
        yield from _section("Skills")
        for skill in account.skills.values():
            glyph, tone = {
                "starting": ("◐", "live"),
                "connected": ("●", "good"),
                "gone": ("○", "muted"),
            }[skill.state]
            word = "" if skill.state == "connected" else f"  {skill.state}"
            yield (
                (f"{glyph} ", tone),
                (fit(one_line(skill.name), width - 12), ""),
                (word, "muted"),
            )
    if account.machine:
        yield from _section("Container")
        yield ((fit(one_line(account.machine), width), "muted"),)
    if account.network:
        blocked = sum(not access.allowed for access in account.network)
        yield from _section("Network", f"{blocked} blocked" if blocked else "")
        for access in account.network[-NETWORK:]:
            mark = ("✔ ", "good") if access.allowed else ("✗ ", "bad")
            yield (mark, (fit(one_line(f"{access.host}:{access.port}"), width - 2), ""))
            if access.reason and not access.allowed:
                yield ((fit(f"  {one_line(access.reason)}", width), "muted"),)
    if account.notes:
        yield from _section("To look at")
        for note in account.notes:
            yield ((one_line(note), "warn"),)


def _section(name: str, more: str = "") -> Iterator[Spans]:
    yield ()
    yield ((name.upper(), "section"), (f"  {more}" if more else "", "muted"))


def _pair(name: str, value: str, width: int) -> Iterator[Spans]:
    yield ((f"{name:<8}", "muted"), (fit(one_line(value), width - 8), ""))


def _tree(account: Account) -> Iterator[Line]:
    """The runs, each before those it called."""
    below: dict[str, list[Line]] = {}
    for line in account.lines.values():
        below.setdefault(line.parent, []).append(line)
    todo = list(reversed(below.get("", [])))
    while todo:
        line = todo.pop()
        yield line
        todo.extend(reversed(below.get(line.id, [])))


def _run(line: Line, width: int) -> Spans:
    right = short_number(line.tokens) if line.tokens else ""
    room = width - 2 * line.depth - 3 - width_of(right)
    name = fit(one_line(line.expert), room)
    return (
        ("  " * line.depth, ""),
        (f"{glyph_of_state(line.state)} ", tone_of_state(line.state)),
        (f"{name}{' ' * max(room - width_of(name), 0)} ", ""),
        (right, "muted"),
    )


def _todos(account: Account) -> Line | None:
    """The run whose list is shown: the root's, or else the first that has one and is at work."""
    root = account.root
    if root is not None and root.todos:
        return root
    return next((line for line in account.at_work if line.todos), None)


def standing_lines(session: Session, faults: Sequence[Fault]) -> Iterator[Spans]:
    """What a person should look at before anything else."""
    failure = session.account.failure
    if failure is not None:
        yield (("It could not go on", "bad title"),)
        yield from prose(str(failure) or type(failure).__name__)
    elif faults:
        yield (
            ("perstack.toml has faults", "bad title"),
            ("   what is at work keeps what it began with", "muted"),
        )
        yield from (((f"• {one_line(str(fault))}", ""),) for fault in faults[:4])
