"""The rows of an account as a list with heights: what stands where, however long the job is. It draws nothing.

Each run is a segment of rows whose heights are known; a delegate's segment stands below the call that set it to
work, if that is unfolded. One row more costs one height; what is live (words as they come, calls on their way)
stands at the end of its run and is laid out anew each time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from msgspec.structs import replace

from perstack.job import Activity, activity

from .account import Account, Line
from .blocks import Block, block_of, block_of_call
from .layout import height_of
from .prose import hang_of, prose
from .words import elapsed, glyph_of_state, standing, tokens_of
from .wrap import wrapped_spans

VOICE_LINES = {"thought": 4, "text": 16}
"""Lines of a reply that are shown while it is still coming."""

SPINNER = "◐◓◑◒"
TURNS = 6
"""Marks of it a second."""

AT_WORK = ("thinking", "acting", "asking")

Key = tuple[str, int, str]
"""A row's run, seq and id; ("run id", 0, what) for what is live."""


@dataclass(slots=True)
class Item:
    """One row. child: the run it set to work. row: None for what is live."""

    key: Key
    row: Activity | None
    block: Block
    depth: int
    child: str = ""


@dataclass(slots=True)
class Rows:
    """The rows of one run so far. taken: how many of `line` are laid out. marks: places of its calls of delegates.

    An account that is told anew, because the job went back to an earlier place, has other lines of the same ids.
    """

    line: Line
    items: list[Item] = field(default_factory=list[Item])
    heights: list[int] = field(default_factory=list[int])
    marks: list[int] = field(default_factory=list[int])
    taken: int = 0


