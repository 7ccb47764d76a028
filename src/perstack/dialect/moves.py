"""How a segment moves: each function tells what it is named for, and says where the segment stands then."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from perstack._ids import derived
from perstack.job import (
    Acting,
    Answered,
    Call,
    Done,
    ExpertMessage,
    Generate,
    Run,
    Usage,
    wanted,
)

from . import stream
from . import types as wire
from .heard import ms, runtime_event
from .page import Page, open_calls, reply_of
from .voice import Hearing
from .words import expert_message, expert_ref, tool_call, usage_of


def start(
    page: Page,
    run: Run,
    stop: int,
    *,
    query: str | None = None,
    answer: stream.InteractiveToolCall | None = None,
    pending: tuple[wire.ToolCall, ...] | None = None,
    partial: tuple[wire.ToolResult, ...] | None = None,
) -> None:
    """A segment begins. stop: the messages up to there are known, the untold ones among them are its input."""
    _initialize(page, run, query, answer)
    segment = page.segments[run.id]
    page.told.append(
        stream.StartRun(
            **page.head(run),
            initial_checkpoint=page.checkpoint(run, pending=pending, partial=partial),
            input_messages=page.inputs(run, segment.told, stop),
        )
    )
    page.segments[run.id] = replace(
        segment, status="proceeding", first=stop, inputs=stop - segment.told, told=stop
    )


def renew(page: Page, run: Run, step: int) -> None:
    """Another segment of the same run, at `step`."""
    page.segments[run.id] = replace(
        page.segments[run.id],
        id=page.id(),
        checkpoint=page.id(),
        step=step,
        spent=Usage(),
        answer=Usage(),
        retries=None,
        started_at=page.at,
        held="",
        high=0,
    )


def renew_unasked(page: Page, run: Run) -> None:
    """Another segment, which begins by asking the model. A step that was not finished is taken up again."""
    segment = page.segments[run.id]
    renew(page, run, segment.step if segment.open else segment.step + 1)
    page.segments[run.id] = replace(page.segments[run.id], reply=-1)


def reopen(page: Page, run: Run) -> None:
    """Lets a run speak that had its last word, because now it has another."""
    segment = page.segments[run.id]
    if not segment.open:
        renew(page, run, max(segment.step, segment.high) + 1)
        start(page, run, segment.told)


def take_up_run(page: Page, run: Run) -> None:
    """Goes on with a run whose process was lost, stopped or rewound."""
    segment = page.segments[run.id]
    waits = segment.status in ("stoppedByDelegate", "stoppedByInteractiveTool")
    if waits or isinstance(run.phase, Done):
        return
    if isinstance(run.phase, Acting):
        renew(page, run, segment.step if segment.open else segment.step + 1)
        pending = page.calls(tuple(flight.call for flight in run.phase.open))
        results = page.results(run, faults=False)
        start(page, run, segment.told, pending=pending, partial=results)
        resume_calls(page, run, pending, results)
        return
    renew_unasked(page, run)
    start(page, run, len(run.history))
    if isinstance(run.phase, Answered):
        say_generation(page, run)  # its reply is in the log already; only completeRun follows
    else:
        generate(page, run)


def generate(page: Page, run: Run) -> None:
    """The model is asked; held while it is not to be."""
    if may_think(page, run):
        say_generation(page, run)
    else:
        page.segments[run.id] = replace(page.segments[run.id], held="generation")


def say_generation(page: Page, run: Run) -> None:
    """Tells `startGeneration`."""
    segment = page.segments[run.id]
    page.told.append(
        stream.StartGeneration(**page.head(run), messages=page.history(run, segment.told))
    )
    page.segments[run.id] = replace(segment, started_at=page.at, held="")


def next_step(page: Page, run: Run) -> None:
    """The step is over; held while no other is to follow."""
    if may_think(page, run):
        say_next_step(page, run)
    else:
        page.segments[run.id] = replace(page.segments[run.id], held="step")


def say_next_step(page: Page, run: Run) -> None:
    """Tells `continueToNextStep`, and what begins the step after it."""
    segment = page.segments[run.id]
    checkpoint = page.checkpoint(run)
    number, id = segment.step + 1, page.id()
    page.told.append(
        stream.ContinueToNextStep(
            **page.head(run),
            checkpoint=checkpoint,
            step=page.step(run, inputs=True),
            next_checkpoint=replace(checkpoint, id=id, step_number=number),
        )
    )
    page.segments[run.id] = replace(
        segment,
        step=number,
        checkpoint=id,
        first=segment.told,
        inputs=0,
        reply=-1,
        spent=Usage(),
        held="",
    )
    heard = run.history[segment.told :]
    if heard:  # a person spoke while calls were open: words begin a segment
        renew(page, run, number)
        start(page, run, len(run.history), query="\n".join(message.text for message in heard))
    generate(page, run)


def release(page: Page, run: Run) -> None:
    """Tells what was held, if the model is asked after all."""
    if may_think(page, run):
        if page.segments[run.id].held == "step":
            say_next_step(page, run)
        else:
            say_generation(page, run)


def may_think(page: Page, run: Run) -> bool:
    """Whether the model is asked for `run` as things stand."""
    job = page.job
    unpriced = job.limits.max_tokens is None and job.limits.max_cost is None
    if unpriced and not job.cancelled and job.stopped is None:
        if job.limits.max_steps - job.steps >= len(job.runs):
            return True  # wanted() would say the same
    return any(isinstance(want, Generate) and want.run == run.id for want in wanted(job))


def retry(page: Page, run: Run, name: str, message: str, usage: Usage) -> None:
    """A reply could not be used; whatever of it was kept is told. name, message: of the failure."""
    segment = page.segments[run.id]
    length = len(run.history)
    cut_calls = segment.reply >= segment.told
    reason = msgspec.json.encode({"error": name, "message": message}).decode()
    page.told.append(
        stream.Retry(
            **page.head(run),
            reason=reason,
            new_messages=page.messages(run, segment.told, length),
            usage=usage_of(usage),
            tool_calls=page.calls(reply_of(run, segment).calls) if cut_calls else None,
            tool_results=page.results(run) if cut_calls else None,
        )
    )
    page.segments[run.id] = replace(segment, told=length)
    next_step(page, run)


def hand_over(page: Page, run: Run) -> None:
    """Once the tools are done, delegates are called; once these are back, a person is asked.

    So is one as soon as all tools that are left wait for what their servers asked.
    """
    left = open_calls(run)
    kinds = {call.kind for call in left}
    if "tool" in kinds or "todo" in kinds:
        asked = run.phase.asked if isinstance(run.phase, Acting) else ()
        at_work = [call for call in left if call.kind in ("tool", "todo")]
        if asked and len(asked) == len(at_work):
            _ask(page, run, asked[0])
        return
    if "delegate" in kinds:
        _call_delegates(page, run, tuple(call for call in left if call.kind == "delegate"))
    elif "ask" in kinds:
        _ask(page, run, next(call for call in left if call.kind == "ask"))


def resume_calls(
    page: Page,
    run: Run,
    pending: tuple[wire.ToolCall, ...],
    results: tuple[wire.ToolResult, ...],
) -> None:
    """The calls of a reply that are still open go on in this segment."""
    page.told.append(
        stream.ResumeToolCalls(
            **page.head(run), pending_tool_calls=pending, partial_tool_results=results
        )
    )
    hand_over(page, run)


def end(
    page: Page,
    run: Run,
    status: wire.Status,
    *,
    text: str = "",
    targets: tuple[wire.DelegationTarget, ...] | None = None,
    error: wire.Error | None = None,
) -> None:
    """The terminal event of a segment.

    text: the answer, of a segment that completed. targets: the delegates, of one that stops for them. error: of
    one that an error stopped.
    """
    segment = page.segments[run.id]
    # Held with its step: words of a person that no segment has begun with yet are not told here either
    told = segment.told if segment.held == "step" else len(run.history)
    page.segments[run.id] = segment = replace(segment, status=status, told=told, held="")
    left = open_calls(run)
    results = page.results(run) if isinstance(run.phase, Acting) else None
    # Delegates are in delegateTo; for the step they are pending like the others
    others = tuple(call for call in left if targets is None or call.kind != "delegate")
    checkpoint = page.checkpoint(
        run, pending=page.calls(others) or None, partial=results, targets=targets, error=error
    )
    step = page.step(run, pending=page.calls(left) or None, partial=results)
    head = page.head(run)
    match status:
        case "completed":
            usage = usage_of(segment.answer)
            last = stream.CompleteRun(
                **head, checkpoint=checkpoint, step=step, text=text, usage=usage
            )
        case "stoppedByDelegate":
            last = stream.StopRunByDelegate(**head, checkpoint=checkpoint, step=step)
        case "stoppedByInteractiveTool":
            last = stream.StopRunByInteractiveTool(**head, checkpoint=checkpoint, step=step)
        case "stoppedByExceededMaxSteps":
            last = stream.StopRunByExceededMaxSteps(**head, checkpoint=checkpoint, step=step)
        case _:
            assert error is not None  # what an error stopped has one
            last = stream.StopRunByError(**head, checkpoint=checkpoint, step=step, error=error)
    page.told.append(last)


def hush(page: Page, run: Run, reply: ExpertMessage | None = None) -> None:
    """Completes what was streamed of a reply. Reasoning nobody heard as it came is told whole."""
    hearing = page.hearing.get(run.id)
    if hearing is not None:
        page.hearing = {id: other for id, other in page.hearing.items() if id != run.id}
    elif reply is None or not reply.thoughts:
        return
    else:
        hearing = Hearing()
    text = ""
    if hearing.reasoning is not None:
        text = hearing.reasoning.joined()
    elif reply is not None and not hearing.reasoned:
        text = "".join([thought.text for thought in reply.thoughts])
    if text:
        page.told.append(stream.CompleteStreamingReasoning(**page.stream_head(run), text=text))
    if hearing.result is not None:
        text = hearing.result.joined()
        page.told.append(stream.CompleteStreamingRunResult(**page.stream_head(run), text=text))


def _initialize(
    page: Page, run: Run, query: str | None, answer: stream.InteractiveToolCall | None
) -> None:
    job, segment = page.job, page.segments[run.id]
    page.told.append(
        stream.InitializeRuntime(
            id=page.id(),
            timestamp=page.at,
            job_id=job.id,
            run_id=segment.id,
            runtime_version=job.version,
            runtime=page.runtime,
            expert_name=segment.expert.name,
            experts=tuple(job.lock.experts),
            model=job.model.model,
            max_steps=job.limits.max_steps,
            max_retries=job.limits.max_retries,
            timeout=ms(job.limits.timeout_s),
            query=query,
            interactive_tool_call=answer,
        )
    )
    for number, notice in enumerate(page.early):
        id = derived(job.id, "early", job.seq, number)
        event = runtime_event(notice, id=id, job=job.id, run=segment.id)
        if event is not None:
            page.told.append(event)
    page.early = ()


def _call_delegates(page: Page, run: Run, delegates: tuple[Call, ...]) -> None:
    segment, lock = page.segments[run.id], page.job.lock
    page.told.append(
        stream.CallDelegate(
            **page.head(run),
            new_message=expert_message(reply_of(run, segment), page.place(run, segment.reply)),
            tool_calls=page.calls(delegates),
            usage=usage_of(segment.spent),
        )
    )
    targets = tuple(
        [
            wire.DelegationTarget(
                expert=expert_ref(lock.expert(call.skill)),
                tool_call_id=call.id,
                tool_name=call.tool,
                query=str(call.args.get("query", "")),
            )
            for call in delegates
        ]
    )
    end(page, run, "stoppedByDelegate", targets=targets)


def _ask(page: Page, run: Run, question: Call) -> None:
    segment = page.segments[run.id]
    page.told.append(
        stream.CallInteractiveTool(
            **page.head(run),
            new_message=expert_message(reply_of(run, segment), page.place(run, segment.reply)),
            tool_call=tool_call(question, page.job.lock),
            usage=usage_of(segment.spent),
        )
    )
    end(page, run, "stoppedByInteractiveTool")
