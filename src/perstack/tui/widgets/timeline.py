"""A job as a list of what was done, however long: only what is on the screen is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from perstack.job import Activity

from ..account import Account
from ..blocks import text_of
from ..layout import lines_of
from ..outline import Item, Key, Outline
from ..wrap import Spans, width_of

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
        self._outline = Outline(account, now, run)
        self._cursor: Key | None = None
        self._follows = True
        self._drawn: dict[tuple[Key, bool], list[Strip]] = {}
        self._styles_of: dict[str, Style] = {}

    def draw(self) -> None:
        """Bring the screen up to what the account says now."""
        if not self.size.width or not self.is_attached:
            return
        outline, width = self._outline, self.scrollable_content_region.width
        if outline.width != width:
            self._drawn.clear()
        outline.lay(width)
        if self.has_focus and self._cursor is None and outline.items:
            self._cursor = outline.items[-1].key
        follows = self._follows
        size = Size(width, outline.height + 1 if outline.items else 0)
        if size != self.virtual_size:
            self.virtual_size = size
        if follows:
            self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)
            self._follows = True
        self.refresh()

    # What it looks like -----------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        width = self._outline.width
        line = y + round(self.scroll_offset.y)
        place = self._outline.place_at(line)
        base = self.rich_style
        if place >= len(self._outline.items):
            return Strip.blank(width, base)
        item = self._outline.items[place]
        top = self._outline.top_of(place)
        strips = self._strips(item)
        strip = strips[line - top] if line - top < len(strips) else Strip.blank(width, base)
        if item.key == self._cursor and self.has_focus and not (line == top and item.block.spaced):
            back = Style(bgcolor=self._style("cursor").bgcolor)
            strip = Strip([Segment(text, style and style + back) for text, style, _ in strip])
        return strip

    def _strips(self, item: Item) -> list[Strip]:
        unfolded = not item.child and self._outline.is_unfolded(item)
        steady = item.row is not None and not item.child
        if steady and (item.key, unfolded) in self._drawn:
            return self._drawn[item.key, unfolded]
        lines = lines_of(item.block, self._outline.width, item.depth, unfolded=unfolded)
        strips = [self._strip(line) for line in lines]
        if steady:
            if len(self._drawn) > 2_000:
                self._drawn.clear()
            self._drawn[item.key, unfolded] = strips
        return strips

    def _strip(self, line: Spans) -> Strip:
        width, base = self._outline.width, self.rich_style
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
        return self._outline.items[place].row if place is not None else None

    @property
    def cursor_text(self) -> str:
        """The head of the row the cursor is on."""
        place = self._place()
        block = self._outline.items[place].block if place is not None else None
        return f"{block.title} {block.subject}" if block is not None else ""

    @property
    def shown_text(self) -> str:
        """All of it as plain text, as it is laid out."""
        lines: list[str] = []
        for item in self._outline.items:
            unfolded = not item.child and self._outline.is_unfolded(item)
            drawn = lines_of(item.block, self._outline.width, item.depth, unfolded=unfolded)
            lines += ("".join(words for words, _ in line).rstrip() for line in drawn)
        return "\n".join(lines)

    def _place(self) -> int | None:
        return self._outline.place_of(self._cursor)

    def _go(self, place: int) -> None:
        if not self._outline.items:
            return
        place = min(max(place, 0), len(self._outline.items) - 1)
        item = self._outline.items[place]
        self._cursor = item.key
        top = self._outline.top_of(place)
        height = self._outline.ends[place] - top
        self._follows = place == len(self._outline.items) - 1
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
            self._go(len(self._outline.items) - 1)

    def on_blur(self) -> None:
        self.refresh()

    def action_move(self, by: int) -> None:
        place = self._place()
        self._go(len(self._outline.items) - 1 if place is None else place + by)

    def action_page(self, by: int) -> None:
        middle = round(self.scroll_offset.y) + by * self.size.height
        self._go(self._outline.place_at(max(middle, 0)))

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self._outline.items) - 1)

    def action_turn(self) -> None:
        place = self._place()
        if place is not None:
            item = self._outline.items[place]
            self._turn(item, not self._outline.is_unfolded(item))

    def action_fold(self, folded: bool) -> None:
        place = self._place()
        if place is None:
            return
        item = self._outline.items[place]
        if folded and item.depth and not self._outline.is_unfolded(item):
            # out to the delegate's own row
            for outer in range(place - 1, -1, -1):
                if self._outline.items[outer].child == item.key[0]:
                    self._go(outer)
                    return
        self._turn(item, not folded)

    def _turn(self, item: Item, unfolded: bool) -> None:
        if self._outline.turn(item, unfolded):
            self.draw()

    def action_copy(self) -> None:
        if (row := self.selected) is not None:
            self.post_message(self.Copied(text_of(row)))

    def on_click(self, event: events.Click) -> None:
        line = event.y + round(self.scroll_offset.y)
        place = self._outline.place_at(line)
        if place < len(self._outline.items):
            item = self._outline.items[place]
            known = item.key == self._cursor
            self._cursor = item.key
            if known or item.child:
                self.action_turn()
            self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._follows = self.is_vertical_scroll_end
