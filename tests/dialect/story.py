"""Random jobs told while they happen: with crashes, interruptions, words, answers, cancels and rewinds.

What happens depends on one source of randomness; the telling goes on from process to process as the real one does.
"""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from perstack.definition import Limits, Rules
from perstack.dialect import WireEvent, checkpoints, speak, take_up, tell_notice, voice_of
from perstack.job import (
    Acting,
    Call,
    CancelRequested,
    Event,
    Generate,
    Heard,
    Job,
    Record,
    Resumed,
    Rewound,
    SkillConnected,
    SkillDisconnected,
    Stopped,
    Use,
    UserSpoke,
    apply,
    fold,
    may_follow,
    wanted,
)
from tests.job.driver import AskingServers, Log, opening, reply_to

from .teller import voice


class AskingWorld(AskingServers):
    """Also asks people itself, in the root run."""

    def _call(self, dice: Random, id: str, depth: int) -> Call:
        if depth == 0 and dice.random() < 0.25:
            return Call(id=id, tool="askUser", kind="ask", skill="person", args={"question": id})
        call = super()._call(dice, id, depth)
        return replace(call, fault="It cannot be made.") if dice.random() < 0.1 else call


class Story:
    """A job and its telling. told: everything, streamed words included."""

    def __init__(self, dice: Random, *, full: bool = False, rewinds: bool = False) -> None:
        self.dice = dice
        self.full = full
        self.rewinds = rewinds
        self.world = AskingWorld(dice.randrange(10**6), failing=True)
        self.log = Log()
        self.told: list[WireEvent] = []
        self.job = Job()
        self.voice = voice(full=full)
        self.fresh = False
        self.tries = 0

    def run(self, most: int = 150) -> Story:
        limits = Limits(max_steps=self.dice.choice((3, 8, 30, 1_000)), max_retries=2)
        rules = Rules(approve=("toolc1", "toolc3"), deny=("toolc2",))
        for event in opening(limits, rules=self.dice.choice((Rules(), rules))):
            self.write(event)
            self.murmur()
        while len(self.log.events) < most and self.move():
            self.murmur()
        return self

    def move(self) -> bool:
        """One thing that happens; False when nothing more will."""
        wants = wanted(self.job)
        chance = self.dice.random()
        if chance < 0.04:
            self.restart()
        elif chance < 0.06 and not self.fresh:
            self.outside(UserSpoke(text="More."))
        elif chance < 0.065:
            self.outside(CancelRequested())
        elif wants:
            records = [want for want in wants if isinstance(want, Record)]
            self.carry_out(records[0] if records else self.dice.choice(wants))
        elif self.job.stopped is not None:
            self.restart()
        elif self.job.questions:
            self.write(reply_to(self.job, self.dice.randrange(len(self.job.questions))))
        else:
            return self.again()
        return True

    def carry_out(self, want: Generate | Use | Record) -> None:
        self.write(want.event if isinstance(want, Record) else self.world.answer(want))

    def outside(self, event: Event) -> None:
        if may_follow(self.job, event):
            self.write(event)

    def again(self) -> bool:
        """The job is done; a few times somebody wants more of it."""
        self.tries += 1
        if self.tries > 2:
            return False
        self.restart(UserSpoke(text="Go on."))
        return True

    def restart(self, *then: Event) -> None:
        """The process ends, with a word or without, and another takes the job up."""
        stop = Stopped(reason=self.dice.choice(("interrupted", "bug")), what="why")
        if self.dice.random() < 0.5 and may_follow(self.job, stop):
            self.write(stop)
        first: list[Event] = [Resumed()]
        if self.rewinds and self.dice.random() < 0.4:
            seqs = [seq for seq, _ in checkpoints(self.log.events, voice())]
            if seqs:
                first = [Rewound(to=self.dice.choice(seqs)), Resumed()]
                after = fold([*self.log.events, replace(first[0], seq=len(self.log.events) + 1)])
                then = (UserSpoke(text="Otherwise."),) if after.done else ()
        if self.job.stopped is not None and self.job.stopped.reason == "limit":
            more = replace(self.job.limits, max_steps=self.job.limits.max_steps + 5)
            first[-1] = Resumed(limits=more)
        self.open(first)
        for event in then:
            self.write(event)
        self.voice, told = take_up(self.voice, self.job)
        self.told += told
        self.fresh = True

    def open(self, first: list[Event]) -> None:
        """What a new process does: it reads the log, and says that it is there."""
        self.voice = voice_of(self.log.events, voice(full=self.full))
        for event in first:
            if isinstance(event, Rewound):
                self.log.append(event)
                self.job = fold(self.log.events)
                self.voice = voice_of(self.log.events, voice(full=self.full))
            else:
                self.write(event)

    def write(self, event: Event) -> None:
        before = self.job
        written = self.log.append(event)
        self.job = apply(before, written)
        self.tell(before, written, self.job)
        self.fresh = False

    def tell(self, before: Job, event: Event, after: Job) -> None:
        self.voice, told = speak(self.voice, before, event, after)
        self.told += told

    def murmur(self) -> None:
        """Sometimes words are streamed, and skills come and go."""
        if self.dice.random() > 0.2:
            return
        at = self.job.at
        notices = [
            SkillConnected(skill="files", spawn_s=0.1, at=at),
            SkillDisconnected(skill="x", at=at),
        ]
        notices += [
            Heard(
                run=run.id,
                step=run.step,
                kind=self.dice.choice(("thought", "text")),
                text=self.dice.choice(("a", "bc ")),
                concluding=self.dice.random() < 0.5,
                at=at,
            )
            for run in self.job.runs.values()
            if not isinstance(run.phase, Acting) and self.voice.segments[run.id].open
        ]
        self.dice.shuffle(notices)
        for notice in notices:
            self.voice, told = tell_notice(self.voice, self.job, notice)
            self.told += told
