"""How an activity is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.job import Image, Text, activity, timeline
from perstack.job.wire import decode_events
from perstack.tui.blocks import PREVIEW, Block, block_of, plain_lines, text_of
from perstack.tui.layout import height_of, lines_of
from perstack.tui.prose import prose
from perstack.tui.wrap import width_of

GOLDEN = sorted((Path(__file__).parents[1] / "golden").rglob("*.jsonl"))

LINE = st.text(st.sampled_from("ab c漢é-"), max_size=90)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    return Block(
        glyph="○",
        title=draw(st.sampled_from(["", "Read"])),
        subject=draw(LINE),
        meta=draw(LINE),
        thoughts=draw(LINE),
        body=tuple(((line, ""),) for line in draw(st.lists(LINE, max_size=9))),
        more=draw(st.sampled_from([0, 0, 3])),
        whole=draw(st.booleans()),
        spaced=draw(st.booleans()),
    )


@given(blocks(), st.integers(20, 160), st.integers(0, 4), st.booleans())
def test_the_height_is_that_of_the_lines(block: Block, width: int, depth: int, unfolded: bool):
    lines = lines_of(block, width, depth, unfolded=unfolded)
    assert height_of(block, width, depth, unfolded=unfolded) == len(lines)
    assert all(sum(width_of(words) for words, _ in line) <= max(width, 24) for line in lines)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_row_of_a_kept_log_can_be_drawn(path: Path):
    events, _ = decode_events(path.read_bytes().splitlines())
    rows = timeline(events)
    assert rows
    for row in rows:
        block = block_of(row)
        assert height_of(block, 80) == len(lines_of(block, 80))
        assert text_of(row)


def shown(row: activity.Row, *, unfolded: bool = False) -> list[str]:
    assert isinstance(row, activity.Row)
    lines = lines_of(block_of(row), 60, unfolded=unfolded)  # pyright: ignore[reportArgumentType]  # every Row there is
    return ["".join(words for words, _ in line).rstrip() for line in lines]


def test_long_output_is_cut_to_its_first_lines_until_somebody_wants_more():
    output = "\n".join(f"line {n}" for n in range(20))
    row = activity.Exec(command="seq", args=("20",), cwd=".", output=output)
    assert shown(row) == [
        "$ Run seq 20",
        "  line 0",
        "  line 1",
        "  line 2",
        "  line 3",
        "  … 16 more lines",
    ]
    assert len(shown(row, unfolded=True)) == 21


def test_an_edit_is_shown_as_what_changed():
    row = activity.EditTextFile(path="a.md", old_text="one\ntwo\nfour", new_text="one\nthree\nfour")
    head, *body = shown(row)
    assert head.startswith("● Edit a.md")
    assert head.endswith("+1 -1")
    assert body == ["    one", "  - two", "  + three", "    four"]


def test_a_failure_says_what_failed_instead_of_what_it_gave():
    row = activity.WriteTextFile(path="a.md", text="secret plans", error="disk full")
    assert shown(row)[0].startswith("✗ Write a.md")
    assert shown(row)[1:] == ["  disk full"]


def test_an_image_is_noted_and_not_drawn():
    image = Image(data="A" * 4000, mime_type="image/png")
    row = activity.GeneralTool(
        skill_name="camera", tool_name="shoot", args={}, result=(Text(text="There."), image)
    )
    head, *body = shown(row)
    assert head.endswith("1 image")
    assert body == ["  [image/png, 3.0 kB]", "  There."]


def test_thoughts_are_one_line_until_unfolded():
    row = activity.Complete(text="Yes.", reasoning="First this.\nThen that.")
    assert shown(row) == ["", "✻ First this. Then that.", "✔ Answer", "  Yes."]
    assert shown(row, unfolded=True) == ["", "✻ First this.", "  Then that.", "✔ Answer", "  Yes."]


def test_a_result_of_a_million_lines_costs_what_is_shown():
    row = activity.ReadTextFile(path="big.txt", content="x\n" * 1_000_000)
    block = block_of(row)
    assert len(block.body) < 1_000
    assert len(block.body) + block.more == 1_000_000
    assert height_of(block, 80) == PREVIEW + 2


def test_markdown_reads_as_text():
    text = "# Head\n\nSome **bold** and `code`:\n\n- [x] done\n* item\n\n```sh\nls\n```\n---"
    assert list(plain_lines(prose(text))) == [
        "Head",
        "",
        "Some bold and code:",
        "",
        "☑ done",
        "• item",
        "",
        "  sh",
        "  ls",
        "────────────",
    ]
