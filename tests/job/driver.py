"""A job driven without a loop: records first, then one answer at a time, in any order, with a crash anywhere.

It does what the real loop does, as a plain function over values. A `World` answers commands; what it says
depends only on the place of the run, the step, and how often it failed there, so that two ways through the same
job can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from msgspec.structs import replace

from perstack.definition import Expert, Limits, Rules
from perstack.job import (
    Acting,
    ApprovalAnswered,
    AskAnswered,
    Asked,
    Call,
    CallKind,
    CancelRequested,
    Command,
    Event,
    ExpertMessage,
    Failure,
    Generate,
    Job,
    JobStarted,
    ModelChoice,
    Record,
    Replied,
    ReplyFailed,
    Resumed,
    RunFinished,
    RunStarted,
    Text,
    Thought,
    ToolReturned,
    Usage,
    Use,
    apply,
    decode_event,
    decode_events,
    encode_event,
    fold,
    wanted,
)
from perstack.lock import Lock, resolve, resolved

ROOMY = Limits(max_steps=10_000)
LEAD, HELPER, SCOUT = "lead", "@team/helper@1.0.0", "scout"
PRICE = Usage(input_tokens=10, output_tokens=3, reasoning_tokens=1, cached_input_tokens=2)
FAILED_PRICE = Usage(input_tokens=1)

_EXPERTS = {
    LEAD: Expert(key=LEAD, name="lead", instruction="Lead.", delegates=("@team/helper@1", SCOUT)),
    HELPER: Expert(key=HELPER, name="helper", instruction="Help.", delegates=(SCOUT,)),
    SCOUT: Expert(key=SCOUT, name="scout", instruction="Look.", delegates=(SCOUT,)),
}
LOCK: Lock = resolved(resolve([LEAD]), lambda spec: _EXPERTS[HELPER if spec[0] == "@" else spec])


def started(
    limits: Limits | None = None, job: str = "job", rules: Rules | None = None
) -> JobStarted:
    return JobStarted(
        format=1,
        job=job,
        expert=LEAD,
        lock=LOCK,
        model=ModelChoice(provider="anthropic", model="claude-sonnet-4-5"),
        limits=limits or Limits(),
        workspace="/workspace",
        runtime="local",
        version="0.1.0",
        approve=rules.approve if rules else (),
        deny=rules.deny if rules else (),
    )


def opening(
    limits: Limits | None = None, query: str = "Go", rules: Rules | None = None
) -> tuple[Event, Event]:
    """The two facts every job begins with."""
    return started(limits, rules=rules), RunStarted(
        run="root", expert=LEAD, query=query, instruction="Lead."
    )


def call(id: str, tool: str = "read", kind: CallKind = "tool", **args: Any) -> Call:
    skill = {"tool": "files", "ask": "person", "delegate": SCOUT}.get(kind, "@perstack/base")
    return Call(id=id, tool=tool, kind=kind, skill=skill, args=args)


def delegate(id: str, query: str = "") -> Call:
    return call(id, SCOUT, "delegate", query=query or f"Look around {id}")


def done(id: str = "done") -> Call:
    return call(id, "attemptCompletion", "complete")


def says(text: str = "", *calls: Call, thought: str = "") -> ExpertMessage:
    return ExpertMessage(
        thoughts=(Thought(text=thought),) if thought else (),
        texts=(Text(text=text),) if text else (),
        calls=calls,
        model="anthropic/claude-sonnet-4-5",
    )


class Crash(Exception):
    """The process is gone, and with it whatever was not written down."""


@dataclass
class Log:
    """A log in memory. Each event goes through its line and back, as it would on disk."""

    events: list[Event] = field(default_factory=list[Event])
    crash_at: int | None = None
    lines: list[bytes] = field(default_factory=list[bytes])
    total: str = ""

    def append(self, event: Event) -> Event:
        if self.crash_at is not None and len(self.events) >= self.crash_at:
            raise Crash
        seq = len(self.events) + 1
        line, total = encode_event(replace(event, seq=seq, at=1000.0 + seq), self.total)
        written, _ = decode_event(line[:-1], self.total)
        self.events.append(written)
        self.lines.append(line)
        self.total = total
        return written


Turn = ExpertMessage | Failure
"""What a script says: a reply, or that there was none."""


class World:
    """Answers by a script: (path of the run, step) → what the model says, one turn for each attempt there.

    Where the script is silent the model says "done". cut: the places where the reply is cut off.
    """

    def __init__(
        self,
        script: Mapping[tuple[str, int], Turn | Sequence[Turn]] | None = None,
        cut: Iterable[tuple[str, int]] = (),
    ) -> None:
        self.script = script or {}
        self.cut = set(cut)
        self.begun: Counter[tuple[str, int, str]] = Counter()
        self.asked: list[Generate] = []

    def turn(self, wish: Generate) -> Turn:
        turns = self.script.get((wish.path, wish.step), says("done"))
        if not isinstance(turns, Sequence):
            turns = (turns,)
        return turns[min(wish.attempt, len(turns) - 1)]

    def is_cut(self, wish: Generate) -> bool:
        return not wish.concluding and (wish.path, wish.step) in self.cut

    def begin(self, command: Generate | Use) -> None:
        """The deed is done now; whether anybody hears of it is another matter."""
        match command:
            case Generate():
                self.asked.append(command)
            case Use():
                self.begun[command.run, command.step, command.call.id] += 1

    def answer(self, command: Generate | Use) -> Event:
        if isinstance(command, Use):
            text = f"{command.call.tool} ok"
            return ToolReturned(run=command.run, call=command.call.id, parts=(Text(text=text),))
        said = says("closing words") if command.concluding else self.turn(command)
        if isinstance(said, Failure):
            return ReplyFailed(run=command.run, failure=said, usage=FAILED_PRICE)
        return Replied(run=command.run, message=said, usage=PRICE, cut=self.is_cut(command))


class RandomWorld(World):
    """Says something else at each place, the same each time: words, tools, delegates, failures, todos."""

    def __init__(self, seed: int, *, failing: bool = False) -> None:
        super().__init__()
        self.seed = seed
        self.failing = failing

    def dice(self, wish: Generate) -> Random:
        return Random(f"{self.seed} {wish.path} {wish.step}")

    def is_cut(self, wish: Generate) -> bool:
        # Not while concluding: then nothing but the history tells one reply from the next.
        return not wish.concluding and wish.step < 6 and self.dice(wish).random() < 0.1

    def turn(self, wish: Generate) -> Turn:
        dice = self.dice(wish)
        dice.random()  # is_cut takes this one
        if self.failing and dice.random() < 0.05:
            return Failure(name="Refused", message=f"no at {wish.path}#{wish.step}")
        if wish.attempt < dice.choice((0, 0, 0, 1, 2)):
            return Failure(name="Overloaded", message="later", retryable=True)
        calls: list[Call] = []
        if wish.step < 5:
            calls = [
                self._call(dice, f"c{n}", wish.path.count("/")) for n in range(dice.randint(0, 4))
            ]
        if wish.step == 5:
            everything = {"completedTodos": list(range(9))}
            calls = [Call(id="t", tool="todo", kind="todo", args=everything), done("z")]
        text = dice.choice(("", f"words of {wish.path}#{wish.step}"))
        return says(text or ("" if calls else "end"), *calls, thought=dice.choice(("", "hm")))

    def _call(self, dice: Random, id: str, depth: int) -> Call:
        match dice.choice(("tool", "tool", "delegate", "delegate", "todo", "done", "odd")):
            case "tool":
                return replace(call(id, f"tool{id}"), repeatable=dice.random() < 0.4)
            case "delegate" if depth < 2:
                return delegate(id, f"query {id}")
            case "todo":
                return call(id, "todo", "todo", newTodos=[f"todo {id}"], completedTodos=[0, 1])
            case "done" if dice.random() < 0.5:
                return done(id)
            case _:
                return replace(call(id), fault="There is no such tool.")


class AskingServers(RandomWorld):
    """Its tools' servers ask people things: some once, some twice, the same each time the call is made again."""

    def __init__(self, seed: int, *, failing: bool = False) -> None:
        super().__init__(seed, failing=failing)
        self.uses: Counter[tuple[str, int, str, int]] = Counter()

    def begin(self, command: Generate | Use) -> None:
        super().begin(command)
        if isinstance(command, Use):
            self.uses[command.run, command.step, command.call.id, len(command.answers)] += 1

    def answer(self, command: Generate | Use) -> Event:
        if not isinstance(command, Use):
            return super().answer(command)
        asks = Random(f"{self.seed} {command.step} {command.call.id}").choice((0, 1, 2))
        known = len(command.answers)
        if known == asks:
            return super().answer(command)
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        question = f"{command.call.id} {known}?"
        return Asked(run=command.run, call=command.call.id, message=question, schema=schema)


