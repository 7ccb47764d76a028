"""One job on the bench: what is known of it, where more comes from, and what can be done with it."""

from __future__ import annotations

import anyio.to_thread
import msgspec

from perstack.errors import UserError
from perstack.job import Call, Job, Run, UserSpoke
from perstack.ops.running.at_work import AtWork, Ended, Failed, Source, Watch
from perstack.ops.running.fork import Change, fork
from perstack.ops.running.order import Order

from .account import Account
from .desk import Desk


class Session:
    """expert: its key. order: what is carried out, or was last. unsaid: words nobody could be told; whoever shows
    the job takes them back. Whoever makes one closes it."""

    def __init__(self, desk: Desk, expert: str, account: Account) -> None:
        self.desk = desk
        self.expert = expert
        self.account = account
        self.order: Order | None = None
        self.last_cost: int | None = None
        self.unsaid = ""
        self._spoken: list[str] = []
        self._source: Source | None = None

    @classmethod
    def new(cls, desk: Desk, order: Order) -> Session:
        """A job that begins, or goes on, by `order`."""
        session = cls(desk, order.expert, Account())
        session.carry_out(order)
        return session

    @classmethod
    async def kept(cls, desk: Desk, job: str, *, follow: bool = False) -> Session:
        """A job as its log has it. follow: another process is at it. Raises PerstackError."""
        events = await desk.events(job)
        if not events:  # it was in the list a moment ago
            raise UserError(f"Job {job} is not there any more.")
        account = await anyio.to_thread.run_sync(Account, events)
        session = cls(desk, account.job.expert, account)
        if follow:
            session.listen(Watch(desk.store, job, events[-1].seq))
        return session

    def listen(self, source: Source) -> None:
        """Hear of the job from `source` from now on."""
        self.close()
        self._source = source

    # How it stands ----------------------------------------------------------------------------------------

    @property
    def job(self) -> Job:
        return self.account.job

    @property
    def id(self) -> str:
        """The job's id, "" while it is not settled."""
        if self.job.id:
            return self.job.id
        return self.account.settled.job if self.account.settled is not None else ""

    @property
    def at_work(self) -> bool:
        """Whether this process is at it."""
        return isinstance(self._source, AtWork) and self._source.at_work

    @property
    def elsewhere(self) -> bool:
        """Whether another process is."""
        return isinstance(self._source, Watch)

    @property
    def question(self) -> tuple[Run, Call] | None:
        """What a person is to answer next."""
        if self.job.stopped is not None or self.elsewhere:
            return None
        questions = self.job.questions
        return questions[0] if questions else None

    @property
    def is_over(self) -> bool:
        """Whether it is a demo that has come to its end, so that nobody is there to hear more words."""
        return self.desk.plays_demo and self.job.done is not None and not self.at_work

    def pump(self) -> bool:
        """Take over what was told since the last time; whether anything was."""
        told = self._source.take() if self._source is not None else []
        self.account.take(told)
        for one in told:
            if isinstance(one, UserSpoke) and one.text in self._spoken:
                self._spoken.remove(one.text)
        if self._spoken and any(isinstance(one, Ended | Failed) for one in told):
            self._say_again()
        return bool(told)

    def _say_again(self) -> None:
        """Words that came too late for the run they were said to: the job goes on with them, if it can."""
        words = "\n".join(self._spoken)
        self._spoken.clear()
        if self.account.failure is None and self.question is None:
            self.carry_out(self.desk.going_on(self.job.expert, self.job.id, words))
        else:
            self.unsaid = words

    # What can be done -------------------------------------------------------------------------------------

    def carry_out(self, order: Order) -> None:
        """Begin, or go on, by `order`."""
        self.order = order
        self.account.failure = None
        self.listen(AtWork(order))

    def speak(self, text: str) -> None:
        """Words for the root run: at once if it is at work, else it goes on with them."""
        if isinstance(self._source, AtWork) and self._source.at_work:
            self._spoken.append(text)
            self._source.speak(text)
        elif self.job.id:
            self.carry_out(self.desk.going_on(self.job.expert, self.job.id, text))
        elif self.order is not None:  # it could not begin
            self.carry_out(msgspec.structs.replace(self.order, query=text))

    def answer(self, run: Run, call: Call, text: str) -> None:
        """The answer to a question."""
        told = {
            "toolCallId": call.id,
            "toolName": call.tool,
            "skillName": call.skill,
            "text": text,
        }
        said = msgspec.json.encode(told).decode()
        if isinstance(self._source, AtWork) and self._source.at_work:
            self._source.answer(self.job, said)
        else:
            self.carry_out(self.desk.going_on(self.job.expert, self.job.id, said, answer=True))

    def go_on(self) -> None:
        """Take the job up as it stands."""
        self.carry_out(self.desk.going_on(self.job.expert, self.job.id, ""))

    def resume(self, checkpoint: str, query: str) -> None:
        """The same job, from an earlier place."""
        self.carry_out(self.desk.going_on(self.job.expert, self.job.id, query, checkpoint))

    async def branch(self, place: str, query: str, change: Change | None = None) -> Session:
        """A new job that shares this one's beginning. place: a checkpoint or an event. Raises PerstackError."""
        order = self.desk.new_job(self.job.expert, query)
        forked = await fork(order, self.id, place, change or Change(), self.desk.store)
        return Session.new(self.desk, forked)

    def again(self) -> Session:
        """A new job with the same query, by the definitions as they are now."""
        root = self.account.root
        query = root.query if root is not None else self.order.query if self.order else ""
        return Session.new(self.desk, self.desk.new_job(self.expert, query))

    def stop(self) -> None:
        """Put the job down as it stands."""
        if isinstance(self._source, AtWork):
            self._source.stop()

    def close(self) -> None:
        """Hear no more; a job that is at work is put down first."""
        source, self._source = self._source, None
        if source is not None:
            source.close()
            self.account.take(source.take())
