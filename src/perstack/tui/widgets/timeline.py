"""A job as a list of what was done, however long: only what is on the screen is drawn.

Each run is a segment of rows whose heights are known; a delegate's segment stands below the call that set it to
work, if that is unfolded. One row more costs one height; what is live (words as they come, calls on their way)
stands at the end of its run and is laid out anew each time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import ClassVar

from msgspec.structs import replace
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from perstack.job import Activity, activity

from ..account import Account, Line
from ..blocks import Block, block_of, block_of_call, text_of
from ..layout import height_of, lines_of
from ..prose import hang_of, prose
from ..words import elapsed, glyph_of_state, standing, tokens_of
from ..wrap import Spans, width_of, wrapped_spans

TONES = (
    "user",
    "good",
    "bad",
    "warn",
    "tool",
    "change",
    "delegate",
    "muted",
    "code",
    "add",
    "del",
    "bold",
    "heading",
    "thought",
    "live",
    "done",
    "rail",
    "meta",
    "title",
    "subject",
    "cursor",
)
"""What a style sheet gives a colour, as `.timeline--<tone>`."""

VOICE_LINES = {"thought": 4, "text": 16}
"""Lines of a reply that are shown while it is still coming."""

SPINNER = "◐◓◑◒"
TURNS = 6
"""Marks of it a second."""

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
    """The rows of one run so far. marks: the places of its calls of delegates."""

    items: list[Item] = field(default_factory=list[Item])
    heights: list[int] = field(default_factory=list[int])
    marks: list[int] = field(default_factory=list[int])
    taken: int = 0


class Timeline(ScrollView, can_focus=True):
    """run: the run whose rows, with those below it, are shown; "" for the whole job. now: seconds since 1970."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"timeline--{tone}" for tone in TONES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "first", "First", show=False),
        Binding("end,G", "last", "Latest", show=False),
        Binding("enter,space", "turn", "Unfold"),
        Binding("right,l", "fold(False)", "Unfold", show=False),
        Binding("left,h", "fold(True)", "Fold", show=False),
        Binding("y", "copy", "Copy"),
    ]

    class Copied(Message):
        """A row was copied. text: the whole of it."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(
        self, account: Account, now: Callable[[], float], run: str = "", id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._account = account
        self._now = now
        self._run = run
        self._segments: dict[str, Rows] = {}
        self._job: object = None
        self._items: list[Item] = []
        self._ends: list[int] = []
        self._steady = 0
        self._turned: dict[Key, bool] = {}
        self._cursor: Key | None = None
        self._follows = True
        self._width = 0
        self._laid: object = None
        self._drawn: dict[tuple[Key, bool], list[Strip]] = {}
        self._styles_of: dict[str, Style] = {}

    # What is where ----------------------------------------------------------------------------------------

    def show(self, account: Account, run: str = "") -> None:
        """Another job, or another run of it."""
        self._account, self._run = account, run
        self._segments.clear()
        self._turned.clear()
        self._drawn.clear()
        self._cursor, self._follows, self._laid = None, True, None
        self.draw()

    def draw(self) -> None:
        """Bring the screen up to what the account says now."""
        if not self.size.width or not self.is_attached:
            return
        root = self._account.lines.get(self._run) if self._run else self._account.root
        width = self.scrollable_content_region.width
        if self._width != width:
            self._width = width
            self._segments.clear()
            self._drawn.clear()
        if root is not None and (old := self._segments.get(root.id)) and old.taken > len(root.rows):
            self._segments.clear()  # the job was taken back to an earlier place
            self._drawn.clear()
        items: list[Item] = []
        heights: list[int] = []
        if root is not None:
            self._lay(root, 0, items, heights)
        ends = list(accumulate(heights))
        self._items, self._ends = items, ends
        if self.has_focus and self._cursor is None and items:
            self._cursor = items[-1].key
        follows = self._follows
        size = Size(self._width, ends[-1] + 1 if ends else 0)
        if size != self.virtual_size:
            self.virtual_size = size
        if follows:
            self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)
            self._follows = True
        self.refresh()

    def _lay(self, line: Line, depth: int, items: list[Item], heights: list[int]) -> None:
        segment = self._segments.setdefault(line.id, Rows())
        self._extend(segment, line, depth)
        at = 0
        for mark in segment.marks:
            item = segment.items[mark]
            child = self._account.lines[item.child]
            unfolded = self._is_unfolded(item)
            item.block = _delegated(item.block, child, unfolded)
            items.extend(segment.items[at : mark + 1])
            heights.extend(segment.heights[at:mark])
            heights.append(height_of(item.block, self._width, depth))
            if unfolded:
                self._lay(child, depth + 1, items, heights)
            at = mark + 1
        items.extend(segment.items[at:])
        heights.extend(segment.heights[at:])
        for item in self._live(line, depth):
            items.append(item)
            heights.append(height_of(item.block, self._width, depth))

    def _extend(self, segment: Rows, line: Line, depth: int) -> None:
        """Lays out the rows that are new."""
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
            segment.heights.append(height_of(item.block, self._width, depth, unfolded=unfolded))

    def _live(self, line: Line, depth: int) -> Iterator[Item]:
        """What `line` is at just now."""
        if line.state not in ("thinking", "acting", "asking"):
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
            width = min(self._width - 2 * depth - 2, 100)
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

    def _is_unfolded(self, item: Item) -> bool:
        """A delegate's rows are shown while it is at work, others when somebody wants to see more."""
        default = False
        if item.child:
            default = self._account.lines[item.child].state in (
                "thinking",
                "acting",
                "asking",
                "idle",
            )
        return self._turned.get(item.key, default)

    # What it looks like -----------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        width = self._width
        line = y + round(self.scroll_offset.y)
        place = bisect_right(self._ends, line)
        base = self.rich_style
        if place >= len(self._items):
            return Strip.blank(width, base)
        item = self._items[place]
        top = self._ends[place - 1] if place else 0
        strips = self._strips(item)
        strip = strips[line - top] if line - top < len(strips) else Strip.blank(width, base)
        if item.key == self._cursor and self.has_focus and not (line == top and item.block.spaced):
            back = Style(bgcolor=self._style("cursor").bgcolor)
            strip = Strip([Segment(text, style and style + back) for text, style, _ in strip])
        return strip

    def _strips(self, item: Item) -> list[Strip]:
        unfolded = not item.child and self._is_unfolded(item)
        steady = item.row is not None and not item.child
        if steady and (item.key, unfolded) in self._drawn:
            return self._drawn[item.key, unfolded]
        lines = lines_of(item.block, self._width, item.depth, unfolded=unfolded)
        strips = [self._strip(line) for line in lines]
        if steady:
            if len(self._drawn) > 2_000:
                self._drawn.clear()
            self._drawn[item.key, unfolded] = strips
        return strips

    def _strip(self, line: Spans) -> Strip:
        width, base = self._width, self.rich_style
        segments = [Segment(words, self._style(tone)) for words, tone in line]
        return Strip(segments, sum(width_of(words) for words, _ in line)).adjust_cell_length(
            width, base
        )

    def _style(self, tone: str) -> Style:
        style = self._styles_of.get(tone)
        if style is None:
            style = self.rich_style
            for name in tone.split():
                style += self.get_component_rich_style(f"timeline--{name}")
            self._styles_of[tone] = style
        return style

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles_of.clear()
        self._drawn.clear()

    def on_resize(self) -> None:
        self.draw()

    # What a person does with it ---------------------------------------------------------------------------

    @property
    def selected(self) -> Activity | None:
        """The row the cursor is on."""
        place = self._place()
        return self._items[place].row if place is not None else None

    @property
    def cursor_text(self) -> str:
        """The head of the row the cursor is on."""
        place = self._place()
        block = self._items[place].block if place is not None else None
        return f"{block.title} {block.subject}" if block is not None else ""

    @property
    def shown_text(self) -> str:
        """All of it as plain text, as it is laid out."""
        lines: list[str] = []
        for item in self._items:
            unfolded = not item.child and self._is_unfolded(item)
            drawn = lines_of(item.block, self._width, item.depth, unfolded=unfolded)
            lines += ("".join(words for words, _ in line).rstrip() for line in drawn)
        return "\n".join(lines)

    def _place(self) -> int | None:
        for place, item in enumerate(self._items):
            if item.key == self._cursor:
                return place
        return None

    def _go(self, place: int) -> None:
        if not self._items:
            return
        place = min(max(place, 0), len(self._items) - 1)
        item = self._items[place]
        self._cursor = item.key
        top = self._ends[place - 1] if place else 0
        height = self._ends[place] - top
        self._follows = place == len(self._items) - 1
        if self._follows:
            self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)
            self._follows = True
        else:
            shown = min(height, self.size.height)
            self.scroll_to_region(
                Region(0, top, self.size.width, shown), animate=False, immediate=True, x_axis=False
            )
        self.refresh()

    def on_focus(self) -> None:
        if self._place() is None:
            self._go(len(self._items) - 1)

    def on_blur(self) -> None:
        self.refresh()

    def action_move(self, by: int) -> None:
        place = self._place()
        self._go(len(self._items) - 1 if place is None else place + by)

    def action_page(self, by: int) -> None:
        middle = round(self.scroll_offset.y) + by * self.size.height
        self._go(bisect_right(self._ends, max(middle, 0)))

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self._items) - 1)

    def action_turn(self) -> None:
        place = self._place()
        if place is not None:
            self._turn(self._items[place], not self._is_unfolded(self._items[place]))

    def action_fold(self, folded: bool) -> None:
        place = self._place()
        if place is None:
            return
        item = self._items[place]
        if folded and item.depth and not self._is_unfolded(item):  # out to the delegate's own row
            for outer in range(place - 1, -1, -1):
                if self._items[outer].child == item.key[0]:
                    self._go(outer)
                    return
        self._turn(item, not folded)

    def _turn(self, item: Item, unfolded: bool) -> None:
        if item.row is None or not (item.child or item.block.folds):
            return
        self._turned[item.key] = unfolded
        if not item.child:
            segment = self._segments[item.key[0]]
            for place, other in enumerate(segment.items):
                if other.key == item.key:
                    segment.heights[place] = height_of(
                        item.block, self._width, item.depth, unfolded=unfolded
                    )
        self.draw()

    def action_copy(self) -> None:
        if (row := self.selected) is not None:
            self.post_message(self.Copied(text_of(row)))

    def on_click(self, event: events.Click) -> None:
        line = event.y + round(self.scroll_offset.y)
        place = bisect_right(self._ends, line)
        if place < len(self._items):
            known = self._items[place].key == self._cursor
            self._cursor = self._items[place].key
            if known or self._items[place].child:
                self.action_turn()
            self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._follows = self.is_vertical_scroll_end


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