def reply_to(job: Job, place: int = 0) -> Event:
    """An answer to one of the questions of `job`, whoever asks it."""
    run, call = job.questions[place]
    assert isinstance(run.phase, Acting)
    if run.phase.flights[call.id].held:
        return ApprovalAnswered(run=run.id, call=call.id, approved=bool(job.seq % 2), text="So.")
    if run.phase.flights[call.id].question is not None:
        content = {"n": job.seq} if job.seq % 3 else None
        return AskAnswered(run=run.id, call=call.id, content=content)
    return ToolReturned(run=run.id, call=call.id, parts=(Text(text="yes"),))


def drive(
    job: Job,
    log: Log,
    world: World,
    *,
    pick: Callable[[int], int] = lambda count: 0,
    watch: Callable[[Job], None] = lambda job: None,
) -> Job:
    """Run `job` until nothing is wanted.

    pick: which of so many answers arrives next. watch: sees each state.
    """
    flights: dict[object, Generate | Use] = {}
    while commands := keyed(job):
        record = next((c for c in commands.values() if isinstance(c, Record)), None)
        if record is not None:
            job = apply(job, log.append(record.event))
            watch(job)
            continue
        flights = {key: command for key, command in flights.items() if key in commands}
        for key, command in commands.items():
            if key not in flights and not isinstance(command, Record):
                world.begin(command)
                flights[key] = command
        key = list(flights)[pick(len(flights))]
        job = apply(job, log.append(world.answer(flights.pop(key))))
        watch(job)
    return job


