"""The example tic-tac-toe, played to its end on the workbench: moves are typed, the board lies in a file."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import pytest

from perstack.job import ExpertMessage, ToolMessage, UserMessage
from perstack.models import Reply, Request
from perstack.testing import ScriptedModel, calls, says
from perstack.tui import Beginning, Desk
from perstack.tui.screens.follow import Follow
from perstack.tui.widgets.timeline import Timeline

from .desks import opened, order_in, until

pytestmark = pytest.mark.anyio

EXAMPLE = Path(__file__).parents[2] / "examples" / "tic-tac-toe" / "perstack.toml"
EMPTY = "...\n...\n..."
LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


def opponent(request: Request) -> Reply:
    """Reads the board, puts down the user's X and the first free O, and says how it stands."""
    last = request.history[-1]
    board = next(
        (
            str(call.args["text"])
            for message in reversed(request.history)
            if isinstance(message, ExpertMessage)
            for call in message.calls
            if call.tool == "writeTextFile"
        ),
        EMPTY,
    )
    if isinstance(last, UserMessage):
        return calls(("readTextFile", {"path": "board.txt"}), thought="The board first.")
    assert isinstance(last, ToolMessage)
    if last.tool == "readTextFile":
        move = next(m.text for m in reversed(request.history) if isinstance(m, UserMessage))
        return calls(("writeTextFile", {"path": "board.txt", "text": after(board, move)}))
    won = winner(board)
    return says(f"```\n{board}\n```\n{won} has won." if won else f"```\n{board}\n```\nYour turn.")


def after(board: str, move: str) -> str:
    squares = list(board.replace("\n", ""))
    squares["abc".index(move[0]) + 3 * (int(move[1]) - 1)] = "X"
    if not winner(rows(squares)):
        squares[squares.index(".")] = "O"
    return rows(squares)


def rows(squares: list[str]) -> str:
    return "\n".join("".join(squares[start : start + 3]) for start in (0, 3, 6))


def winner(board: str) -> str:
    squares = board.replace("\n", "")
    found = (squares[a] for a, b, c in LINES if squares[a] == squares[b] == squares[c] != ".")
    return next(found, "")


async def test_the_game_is_played_to_its_end(tmp_path: Path):
    copyfile(EXAMPLE, tmp_path / "perstack.toml")
    desk = Desk(order_in(tmp_path, ScriptedModel(opponent)))
    order = desk.new_job("tic-tac-toe", "b2")
    async with opened(desk, Beginning(order=order), size=(80, 24)) as (bench, pilot):
        await until(pilot, lambda: isinstance(bench.screen, Follow))
        follow = bench.screen
        assert isinstance(follow, Follow)

        def answers() -> int:
            root = follow.session.account.root
            return sum(row.id.startswith("completion") for row in root.rows) if root else 0

        for turn, move in enumerate(("c2", "a2"), 1):
            await until(pilot, lambda turn=turn: answers() == turn and not follow.session.at_work)
            await pilot.press(*move, "enter")
        await until(pilot, lambda: answers() == 3)
        shown = follow.query_one("#timeline", Timeline)
        await until(pilot, lambda: "X has won." in shown.shown_text)
        assert (tmp_path / "board.txt").read_text() == "OO.\nXXX\n..."
        assert len(await desk.jobs()) == 1