class Outline:
    """run: the run whose rows, with those below it, are in it; "" for the whole job. now: seconds since 1970.

    items: the rows, as of the last `lay`. ends: for each the line after its last. width: in cells.
    """

    def __init__(self, account: Account, now: Callable[[], float], run: str = "") -> None:
        self.items: list[Item] = []
        self.ends: list[int] = []
        self.width = 0
        self._account = account
        self._now = now
        self._run = run
        self._segments: dict[str, Rows] = {}
        self._turned: dict[Key, bool] = {}

    @property
    def height(self) -> int:
        """In lines."""
        return self.ends[-1] if self.ends else 0

    def lay(self, width: int) -> None:
        """Bring it up to what the account says now."""
        if self.width != width:
            self.width = width
            self._segments.clear()
        root = self._account.lines.get(self._run) if self._run else self._account.root
        items: list[Item] = []
        heights: list[int] = []
        if root is not None:
            self._lay(root, 0, items, heights)
        self.items, self.ends = items, list(accumulate(heights))

    def place_at(self, line: int) -> int:
        """The row that `line` is of; the number of rows for one below them all."""
        return bisect_right(self.ends, line)

    def place_of(self, key: Key | None) -> int | None:
        for place, item in enumerate(self.items):
            if item.key == key:
                return place
        return None

    def top_of(self, place: int) -> int:
        """The first line of a row."""
        return self.ends[place - 1] if place else 0

    def _lay(self, line: Line, depth: int, items: list[Item], heights: list[int]) -> None:
        segment = self._segments.get(line.id)
        if segment is None or segment.line is not line:
            segment = self._segments[line.id] = Rows(line)
        self._extend(segment, depth)
        at = 0
        for mark in segment.marks:
            item = segment.items[mark]
            child = self._account.lines[item.child]
            unfolded = self.is_unfolded(item)
            item.block = _delegated(item.block, child, unfolded)
            items.extend(segment.items[at : mark + 1])
            heights.extend(segment.heights[at:mark])
            heights.append(height_of(item.block, self.width, depth))
            if unfolded:
                self._lay(child, depth + 1, items, heights)
            at = mark + 1
        items.extend(segment.items[at:])
        heights.extend(segment.heights[at:])
        for item in self._live(line, depth):
            items.append(item)
            heights.append(height_of(item.block, self.width, depth))

    def _extend(self, segment: Rows, depth: int) -> None:
        """Lays out the rows that are new."""
        line = segment.line
        for row in line.rows[segment.taken :]:
            segment.taken += 1
            if isinstance(row, activity.Query) and depth and row.id == f"query-{line.id}":
                continue  # the call above says it
            if isinstance(row, activity.DelegationComplete):
                continue  # the calls of the delegates say it
            key = (line.id, row.seq, row.id)
            item = Item(key, row, block_of(row), depth, line.children.get((row.seq, row.id), ""))
            if item.child:
                segment.marks.append(len(segment.items))
            segment.items.append(item)
            unfolded = not item.child and self._turned.get(key, False)
            segment.heights.append(height_of(item.block, self.width, depth, unfolded=unfolded))

    def _live(self, line: Line, depth: int) -> Iterator[Item]:
        """What `line` is at just now."""
        if line.state not in AT_WORK:
            return
        spin = SPINNER[int(self._now() * TURNS) % len(SPINNER)]
        for call in self._account.in_flight(line.id):
            block = block_of_call(call)
            since = self._account.called_at.get((line.id, call.id), 0.0)
            meta = elapsed(self._now() - since) if since else ""
            yield Item((line.id, 0, call.id), None, replace(block, glyph=spin, meta=meta), depth)
        if line.state != "thinking" or self._account.job.stopped is not None:
            return
        if waiting := self._account.waiting.get(line.id):
            left = max(waiting.at + waiting.seconds - self._now(), 0.0)
            block = Block(
                glyph="↻",
                title="Waiting",
                tone="warn",
                subject=waiting.reason,
                meta=f"{left:.0f} s to attempt {waiting.attempt}",
            )
            yield Item((line.id, 0, "waiting"), None, block, depth)
            return
        voice = self._account.voices.get(line.id)
        if voice is None:
            block = Block(glyph=spin, title="Thinking", tone="live")
        else:
            tone = "thought" if voice.kind == "thought" else ""
            width = min(self.width - 2 * depth - 2, 100)
            body = [
                part
                for spans in prose(voice.text.strip("\n"), tone)
                for part in wrapped_spans(spans, width, hang_of(spans))
            ]
            block = Block(
                glyph=spin,
                title="Thinking" if voice.kind == "thought" else "Writing",
                tone="live",
                body=tuple(body[-VOICE_LINES[voice.kind] :]),
                whole=True,
                spaced=True,
            )
        yield Item((line.id, 0, "voice"), None, block, depth)

    def is_unfolded(self, item: Item) -> bool:
        """A delegate's rows are shown while it is at work, others when somebody wants to see more."""
        default = False
        if item.child:
            default = self._account.lines[item.child].state in (*AT_WORK, "idle")
        return self._turned.get(item.key, default)

    def turn(self, item: Item, unfolded: bool) -> bool:
        """Fold or unfold a row; whether there is anything to it. Seen with the next `lay`."""
        if item.row is None or not (item.child or item.block.folds):
            return False
        self._turned[item.key] = unfolded
        if not item.child:
            segment = self._segments[item.key[0]]
            for place, other in enumerate(segment.items):
                if other.key == item.key:
                    segment.heights[place] = height_of(
                        item.block, self.width, item.depth, unfolded=unfolded
                    )
        return True


def _delegated(block: Block, child: Line, unfolded: bool) -> Block:
    """The row of a delegate, with how it stands; folded, with what it answered."""
    answer = next((row for row in reversed(child.rows) if isinstance(row, activity.Complete)), None)
    row = next(row for row in child.rows if isinstance(row, activity.Query))
    said = answer.text if answer is not None and not unfolded else row.text
    mark = "▾" if unfolded else "▸"
    state = f"{glyph_of_state(child.state)} {standing(child)}"
    return replace(
        block,
        glyph=mark,
        meta=f"{state} · {tokens_of(child.tokens)}" if child.tokens else state,
        body=tuple(prose(said.strip(), "" if answer is not None and not unfolded else "muted")),
    )