def keyed(job: Job) -> dict[object, Command]:
    """What the job wants, by key, which must be unique."""
    commands = wanted(job)
    by_key: dict[object, Command] = {command.key: command for command in commands}
    assert len(by_key) == len(commands), f"keys are not unique: {[c.key for c in commands]}"
    return by_key


def begin(log: Log, events: Iterable[Event]) -> Job:
    """The job after `events` were written to `log`."""
    for event in events:
        log.append(event)
    return fold(log.events)


def run(
    world: World | None = None,
    limits: Limits | None = None,
    *then: Event,
    pick: Callable[[int], int] = lambda count: 0,
) -> tuple[Job, Log]:
    """A job driven to its end; then, for each event from outside, written down and driven on."""
    log = Log()
    world = world or World()
    job = drive(begin(log, opening(limits)), log, world, pick=pick)
    for event in then:
        job = drive(apply(job, log.append(event)), log, world, pick=pick)
    return job, log


def run_with_crashes(
    world: World, crashes: Iterable[int], limits: Limits | None = None
) -> tuple[Job, Log]:
    """A job whose process ends at each of these lengths of the log, and is resumed each time."""
    return _through(crashes, opening(limits), lambda job, log: drive(job, log, world))


def run_with_answers(
    world: RandomWorld, crashes: Iterable[int] = (), rules: Rules | None = None
) -> tuple[Job, Log]:
    """The same, under rules and in any order; every question is answered by a person."""
    dice = Random(world.seed)

    def go_on(job: Job, log: Log) -> Job:
        job = drive(job, log, world, pick=dice.randrange)
        while job.questions:
            job = apply(job, log.append(reply_to(job, dice.randrange(len(job.questions)))))
            job = drive(job, log, world, pick=dice.randrange)
        return job

    return _through(crashes, opening(ROOMY, rules=rules), go_on)


def _through(
    crashes: Iterable[int], first: Iterable[Event], go_on: Callable[[Job, Log], Job]
) -> tuple[Job, Log]:
    log = Log()
    job = begin(log, first)
    for length in crashes:
        log.crash_at = max(length, len(log.events))
        try:
            return go_on(job, log), log
        except Crash:
            log.crash_at = None
            job = begin(log, [Resumed()])
    log.crash_at = None
    return go_on(job, log), log


def check_same_end(seed: int, crashes: Iterable[int], rules: Rules | None = None) -> None:
    """With crashes every run ends as it does without, and the log alone gives the state. seed: of the servers."""
    _, calm = run_with_answers(AskingServers(seed), rules=rules)
    job, log = run_with_answers(AskingServers(seed), crashes, rules)
    assert wanted(job) == ()
    assert outcomes(log.events) == outcomes(calm.events)
    assert fold(log.events) == job
    events, _ = decode_events(line[:-1] for line in log.lines)
    assert fold(events) == job


def outcomes(events: Iterable[Event]) -> dict[str, list[tuple[str, str]]]:
    """How each run ended, by its path."""
    ends: dict[str, list[tuple[str, str]]] = {}
    job = Job()
    for event in events:
        if isinstance(event, RunFinished):
            path = job.runs[event.run].path
            ends.setdefault(path, []).append((event.outcome, event.text))
        job = apply(job, event)
    return ends


def names(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


CANCEL = CancelRequested()
