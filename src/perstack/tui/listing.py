"""What there is to choose from, as lines: rows of a list, and what is told of the one that is selected. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.widgets.option_list import Option

from perstack.definition import Expert, InteractiveSkill, RemoteSkill
from perstack.ops.history.jobs import JobSummary

from .desk import Entry, Shelf
from .prose import prose
from .tones import content_of
from .words import ago, counted, glyph_of_state, short_number, tone_of_state
from .wrap import Spans, fit, one_line, width_of

HEADINGS = {
    "project": "EXPERTS",
    "recent": "FROM EARLIER JOBS",
    "shipped": "COME WITH PERSTACK",
    "registry": "REGISTRY",
}


def fits(words: Sequence[str], *texts: str) -> bool:
    """Whether each word is in one of `texts`."""
    return not words or all(any(word in text.lower() for text in texts) for word in words)


def heading(text: str, *, first: bool) -> Option:
    lines: list[Spans] = [((text, "section"),)]
    return Option(content_of(lines if first else [(), *lines]), disabled=True)


def expert_row(entry: Entry, width: int) -> Spans:
    right = "broken" if entry.faults else ""
    mark = ("✗ ", "bad") if entry.faults else ("◆ ", "delegate")
    room = max(width - 3 - width_of(right), 8)
    key = fit(entry.key, room)
    about = fit(one_line(entry.description), max(room - 28, 0)) if room > 48 else ""
    name = f"{key:<26}" if about else key
    gap = " " * max(room - width_of(name) - (2 + width_of(about) if about else 0), 0)
    tone = "bad" if entry.faults else "muted"
    return (
        mark,
        (name, ""),
        (f"  {about}" if about else "", "muted"),
        (f"{gap} ", ""),
        (right, tone),
    )


def job_rows(job: JobSummary, width: int, now: float) -> list[Spans]:
    tone = tone_of_state(job.status)
    when = ago(max(now - job.updated_at, 0.0)) if job.updated_at else ""
    query = fit(one_line(job.query or job.fault or job.job), width - 3 - width_of(when))
    gap = " " * max(width - 2 - width_of(query) - width_of(when), 1)
    facts = " · ".join(
        filter(
            None,
            (
                job.expert,
                job.status,
                counted(job.steps, "step"),
                f"{short_number(job.usage.total_tokens)} tok",
            ),
        )
    )
    return [
        ((f"{glyph_of_state(job.status)} ", tone), (query, ""), (gap, ""), (when, "muted")),
        ((f"  {fit(one_line(facts), width - 2)}", "muted"),),
    ]


def faults_and_needs(shelf: Shelf) -> Iterator[Spans]:
    """What is to be put right before anything runs."""
    broken = [(e.key, fault) for e in shelf.entries for fault in e.faults]
    if shelf.faults or broken:
        name = shelf.path.name if shelf.path is not None else "perstack.toml"
        count = len(shelf.faults) + len(broken)
        yield (
            (f"{name} has {counted(count, 'fault')}", "bad title"),
            ("   e opens it in your editor", "muted"),
        )
        for fault in [*shelf.faults, *(fault for _, fault in broken)][:6]:
            yield ((f"• {one_line(str(fault))}", ""),)
        if count > 6:
            yield ((f"  and {count - 6} more", "muted"),)
    if shelf.missing:
        if shelf.faults or broken:
            yield ()
        yield (("No model can be asked yet", "warn title"),)
        yield from prose(shelf.missing)
        yield (
            ("Without a key: ", "muted"),
            ("d", "key"),
            (" plays a demo, a recording with real tools and files.", "muted"),
        )


def about_expert(entry: Entry, shelf: Shelf, jobs: Sequence[JobSummary]) -> Iterator[Spans]:
    expert = entry.expert
    version = f"  {expert.version}" if expert is not None else ""
    yield ((entry.key, "title"), (version, "muted"))
    named = shelf.path.name if entry.origin == "project" and shelf.path is not None else ""
    yield ((named or HEADINGS[entry.origin].capitalize(), "muted"),)
    yield ()
    for fault in entry.faults:
        yield (("✗ ", "bad"), (one_line(str(fault)), ""))
    if entry.description:
        yield from prose(entry.description)
        yield ()
    if expert is not None:
        yield from _parts(expert)
    own = [job for job in jobs if job.expert == entry.key]
    if own:
        yield (("JOBS  ", "section"), (f"{len(own)}", "muted"))
        for job in own[:5]:
            yield (
                (f"{glyph_of_state(job.status)} ", tone_of_state(job.status)),
                (fit(one_line(job.query), 48), "muted"),
            )


def _parts(expert: Expert) -> Iterator[Spans]:
    if expert.delegates:
        yield (("DELEGATES", "section"),)
        yield from ((("◆ ", "delegate"), (key, "")) for key in expert.delegates)
        yield ()
    if expert.skills:
        yield (("SKILLS", "section"),)
        for name, skill in expert.skills.items():
            match skill:
                case InteractiveSkill(tools=tools):
                    more = f"asks you: {', '.join(tools)}"
                case RemoteSkill(endpoint=endpoint):
                    more = endpoint
                case _:
                    more = ", ".join(skill.pick) if skill.pick else ""
            yield (("○ ", "muted"), (name, ""), (f"  {more}" if more else "", "muted"))
        yield ()
    yield (("INSTRUCTION", "section"),)
    text = expert.instruction.strip()
    yield from prose(text[:1_200], "muted")
    if len(text) > 1_200:
        yield (("…", "muted"),)
    yield ()


def about_job(job: JobSummary, now: float) -> Iterator[Spans]:
    yield ((job.expert or job.job, "title"),)
    yield (
        (f"{glyph_of_state(job.status)} {job.status}", tone_of_state(job.status)),
        (f"  {ago(now - job.updated_at)}", "muted"),
    )
    yield ()
    if job.fault:
        yield ((one_line(job.fault), "bad"),)
        yield ()
    yield from prose(job.query)
    yield ()
    for name, value in (
        ("Model", job.model),
        ("Steps", str(job.steps)),
        (
            "Tokens",
            f"{short_number(job.usage.input_tokens)} in · {short_number(job.usage.output_tokens)} out",
        ),
        ("Job", job.job),
        ("Writer", job.writer),
    ):
        if value:
            yield ((f"{name:<8}", "muted"), (value, ""))
    yield ()
    yield (("Enter", "key"), (" opens it   ", "muted"), ("c", "key"), (" its checkpoints", "muted"))
